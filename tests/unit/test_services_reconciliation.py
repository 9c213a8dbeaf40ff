"""A day's bill against our books: each finding of the table, and what follows from it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from pileward.errors import NotFoundError
from pileward.messages.charging import RefundStep, ReviewKind
from pileward.messages.charging_writes import FailStart
from pileward.messages.payments import Bill, BillPayment, BillRefund
from pileward.models.database import Database
from pileward.models.ledger import LedgerEntry
from pileward.services import reviews
from pileward.services.reconciliation import (
    Comparison,
    FindingKind,
    day_bounds,
    get_reconciliation,
    list_reconciliations,
    reconcile,
)
from tests.business import later
from tests.charges import CHANNEL, MERCHANT, Till, delivered

K = FindingKind
DAY = date(2026, 3, 1)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


def paid(serial: str, fen: int = 5_000, *, fee: int = 30_000, **more: Any) -> BillPayment:
    values: dict[str, Any] = {
        "at": later(20), "out_trade_no": f"P{serial}-1", "transaction_id": f"42000{serial}1",
        "openid": "o", "total_fen": fen, "fee_e5_yuan": fee,
    }  # fmt: skip
    return BillPayment(**{**values, **more})


def back(serial: str, fen: int = 3_000, *, fee: int = -18_000, **more: Any) -> BillRefund:
    values: dict[str, Any] = {
        "at": later(3_800), "out_trade_no": f"P{serial}-1", "transaction_id": f"42000{serial}1",
        "out_refund_no": f"R{serial}-1", "refund_id": f"50300{serial}", "refund_fen": fen,
        "status": "SUCCESS", "fee_e5_yuan": fee,
    }  # fmt: skip
    return BillRefund(**{**values, **more})


async def compared(
    till: Till,
    payments: list[BillPayment],
    refunds: list[BillRefund],
    *,
    sha1: str = "a",
    at: datetime | None = None,
) -> Comparison:
    bill = Bill(DAY, tuple(payments), tuple(refunds), b"text", sha1)
    operator_id = till.business.who.operator_id
    async with till.database.transaction() as connection:
        found = await reconcile(connection, operator_id, "wechat", MERCHANT, bill, at or later(90_000))
    await till.prove()
    return found


def kinds(comparison: Comparison) -> list[FindingKind]:
    return [finding.kind for finding in comparison.findings]


async def whole(till: Till) -> str:
    """A charge of 20 yuan, paid with 50, 30 back."""
    serial = await till.charging()
    await till.settle(serial, delivered())
    await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
    return serial


async def test_what_agrees_is_matched_and_the_fee_is_booked(till: Till) -> None:
    serial = await whole(till)
    found = await compared(till, [paid(serial)], [back(serial)])
    assert (found.matched, found.findings, found.fee_e5_yuan) == (2, (), 12_000)
    operator_id = till.business.who.operator_id
    assert await till.balance(f"fee:{operator_id}") == 12
    assert await till.balance(CHANNEL) == 1_988
    again = await compared(till, [paid(serial)], [back(serial)], at=later(95_000))
    assert again == found
    assert await till.balance(f"fee:{operator_id}") == 12
    view = await get_reconciliation(operator_id, MERCHANT, DAY)
    assert (view.matched, view.at) == (2, later(95_000))
    assert (await list_reconciliations(operator_id)).items == [view]
    with pytest.raises(NotFoundError):
        await get_reconciliation(operator_id + 1, MERCHANT, DAY)


@pytest.mark.parametrize(("fee", "fen"), [(499, 0), (500, 1), (1_499, 1), (-500, -1), (-499, 0), (0, 0)])
async def test_the_fee_of_a_day_is_rounded_once(till: Till, fee: int, fen: int) -> None:
    serial = await whole(till)
    await compared(till, [paid(serial, fee=fee)], [back(serial, fee=0)])
    assert await till.balance(f"fee:{till.business.who.operator_id}") == fen


async def test_paid_by_the_bill_but_not_by_us(till: Till) -> None:
    serial = await till.ordered()
    found = await compared(till, [paid(serial)], [])
    assert kinds(found) == [K.PAID_UNBOOKED]
    await till.pay(serial)
    assert (await compared(till, [paid(serial)], [])).findings == ()


async def test_paid_by_the_bill_and_unknown_to_us(till: Till) -> None:
    found = await compared(till, [paid("1" * 20, fee=0)], [])
    assert kinds(found) == [K.FOREIGN_PAYMENT]
    operator_id = till.business.who.operator_id
    assert await till.balances() == {CHANNEL: 5_000, f"suspense:{operator_id}": -5_000}
    [review] = (await reviews.list_reviews(operator_id)).items
    assert (review.kind, review.reason) == (
        ReviewKind.RECONCILIATION, "foreign_payment: bill 5000, ours None"
    )  # fmt: skip


async def test_paid_by_us_but_not_in_the_bill(till: Till) -> None:
    serial = await till.ordered()
    await till.pay(serial)
    [finding] = (await compared(till, [], [])).findings
    assert (finding.kind, finding.number, finding.ours_fen) == (K.NOT_IN_BILL, f"P{serial}-1", 5_000)


async def test_paid_beside_the_day_is_not_missed(till: Till) -> None:
    start, end = day_bounds(DAY)
    serial = await till.ordered()
    await till.pay(serial, paid_at=end)
    assert (await compared(till, [], [])).findings == ()
    assert kinds(await compared(till, [paid(serial)], [])) == []
    assert (end - start).total_seconds() == 86_400


async def test_an_amount_that_differs_holds_the_refunds_of_the_order(till: Till) -> None:
    serial = await till.ordered()
    await till.pay(serial)
    await till.write(FailStart(serial, "x", later(30)))
    assert kinds(await compared(till, [paid(serial, 4_000)], [])) == [K.AMOUNT_DIFFERS]
    row = await till.row(serial)
    assert (row.is_held, row.held_reason) == (True, "reconciliation")


async def test_another_transaction_of_the_same_order(till: Till) -> None:
    serial = await till.ordered()
    await till.pay(serial)
    assert kinds(await compared(till, [paid(serial, transaction_id="T9")], [])) == [K.TRANSACTION_DIFFERS]


async def test_a_refund_made_by_hand_is_booked_to_suspense(till: Till) -> None:
    serial = await till.charging()
    by_hand = back(serial, 700, out_refund_no="", refund_id="5030077", fee=0)
    found = await compared(till, [paid(serial, fee=0)], [by_hand])
    assert [(finding.kind, finding.number) for finding in found.findings] == [(K.FOREIGN_REFUND, "5030077")]
    operator_id = till.business.who.operator_id
    assert await till.balance(f"suspense:{operator_id}") == 700
    assert await till.balance(CHANNEL) == 4_300


async def test_a_refund_that_the_bill_lacks(till: Till) -> None:
    serial = await whole(till)
    found = await compared(till, [paid(serial)], [])
    assert kinds(found) == [K.REFUND_NOT_IN_BILL]


async def test_a_refund_of_another_amount(till: Till) -> None:
    serial = await whole(till)
    assert kinds(await compared(till, [paid(serial)], [back(serial, 2_999)])) == [K.REFUND_AMOUNT_DIFFERS]


@pytest.mark.parametrize("status", ["PROCESSING", "CHANGE", "FAIL"])
async def test_a_refund_that_was_not_over_when_the_bill_was_made(till: Till, status: str) -> None:
    serial = await till.charging()
    await till.settle(serial, delivered())
    bill = [paid(serial)], [back(serial, status=status)]
    assert kinds(await compared(till, *bill)) == [K.REFUND_UNFINISHED]
    await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
    assert (await compared(till, *bill)).findings == ()


async def test_another_bill_for_the_same_day_books_nothing(till: Till) -> None:
    serial = await whole(till)
    await compared(till, [paid(serial)], [back(serial)])
    entries = await LedgerEntry.all().count()
    found = await compared(till, [paid(serial, fee=99_000)], [back(serial)], sha1="b")
    assert kinds(found) == [K.BILL_CHANGED]
    assert await LedgerEntry.all().count() == entries
