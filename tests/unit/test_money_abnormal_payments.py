"""Abnormal cases of money, one test each: payments and starts; who has what in the end, to the fen."""

from __future__ import annotations

import pytest

from pileward.messages.charging import PaymentStep, PaymentVerdict, RefundStep, ReviewKind, SessionState
from pileward.messages.charging_writes import (
    CancelSession,
    DecideHeld,
    Decision,
    FailStart,
    HoldSession,
    MovePayment,
)
from pileward.models.database import Database
from pileward.services import payments, reviews, sessions
from pileward.services.books import insert
from pileward.services.charge_rows import payment_columns
from tests.business import later
from tests.charges import Till, delivered

S = SessionState


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def paid_order(till: Till) -> str:
    serial = await till.ordered(5_000)
    await till.pay(serial, 5_000)
    return serial


async def test_paid_start_command_failed_or_refused(till: Till) -> None:
    serial = await paid_order(till)
    await till.move(serial, S.STARTING, at=later(30))
    [failed] = await till.write(FailStart(serial, "pile_refused", later(35)))
    assert (failed.state, failed.refund_fen) == (S.START_FAILED, 5_000)
    moved = await till.refund(failed.out_refund_no, RefundStep.SUCCEEDED)
    assert moved.session_state is S.CLOSED
    assert await till.balances() == {}


async def test_paid_start_failed_but_a_record_with_energy_arrives_later(till: Till) -> None:
    """It is settled and an alarm is due; what was given back is the driver's debt, or a person's decision."""
    serial = await paid_order(till)
    await till.move(serial, S.STARTING, at=later(30))
    [failed] = await till.write(FailStart(serial, "no_answer", later(130)))
    await till.refund(failed.out_refund_no, RefundStep.SUCCEEDED)
    settled = await till.settle(serial, delivered(40_000), 1)
    assert "record_after_start_failed" in settled.warnings
    assert (settled.state, settled.debt_fen, settled.is_held) == (S.CLOSED, 400, False)
    assert ReviewKind.LATE_RECORD in {review.kind for review in await reviews.reviews_of(serial)}


async def test_paid_start_failed_but_much_energy_was_delivered(till: Till) -> None:
    serial = await paid_order(till)
    await till.write(FailStart(serial, "no_answer", later(130)))
    settled = await till.settle(serial, delivered(), 1)
    assert (settled.state, settled.reason, settled.excess_fen) == (S.DISPUTED, "excess", 0)
    assert await till.earned() == 0


async def test_paid_gun_taken_or_pile_offline_meanwhile(till: Till) -> None:
    serial = await paid_order(till)
    [failed] = await till.write(FailStart(serial, "pile_offline", later(25)))
    assert (failed.state, failed.refund_fen) == (S.START_FAILED, 5_000)
    assert (await till.row(serial)).start_failure == "pile_offline"


async def test_paid_twice(till: Till) -> None:
    """The first payment is used, the other goes back whole; the same transaction again is no payment."""
    serial = await till.ordered(5_000)
    second = till.payment(await till.row(serial), 2)
    async with till.database.transaction() as connection:
        await insert(connection, "payment", [payment_columns(second)])
    await till.pay(serial, 5_000)
    assert (await till.pay(serial, 5_000)).is_first is False
    twice = await till.pay(serial, 5_000, number=2)
    assert twice.verdict is PaymentVerdict.DUPLICATE
    await till.move(serial, S.STARTING)
    settled = await till.settle(serial, delivered())
    assert settled.refund_fen == 3_000
    assert twice.out_refund_no is not None
    await till.refund(twice.out_refund_no, RefundStep.SUCCEEDED)
    assert settled.out_refund_no is not None
    moved = await till.refund(settled.out_refund_no, RefundStep.SUCCEEDED)
    assert moved.session_state is S.CLOSED
    assert await till.earned() == 2_000


async def test_paid_after_we_closed_the_order(till: Till) -> None:
    serial = await till.ordered(5_000)
    await till.write(MovePayment(f"P{serial}-1", PaymentStep.CLOSED, later(10)))
    await till.write(CancelSession(serial, "expired", later(10)))
    late = await till.pay(serial, 5_000)
    assert (late.verdict, late.session_state) == (PaymentVerdict.LATE, S.CANCELLED)
    assert late.out_refund_no is not None
    await till.refund(late.out_refund_no, RefundStep.SUCCEEDED)
    assert await till.balances() == {}
    assert await sessions.open_serial_of_driver(till.database.connection, till.driver_id) is None


async def test_the_app_says_paid_and_nothing_arrives(till: Till) -> None:
    """Nothing is believed but the provider's word; the payment stays due for a query."""
    serial = await till.ordered(5_000)
    number = f"P{serial}-1"
    await till.write(MovePayment(number, PaymentStep.WAITING, later(5), next_query_at=later(35)))
    assert [row.out_trade_no for row in await payments.payments_due(till.database.connection, later(35))] == [
        number
    ]
    assert (await till.row(serial)).state is S.CREATED
    confirmed = await till.pay(serial, 5_000)
    assert (confirmed.verdict, confirmed.session_state) == (PaymentVerdict.PAID, S.FUNDED)


async def test_the_driver_disputes(till: Till) -> None:
    """Automatic steps stop; what a person decides goes through the same outbox."""
    serial = await till.charging(5_000)
    await till.settle(serial, delivered())
    await till.write(HoldSession(serial, "complaint", later(3_750)))
    [decided] = await till.write(
        DecideHeld(serial, Decision.FREE, "token:anna", later(9_000), "meter broken")
    )
    assert decided.refund_fen == 5_000
    for number in (1, 2):
        moved = await till.refund(f"R{serial}-{number}", RefundStep.SUCCEEDED)
    assert (moved.is_last, moved.session_state) == (True, S.CLOSED)
    assert await till.balances() == {}
