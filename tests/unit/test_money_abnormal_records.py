"""Abnormal cases of money, one test each: transaction records that are missing, late, wrong or strange."""

from __future__ import annotations

import pytest

from pileward.messages.charging import Bill, RecordFacts, RefundStep, ReviewKind, SessionState
from pileward.messages.charging_writes import (
    DecideHeld,
    Decision,
    RecordUnmatched,
    SaveLive,
    Settled,
    SettleRecord,
)
from pileward.models.database import Database
from pileward.models.operators import Operator
from pileward.services import debts, reviews
from pileward.services.billing import provisional_facts
from pileward.services.records import RecordState
from pileward.services.writes import StoreRecord
from tests.business import NOW, PILE_CODE, later
from tests.charges import Till, delivered

S = SessionState
DAY_LATER = later(90_000)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def kinds(serial: str) -> list[ReviewKind]:
    return [review.kind for review in await reviews.reviews_of(serial) if review.is_open]


async def test_pile_goes_offline_while_charging(till: Till) -> None:
    """It charges on; after a day the last live values are billed, and nothing goes back unseen."""
    serial = await till.charging(5_000)
    await till.write(SaveLive(serial, later(900), 50_000, 50_000, 40, (0, 0, 0, 50_000)))
    await till.move(serial, S.INTERRUPTED, at=later(930))
    provisional = await till.settle(serial, provisional_facts(await till.row(serial)), None, DAY_LATER)
    assert (provisional.is_provisional, provisional.is_held, provisional.refund_fen) == (True, True, 4_500)
    assert provisional.out_refund_no is None
    assert await kinds(serial) == [ReviewKind.PROVISIONAL]
    assert await till.earned() == 500


async def test_the_record_never_arrives(till: Till) -> None:
    serial = await till.charging(5_000)
    await till.move(serial, S.AWAITING_RECORD, at=later(3_700))
    await till.settle(serial, delivered(50_000), None, DAY_LATER)
    [decided] = await till.write(DecideHeld(serial, Decision.ACCEPT, "token:anna", later(95_000)))
    assert decided.out_refund_no is not None
    moved = await till.refund(decided.out_refund_no, RefundStep.SUCCEEDED)
    assert (moved.session_state, (await till.row(serial)).is_provisional) == (S.CLOSED, True)


async def provisionally_refunded(till: Till) -> str:
    """A charge billed with 10 yuan by its last live values; 40 of 50 are back."""
    await Operator.all().update(provisional_refund="auto")
    serial = await till.charging(5_000)
    await till.move(serial, S.AWAITING_RECORD)
    settled = await till.settle(serial, delivered(100_000), None, DAY_LATER)
    assert settled.out_refund_no is not None
    await till.refund(settled.out_refund_no, RefundStep.SUCCEEDED)
    return serial


async def test_the_record_arrives_after_the_refund_with_the_same_amount(till: Till) -> None:
    serial = await provisionally_refunded(till)
    settled = await till.settle(serial, delivered(100_000), 1, later(99_000))
    assert (settled.state, settled.out_refund_no, settled.is_provisional) == (S.CLOSED, None, False)
    assert (await till.row(serial)).record_id == 1
    assert await till.earned() == 1_000


async def test_the_record_arrives_after_the_refund_and_is_lower(till: Till) -> None:
    serial = await provisionally_refunded(till)
    settled = await till.settle(serial, delivered(80_000), 1, later(99_000))
    assert (settled.state, settled.out_refund_no, settled.refund_fen) == (S.REFUNDING, f"R{serial}-2", 4_200)
    moved = await till.refund(f"R{serial}-2", RefundStep.SUCCEEDED)
    assert moved.session_state is S.CLOSED
    assert await till.earned() == 800


async def test_the_record_arrives_after_the_refund_and_is_higher(till: Till) -> None:
    serial = await provisionally_refunded(till)
    settled = await till.settle(serial, delivered(130_000), 1, later(99_000))
    assert (settled.state, settled.debt_fen, settled.out_refund_no) == (S.CLOSED, 300, None)
    assert await kinds(serial) == [ReviewKind.LATE_RECORD]
    assert [debt.fen for debt in await debts.debts_of_driver(till.driver_id)] == [300]


async def test_the_record_is_more_than_was_paid(till: Till) -> None:
    """A little more is a debt of the driver."""
    serial = await till.charging(1_900)
    settled = await till.settle(serial, delivered())
    assert (settled.state, settled.debt_fen, settled.excess_fen) == (S.CLOSED, 100, 100)
    assert await till.earned() == 2_000


async def test_the_record_is_more_than_was_paid_and_the_operator_bears_it(till: Till) -> None:
    await Operator.all().update(overrun="absorb")
    serial = await till.charging(1_900)
    settled = await till.settle(serial, delivered())
    assert (settled.debt_fen, settled.excess_fen) == (0, 100)
    assert await till.balance(f"loss:{till.business.who.operator_id}") == 100


