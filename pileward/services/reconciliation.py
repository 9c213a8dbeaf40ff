"""Reconciliation (对账): a provider's bill of one day against our books; every difference is listed.

The comparison is pure. What follows from it is booked in the same transaction: the provider's fee, money that
moved without us (to `suspense:`, until a person has found the reason), a hold on orders whose amounts differ,
and a review for each finding. Comparing the same day again finds what has changed since and books nothing
twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import PaymentRow, PaymentStep, RefundRow, RefundStep, ReviewKind
from pileward.messages.charging_writes import HoldSession, OpenReview
from pileward.messages.payments import Bill, BillPayment, BillRefund
from pileward.models.payments import Reconciliation
from pileward.services import charge_rows as rows
from pileward.services.ledger import Movement, channel_account, fee_account, post, suspense_account
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.reviews import open_reviews
from pileward.services.sessions import hold_sessions
from pileward.services.sql import among, listed, select, utc
from pileward.values import CHINA

_E5_YUAN_A_FEN: Final = 1_000


class FindingKind(enum.StrEnum):
    """In what the bill and our books differ."""

    PAID_UNBOOKED = "paid_unbooked"
    """Paid by the bill, not by us: ask the provider, book it; an order that is over gets it back."""
    FOREIGN_PAYMENT = "foreign_payment"
    """Paid by the bill, unknown to us: lost data, or somebody else uses the merchant number."""
    NOT_IN_BILL = "not_in_bill"
    """Paid by us, not in the bill: ask the provider, look at the days beside."""
    AMOUNT_DIFFERS = "amount_differs"
    """Automatic refunds of the order are held."""
    TRANSACTION_DIFFERS = "transaction_differs"
    FOREIGN_REFUND = "foreign_refund"
    """Made by hand at the provider: booked to suspense."""
    REFUND_AMOUNT_DIFFERS = "refund_amount_differs"
    REFUND_NOT_IN_BILL = "refund_not_in_bill"
    """Back by us, not in the bill: look one day later."""
    REFUND_UNFINISHED = "refund_unfinished"
    """The bill is never updated: the refund's own query tells how it ended."""
    BILL_CHANGED = "bill_changed"
    """The provider gave another bill for the same day; what was booked by the first one stays."""


class Finding(msgspec.Struct, frozen=True):
    """One difference; the amounts are whole fen, None where one side has nothing."""

    kind: FindingKind
    number: str
    """out_trade_no or out_refund_no, or what the provider calls it when we have no number."""
    serial: str
    bill_fen: int | None
    ours_fen: int | None


class Comparison(msgspec.Struct, frozen=True):
    """One day of one merchant."""

    day: date
    matched: int
    """Payments and refunds that agree."""
    fee_e5_yuan: int
    """What the provider kept, less what it gave back."""
    findings: tuple[Finding, ...]


class ReconciliationView(msgspec.Struct, frozen=True):
    """A comparison as shown."""

    id: int
    channel: str
    merchant: str
    day: date
    matched: int
    fee_e5_yuan: int
    findings: tuple[Finding, ...]
    at: datetime


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """First moment of a China day, and of the next."""
    start = datetime.combine(day, time(), CHINA).astimezone(UTC)
    return start, start + timedelta(days=1)


def compare(bill: Bill, payments: Iterable[PaymentRow], refunds: Iterable[RefundRow]) -> Comparison:
    """Hold a bill against our payments and refunds: those of its day, and those that it names. Pure."""
    ours = {payment.out_trade_no: payment for payment in payments}
    back = {refund.out_refund_no: refund for refund in refunds}
    matched = 0
    findings: list[Finding] = []
    for paid in bill.payments:
        found = _payment(paid, ours.get(paid.out_trade_no))
        matched += not found
        findings += found
    for returned in bill.refunds:
        found = _refund(returned, back.get(returned.out_refund_no))
        matched += not found
        findings += found
    start, end = day_bounds(bill.day)
    named = {paid.out_trade_no for paid in bill.payments}
    for payment in ours.values():
        if payment.out_trade_no not in named and payment.paid_at and start <= payment.paid_at < end:
            findings.append(
                Finding(FindingKind.NOT_IN_BILL, payment.out_trade_no, payment.serial, None, payment.paid_fen)
            )
    named = {returned.out_refund_no for returned in bill.refunds}
    for refund in back.values():
        asked = refund.submitted_at or refund.created_at
        is_missing = refund.out_refund_no not in named and refund.step is RefundStep.SUCCEEDED
        if is_missing and start <= asked < end:
            kind = FindingKind.REFUND_NOT_IN_BILL
            findings.append(Finding(kind, refund.out_refund_no, refund.serial, None, refund.fen))
    fee = sum(paid.fee_e5_yuan for paid in bill.payments)
    fee += sum(returned.fee_e5_yuan for returned in bill.refunds)
    return Comparison(bill.day, matched, fee, tuple(findings))


