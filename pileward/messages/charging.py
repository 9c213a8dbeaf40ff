"""One charge as a value: its states, its limit, its bill, what was paid for it and what goes back.

These are the shapes in which services hand a charge to actors and edges. Money is whole fen, energy 1e-4 kWh,
times are aware UTC. A row is a snapshot of what is durable: whoever holds one may be behind, never ahead.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final

import msgspec

from pileward.values import Rate, TariffModel


class SessionState(enum.IntEnum):
    """States of a charge; `word` is the text in rows and in the API."""

    CREATED = 0
    """Ordered, not paid."""
    FUNDED = 1
    """Paid, verified."""
    STARTING = 2
    CHARGING = 3
    STOPPING = 4
    AWAITING_RECORD = 5
    SETTLING = 6
    """The record is durable, its bill is being written; never seen in a row."""
    REFUNDING = 7
    CLOSED = 8
    START_FAILED = 9
    """Never charged; all the money is on its way back."""
    INTERRUPTED = 10
    """The pile was lost while it charged."""
    DISPUTED = 11
    """Held for a person."""
    CANCELLED = 12
    """Never paid, or never asked to start."""

    @property
    def word(self) -> str:
        """The state as text."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> SessionState:
        """The state that a text names; raises KeyError."""
        return cls[word.upper()]


ACTIVE: Final = frozenset(
    {
        SessionState.CREATED,
        SessionState.FUNDED,
        SessionState.STARTING,
        SessionState.CHARGING,
        SessionState.STOPPING,
        SessionState.INTERRUPTED,
    }
)
"""The order occupies its gun and its driver: there is no second one beside it."""

OVER: Final = frozenset({SessionState.CLOSED, SessionState.CANCELLED})
"""Nothing is expected any more; what comes all the same is handled by services alone."""


class LimitKind(enum.StrEnum):
    """What ends a charge before the money does."""

    FULL = "full"
    ENERGY = "energy"
    TIME = "time"
    MONEY = "money"


class ChargeLimit(msgspec.Struct, frozen=True):
    """What the driver asked for; `value` is 1e-4 kWh, seconds or fen, 0 for full."""

    kind: LimitKind = LimitKind.FULL
    value: int = 0


class BillLine(msgspec.Struct, frozen=True):
    """One rate of a bill; prices as in the tariff that was in force at the start."""

    rate: Rate
    energy_e4_kwh: int
    energy_e5_yuan: int
    """Energy price, 1e-5 yuan/kWh."""
    service_e5_yuan: int
    """Service price, 1e-5 yuan/kWh."""
    electricity_fen: int
    service_fen: int
    total_fen: int
    pile_amount_e4_yuan: int | None = None
    """What the pile had counted for this rate."""


class Bill(msgspec.Struct, frozen=True):
    """What a charge costs. Lines add up to the totals in every column; electricity + service = total."""

    energy_e4_kwh: int
    electricity_fen: int
    service_fen: int
    total_fen: int
    lines: tuple[BillLine, ...]
    pile_amount_e4_yuan: int | None = None
    """What the pile had counted in all; None when no record says so."""
    differs: bool = False
    """The pile's amounts are further from ours than the tolerance of its model; ours lead."""


class SessionRow(msgspec.Struct, frozen=True):
    """One charge as it is durable."""

    serial: str
    operator_id: int
    driver_id: int | None
    station_id: int
    pile_code: str
    gun_no: int
    protocol: str
    wire_number: str
    tariff: TariffModel
    """As it was when the order was made."""
    prepaid_fen: int
    """What the driver was asked to pay ahead."""
    out_trade_no: str
    """The payment that funds it; empty when nothing is paid ahead."""
    requested_at: datetime
    state: SessionState = SessionState.CREATED
    limit: ChargeLimit = ChargeLimit()
    paid_fen: int = 0
    """What was verified as paid: never less is kept than this covers."""
    deadline_at: datetime | None = None
    deadline_kind: str = ""
    """Names the timer of the machine that `deadline_at` belongs to."""
    funded_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    settled_at: datetime | None = None
    closed_at: datetime | None = None
    start_failure: str = ""
    """Stable code: why it never charged."""
    stop_reason: str = ""
    """Stable, protocol-neutral code: why it ended."""
    stop_code: int | None = None
    """The same as on the wire."""
    record_id: int | None = None
    """The transaction record that it was settled by."""
    is_provisional: bool = False
    """Settled by its last live values, as long as no record has come."""
    is_held: bool = False
    """Nothing more moves until a person decides; `held_reason` says why."""
    held_reason: str = ""
    energy_e4_kwh: int = 0
    """Live until it is settled, then that of the bill."""
    live_amount_e4_yuan: int = 0
    soc_pct: int | None = None
    live_at: datetime | None = None
    rate_energy_e4_kwh: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Live energy by rate, in the order of Rate: what a provisional bill is made from."""
    bill: Bill | None = None
    refund_fen: int = 0
    """What is not used: on its way back, or back; of a held charge: what would go back."""
    debt_fen: int = 0
    """What the driver owes beyond what was paid."""
    excess_fen: int = 0
    """All that was used beyond what was paid; what is no debt was absorbed by the operator."""
    electricity_fen: int = 0
    service_fen: int = 0
    """With `electricity_fen`: what the ledger holds as revenue of it; 0 while an unbooked bill is held."""
    settlements: int = 0
    """How many settlements moved money: 1, and 1 more for each correction."""


class PaymentStep(enum.StrEnum):
    """How far a payment has come, by what we know for certain."""

    NEW = "new"
    """The number is stored; the provider may or may not know it."""
    WAITING = "waiting"
    """The provider waits for the driver."""
    PAID = "paid"
    CLOSED = "closed"
    """Can no longer be paid."""


class PaymentVerdict(enum.StrEnum):
    """What money that arrived means for its order."""

    PAID = "paid"
    """The order is funded by it."""
    DUPLICATE = "duplicate"
    """The order was funded by another payment: this one goes back whole."""
    LATE = "late"
    """The order waits no longer: it goes back whole."""
    MISMATCH = "mismatch"
    """Amount or payer are not those of the order: held for a person."""
    UNKNOWN = "unknown"
    """No order of this number: for a person."""


class PaymentRow(msgspec.Struct, frozen=True):
    """One payment of one order as it is durable."""

    out_trade_no: str
    serial: str
    operator_id: int
    driver_id: int
    channel: str
    merchant: str
    """The merchant number (mchid) that it is paid to."""
    openid: str
    """Who is expected to pay, at the provider."""
    fen: int
    """What is to be paid."""
    description: str
    attach: str
    device_id: str
    expires_at: datetime
    created_at: datetime
    step: PaymentStep = PaymentStep.NEW
    prepay_id: str = ""
    verdict: PaymentVerdict | None = None
    transaction_id: str = ""
    paid_fen: int = 0
    """What arrived."""
    paid_at: datetime | None = None
    confirmed_at: datetime | None = None
    refunded_fen: int = 0
    """Sum of its refunds that are on their way or back; never more than `paid_fen`."""
    refund_count: int = 0
    last_refund_at: datetime | None = None
    """When its latest refund was due first: the next one keeps a minute's distance."""
    next_query_at: datetime | None = None
    """When to ask the provider again; None: there is nothing to learn."""
    queries: int = 0
    error: str = ""


