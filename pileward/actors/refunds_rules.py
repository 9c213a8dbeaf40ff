"""What to do about a refund, by what the provider answers: the table of the refund worker, as data.

A refund has one number for ever. Whatever is not known is asked before it is asked for again, and then under
the same number, so money moves once. What the provider refuses for good goes to a person; what is our own
fault stops the worker, with everything kept in the outbox. Sources: 「退款申请」, 「查询单笔退款」.

Waits count on the platform's clock, which is real time except in a demonstration, whose provider lives on the
same clock.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pileward.messages.charging import RefundCause, RefundRow, RefundStep
from pileward.messages.payments import (
    Config,
    Failure,
    NotFound,
    Payment,
    PaymentState,
    RateLimited,
    Refund,
    RefundOrder,
    RefundState,
    Refused,
    SignatureInvalid,
    Unknown,
    refund_difference,
)

SPACING_S: Final = 61
"""Between two refund calls of one payment: at least a minute."""
BACKOFF_S: Final = (SPACING_S, 120, 300, 600, 1_800, 3_600)
"""Before the first, second, … repetition of what is not known; the last one for all further ones."""
JITTER: Final = 0.2
"""A back-off is longer than its entry by up to this part of it, so that a crowd spreads out."""
POLL_AFTER_S: Final = (60, 120, 180, 240, 300, 600, 1_200, 2_400)
"""Seconds after a refund was accepted at which it is asked about; after that every `POLL_EVERY_S`."""
POLL_EVERY_S: Final = 1_800
SHORT_AGAIN_S: Final = 1_800
"""Until a refund is tried again for which the merchant had too little money."""
ABNORMAL_AGAIN_S: Final = 6 * 3_600
"""Between two looks at a refund that a person settles with the provider."""
STUCK_AFTER: Final = timedelta(days=3)
"""A refund on its way for so long is put before a person; the provider may need three working days."""

REASONS: Final = {
    RefundCause.REST: "未使用的预付款退回",
    RefundCause.START_FAILED: "充电未启动，全额退回",
    RefundCause.LATE_PAYMENT: "订单已关闭，全额退回",
    RefundCause.DUPLICATE_PAYMENT: "重复支付，全额退回",
    RefundCause.CORRECTION: "账单更正，退回差额",
    RefundCause.DECISION: "客服处理，退回款项",
}
"""What the driver reads in the provider's app."""

URGENT: Final = frozenset({RefundCause.START_FAILED, RefundCause.LATE_PAYMENT, RefundCause.DUPLICATE_PAYMENT})
"""Whole payments for which nothing was delivered: tried even while the merchant is short of money."""


class Do(enum.Enum):
    """What follows from an answer."""

    TAKE = enum.auto()
    """The provider tells how the refund stands: see `TAKEN`."""
    QUERY = enum.auto()
    """It may have been accepted: ask before anything else."""
    ASK = enum.auto()
    """It was not accepted: ask for it, with the same number and content."""
    LATER = enum.auto()
    """Not known yet: back off, then query."""
    SHORT = enum.auto()
    """The merchant has too little money: alarm, the same again in half an hour."""
    LOOK_AT_PAYMENT = enum.auto()
    """The provider does not know what should be refunded: ask for the payment."""
    MANUAL = enum.auto()
    """Refused for good: a person."""
    REUSED = enum.auto()
    """One number was used for two things: a person, and an alarm."""
    STOP = enum.auto()
    """Our own fault: the worker stops, with an alarm; the outbox is kept."""


Answer = Refund | Payment | Failure


class Row(NamedTuple):
    """One line of a table: answers of this kind, and of these codes or states (none: all others)."""

    kind: type
    values: tuple[str, ...]
    do: Do


ON_ASK: Final = (
    Row(Refund, (), Do.TAKE),
    Row(Unknown, (), Do.QUERY),
    Row(RateLimited, (), Do.QUERY),
    Row(SignatureInvalid, (), Do.QUERY),
    Row(Refused, ("NOT_ENOUGH",), Do.SHORT),
    Row(Refused, (), Do.MANUAL),
    Row(NotFound, (), Do.LOOK_AT_PAYMENT),
    Row(Config, ("REFUND_NUMBER_REUSED",), Do.REUSED),
    Row(Config, (), Do.STOP),
)
"""After a refund was asked for."""

ON_QUERY_UNASKED: Final = (
    Row(Refund, (), Do.TAKE),
    Row(NotFound, (), Do.ASK),
    Row(Unknown, (), Do.LATER),
    Row(RateLimited, (), Do.LATER),
    Row(SignatureInvalid, (), Do.LATER),
    Row(Refused, (), Do.LATER),
    Row(Config, (), Do.STOP),
)
"""After a query of a refund that may never have been accepted."""

