"""From what was delivered to who pays what: settlement, its corrections, decisions.

Every settlement computes what the charge costs now and moves the *difference* to what the ledger holds for it
already, so the first bill, a late record after a provisional bill, a record after a failed start and a
person's decision are one calculation. What was paid and is not used goes into the outbox of refunds in the
same transaction. Done once for each record: the key in `settlement` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging import (
    Bill,
    RecordFacts,
    RefundCause,
    RefundRow,
    RefundStep,
    ReviewKind,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import (
    DecideHeld,
    Decision,
    Settled,
    SettleSession,
)
from pileward.services.billing import Tolerance, excess_bound_fen, implausible, make_bill, oddities
from pileward.services.books import Books, insert
from pileward.services.debts import keep_debts
from pileward.services.ledger import debt_account, loss_account, prepaid_account, revenue_account
from pileward.services.refunds import FINAL, close_if_done
from pileward.services.reviews import settle_reviews
from pileward.services.sql import among, aware, listed, select, utc

PROVISIONAL: Final = "provisional"
UNBOOKED: Final = frozenset(
    {
        "negative_energy", "no_time", "end_before_start", "clock_shifted", "rates_missing",
        "energy_beyond_power", "excess",
    }
)  # fmt: skip
"""Why facts are held before any of their bill is in the ledger."""

NOTHING: Final = Bill(energy_e4_kwh=0, electricity_fen=0, service_fen=0, total_fen=0, lines=())


class Terms(msgspec.Struct, frozen=True):
    """What an operator and a pile model say about settling."""

    is_absorbed: bool = False
    """The operator bears what exceeds the money, instead of the driver."""
    is_provisional_refunded: bool = False
    """The rest of a provisional bill is paid back without a person."""
    rated_power_w: int = 0
    tolerance: Tolerance = Tolerance()


class _Outcome(msgspec.Struct):
    """One settlement to be kept: its key, what it was made from, what it came to."""

    key: str
    record_id: int | None
    facts: RecordFacts | None
    result: Settled
    actor: str
    at: datetime


class _Desk:
    """The books of one bulk call, with the terms and earlier settlements of their charges."""

    def __init__(self, books: Books, terms: dict[str, Terms], done: dict[str, Settled]) -> None:
        self.books = books
        self.terms = terms
        self.done = done
        self.outcomes: list[_Outcome] = []
        self.debts: dict[str, tuple[SessionRow, datetime]] = {}
        self.closings: list[tuple[str, ReviewKind]] = []

    async def write(self, by: str, resolution: str, at: datetime) -> None:
        """Write the books and what belongs to them."""
        connection = self.books.connection
        await self.books.write()
        await insert(connection, "settlement", [_columns(outcome) for outcome in self.outcomes])
        await keep_debts(connection, list(self.debts.values()))
        await settle_reviews(connection, self.closings, by, resolution, at)


async def settle_sessions(connection: BaseDBAsyncClient, writes: Sequence[SettleSession]) -> list[Settled]:
    """Bulk form of SettleSession. An unknown serial is a KeyError: a bug of ours."""
    if not writes:
        return []
    desk = await _open(connection, writes)
    results = [_settle(desk, write) for write in writes]
    await desk.write("", "settled", writes[-1].at)
    return results


async def _open(connection: BaseDBAsyncClient, writes: Sequence[SettleSession]) -> _Desk:
    books = await Books.open(connection, (write.serial for write in writes))
    keys = [_key(write.serial, write.record_id) for write in writes]
    query = f"SELECT key, result FROM settlement WHERE {among(connection, 'key')}"  # noqa: S608
    done = {
        row["key"]: msgspec.json.decode(row["result"], type=Settled)
        for row in await select(connection, query, listed(connection, keys))
    }
    return _Desk(books, await load_terms(connection, books.sessions.values()), done)


def _key(serial: str, record_id: int | None) -> str:
    return f"{serial}:{PROVISIONAL if record_id is None else f'record:{record_id}'}"


def _settle(desk: _Desk, write: SettleSession) -> Settled:
    """One settlement, or what it came to before."""
    session = desk.books.sessions[write.serial]
    key = _key(write.serial, write.record_id)
    if key in desk.done:
        return _repeated(desk, session, desk.done[key])
    if session.record_id is not None:
        if write.record_id is None:
            return replace(_standing(desk, session, "record_settled"), is_first=False)
        reason = f"settled by record {session.record_id}"
        desk.books.review(ReviewKind.DIFFERENT_RECORD, session, reason, write.at, record_id=write.record_id)
        return _keep(desk, key, write, _standing(desk, session, "different_record"))
    terms, facts = desk.terms[write.serial], write.facts
    warnings = list(oddities(facts, session.tariff))
    latest = write.received_at or write.at
    problem = implausible(facts, terms.rated_power_w, session.requested_at, latest)
    bill = NOTHING
    if problem != "negative_energy":
        bill = make_bill(session.tariff, facts.energies, facts.pile_amount_e4_yuan, terms.tolerance)
    if bill.differs:
        warnings.append("amount_differs")
    if session.start_failure and bill.energy_e4_kwh:
        warnings.append("record_after_start_failed")
    if session.is_provisional and session.bill is not None and bill.total_fen != session.bill.total_fen:
        warnings.append("provisional_corrected")
    was_provisional = session.is_provisional
    session = desk.books.change(
        session,
        record_id=write.record_id,
        is_provisional=write.record_id is None,
        bill=bill,
        energy_e4_kwh=bill.energy_e4_kwh,
        started_at=facts.started_at or session.started_at,
        ended_at=facts.ended_at or session.ended_at,
        stop_reason=facts.stop_reason[:40] or session.stop_reason,
        stop_code=session.stop_code if facts.stop_code is None else facts.stop_code,
        settled_at=write.at,
    )
    excess = bill.total_fen - min(bill.total_fen, desk.books.left_fen(session))
    if problem is None and excess > excess_bound_fen(session.paid_fen):
        problem = "excess"
    if problem is not None:
        kind = ReviewKind.EXCESS if problem == "excess" else ReviewKind.IMPLAUSIBLE_RECORD
        desk.books.review(kind, session, problem, write.at, record_id=write.record_id)
        session = _hold(desk, session, problem, write.at)
        return _keep(desk, key, write, _standing(desk, session, problem, tuple(warnings)))
    if session.is_held and was_provisional and session.held_reason in (PROVISIONAL, *UNBOOKED):
        # it was held for want of a record, or for live values that nobody could believe
        session = desk.books.change(session, is_held=False, held_reason="")
        _thaw(desk.books, session, write.at)
        kinds = (ReviewKind.PROVISIONAL, ReviewKind.IMPLAUSIBLE_RECORD, ReviewKind.EXCESS)
        desk.closings += [(session.serial, kind) for kind in kinds]
    if write.record_id is None and not terms.is_provisional_refunded and not session.is_held:
        session = desk.books.change(session, is_held=True, held_reason=PROVISIONAL)
        desk.books.review(ReviewKind.PROVISIONAL, session, "no_record", write.at)
    result = _book(desk, session, bill, terms.is_absorbed, write.at, tuple(warnings))
    if result.excess_fen and {"record_after_start_failed", "provisional_corrected"} & set(warnings):
        desk.books.review(ReviewKind.LATE_RECORD, session, "higher", write.at, record_id=write.record_id)
    return _keep(desk, key, write, result)


def _hold(desk: _Desk, session: SessionRow, reason: str, at: datetime) -> SessionRow:
    """Nothing moves until a person decides; what waits to be asked for is frozen."""
    for refund in desk.books.refunds_of(session.serial):
        if refund.step is RefundStep.NEW:
            desk.books.change_refund(refund, next_attempt_at=None)
    return desk.books.move(
        session, SessionState.DISPUTED, at, is_held=True, held_reason=reason, closed_at=None
    )


def _book(
    desk: _Desk, session: SessionRow, bill: Bill, is_absorbed: bool, at: datetime, warnings: tuple[str, ...]
) -> Settled:
    """Move the difference between a bill and what the ledger holds, and put the rest into the outbox."""
    books = desk.books
    number = session.settlements + 1
    prepaid_fen = min(bill.total_fen, books.left_fen(session))
    excess_fen = bill.total_fen - prepaid_fen
    loss_fen = excess_fen
    if not is_absorbed and session.driver_id is not None:
        # what was waived before stays waived
        loss_fen = min(session.excess_fen - session.debt_fen, excess_fen)
    debt_fen = excess_fen - loss_fen
    before = _matrix(session.electricity_fen, session.service_fen, *_sources(session))
    after = _matrix(bill.electricity_fen, bill.service_fen, prepaid_fen, debt_fen, loss_fen)
    for (cause, component), fen in after.items():
        _shift(desk, session, cause, component, number, fen - before[cause, component], at)
    had_debt = session.debt_fen != debt_fen
    session = books.change(
        session,
        electricity_fen=bill.electricity_fen,
        service_fen=bill.service_fen,
        settlements=number,
        debt_fen=debt_fen,
        excess_fen=excess_fen,
        refund_fen=session.paid_fen - prepaid_fen,
    )
    refund = _give_back(desk, session, prepaid_fen, RefundCause.REST, at)
    session = _after(desk, books.sessions[session.serial], at)
    if had_debt:
        desk.debts[session.serial] = (session, at)
    return _standing(desk, session, session.held_reason, warnings, refund)


def _sources(session: SessionRow) -> tuple[int, int, int]:
    loss_fen = session.excess_fen - session.debt_fen
    prepaid_fen = session.electricity_fen + session.service_fen - session.excess_fen
    return prepaid_fen, session.debt_fen, loss_fen


def _matrix(
    electricity_fen: int, service_fen: int, prepaid_fen: int, debt_fen: int, loss_fen: int
) -> dict[tuple[str, str], int]:
    """Who pays for what: electricity first, from the prepaid money first."""
    assert electricity_fen + service_fen == prepaid_fen + debt_fen + loss_fen
    parts = {}
    left = electricity_fen
    for cause, fen in (("settle", prepaid_fen), ("debt", debt_fen), ("loss", loss_fen)):
        parts[cause, "electricity"] = min(left, fen)
        left -= parts[cause, "electricity"]
        parts[cause, "service"] = fen - parts[cause, "electricity"]
    return parts


def _shift(
    desk: _Desk, session: SessionRow, cause: str, component: str, number: int, fen: int, at: datetime
) -> None:
    """Earn some fen from a source, or give them back to it."""
    if not fen:
        return
    source = loss_account(session.operator_id)
    if cause != "loss":
        # prepaid money and debts are a driver's; a charge without a driver has neither
        assert session.driver_id is not None
        source = (prepaid_account if cause == "settle" else debt_account)(session.driver_id)
    revenue = revenue_account(component, session.operator_id)
    key = f"{cause}:{session.serial}:{number}:{component}"
    if fen > 0:
        desk.books.enter(key, source, revenue, fen, session, at)
    else:
        desk.books.enter(key, revenue, source, -fen, session, at)


def _give_back(
    desk: _Desk, session: SessionRow, used_fen: int, cause: RefundCause, at: datetime
) -> RefundRow | None:
    """Put into the outbox what is neither used nor on its way back; held charges keep it."""
    payment = desk.books.funding(session)
    rest = desk.books.left_fen(session) - used_fen
    assert rest >= 0
    if payment is None or not rest or session.is_held:
        return None
    if cause is RefundCause.REST and payment.refunded_fen:
        cause = RefundCause.CORRECTION
    return desk.books.refund(payment, rest, cause, at)


def _after(desk: _Desk, session: SessionRow, at: datetime) -> SessionRow:
    """The state behind a settlement."""
    if session.is_held:
        return desk.books.move(session, SessionState.DISPUTED, at, closed_at=None)
    if any(refund.step not in FINAL for refund in desk.books.refunds_of(session.serial)):
        return desk.books.move(session, SessionState.REFUNDING, at, closed_at=None)
    return desk.books.move(session, SessionState.CLOSED, at)


def _standing(
    desk: _Desk,
    session: SessionRow,
    reason: str,
    warnings: tuple[str, ...] = (),
    refund: RefundRow | None = None,
) -> Settled:
    """How the charge stands now."""
    return Settled(
        serial=session.serial,
        is_first=True,
        state=session.state,
        bill=session.bill,
        out_refund_no=None if refund is None else refund.out_refund_no,
        refund_fen=session.refund_fen,
        debt_fen=session.debt_fen,
        excess_fen=session.excess_fen,
        is_held=session.is_held,
        reason=reason,
        is_provisional=session.is_provisional,
        warnings=warnings,
    )


def _repeated(desk: _Desk, session: SessionRow, before: Settled) -> Settled:
    return replace(before, is_first=False, state=session.state, is_held=session.is_held)


def _keep(desk: _Desk, key: str, write: SettleSession, result: Settled) -> Settled:
    desk.done[key] = result
    desk.outcomes.append(_Outcome(key, write.record_id, write.facts, result, "", write.at))
    return result


def _columns(outcome: _Outcome) -> dict[str, Any]:
    return {
        "key": outcome.key,
        "serial": outcome.result.serial,
        "record_id": outcome.record_id,
        "facts": msgspec.json.encode(outcome.facts).decode(),
        "result": msgspec.json.encode(outcome.result).decode(),
        "actor": outcome.actor[:80],
        "at": utc(outcome.at),
    }


class SettlementView(msgspec.Struct, frozen=True):
    """One settlement of a charge as shown: what it was made from and what it came to."""

    record_id: int | None
    facts: RecordFacts | None
    result: Settled
    actor: str
    at: datetime


async def settlements_of(connection: BaseDBAsyncClient, serial: str) -> list[SettlementView]:
    """All settlements of one charge, oldest first."""
    query = "SELECT record_id, facts, result, actor, at FROM settlement WHERE serial = ? ORDER BY id"
    return [
        SettlementView(
            record_id=row["record_id"],
            facts=msgspec.json.decode(row["facts"], type=RecordFacts | None),
            result=msgspec.json.decode(row["result"], type=Settled),
            actor=row["actor"],
            at=aware(row["at"]),
        )
        for row in await select(connection, query, serial)
    ]


async def load_terms(connection: BaseDBAsyncClient, sessions: Iterable[SessionRow]) -> dict[str, Terms]:
    """What operators and pile models say about some charges, by serial."""
    wanted = list(sessions)
    query = f"""
