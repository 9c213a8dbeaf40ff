"""Lesson 21: a fee computed after the stop broke invoices that were final.

Rule: what was settled is never changed; whatever comes later is a settlement, a movement and a refund of its
own, beside the first.
"""

from __future__ import annotations

from pileward.messages.charging import RefundStep, SessionState
from pileward.models.database import Database
from pileward.models.operators import Operator
from pileward.services import ledger, sessions
from pileward.services.settlement import settlements_of
from tests.business import later
from tests.charges import Till, delivered


async def test_lesson_21_a_correction_stands_beside_what_it_corrects(database: Database) -> None:
    till = await Till.open(database)
    await Operator.all().update(provisional_refund="auto")
    serial = await till.charging(5_000)
    await till.settle(serial, delivered(100_000), None, later(90_000))
    await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
    connection = database.connection
    first_entries = await ledger.entries_of(serial)
    [first] = await settlements_of(connection, serial)
    [first_refund] = await sessions.refunds_of(connection, serial)
    settled = await till.settle(serial, delivered(70_000), 1, later(99_000))
    assert settled.out_refund_no == f"R{serial}-2"
    assert (await ledger.entries_of(serial))[: len(first_entries)] == first_entries
    assert (await settlements_of(connection, serial))[0] == first
    assert (await sessions.refunds_of(connection, serial))[0] == first_refund
    assert first.result.bill is not None
    assert (first.result.bill.total_fen, first.result.is_provisional) == (1_000, True)


async def test_lesson_21_a_closed_account_is_not_opened_by_what_repeats(database: Database) -> None:
    till = await Till.open(database)
    serial = await till.charging(2_000)
    settled = await till.settle(serial, delivered())
    assert settled.state is SessionState.CLOSED
    before = await till.row(serial)
    await till.settle(serial, delivered(), 1, later(9_000))
    await till.settle(serial, delivered(300_000), 2, later(9_100))
    after = await till.row(serial)
    assert (after.bill, after.closed_at, after.state) == (before.bill, before.closed_at, SessionState.CLOSED)
