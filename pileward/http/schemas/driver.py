"""What a driver's app gets: stations, guns, orders. Every code comes with its words, Chinese and English."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.messages.charging import ChargeLimit
from pileward.messages.live import GunView
from pileward.services.day_prices import DayPrices, Price


class LoggedIn(msgspec.Struct, frozen=True):
    """An access token, to be sent as `Authorization: Bearer …`, and how long it is good."""

    access_token: str
    expires_in_s: int
    driver_id: int


class GunCount(msgspec.Struct, frozen=True):
    """Guns of one kind."""

    free: int
    total: int


class StationRow(msgspec.Struct, frozen=True):
    """A station in a list."""

    id: int
    code: str
    name_zh: str
    name_en: str
    address: str
    latitude_e6: int | None
    longitude_e6: int | None
    distance_m: int | None
    opening_hours: str
    parking: str
    phone: str
    is_open: bool
    price: Price | None
    """Of the station's own tariff, now; a pile may have another."""
    dc: GunCount
    """Fast: direct current."""
    ac: GunCount
    """Slow: alternating current."""


class GunRow(msgspec.Struct, frozen=True):
    """A gun at its station."""

    gun_code: str
    """Pile code and gun number, two digits: what stands on the gun and in its QR code."""
    pile_code: str
    gun_no: int
    pile_name: str
    kind: str
    rated_power_w: int
    state: str
    state_zh: str
    state_en: str
    can_order: bool
    """An order would be taken at this moment."""
    live: GunView
    prices: DayPrices | None = None
    """Only where they differ from the station's."""


class StationShown(msgspec.Struct, frozen=True):
    """One station with its guns as they are now, and the prices of today."""

    station: StationRow
    prices: DayPrices | None
    guns: list[GunRow]


class GunShown(msgspec.Struct, frozen=True):
    """One gun, where it stands, and what charging at it costs today."""

    gun: GunRow
    station: StationRow
    prices: DayPrices | None


class Ordered(msgspec.Struct, frozen=True):
    """An order that waits for its payment."""

    serial: str
    out_trade_no: str
    amount_fen: int
    expires_at: datetime
    """It can be paid until then."""
    pay_params: dict[str, str]
    """For `wx.requestPayment`, under WeChat's own names."""


class PaidCheck(msgspec.Struct, frozen=True):
    """What is certain about a payment."""

    serial: str
    is_paid: bool
    state: str


class Accepted(msgspec.Struct, frozen=True):
    """The platform does what was asked; how it goes on is seen at the session."""

    serial: str
    state: str
    state_zh: str
    state_en: str


class Live(msgspec.Struct, frozen=True):
    """The last live values of a charge. `age_s` in clock seconds: old values are shown with their age."""

    at: datetime
    age_s: int
    is_pile_online: bool
    soc_pct: int | None
    power_w: int | None
    voltage_mv: int | None
    current_ma: int | None
    energy_e4_kwh: int
    amount_fen: int
    """Money so far by the prices of this order."""
    remaining_s: int | None
    """Until full, as the vehicle says."""


class BillRow(msgspec.Struct, frozen=True):
    """One rate of a bill."""

    rate: str
    rate_zh: str
    energy_e4_kwh: int
    price: Price
    electricity_fen: int
    service_fen: int
    total_fen: int


class BillShown(msgspec.Struct, frozen=True):
    """What a charge costs: the total first, then its parts; every column adds up."""

    total_fen: int
    electricity_fen: int
    service_fen: int
    energy_e4_kwh: int
    lines: list[BillRow]
    is_provisional: bool
    """Made from the last live values; the pile's record will correct it."""


class RefundShown(msgspec.Struct, frozen=True):
    """Money on its way back to where it came from."""

    out_refund_no: str
    fen: int
    stage: str
    """sent, accepted, arrived; or replaced (by a later one in the list), checked_by_staff."""
    stage_zh: str
    stage_en: str
    cause: str
    created_at: datetime
    accepted_at: datetime | None
    arrived_at: datetime | None


class SessionBrief(msgspec.Struct, frozen=True):
    """One order in a list."""

    serial: str
    state: str
    state_zh: str
    state_en: str
    is_open: bool
    """Something may still happen to it."""
    station_id: int
    station_zh: str
    station_en: str
    gun_code: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    prepaid_fen: int
    paid_fen: int
    energy_e4_kwh: int
    total_fen: int | None
    """Of the bill; null while there is none."""
    refund_fen: int
    debt_fen: int


class SessionShown(msgspec.Struct, frozen=True, tag="session", tag_field="type"):
    """One order with everything a driver may know of it."""

    serial: str
    state: str
    state_zh: str
    state_en: str
    is_open: bool
    next: str
    """What the driver can do: pay, start, plug_in, wait, stop, unplug, nothing."""
    detail: str
    """Stable code of what is waited for, with its words; empty: nothing in particular."""
    detail_zh: str
    detail_en: str
    station_id: int
    station_zh: str
    station_en: str
    phone: str
    gun_code: str
    pile_code: str
    gun_no: int
    limit: ChargeLimit
    prepaid_fen: int
    paid_fen: int
    pay_until: datetime | None
    """An unpaid order can be paid until then."""
    requested_at: datetime
    funded_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    closed_at: datetime | None
    failure: str
    """Why it never charged, a stable code; empty: it did, or may still."""
    failure_zh: str
    failure_en: str
    stop: str
    """Why it ended, a stable code; empty: it has not."""
    stop_zh: str
    stop_en: str
    live: Live | None
    bill: BillShown | None
    refunds: list[RefundShown]
    refund_fen: int
    debt_fen: int
    is_held: bool
    """Staff look at it before more money moves."""


class Current(msgspec.Struct, frozen=True):
    """The driver's open order, if there is one."""

    session: SessionShown | None
