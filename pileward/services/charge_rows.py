"""Rows of charges, payments and refunds as structs, and back: one place for names and forms of columns."""

from __future__ import annotations

import enum
import functools
from datetime import datetime
from typing import Any, Final

import msgspec

from pileward.messages.charging import (
    Bill,
    ChargeLimit,
    LimitKind,
    PaymentRow,
    PaymentStep,
    PaymentVerdict,
    RefundCause,
    RefundRow,
    RefundStep,
    SessionRow,
    SessionState,
)
from pileward.services.sql import moment, utc
from pileward.values import Rate, RatePrice, TariffModel

Row = SessionRow | PaymentRow | RefundRow

_PLAIN_SESSION: Final = (
    "serial", "operator_id", "driver_id", "station_id", "pile_code", "gun_no", "protocol", "wire_number",
    "prepaid_fen", "paid_fen", "out_trade_no", "deadline_kind", "start_failure", "stop_reason", "stop_code",
    "record_id", "is_provisional", "is_held", "held_reason", "energy_e4_kwh", "live_amount_e4_yuan",
    "soc_pct", "refund_fen", "debt_fen", "excess_fen", "electricity_fen", "service_fen", "settlements",
)  # fmt: skip
_SESSION_TIMES: Final = (
    "deadline_at", "requested_at", "funded_at", "started_at", "ended_at", "settled_at", "closed_at", "live_at"
)  # fmt: skip
_RATES: Final = ("sharp_e4_kwh", "peak_e4_kwh", "flat_e4_kwh", "valley_e4_kwh")
SESSION_COLUMNS: Final = (
    *_PLAIN_SESSION, *_SESSION_TIMES, *_RATES, "state", "tariff", "limit_kind", "limit_value", "bill"
)  # fmt: skip
"""Columns of charging_session, without its id."""


def session_columns(row: SessionRow) -> dict[str, Any]:
    """A session as columns."""
    columns = {name: getattr(row, name) for name in _PLAIN_SESSION}
    columns.update(_times(row, _SESSION_TIMES))
    columns.update(zip(_RATES, row.rate_energy_e4_kwh, strict=True))
    columns["state"] = row.state.word
    columns["tariff"] = tariff_text(row.tariff)
    columns["limit_kind"] = str(row.limit.kind)
    columns["limit_value"] = row.limit.value
    columns["bill"] = None if row.bill is None else msgspec.json.encode(row.bill).decode()
    return columns


def session_row(columns: dict[str, Any]) -> SessionRow:
    """Columns as a session."""
    values = {name: columns[name] for name in _PLAIN_SESSION}
    values.update({name: moment(columns[name]) for name in _SESSION_TIMES})
    values["is_provisional"] = bool(values["is_provisional"])
    values["is_held"] = bool(values["is_held"])
    bill = columns["bill"]
    return SessionRow(
        **values,
        state=SessionState.of(columns["state"]),
        tariff=tariff_of(columns["tariff"]),
        limit=ChargeLimit(LimitKind(columns["limit_kind"]), columns["limit_value"]),
        rate_energy_e4_kwh=tuple(columns[name] for name in _RATES),
        bill=None if bill is None else msgspec.json.decode(bill, type=Bill),
    )


_PLAIN_PAYMENT: Final = (
    "out_trade_no", "serial", "operator_id", "driver_id", "channel", "merchant", "openid", "fen",
    "description", "attach", "device_id", "prepay_id", "paid_fen", "refunded_fen", "refund_count", "queries",
    "error",
)  # fmt: skip
_PAYMENT_TIMES: Final = (
    "expires_at", "created_at", "paid_at", "confirmed_at", "last_refund_at", "next_query_at"
)  # fmt: skip
PAYMENT_COLUMNS: Final = (*_PLAIN_PAYMENT, *_PAYMENT_TIMES, "step", "verdict", "transaction_id")