SELECT p.pile_code, p.rated_power_w, m.rate_tolerance_fen, m.total_tolerance_fen, o.overrun,
  o.provisional_refund
FROM pile p JOIN pile_model m ON m.id = p.model_id JOIN operator o ON o.id = p.operator_id
WHERE {among(connection, "p.pile_code")}
"""  # noqa: S608
    codes = sorted({session.pile_code for session in wanted})
    by_pile = {
        row["pile_code"]: Terms(
            is_absorbed=row["overrun"] == "absorb",
            is_provisional_refunded=row["provisional_refund"] == "auto",
            rated_power_w=row["rated_power_w"],
            tolerance=Tolerance(row["rate_tolerance_fen"], row["total_tolerance_fen"]),
        )
        for row in await select(connection, query, listed(connection, codes))
    }
    return {session.serial: by_pile[session.pile_code] for session in wanted}


# --- decisions --------------------------------------------------------------------------------------------


async def decide_held(connection: BaseDBAsyncClient, writes: Sequence[DecideHeld]) -> list[Settled]:
    """Bulk form of DecideHeld. An unknown serial is a KeyError: a bug of ours."""
    results = []
    for write in writes:  # one by one: people are slow, and each leaves its own words
        books = await Books.open(connection, [write.serial])
        desk = _Desk(books, await load_terms(connection, books.sessions.values()), {})
        results.append(_decide(desk, write))
        await desk.write(write.actor, f"{write.decision}: {write.note}", write.at)
    return results


def _decide(desk: _Desk, write: DecideHeld) -> Settled:
    session = desk.books.sessions[write.serial]
    if not session.is_held:
        return replace(_standing(desk, session, "not_held"), is_first=False)
    reason = session.held_reason
    if session.settled_at is None and session.state is not SessionState.DISPUTED:
        return _resume(desk, session, write)
    bill = session.bill if session.bill is not None else NOTHING
    if write.decision is Decision.FREE:
        bill = replace(NOTHING, energy_e4_kwh=bill.energy_e4_kwh)
    is_absorbed = desk.terms[write.serial].is_absorbed or write.decision is Decision.PREPAID
    session = desk.books.change(session, bill=bill, is_held=False, held_reason="")
    _thaw(desk.books, session, write.at)
    result = _book(desk, session, bill, is_absorbed, write.at, ())
    result = replace(result, reason=f"decided:{reason}"[:80])
    key = f"{session.serial}:decision:{desk.books.sessions[session.serial].settlements}"
    desk.outcomes.append(_Outcome(key, session.record_id, None, result, write.actor, write.at))
    desk.closings += [
        (session.serial, kind)
        for kind in (
            ReviewKind.EXCESS,
            ReviewKind.IMPLAUSIBLE_RECORD,
            ReviewKind.PROVISIONAL,
            ReviewKind.PAYMENT_MISMATCH,
            ReviewKind.DISPUTE,
        )
    ]
    return result


def _resume(desk: _Desk, session: SessionRow, write: DecideHeld) -> Settled:
    """A charge that was only frozen and has no bill yet goes on as if nothing had been."""
    session = desk.books.change(session, is_held=False, held_reason="")
    _thaw(desk.books, session, write.at)
    session = close_if_done(desk.books, session, write.at)
    desk.closings.append((session.serial, ReviewKind.DISPUTE))
    return _standing(desk, session, "resumed")


def _thaw(books: Books, session: SessionRow, at: datetime) -> None:
    for refund in books.refunds_of(session.serial):
        if refund.step is RefundStep.NEW and refund.next_attempt_at is None:
            books.change_refund(refund, next_attempt_at=at)