class RefundStep(enum.StrEnum):
    """How far a refund has come."""

    NEW = "new"
    """Stored, not yet asked for."""
    SUBMITTED = "submitted"
    """Asked for, answer not known: query before anything else."""
    PROCESSING = "processing"
    """Accepted by the provider."""
    SUCCEEDED = "succeeded"
    """The money is back."""
    CLOSED = "closed"
    """The provider gave up: a refund with the next number has taken its place."""
    ABNORMAL = "abnormal"
    """The driver's account cannot take it: a person chooses another way."""
    MANUAL = "manual"
    """No automatic step is left: a person decides."""


class RefundCause(enum.StrEnum):
    """Why money goes back."""

    REST = "rest"
    """What a charge did not use."""
    START_FAILED = "start_failed"
    LATE_PAYMENT = "late_payment"
    DUPLICATE_PAYMENT = "duplicate_payment"
    CORRECTION = "correction"
    """A later record was lower."""
    DECISION = "decision"
    """A person decided so."""


class RefundRow(msgspec.Struct, frozen=True):
    """One refund as it is durable: number, amount and payment never change."""

    out_refund_no: str
    out_trade_no: str
    serial: str
    operator_id: int
    channel: str
    merchant: str
    number: int
    """Of this order, from 1."""
    fen: int
    total_fen: int
    """Amount of the whole payment, as providers want it with every refund."""
    cause: RefundCause
    created_at: datetime
    step: RefundStep = RefundStep.NEW
    next_attempt_at: datetime | None = None
    """When something is to be done for it; None: finished, or a person's turn."""
    attempts: int = 0
    refund_id: str = ""
    error: str = ""
    replaces: str = ""
    """The closed refund whose place it took; empty: none."""
    submitted_at: datetime | None = None
    finished_at: datetime | None = None


class OpenSession(msgspec.Struct, frozen=True):
    """All that is durable of a charge that is not over, to rebuild its actor from."""

    row: SessionRow
    payments: tuple[PaymentRow, ...]
    refunds: tuple[RefundRow, ...]
    waiting_record_id: int | None = None
    """A record that was stored but not settled when the node went down: settle it now (`SettleRecord`)."""


class ReviewKind(enum.StrEnum):
    """What a person has to look at."""

    UNKNOWN_RECORD = "unknown_record"
    DIFFERENT_RECORD = "different_record"
    IMPLAUSIBLE_RECORD = "implausible_record"
    EXCESS = "excess"
    PROVISIONAL = "provisional"
    LATE_RECORD = "late_record"
    PAYMENT_MISMATCH = "payment_mismatch"
    PAYMENT_UNKNOWN = "payment_unknown"
    REFUND_STUCK = "refund_stuck"
    STOP_FAILED = "stop_failed"
    DISPUTE = "dispute"
    RECONCILIATION = "reconciliation"


class EnergyOfRate(msgspec.Struct, frozen=True):
    """Energy that was delivered in one rate, and the pile's own amount for it (None: not stated)."""

    rate: Rate
    energy_e4_kwh: int
    pile_amount_e4_yuan: int | None = None


class RecordFacts(msgspec.Struct, frozen=True):
    """What settlement needs of a transaction record, or of the last live values in place of one."""

    energies: tuple[EnergyOfRate, ...]
    """At most one for each rate."""
    energy_e4_kwh: int
    """In all, as stated."""
    pile_amount_e4_yuan: int | None
    started_at: datetime | None
    ended_at: datetime | None
    stop_reason: str = ""
    stop_code: int | None = None
    meter_start_e4_kwh: int | None = None
    meter_end_e4_kwh: int | None = None
    notes: tuple[str, ...] = ()
    """Stable codes of what was odd when it was read."""