def _payment(paid: BillPayment, ours: PaymentRow | None) -> list[Finding]:
    if ours is None:
        number = paid.out_trade_no or paid.transaction_id
        return [Finding(FindingKind.FOREIGN_PAYMENT, number, "", paid.total_fen, None)]
    about = (paid.out_trade_no, ours.serial, paid.total_fen)
    if ours.step is not PaymentStep.PAID:
        return [Finding(FindingKind.PAID_UNBOOKED, *about, None)]
    if ours.paid_fen != paid.total_fen:
        return [Finding(FindingKind.AMOUNT_DIFFERS, *about, ours.paid_fen)]
    if ours.transaction_id != paid.transaction_id:
        return [Finding(FindingKind.TRANSACTION_DIFFERS, *about, ours.paid_fen)]
    return []


def _refund(returned: BillRefund, ours: RefundRow | None) -> list[Finding]:
    if ours is None:
        number = returned.out_refund_no or returned.refund_id
        return [Finding(FindingKind.FOREIGN_REFUND, number, "", returned.refund_fen, None)]
    about = (returned.out_refund_no, ours.serial, returned.refund_fen, ours.fen)
    if ours.fen != returned.refund_fen:
        return [Finding(FindingKind.REFUND_AMOUNT_DIFFERS, *about)]
    if returned.status != "SUCCESS" and ours.step is not RefundStep.SUCCEEDED:
        return [Finding(FindingKind.REFUND_UNFINISHED, *about)]
    return []


_PAYMENTS = f"""
SELECT {", ".join(rows.PAYMENT_COLUMNS)} FROM payment WHERE merchant = ? AND paid_at >= ? AND paid_at < ?
"""  # noqa: S608
_PAYMENTS_NAMED = f"SELECT {', '.join(rows.PAYMENT_COLUMNS)} FROM payment WHERE {{among}}"  # noqa: S608
_REFUNDS = f"""
SELECT {", ".join(rows.REFUND_COLUMNS)} FROM refund WHERE merchant = ? AND created_at >= ? AND created_at < ?
"""  # noqa: S608
_REFUNDS_NAMED = f"SELECT {', '.join(rows.REFUND_COLUMNS)} FROM refund WHERE {{among}}"  # noqa: S608


async def reconcile(
    connection: BaseDBAsyncClient, operator_id: int, channel: str, merchant: str, bill: Bill, at: datetime
) -> Comparison:
    """Compare a day, book what follows from it, and keep both; the caller has begun the transaction."""
    payments = await _ours(connection, bill, merchant)
    refunds = await _ours_back(connection, bill, merchant)
    comparison = compare(bill, payments, refunds)
    before = await Reconciliation.get_or_none(merchant=merchant, day=bill.day, channel=channel)
    if before is None:
        await post(connection, _movements(bill, comparison, operator_id, channel, merchant, at))
        before = Reconciliation(
            operator_id=operator_id,
            channel=channel,
            merchant=merchant,
            day=bill.day,
            sha1=bill.sha1,
            bill=bill.text,
            fee_e5_yuan=comparison.fee_e5_yuan,
        )
    elif before.sha1 != bill.sha1:
        changed = Finding(FindingKind.BILL_CHANGED, f"{merchant}/{bill.day}", "", None, None)
        comparison = msgspec.structs.replace(comparison, findings=(*comparison.findings, changed))
    before.findings = msgspec.json.encode(comparison.findings).decode()
    before.matched, before.at = comparison.matched, utc(at)
    await before.save()
    await _act(connection, comparison.findings, operator_id, at)
    return comparison


async def _ours(connection: BaseDBAsyncClient, bill: Bill, merchant: str) -> list[PaymentRow]:
    start, end = day_bounds(bill.day)
    found = await select(connection, _PAYMENTS, merchant, start, end)
    named = listed(connection, sorted({paid.out_trade_no for paid in bill.payments}))
    query = _PAYMENTS_NAMED.format(among=among(connection, "out_trade_no"))
    return [rows.payment_row(columns) for columns in (*found, *await select(connection, query, named))]