ON_QUERY_ACCEPTED: Final = (
    Row(Refund, (), Do.TAKE),
    Row(NotFound, (), Do.LATER),
    *(row for row in ON_QUERY_UNASKED if row.kind not in (Refund, NotFound)),
)
"""After a query of a refund that was accepted; that it is gone is not believed."""

ON_PAYMENT: Final = (
    Row(Payment, (PaymentState.PAID,), Do.LATER),
    Row(Payment, (), Do.MANUAL),
    Row(NotFound, (), Do.MANUAL),
    Row(Unknown, (), Do.LATER),
    Row(RateLimited, (), Do.LATER),
    Row(SignatureInvalid, (), Do.LATER),
    Row(Refused, (), Do.LATER),
    Row(Config, (), Do.STOP),
)
"""After a query of the payment of a refund that the provider did not know what to refund from."""

TAKEN: Final = {
    RefundState.PROCESSING: RefundStep.PROCESSING,
    RefundState.SUCCEEDED: RefundStep.SUCCEEDED,
    RefundState.CLOSED: RefundStep.CLOSED,
    RefundState.ABNORMAL: RefundStep.ABNORMAL,
}
"""How a refund stands, in our words."""


def find(table: tuple[Row, ...], answer: Answer) -> Do:
    """The first line that fits; every table has one for every answer that its call can bring."""
    value = answer.state if isinstance(answer, Refund | Payment) else answer.code
    for row in table:
        if type(answer) is row.kind and (not row.values or value in row.values):
            return row.do
    raise AssertionError(f"no line for {answer!r}")


def on_query(row: RefundRow) -> tuple[Row, ...]:
    """The table for a query of this refund."""
    return ON_QUERY_UNASKED if row.step in (RefundStep.NEW, RefundStep.SUBMITTED) else ON_QUERY_ACCEPTED


def on_taken(answer: Refund, row: RefundRow) -> Do:
    """Whether what the provider tells is this refund at all."""
    return Do.REUSED if refund_difference(answer, order_of(row)) else Do.TAKE


def first(row: RefundRow) -> Do:
    """What to begin with: only what was never asked for is asked for without a question."""
    return Do.ASK if row.step is RefundStep.NEW else Do.QUERY


def order_of(row: RefundRow) -> RefundOrder:
    """The refund as the provider gets it: always the same for a row, however often it is repeated."""
    return RefundOrder(row.out_refund_no, row.out_trade_no, row.fen, row.total_fen, REASONS[row.cause])


# --- moments --------------------------------------------------------------------------------------------


def may_ask_at(row: RefundRow) -> datetime | None:
    """The earliest moment at which a refund that was asked for before may be asked for again."""
    return None if row.submitted_at is None else row.submitted_at + timedelta(seconds=SPACING_S)


def backed_off(row: RefundRow, now: datetime, chance: float) -> datetime:
    """When to look again at what is not known; longer with each attempt. `chance`: from 0 to below 1."""
    base_s = BACKOFF_S[min(row.attempts, len(BACKOFF_S) - 1)]
    return now + timedelta(seconds=base_s * (1 + JITTER * chance))


def next_poll(accepted_at: datetime, now: datetime) -> datetime:
    """When to ask next about a refund that is on its way."""
    elapsed_s = (now - accepted_at).total_seconds()
    after_s = next((offset for offset in POLL_AFTER_S if offset > elapsed_s), None)
    if after_s is None:
        beyond_s = elapsed_s - POLL_AFTER_S[-1]
        after_s = POLL_AFTER_S[-1] + (int(beyond_s // POLL_EVERY_S) + 1) * POLL_EVERY_S
    return accepted_at + timedelta(seconds=after_s)


def short_until(now: datetime) -> datetime:
    """When to try again after the merchant had too little money."""
    return now + timedelta(seconds=SHORT_AGAIN_S)


def is_paused(row: RefundRow, short: datetime | None, now: datetime) -> bool:
    """Whether a refund waits because the merchant is short of money; `short`: until when it is thought so."""
    is_unasked = row.step in (RefundStep.NEW, RefundStep.SUBMITTED)
    return short is not None and now < short and is_unasked and row.cause not in URGENT


def is_stuck(row: RefundRow, now: datetime) -> bool:
    """Whether a person should look at a refund that is on its way."""
    return now - row.created_at > STUCK_AFTER


def next_look(row: RefundRow, step: RefundStep, now: datetime, *, is_new: bool = False) -> datetime | None:
    """When to look again at a refund that stands at `step`; None: never, or when a person says so.

    `is_new`: it was accepted at this moment.
    """
    if step is RefundStep.PROCESSING:
        return next_poll(now if is_new else row.submitted_at or row.created_at, now)
    if step is RefundStep.ABNORMAL:
        return now + timedelta(seconds=ABNORMAL_AGAIN_S)
    return None