async def test_the_record_is_much_more_than_was_paid(till: Till) -> None:
    serial = await till.charging(1_000)
    settled = await till.settle(serial, delivered())
    assert (settled.state, settled.reason) == (S.DISPUTED, "excess")
    assert await till.earned() == 0
    [decided] = await till.write(DecideHeld(serial, Decision.PREPAID, "token:anna", later(5_000)))
    assert (decided.state, decided.debt_fen, decided.refund_fen) == (S.CLOSED, 0, 0)


async def test_the_piles_amount_is_not_ours(till: Till) -> None:
    """Ours leads; the difference is shown and worth an alarm."""
    serial = await till.charging(5_000)
    settled = await till.settle(serial, delivered(pile_amount_e4_yuan=250_000))
    assert isinstance(settled.bill, Bill)
    assert (settled.bill.total_fen, settled.bill.differs, settled.bill.pile_amount_e4_yuan) == (
        2_000, True, 250_000
    )  # fmt: skip
    assert "amount_differs" in settled.warnings
    assert (settled.state, settled.refund_fen) == (S.REFUNDING, 3_000)


def stored(number: str, body: bytes = b"body", energy: int = 200_000) -> StoreRecord:
    words = {
        "started_at": later(40).isoformat(), "ended_at": later(3_640).isoformat(),
        "energy_e4_kwh": energy, "amount_e4_yuan": energy, "meter_start_e4_kwh": 0,
        "meter_end_e4_kwh": energy, "stop_reason": 0x40,
        "periods": [{"rate": "valley", "energy_e4_kwh": energy, "amount_e4_yuan": energy}],
    }  # fmt: skip
    return StoreRecord("ykc", PILE_CODE, 1, number, body, words, later(3_650))


async def test_the_same_record_again(till: Till) -> None:
    serial = await till.charging(5_000)
    number = (await till.row(serial)).wire_number
    for _ in range(3):
        [result] = await till.write(stored(number))
        [settled] = await till.write(SettleRecord(result.first_id, later(3_700)))
        assert (settled.serial, settled.refund_fen) == (serial, 3_000)
    assert result.state is RecordState.SAME
    assert await till.earned() == 2_000
    assert await kinds(serial) == []


async def test_another_record_under_the_same_number(till: Till) -> None:
    """Both are kept, the first is settled, a person is told."""
    serial = await till.charging(5_000)
    number = (await till.row(serial)).wire_number
    [first] = await till.write(stored(number))
    await till.write(SettleRecord(first.record_id, later(3_700)))
    [other] = await till.write(stored(number, b"other", 300_000))
    assert (other.state, other.first_id) == (RecordState.DIFFERENT, first.record_id)
    [settled] = await till.write(SettleRecord(other.record_id, later(3_710)))
    assert isinstance(settled, Settled)
    assert (settled.reason, settled.refund_fen) == ("different_record", 3_000)
    assert await kinds(serial) == [ReviewKind.DIFFERENT_RECORD]
    assert await till.earned() == 2_000


async def test_a_record_of_an_unknown_order(till: Till) -> None:
    [result] = await till.write(stored("7" * 32))
    [unmatched] = await till.write(SettleRecord(result.record_id, later(3_700)))
    assert unmatched == RecordUnmatched(result.record_id)
    [review] = (await reviews.list_reviews(till.business.who.operator_id)).items
    assert (review.kind, review.record_id) == (ReviewKind.UNKNOWN_RECORD, result.record_id)
    assert await till.balances() == {}


async def test_no_energy_was_delivered(till: Till) -> None:
    serial = await till.charging(5_000)
    settled = await till.settle(serial, delivered(0, seconds=0))
    assert (settled.state, settled.refund_fen, settled.is_held) == (S.REFUNDING, 5_000, False)
    assert await till.earned() == 0


@pytest.mark.parametrize(
    ("reason", "facts"),
    [
        ("negative_energy", delivered(-10_000)),
        ("end_before_start", delivered(seconds=-60)),
        ("energy_beyond_power", delivered(9_100_000)),
        ("clock_shifted", delivered(started_at=NOW.replace(year=1970))),
    ],
)
async def test_a_negative_absurd_or_time_shifted_record(till: Till, reason: str, facts: RecordFacts) -> None:
    serial = await till.charging(5_000)
    settled = await till.settle(serial, facts)
    assert (settled.state, settled.reason, settled.out_refund_no) == (S.DISPUTED, reason, None)
    assert await kinds(serial) == [ReviewKind.IMPLAUSIBLE_RECORD]
    assert await till.balance(till.prepaid) == -5_000
