"""The outbox of refunds: what is due, who works on it, what became of it.

A refund is stored, with its money already moved from `prepaid:` to `transit:`, before anybody asks the
provider for it. It is asked for under its one number until the provider has decided; only a refund that the
provider has given up gets a successor with the next number, once. The rest is for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import RefundRow, RefundStep, ReviewKind, SessionRow, SessionState
from pileward.messages.charging_writes import ClaimRefunds, MoveRefund, RefundMoved, RetryRefund
from pileward.models.payments import Refund
from pileward.services import charge_rows as rows
from pileward.services.books import REFUND_SPACING, Books
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.payments import note_notifications
from pileward.services.sql import among, execute_many, is_postgres, listed, select, utc

FINAL: Final = frozenset({RefundStep.SUCCEEDED, RefundStep.CLOSED})

FOLLOWING: Final[dict[RefundStep, frozenset[RefundStep]]] = {
    RefundStep.NEW: frozenset(RefundStep),
    RefundStep.SUBMITTED: frozenset(RefundStep),
    RefundStep.PROCESSING: frozenset(RefundStep) - {RefundStep.NEW, RefundStep.SUBMITTED},
    RefundStep.ABNORMAL: frozenset(
        {
            RefundStep.PROCESSING,
            RefundStep.SUCCEEDED,
            RefundStep.CLOSED,
            RefundStep.ABNORMAL,
            RefundStep.MANUAL,
        }
    ),
    RefundStep.MANUAL: frozenset({RefundStep.PROCESSING, RefundStep.SUCCEEDED, RefundStep.ABNORMAL}),
    RefundStep.SUCCEEDED: frozenset(),
    RefundStep.CLOSED: frozenset(),
}
"""Where a refund may go from each step; what comes late or out of order changes nothing."""

_SERIALS = "SELECT out_refund_no, serial FROM refund WHERE {among}"
_ONE = f"SELECT {', '.join(rows.REFUND_COLUMNS)} FROM refund WHERE out_refund_no = ?"  # noqa: S608
_DUE = f"""
SELECT {", ".join(f"r.{name}" for name in rows.REFUND_COLUMNS)} FROM refund r
WHERE r.next_attempt_at <= ? AND NOT EXISTS (
  SELECT 1 FROM refund o WHERE o.out_trade_no = r.out_trade_no AND o.number <> r.number
    AND r.step IN ('new', 'submitted')
    AND (o.number < r.number AND o.step IN ('new', 'submitted') OR o.submitted_at > ?)
) ORDER BY r.next_attempt_at LIMIT ?
"""  # noqa: S608
_LEASE = "UPDATE refund SET next_attempt_at = ?, attempts = attempts + 1 WHERE out_refund_no = ?"


async def refunds_due(connection: BaseDBAsyncClient, now: datetime, limit: int = 50) -> list[RefundRow]:
    """Refunds for which something is to be done, longest due first.

    Of several of one payment that are still to be asked for, only the oldest, and a minute after another one
    was asked for: so never two at a time, and never two numbers while one is unknown.
    """
    return await _due(connection, now, limit, "")


async def _due(connection: BaseDBAsyncClient, now: datetime, limit: int, locking: str) -> list[RefundRow]:
    spaced = utc(now - REFUND_SPACING)
    found = await select(connection, _DUE + locking, utc(now), spaced, limit)
    return [rows.refund_row(columns) for columns in found]


async def claim_refunds(
    connection: BaseDBAsyncClient, writes: Sequence[ClaimRefunds]
) -> list[list[RefundRow]]:
    """Bulk form of ClaimRefunds: what is due is due again when the lease ends."""
    locking = " FOR UPDATE OF r SKIP LOCKED" if is_postgres(connection) else ""
    results = []
    for write in writes:
        found = await _due(connection, write.at, write.limit, locking)
        until = utc(write.at + timedelta(seconds=write.lease_s))
        await execute_many(connection, _LEASE, [[until, refund.out_refund_no] for refund in found])
        results.append(found)
    return results


async def move_refunds(connection: BaseDBAsyncClient, writes: Sequence[MoveRefund]) -> list[RefundMoved]:
    """Bulk form of MoveRefund."""
    books = await _books(connection, [write.out_refund_no for write in writes])
    results = []
    for write in writes:
        refund = books.refunds.get(write.out_refund_no)
        if refund is None:
            results.append(RefundMoved("", False, None, False, None))
        else:
            results.append(_move(books, refund, write))
    await books.write()
    await note_notifications(
        connection, [(write.notification_id, write.out_refund_no, write.at) for write in writes]
    )
    return results


def _move(books: Books, refund: RefundRow, write: MoveRefund) -> RefundMoved:
    if write.step not in FOLLOWING[refund.step]:
        return _moved(books, refund, is_first=False)
    step, error = write.step, write.error[:200]
    if step is RefundStep.CLOSED and refund.replaces:
        step, error = RefundStep.MANUAL, error or "closed_twice"
    is_first = step is not refund.step
    changes: dict[str, Any] = {"step": step, "error": error, "next_attempt_at": write.next_attempt_at}
    if write.refund_id:
        changes["refund_id"] = write.refund_id
    if step is RefundStep.SUBMITTED or (step is RefundStep.PROCESSING and refund.submitted_at is None):
        changes["submitted_at"] = write.at
    if step in FINAL:
        changes |= {"finished_at": write.at, "next_attempt_at": None}
    if step is RefundStep.MANUAL:
        changes["next_attempt_at"] = None
    refund = books.change_refund(refund, **changes)
    session = books.sessions[refund.serial]
    successor = None
    if step is RefundStep.SUCCEEDED:
        books.refunded(refund, write.at)
        close_if_done(books, session, write.at)
    elif step is RefundStep.CLOSED:
        successor = _replace(books, refund, write.at)
    elif step in (RefundStep.ABNORMAL, RefundStep.MANUAL) and is_first:
        reason = f"{step}: {error}"
        books.review(ReviewKind.REFUND_STUCK, session, reason, write.at, about=refund.out_refund_no)
    return _moved(books, refund, is_first, successor)


def _replace(books: Books, refund: RefundRow, at: datetime) -> RefundRow:
    """Give a refund that came to nothing the next number."""
    payment = books.returned(refund, at)
    session = books.sessions[refund.serial]
    return books.refund(
        payment, refund.fen, refund.cause, at, replaces=refund.out_refund_no, is_frozen=session.is_held
    )


def close_if_done(books: Books, session: SessionRow, at: datetime) -> SessionRow:
    """Close a charge that only waited for its refunds."""
    waits = session.state in (SessionState.REFUNDING, SessionState.START_FAILED)
    if waits and not session.is_held and _is_done(books, session.serial):
        return books.move(session, SessionState.CLOSED, at)
    return session


def _is_done(books: Books, serial: str) -> bool:
    return all(refund.step in FINAL for refund in books.refunds_of(serial))


def _moved(
    books: Books, refund: RefundRow, is_first: bool, successor: RefundRow | None = None
) -> RefundMoved:
    session = books.sessions[refund.serial]
    return RefundMoved(
        serial=refund.serial,
        is_first=is_first,
        step=refund.step,
        is_last=_is_done(books, refund.serial) and not session.is_held,
        session_state=session.state,
        successor=successor,
    )


async def retry_refunds(connection: BaseDBAsyncClient, writes: Sequence[RetryRefund]) -> list[RefundMoved]:
    """Bulk form of RetryRefund: the stuck refund is closed and a new number takes its place.

    Only for a refund of which the provider says that it came to nothing: two live numbers would pay twice.
    """
    books = await _books(connection, [write.out_refund_no for write in writes])
    results = []
    for write in writes:
        refund = books.refunds.get(write.out_refund_no)
        if refund is None:
            results.append(RefundMoved("", False, None, False, None))
        elif refund.step not in (RefundStep.ABNORMAL, RefundStep.MANUAL):
            results.append(_moved(books, refund, is_first=False))
        else:
            ended = {"finished_at": write.at, "next_attempt_at": None}
            error = f"{refund.error} ({write.actor})"[:200]
            refund = books.change_refund(refund, step=RefundStep.CLOSED, error=error, **ended)
            successor = _replace(books, refund, write.at)
            results.append(_moved(books, refund, True, successor))
    await books.write()
    return results


async def refund_by_number(connection: BaseDBAsyncClient, out_refund_no: str) -> RefundRow:
    """One refund; raises NotFoundError."""
    found = await select(connection, _ONE, out_refund_no)
    if not found:
        raise NotFoundError("refund_not_found", "没有这笔退款", f"refund {out_refund_no} does not exist")
    return rows.refund_row(found[0])


async def list_refunds(
    operator_id: int,
    *,
    step: RefundStep | None = None,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[RefundRow]:
    """An operator's refunds, newest first, all or those at one step."""
    query = Refund.filter(operator_id=operator_id)
    if step is not None:
        query = query.filter(step=step.value)
    found, following = await page(query, "refund", cursor, limit, newest_first=True)
    columns = [{name: getattr(model, name) for name in rows.REFUND_COLUMNS} for model in found]
    return Page([rows.refund_row(values) for values in columns], following)


async def _books(connection: BaseDBAsyncClient, numbers: Sequence[str]) -> Books:
    query = _SERIALS.format(among=among(connection, "out_refund_no"))
    found = await select(connection, query, listed(connection, sorted(set(numbers))))
    return await Books.open(connection, (row["serial"] for row in found))
