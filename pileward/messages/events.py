"""What happened, for the live feed: small JSON objects on named topics.

The topics are named in `pileward.ports`. Times are UTC in ISO 8601 with Z.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class GunChanged(msgspec.Struct, frozen=True, tag="gun", tag_field="type"):
    """One gun as it is shown: state and the last live values."""

    pile_code: str
    gun_no: int
    state: str
    at: datetime
    is_plugged: bool | None = None
    soc_pct: int | None = None
    power_w: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    energy_e4_kwh: int | None = None
    amount_e4_yuan: int | None = None
    remaining_s: int | None = None
    fault_codes: tuple[str, ...] = ()


class PileChanged(msgspec.Struct, frozen=True, tag="pile", tag_field="type"):
    """One pile changed its state; `reason` says why in a stable code."""

    pile_code: str
    state: str
    reason: str
    at: datetime
    tariff_ok: bool = False


class AlarmChanged(msgspec.Struct, frozen=True, tag="alarm", tag_field="type"):
    """An alarm began or ended."""

    pile_code: str
    gun_no: int | None
    kind: str
    severity: str
    is_open: bool
    text: str
    at: datetime


class FrameSeen(msgspec.Struct, frozen=True, tag="frame", tag_field="type"):
    """One frame of a watched pile, hexadecimal; the edge decodes it for people."""

    pile_code: str
    direction: str
    hex: str
    at: datetime
    damage: str = ""


class SessionChanged(msgspec.Struct, frozen=True, tag="session", tag_field="type"):
    """One charge as its driver sees it now: state, live values, money so far."""

    serial: str
    pile_code: str
    gun_no: int
    state: str
    at: datetime
    detail: str = ""
    """Stable code of what is being waited for or what went wrong, e.g. `waiting_plug`."""
    soc_pct: int | None = None
    power_w: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    energy_e4_kwh: int | None = None
    amount_fen: int | None = None
    """Money so far by our own tariff."""
    remaining_s: int | None = None
    live_at: datetime | None = None
    """When the live values were told."""
    is_pile_online: bool = True
    refund_fen: int | None = None