def payment_columns(row: PaymentRow) -> dict[str, Any]:
    """A payment as columns."""
    columns = {name: getattr(row, name) for name in _PLAIN_PAYMENT}
    columns.update(_times(row, _PAYMENT_TIMES))
    columns["step"] = str(row.step)
    columns["verdict"] = None if row.verdict is None else str(row.verdict)
    columns["transaction_id"] = row.transaction_id or None
    return columns


def payment_row(columns: dict[str, Any]) -> PaymentRow:
    """Columns as a payment."""
    values = {name: columns[name] for name in _PLAIN_PAYMENT}
    values.update({name: moment(columns[name]) for name in _PAYMENT_TIMES})
    verdict = columns["verdict"]
    return PaymentRow(
        **values,
        step=PaymentStep(columns["step"]),
        verdict=None if verdict is None else PaymentVerdict(verdict),
        transaction_id=columns["transaction_id"] or "",
    )


_PLAIN_REFUND: Final = (
    "out_refund_no", "out_trade_no", "serial", "operator_id", "channel", "merchant", "number", "fen",
    "total_fen", "attempts", "refund_id", "error", "replaces",
)  # fmt: skip
_REFUND_TIMES: Final = ("next_attempt_at", "created_at", "submitted_at", "finished_at")
REFUND_COLUMNS: Final = (*_PLAIN_REFUND, *_REFUND_TIMES, "cause", "step")


def refund_columns(row: RefundRow) -> dict[str, Any]:
    """A refund as columns."""
    columns = {name: getattr(row, name) for name in _PLAIN_REFUND}
    columns.update(_times(row, _REFUND_TIMES))
    columns["cause"] = str(row.cause)
    columns["step"] = str(row.step)
    return columns


def refund_row(columns: dict[str, Any]) -> RefundRow:
    """Columns as a refund."""
    values = {name: columns[name] for name in _PLAIN_REFUND}
    values.update({name: moment(columns[name]) for name in _REFUND_TIMES})
    return RefundRow(**values, cause=RefundCause(columns["cause"]), step=RefundStep(columns["step"]))


def changed_columns(before: Row, after: Row) -> dict[str, Any]:
    """The columns in which a row has changed; only fields that changed are turned into columns."""
    columns: dict[str, Any] = {}
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new and old != new:
            columns.update(_columns_of(name, new))
    return columns


def _columns_of(name: str, value: Any) -> dict[str, Any]:
    """One field as the columns that hold it."""
    if isinstance(value, datetime):
        return {name: utc(value)}
    if isinstance(value, SessionState):
        return {name: value.word}
    if isinstance(value, enum.StrEnum):
        return {name: str(value)}
    if name == "bill" and value is not None:
        return {name: msgspec.json.encode(value).decode()}
    if name == "transaction_id":
        return {name: value or None}
    if name == "rate_energy_e4_kwh":
        return dict(zip(_RATES, value, strict=True))
    assert not isinstance(value, TariffModel | ChargeLimit), "never changes"
    return {name: value}


@functools.lru_cache(maxsize=1024)
def tariff_text(tariff: TariffModel) -> str:
    """A tariff as it is kept with each charge: number, four pairs of prices, 48 digits."""
    prices = [[price.energy_e5_yuan, price.service_e5_yuan] for price in tariff.prices]
    slots = "".join(str(int(rate)) for rate in tariff.slots)
    return msgspec.json.encode([tariff.billing_model_no, prices, slots]).decode()


@functools.lru_cache(maxsize=1024)
def tariff_of(text: str) -> TariffModel:
    """The tariff in a row; charges of the same prices share one object."""
    number, pairs, slots = msgspec.json.decode(text, type=tuple[str, list[tuple[int, int]], str])
    sharp, peak, flat, valley = (RatePrice(energy, service) for energy, service in pairs)
    return TariffModel(number, (sharp, peak, flat, valley), tuple(Rate(int(digit)) for digit in slots))


def _times(row: Any, names: tuple[str, ...]) -> dict[str, datetime | None]:
    values = {name: getattr(row, name) for name in names}
    return {name: None if value is None else utc(value) for name, value in values.items()}
