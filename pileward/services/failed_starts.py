"""Charges that never began: everything that was paid goes back, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging import RefundCause, SessionState
from pileward.messages.charging_writes import FailStart, StartFailedDone
from pileward.services.books import Books

FAILABLE: Final = frozenset(
    {
        SessionState.CREATED,
        SessionState.FUNDED,
        SessionState.STARTING,
        SessionState.CHARGING,
        SessionState.STOPPING,
    }
)
"""States in which a start can still turn out to have failed."""


async def fail_starts(connection: BaseDBAsyncClient, writes: Sequence[FailStart]) -> list[StartFailedDone]:
    """Bulk form of FailStart: everything goes back, without asking anybody."""
    books = await Books.open(connection, (write.serial for write in writes))
    results = [_fail(books, write) for write in writes]
    await books.write()
    return results


def _fail(books: Books, write: FailStart) -> StartFailedDone:
    session = books.sessions.get(write.serial)
    if session is None or session.state not in FAILABLE:
        back = [] if session is None else books.refunds_of(session.serial)
        mine = [refund for refund in back if refund.cause is RefundCause.START_FAILED]
        failed = session is not None and bool(session.start_failure) and session.settled_at is None
        return StartFailedDone(
            is_done=failed,
            state=None if session is None else session.state,
            out_refund_no=mine[0].out_refund_no if mine else None,
            refund_fen=mine[0].fen if mine else 0,
        )
    payment, left = books.funding(session), books.left_fen(session)
    refund = None
    if payment is not None and left:
        refund = books.refund(payment, left, RefundCause.START_FAILED, write.at, is_frozen=session.is_held)
    state = SessionState.START_FAILED
    if refund is None:
        state = SessionState.CANCELLED if session.state is SessionState.CREATED else SessionState.CLOSED
    session = books.move(
        session, state, write.at, start_failure=write.reason[:40] or "unknown", refund_fen=session.paid_fen
    )
    return StartFailedDone(
        is_done=True,
        state=session.state,
        out_refund_no=None if refund is None else refund.out_refund_no,
        refund_fen=0 if refund is None else refund.fen,
    )
