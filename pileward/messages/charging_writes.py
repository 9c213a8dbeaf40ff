"""The durable writes of a charge, and what each comes back with.

Each is idempotent by its natural key: a batch whose commit was never answered is written again, and a write
that was done before returns what it returned then, with `is_first` False. Refusals that the sender can act on
are results, never exceptions. All moments are given by the sender.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Final

import msgspec

from pileward.messages.charging import (
    Bill,
    PaymentRow,
    PaymentStep,
    PaymentVerdict,
    RecordFacts,
    RefundRow,
    RefundStep,
    ReviewKind,
    SessionRow,
    SessionState,
)


class ReserveSerials(msgspec.Struct, frozen=True):
    """Take the next `count` counter numbers of a node for itself; what is not used is skipped for ever.

    Result: the first number; they count on without end, a serial has the last six digits.
    """

    node: int
    count: int


class CreateSession(msgspec.Struct, frozen=True):
    """Store an order and its payment, both not yet paid, and occupy the gun and the driver.

    Result: SessionCreated or OrderOpen. Key: the serial.
    """

    row: SessionRow
    payment: PaymentRow | None


class SessionCreated(msgspec.Struct, frozen=True):
    """The order is stored."""

    serial: str
    is_first: bool


class OrderOpen(msgspec.Struct, frozen=True):
    """There is an open order already: `serial` leads to it. Nothing was stored."""

    serial: str
    by: str
    """"driver" or "gun": whose order is open."""
    is_own: bool
    """It is this driver's."""


class MovePayment(msgspec.Struct, frozen=True):
    """Keep how far a payment has come at the provider, short of being paid. Result: PaymentMoved.

    A payment that is paid is never moved by this.
    """

    out_trade_no: str
    step: PaymentStep
    at: datetime
    prepay_id: str = ""
    error: str = ""
    next_query_at: datetime | None = None


class PaymentMoved(msgspec.Struct, frozen=True):
    """How far the payment is now; `is_done` False: it was paid or unknown, and stays as it was."""

    is_done: bool
    step: PaymentStep | None


class ConfirmPayment(msgspec.Struct, frozen=True):
    """The provider says, verified, that a payment was made (notification or query). Result: PaymentConfirmed.

    Keys: out_trade_no and transaction_id; the second of notification and query changes nothing.
    """

    out_trade_no: str
    transaction_id: str
    fen: int
    openid: str
    paid_at: datetime
    at: datetime
    notification_id: str | None = None


class PaymentConfirmed(msgspec.Struct, frozen=True):
    """What the money means. PAID: the session is FUNDED; the same again for every repetition.

    LATE and DUPLICATE: a full refund stands in the outbox (`out_refund_no`). MISMATCH and UNKNOWN: a review.
    """

    serial: str
    is_first: bool
    verdict: PaymentVerdict
    session_state: SessionState | None
    out_refund_no: str | None = None
    reason: str = ""


SESSION_COLUMNS: Final = frozenset(
    {
        "deadline_at",
        "deadline_kind",
        "started_at",
        "ended_at",
        "start_failure",
        "stop_reason",
        "stop_code",
        "wire_number",
        "energy_e4_kwh",
        "live_amount_e4_yuan",
        "soc_pct",
        "live_at",
    }
)
"""What `MoveSession.changes` may set; money and records are set by the writes that move them."""


class MoveSession(msgspec.Struct, frozen=True):
    """Move a session from one of `from_states` to `state` and set some columns. Result: SessionMoved.

    Not for FUNDED, SETTLING, START_FAILED, REFUNDING: money moves there, by writes of its own.
    Leaving the active states frees gun and driver; CLOSED and CANCELLED set `closed_at`.
    """

    serial: str
    from_states: frozenset[SessionState]
    state: SessionState
    at: datetime
    changes: dict[str, Any] = {}


class SessionMoved(msgspec.Struct, frozen=True):
    """Where the session is now. `is_done` False: it was in none of the expected states and is unchanged."""

    is_done: bool
    state: SessionState | None


class CancelSession(msgspec.Struct, frozen=True):
    """Give up an order that nobody has paid. Result: SessionMoved.

    `is_done` False and FUNDED: it was paid in the meantime; go on, or give all back by FailStart.
    """

    serial: str
    reason: str
    at: datetime


class FailStart(msgspec.Struct, frozen=True):
    """The charge never began: give all the money back. Result: StartFailedDone. Key: the serial.

    One transaction: START_FAILED, refund in the outbox, ledger. Without money the session is CLOSED at once.
    Valid in CREATED, FUNDED and STARTING, and in CHARGING and STOPPING for a pile that never charged.
    """

    serial: str
    reason: str
    at: datetime


class StartFailedDone(msgspec.Struct, frozen=True):
    """`is_done` False: the session was further on and is unchanged."""

    is_done: bool
    state: SessionState | None
    out_refund_no: str | None
    refund_fen: int


class SettleSession(msgspec.Struct, frozen=True):
    """Bill a session by facts that the sender has. Result: Settled. Key: serial and record.

    `record_id` None: provisional, by the last live values. Exactly once for each record; a record after a
    provisional settlement, or after a failed start, corrects by the difference.
    """

    serial: str
    record_id: int | None
    facts: RecordFacts
    at: datetime
    received_at: datetime | None = None
    """When the record came in, against which the pile's clock is held; None: now."""


