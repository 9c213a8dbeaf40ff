"""What to do about a payment, by what the provider says: tables and pure functions, held against the pages.

Money that arrived is always booked, whatever became of its order; `ConfirmPayment` decides what it means. An
unpaid order is asked about by a schedule and closed when its order waits no longer or the schedule has run
out. What is not known for certain is asked again. Sources: 「支付回调和查单实现指引」, 「关闭订单」.

Waits count on the platform's clock, which is real time except in a demonstration, whose provider lives on the
same clock.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pileward.messages.charging import PaymentRow, PaymentStep
from pileward.messages.payments import (
    Config,
    Failure,
    NotFound,
    Payment,
    PaymentClosed,
    PaymentState,
    Prepay,
    PrepayOrder,
    RateLimited,
    Refused,
    SignatureInvalid,
    Unknown,
    payment_difference,
)

QUERY_AFTER_S: Final = (5, 30, 60, 180, 300, 600, 1_800)
"""Seconds after an order was made at which its payment is asked about; after the last it is closed."""
AGAIN_S: Final = 60
"""Seconds until a close, or a question beside the schedule, that brought no answer is repeated."""
CONFIG_AGAIN_S: Final = 600
"""The same while our own settings are refused."""
EXPIRY_MARGIN_S: Final = 60
"""An order that expires within this time cannot be made payable any more (WeChat Pay's own bound)."""


class Next(enum.Enum):
    """What follows from an answer."""

    CONFIRM = enum.auto()
    """Paid: book it."""
    REVIEW = enum.auto()
    """Paid, but not what was ordered from us: nothing is booked, a person looks."""
    WAIT = enum.auto()
    """Not paid yet: ask again by the schedule."""
    CLOSE = enum.auto()
    """Not paid, and no longer wanted: close it."""
    OVER = enum.auto()
    """It can no longer be paid."""
    AGAIN = enum.auto()
    """Not known: ask again soon."""
    ALARM = enum.auto()
    """Not known, because our own settings are refused."""
    ASK = enum.auto()
    """Only a query can tell."""
    READY = enum.auto()
    """The driver can pay."""
    REFUSED = enum.auto()
    """The driver cannot pay: there is no use in repeating it."""
    REPEAT = enum.auto()
    """Not known: the same order again, never one with another number."""


class Verdict(NamedTuple):
    """What to do, and why: a stable code, empty when all is well."""

    next: Next
    reason: str = ""


# --- the schedule ---------------------------------------------------------------------------------------


def next_query(row: PaymentRow, now: datetime) -> datetime | None:
    """When the schedule asks next; None: it has run out."""
    return next((due for due in schedule(row) if due > now), None)


def schedule(row: PaymentRow) -> list[datetime]:
    """All moments at which a payment is asked about."""
    return [row.created_at + timedelta(seconds=after_s) for after_s in QUERY_AFTER_S]


def again(now: datetime, reason: Next) -> datetime:
    """When to ask again about what could not be learnt."""
    return now + timedelta(seconds=CONFIG_AGAIN_S if reason is Next.ALARM else AGAIN_S)


# --- answers --------------------------------------------------------------------------------------------


def difference(payment: Payment, row: PaymentRow) -> str | None:
    """Name the first thing in which a payment is not the one that was ordered; None: it is that one.

    Merchant, order number, currency, amount and payer; the appid was compared by whoever returned it.
    """
    if payment.mchid != row.merchant:
        return "mchid"
    if payment.currency != "CNY":
        return "currency"
    if not (payment.transaction_id and payment.total_fen):
        return "incomplete"
    return payment_difference(payment, order_of(row))


def after_query(
    answer: Payment | Failure, row: PaymentRow, now: datetime, *, is_wanted: bool, is_closed: bool = False
) -> Verdict:
    """What a query says. `is_wanted`: its order waits for it; `is_closed`: the provider just took a close."""
    if isinstance(answer, Payment) and answer.state is PaymentState.PAID:
        found = difference(answer, row)
        if found in NOT_OURS:
            return Verdict(Next.REVIEW, found)
        return Verdict(Next.CONFIRM, found or "")
    if isinstance(answer, Payment) and answer.state is PaymentState.CLOSED:
        return Verdict(Next.OVER, "closed")
    if isinstance(answer, Config):
        return Verdict(Next.ALARM, answer.code)
    is_over = not is_wanted or next_query(row, now) is None
    if isinstance(answer, NotFound):
        # it was never made payable: nobody has its id, so nobody can pay it
        return Verdict(Next.OVER, "never_made") if is_over or is_closed else Verdict(Next.WAIT, "never_made")
    if isinstance(answer, Payment):
        if is_closed:
            return Verdict(Next.AGAIN, "still_open")
        return Verdict(Next.CLOSE, "unwanted" if not is_wanted else "unpaid") if is_over else WAIT
    return Verdict(Next.AGAIN if is_over or is_closed else Next.WAIT, answer.code)


NOT_OURS: Final = frozenset({"mchid", "out_trade_no", "currency", "incomplete"})
"""Differences with which nothing can be booked; another amount or payer is booked, and held."""

WAIT: Final = Verdict(Next.WAIT)


def after_close(answer: PaymentClosed | Failure) -> Verdict:
    """What a close says; that it was taken still has to be seen by a query."""
    match answer:
        case PaymentClosed():
            return Verdict(Next.ASK, "closed")
        case Refused():  # paid or closed meanwhile
            return Verdict(Next.ASK, answer.code)
        case NotFound():
            return Verdict(Next.OVER, "never_made")
        case Config():
            return Verdict(Next.ALARM, answer.code)
        case Unknown() | RateLimited() | SignatureInvalid():
            return Verdict(Next.AGAIN, answer.code)


def before_prepay(row: PaymentRow, now: datetime) -> str:
    """What forbids to ask for a payment, as a stable code; empty: nothing does."""
    if row.step is PaymentStep.PAID:
        return "already_paid"
    if row.step is PaymentStep.CLOSED:
        return "closed"
    left_s = (row.expires_at - now).total_seconds()
    if left_s <= (0 if row.prepay_id else EXPIRY_MARGIN_S):
        return "expired"
    return ""


def after_prepay(answer: Prepay | Failure) -> Verdict:
    """What a prepay says; `REFUSED` carries the reason for the driver's app."""
    match answer:
        case Prepay():
            return Verdict(Next.READY)
        case Refused(code="ORDER_PAID" | "ORDER_CLOSED"):
            return Verdict(Next.ASK, f"refused:{answer.code}")
        case Config():
            return Verdict(Next.ALARM, f"refused:{answer.code}")
        case Refused() | NotFound():
            return Verdict(Next.REFUSED, f"refused:{answer.code}")
        case Unknown() | RateLimited() | SignatureInvalid():
            return Verdict(Next.REPEAT, answer.code)


def order_of(row: PaymentRow) -> PrepayOrder:
    """The order as the provider gets it: always the same for a row, however often it is repeated."""
    return PrepayOrder(
        out_trade_no=row.out_trade_no,
        description=row.description,
        total_fen=row.fen,
        openid=row.openid,
        expires_at=row.expires_at,
        attach=row.attach,
        device_id=row.device_id,
    )