async def _ours_back(connection: BaseDBAsyncClient, bill: Bill, merchant: str) -> list[RefundRow]:
    start, end = day_bounds(bill.day)
    found = await select(connection, _REFUNDS, merchant, start - timedelta(days=7), end)
    named = listed(connection, sorted({returned.out_refund_no for returned in bill.refunds}))
    query = _REFUNDS_NAMED.format(among=among(connection, "out_refund_no"))
    return [rows.refund_row(columns) for columns in (*found, *await select(connection, query, named))]


def _movements(
    bill: Bill, comparison: Comparison, operator_id: int, channel: str, merchant: str, at: datetime
) -> list[Movement]:
    """The fee of the day, and what moved at the provider without us."""
    clearing, suspense = channel_account(channel, merchant), suspense_account(operator_id)
    moved: list[tuple[str, str, str, int]] = []
    fee_fen = _fee_fen(comparison.fee_e5_yuan)
    key = f"fee:{merchant}-{bill.day:%Y%m%d}:1:{channel}"
    moved.append((key, fee_account(operator_id), clearing, fee_fen))
    foreign = {finding.number for finding in comparison.findings if finding.kind in _FOREIGN}
    for paid in bill.payments:
        if (paid.out_trade_no or paid.transaction_id) in foreign:
            moved.append((f"external:{paid.transaction_id}:1:payment", clearing, suspense, paid.total_fen))
    for returned in bill.refunds:
        if (returned.out_refund_no or returned.refund_id) in foreign:
            moved.append((f"external:{returned.refund_id}:1:refund", suspense, clearing, returned.refund_fen))
    return [
        Movement(key, debit, credit, fen, at) if fen > 0 else Movement(key, credit, debit, -fen, at)
        for key, debit, credit, fen in moved
        if fen
    ]


_FOREIGN: Final = (FindingKind.FOREIGN_PAYMENT, FindingKind.FOREIGN_REFUND)


def _fee_fen(fee_e5_yuan: int) -> int:
    """The fee of a day, half up to fen; the provider itself counts it finer."""
    size = (abs(fee_e5_yuan) + _E5_YUAN_A_FEN // 2) // _E5_YUAN_A_FEN
    return size if fee_e5_yuan >= 0 else -size


async def _act(
    connection: BaseDBAsyncClient, findings: Sequence[Finding], operator_id: int, at: datetime
) -> None:
    """Hold what must not go on by itself, and put every finding before a person."""
    held = [
        HoldSession(finding.serial, "reconciliation", at)
        for finding in findings
        if finding.kind in (FindingKind.AMOUNT_DIFFERS, FindingKind.REFUND_AMOUNT_DIFFERS)
    ]
    if held:
        await hold_sessions(connection, held)
    await open_reviews(
        connection,
        [
            OpenReview(
                ReviewKind.RECONCILIATION,
                f"{finding.kind}: bill {finding.bill_fen}, ours {finding.ours_fen}",
                at,
                operator_id=operator_id,
                about=f"{finding.number}/{finding.kind}",
            )
            for finding in findings
        ],
    )


async def list_reconciliations(
    operator_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[ReconciliationView]:
    """Comparisons of an operator, newest first."""
    found, following = await page(
        Reconciliation.filter(operator_id=operator_id), "reconciliation", cursor, limit, newest_first=True
    )
    return Page([_view(row) for row in found], following)


async def get_reconciliation(operator_id: int, merchant: str, day: date) -> ReconciliationView:
    """One comparison; raises NotFoundError."""
    scope: dict[str, Any] = {"operator_id": operator_id, "merchant": merchant, "day": day}
    row = await Reconciliation.get_or_none(**scope)
    if row is None:
        raise NotFoundError(
            "reconciliation_not_found", "当天尚未对账", f"{merchant} was not reconciled for {day}"
        )
    return _view(row)


def _view(row: Reconciliation) -> ReconciliationView:
    return ReconciliationView(
        id=row.id,
        channel=row.channel,
        merchant=row.merchant,
        day=row.day,
        matched=row.matched,
        fee_e5_yuan=row.fee_e5_yuan,
        findings=msgspec.json.decode(row.findings, type=tuple[Finding, ...]),
        at=row.at,
    )