class SettleRecord(msgspec.Struct, frozen=True):
    """Bill whatever session a stored record belongs to. Result: Settled, or RecordUnmatched.

    For records without an actor: late, repeated after a restart, of unknown orders. Key: the record.
    """

    record_id: int
    at: datetime


class RecordUnmatched(msgspec.Struct, frozen=True):
    """No order fits the record: it stands on the review list, no money moved."""

    record_id: int


class Settled(msgspec.Struct, frozen=True):
    """What a settlement came to.

    `state`: REFUNDING (the rest is in the outbox), CLOSED (nothing goes back) or DISPUTED (held: `reason`).
    """

    serial: str
    is_first: bool
    state: SessionState
    bill: Bill | None
    out_refund_no: str | None
    """The refund that this settlement put into the outbox."""
    refund_fen: int
    debt_fen: int
    excess_fen: int
    is_held: bool
    reason: str
    """Stable code: why it is held, or "different_record" when another record was settled before."""
    is_provisional: bool = False
    warnings: tuple[str, ...] = ()
    """Stable codes, each worth an alarm: `amount_differs`, `record_after_start_failed`, …"""


class Decision(enum.StrEnum):
    """What a person decides on a held session."""

    ACCEPT = "accept"
    """The bill holds; what exceeds the money goes by the operator's rule, without the bound."""
    PREPAID = "prepaid"
    """The bill, but never more than was paid: the operator bears the rest."""
    FREE = "free"
    """Nothing is charged: everything goes back."""


class DecideHeld(msgspec.Struct, frozen=True):
    """A person ends a hold. Result: Settled (`is_first` False: it was not held any more)."""

    serial: str
    decision: Decision
    actor: str
    """As in the audit: `token:<name>`, `auto`, …"""
    at: datetime
    note: str = ""


class HoldSession(msgspec.Struct, frozen=True):
    """Freeze the automatic steps of an order (a complaint, a person's wish). Result: SessionMoved.

    Refunds that were not asked for yet wait; what is on its way goes on.
    """

    serial: str
    reason: str
    at: datetime


class RefundPayment(msgspec.Struct, frozen=True):
    """A person sends back what is left of a payment that funds nothing.

    Result: RefundRow, or None when nothing is left or it funds its order.
    """

    out_trade_no: str
    actor: str
    at: datetime


class RetryRefund(msgspec.Struct, frozen=True):
    """A person has an ABNORMAL or MANUAL refund tried again, under the next number. Result: RefundMoved."""

    out_refund_no: str
    actor: str
    at: datetime


class ClaimRefunds(msgspec.Struct, frozen=True):
    """Take due refunds to work on until `lease_s` has passed; at most one a payment.

    Result: list of RefundRow. Whoever claimed them and died loses them when the lease ends.
    """

    at: datetime
    lease_s: int = 60
    limit: int = 50


class MoveRefund(msgspec.Struct, frozen=True):
    """Keep what became of a refund, with its ledger entries. Result: RefundMoved. Key: the refund number.

    SUCCEEDED and CLOSED are final and repeatable; nothing moves back from them. CLOSED puts a refund with the
    next number into the outbox once, the second time the refund is MANUAL.
    """

    out_refund_no: str
    step: RefundStep
    at: datetime
    refund_id: str = ""
    error: str = ""
    next_attempt_at: datetime | None = None
    notification_id: str | None = None


class RefundMoved(msgspec.Struct, frozen=True):
    """Where the refund is now, and its session.

    `is_last`: nothing more goes back; a REFUNDING or START_FAILED session is CLOSED by that.
    """

    serial: str
    is_first: bool
    step: RefundStep | None
    """None: no such refund."""
    is_last: bool
    session_state: SessionState | None
    successor: RefundRow | None = None
    """The refund that has taken the place of a closed one."""


class SaveLive(msgspec.Struct, frozen=True):
    """Keep live values of a session; an older one never replaces a newer one. Result: None."""

    serial: str
    at: datetime
    energy_e4_kwh: int
    amount_e4_yuan: int
    soc_pct: int | None = None
    rate_energy_e4_kwh: tuple[int, int, int, int] = (0, 0, 0, 0)


class KeepFact(msgspec.Struct, frozen=True):
    """Keep what is said once in a charge (BMS handshake, limits, end, errors). Result: None.

    Key: serial and kind; the last one counts.
    """

    serial: str
    kind: str
    data: dict[str, Any]
    at: datetime


class SavePoint(msgspec.Struct, frozen=True):
    """Keep what the vehicle asked for and got at one moment, for the chart of a charge. Result: None.

    None where the message did not say. A repeated write is a second, equal point: nobody is billed by it.
    """

    serial: str
    at: datetime
    demand_mv: int | None = None
    demand_ma: int | None = None
    measured_mv: int | None = None
    measured_ma: int | None = None
    soc_pct: int | None = None
    max_cell_mv: int | None = None
    max_temp_c: int | None = None
    min_temp_c: int | None = None
    remaining_s: int | None = None


class OpenReview(msgspec.Struct, frozen=True):
    """Put something before a person; the same thing again changes nothing. Result: its id.

    Key: kind, with the serial or else the record or else `about`.
    """

    kind: ReviewKind
    reason: str
    at: datetime
    serial: str | None = None
    record_id: int | None = None
    operator_id: int | None = None
    about: str = ""
