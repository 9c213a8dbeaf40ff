"""What is shown of stations, piles and guns at one moment: plain values for the page and the live feed.

A snapshot and the events of the feed use the same words, so that whoever watches lays one over the other.
Nothing here tells of a driver. Times are UTC in ISO 8601 with Z.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class GunView(msgspec.Struct, frozen=True):
    """One gun as it is shown; live values are None when the pile has not told them."""

    gun_no: int
    state: str
    at: datetime | None = None
    """When it was last heard of."""
    since: datetime | None = None
    """When it entered this state."""
    is_plugged: bool | None = None
    soc_pct: int | None = None
    power_w: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    energy_e4_kwh: int | None = None
    amount_e4_yuan: int | None = None
    remaining_s: int | None = None
    fault_codes: tuple[str, ...] = ()


class PileView(msgspec.Struct, frozen=True):
    """One pile with its guns."""

    pile_code: str
    name: str
    kind: str
    """"dc" or "ac"."""
    rated_power_w: int
    state: str
    reason: str
    """Why it is in this state, a stable code."""
    since: datetime | None
    tariff_ok: bool
    guns: tuple[GunView, ...]


class StationView(msgspec.Struct, frozen=True):
    """One station with its piles."""

    station_id: int
    code: str
    name_zh: str
    name_en: str
    address: str
    piles: tuple[PileView, ...]
