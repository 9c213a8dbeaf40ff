"""Abnormal cases of money, one test each: refunds that the provider does not simply make."""

from __future__ import annotations

import pytest

from pileward.messages.charging import RefundStep, ReviewKind, SessionState
from pileward.messages.charging_writes import FailStart, RetryRefund
from pileward.models.database import Database
from pileward.services import refunds, reviews
from tests.business import later
from tests.charges import TRANSIT, Till

S = SessionState
R = RefundStep


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def due_refund(till: Till) -> str:
    """A refund of 50 yuan that is due; returns its number."""
    serial = await till.ordered(5_000)
    await till.pay(serial, 5_000)
    [failed] = await till.write(FailStart(serial, "pile_refused", later(30)))
    number: str = failed.out_refund_no
    return number


async def due(till: Till, at_s: float) -> list[str]:
    found = await refunds.refunds_due(till.database.connection, later(at_s))
    return [refund.out_refund_no for refund in found]


async def test_refund_abnormal(till: Till) -> None:
    """The driver's account cannot take it: a person is told, and it is looked at until it is paid."""
    number = await due_refund(till)
    await till.refund(number, R.PROCESSING, next_attempt_at=later(90))
    moved = await till.refund(number, R.ABNORMAL, next_attempt_at=later(20_000))
    [review] = await reviews.reviews_of(moved.serial)
    assert (review.kind, review.is_open, review.about) == (ReviewKind.REFUND_STUCK, True, number)
    assert await due(till, 20_000) == [number]
    moved = await till.refund(number, R.SUCCEEDED)
    assert moved.session_state is S.CLOSED


async def test_refund_closed(till: Till) -> None:
    """A new number once; the second time a person decides."""
    number = await due_refund(till)
    moved = await till.refund(number, R.CLOSED, at=later(700_000))
    assert moved.successor is not None
    second = moved.successor.out_refund_no
    assert await due(till, 700_000) == [second]
    moved = await till.refund(second, R.CLOSED, at=later(1_400_000))
    assert moved.step is R.MANUAL
    assert await due(till, 9_999_999) == []
    assert await till.balance(TRANSIT) == -5_000
    [retried] = await till.write(RetryRefund(second, "token:anna", later(1_500_000)))
    assert retried.successor is not None
    moved = await till.refund(retried.successor.out_refund_no, R.SUCCEEDED)
    assert moved.session_state is S.CLOSED
    assert await till.balances() == {}


async def test_refund_accepted_and_its_notification_lost(till: Till) -> None:
    """It stays due for a query, and the query's word is enough."""
    number = await due_refund(till)
    await till.refund(number, R.PROCESSING, at=later(31), next_attempt_at=later(91))
    assert await due(till, 90) == []
    assert await due(till, 91) == [number]
    moved = await till.refund(number, R.SUCCEEDED, at=later(92))
    assert (moved.is_last, moved.session_state) == (True, S.CLOSED)


async def test_refund_answer_unknown(till: Till) -> None:
    """Nobody knows whether it was accepted: the same number again, never another one."""
    number = await due_refund(till)
    await till.refund(number, R.SUBMITTED, at=later(31), refund_id="", next_attempt_at=later(91))
    await till.refund(number, R.NEW, at=later(91), refund_id="", error="not found", next_attempt_at=later(92))
    assert await due(till, 92) == [number]
    assert await till.balance(TRANSIT) == -5_000


async def test_merchant_short_of_money(till: Till) -> None:
    """NOT_ENOUGH: the same number in half an hour, for as long as it takes."""
    number = await due_refund(till)
    for hour in range(1, 5):
        again = later(3_600 * hour + 1_800)
        await till.refund(
            number, R.NEW, at=later(3_600 * hour), refund_id="", error="NOT_ENOUGH", next_attempt_at=again
        )
        assert await due(till, 3_600 * hour + 1_799) == []
        assert await due(till, 3_600 * hour + 1_800) == [number]
    moved = await till.refund(number, R.SUCCEEDED)
    assert moved.session_state is S.CLOSED


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "USER_ACCOUNT_ABNORMAL", "REQUEST_BLOCKED", "NO_AUTH"])
async def test_refund_refused_for_good(till: Till, code: str) -> None:
    number = await due_refund(till)
    moved = await till.refund(number, R.MANUAL, error=code)
    assert await due(till, 9_999_999) == []
    [review] = await reviews.reviews_of(moved.serial)
    assert review.reason == f"manual: {code}"
    assert moved.session_state is S.START_FAILED
