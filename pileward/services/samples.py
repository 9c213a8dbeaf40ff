"""Sampled telemetry: written in bulk by the store, read for charts, thrown away after `KEPT_DAYS`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.uplinks import Telemetry
from pileward.models.samples import TelemetrySample
from pileward.services.sql import execute_many, utc

KEPT_DAYS: Final = 30
READ_MAX: Final = 2_000
"""Most samples of one answer."""


_INSERT: Final = """
INSERT INTO telemetry_sample (pile_code, gun_no, at, status, is_plugged, voltage_mv, current_ma, soc_pct,
  energy_e4_kwh, amount_e4_yuan, cable_temp_c, battery_max_temp_c, wire_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class SampleView(msgspec.Struct, frozen=True):
    """One sample as shown; units in the names, time in UTC."""

    at: datetime
    status: int
    is_plugged: bool | None
    voltage_mv: int | None
    current_ma: int | None
    soc_pct: int | None
    energy_e4_kwh: int | None
    amount_e4_yuan: int | None
    cable_temp_c: int | None
    battery_max_temp_c: int | None


async def save_samples(connection: BaseDBAsyncClient, taken: Sequence[tuple[Telemetry, int]]) -> None:
    """Write telemetry in bulk; the number is epoch milliseconds of its arrival."""
    rows = [
        [
            telemetry.pile_code,
            telemetry.gun_no,
            datetime.fromtimestamp(at_ms / 1000, UTC),
            int(telemetry.status),
            telemetry.is_plugged,
            telemetry.voltage_mv,
            telemetry.current_ma,
            telemetry.soc_pct,
            telemetry.energy_e4_kwh,
            telemetry.amount_e4_yuan,
            telemetry.cable_temp_c,
            telemetry.battery_max_temp_c,
            telemetry.wire_number,
        ]
        for telemetry, at_ms in taken
    ]
    await execute_many(connection, _INSERT, rows)


async def list_samples(pile_code: str, gun_no: int, since: datetime, until: datetime) -> list[SampleView]:
    """Samples of one gun in a span of time, oldest first, at most READ_MAX."""
    rows = TelemetrySample.filter(
        pile_code=pile_code, gun_no=gun_no, at__gte=utc(since), at__lt=utc(until)
    ).order_by("at")
    names = SampleView.__struct_fields__
    return [SampleView(**row) for row in await rows.limit(READ_MAX).values(*names)]


async def drop_old_samples(now: datetime) -> None:
    """Throw away what is older than KEPT_DAYS."""
    await TelemetrySample.filter(at__lt=utc(now) - timedelta(days=KEPT_DAYS)).delete()
