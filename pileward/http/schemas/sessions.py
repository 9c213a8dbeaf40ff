"""Charges, refunds and accounts as staff see them: everything, but for what concerns the provider alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pileward.http.schemas.driver import BillRow, RefundShown
from pileward.messages.charging import ChargeLimit
from pileward.services.ledger import EntryView
from pileward.services.reviews import ReviewView


class ChargeRow(msgspec.Struct, frozen=True):
    """One charge in a list."""

    serial: str
    state: str
    state_zh: str
    state_en: str
    driver_id: int | None
    station_id: int
    pile_code: str
    gun_no: int
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    closed_at: datetime | None
    prepaid_fen: int
    paid_fen: int
    energy_e4_kwh: int
    total_fen: int | None
    refund_fen: int
    debt_fen: int
    excess_fen: int
    start_failure: str
    stop_reason: str
    is_provisional: bool
    is_held: bool
    held_reason: str


class ChargeBill(msgspec.Struct, frozen=True):
    """A bill beside what the pile had counted."""

    total_fen: int
    electricity_fen: int
    service_fen: int
    energy_e4_kwh: int
    lines: list[BillRow]
    pile_amount_e4_yuan: int | None
    differs: bool
    """The pile's amount is further from ours than the tolerance of its model; ours leads."""


class PaymentShown(msgspec.Struct, frozen=True):
    """One payment of an order."""

    out_trade_no: str
    channel: str
    merchant: str
    fen: int
    step: str
    verdict: str | None
    transaction_id: str
    paid_fen: int
    paid_at: datetime | None
    refunded_fen: int
    expires_at: datetime
    next_query_at: datetime | None
    error: str


class OutboxRow(RefundShown, frozen=True, kw_only=True):
    """A refund with what its worker knows."""

    serial: str
    out_trade_no: str
    step: str
    attempts: int
    next_attempt_at: datetime | None
    refund_id: str
    replaces: str
    error: str


class SettlementShown(msgspec.Struct, frozen=True):
    """One settlement of a charge; more than one means a correction or a decision."""

    record_id: int | None
    actor: str
    at: datetime
    state: str
    total_fen: int | None
    refund_fen: int
    debt_fen: int
    excess_fen: int
    is_held: bool
    is_provisional: bool
    reason: str
    warnings: list[str]


class Charge(msgspec.Struct, frozen=True):
    """One charge with its money."""

    row: ChargeRow
    protocol: str
    wire_number: str
    limit: ChargeLimit
    billing_model_no: str
    stop_code: int | None
    stop_zh: str
    stop_en: str
    failure_zh: str
    failure_en: str
    deadline_at: datetime | None
    deadline_kind: str
    soc_pct: int | None
    live_at: datetime | None
    bill: ChargeBill | None
    payments: list[PaymentShown]
    refunds: list[OutboxRow]
    settlements: list[SettlementShown]
    entries: list[EntryView]
    """Ledger entries, in the order in which they were made."""
    reviews: list[ReviewView]
    record_id: int | None


class ChartPoint(msgspec.Struct, frozen=True):
    """What the vehicle asked for and got at one moment; null: not told."""

    at: datetime
    demand_mv: int | None
    demand_ma: int | None
    measured_mv: int | None
    measured_ma: int | None
    soc_pct: int | None
    max_cell_mv: int | None
    max_temp_c: int | None
    min_temp_c: int | None
    remaining_s: int | None


class TimerRow(msgspec.Struct, frozen=True):
    """A timer that runs; clock seconds."""

    name: str
    due_in_s: float


class ChargeInside(msgspec.Struct, frozen=True):
    """One charge as `/debug` shows it: what is durable, and what its actor says while it lives."""

    charge: Charge
    machine: str
    """Name of the transition table that it follows."""
    state: str
    """In memory; may be ahead of the durable one by writes that are on their way."""
    path: str | None
    """Path of its actor; null: it has none any more."""
    actor: dict[str, Any] | None
    """What the actor says of itself: transitions, deadlines, live and vehicle's values."""
    timers: list[TimerRow]
    facts: dict[str, Any]
    """What the vehicle said once in this charge."""
