"""What vehicles asked for and got while they charged: points of a chart, kept for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging_writes import SavePoint
from pileward.messages.uplinks import BmsDemand, BmsInfo
from pileward.models.sessions import SessionPoint
from pileward.services.samples import KEPT_DAYS, READ_MAX
from pileward.services.sql import execute_many, utc

COLUMNS: Final = (
    "serial", "at", "demand_mv", "demand_ma", "measured_mv", "measured_ma", "soc_pct", "max_cell_mv",
    "max_temp_c", "min_temp_c", "remaining_s",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO session_point ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


def point_of(serial: str, said: BmsDemand | BmsInfo, at: datetime) -> SavePoint:
    """What a message of the vehicle adds to the chart (YKC 1.6, 0x23 and 0x25)."""
    if isinstance(said, BmsInfo):
        return SavePoint(serial, at, max_temp_c=said.max_temp_c, min_temp_c=said.min_temp_c)
    return SavePoint(
        serial,
        at,
        demand_mv=said.demand_mv,
        demand_ma=said.demand_ma,
        measured_mv=said.measured_mv,
        measured_ma=said.measured_ma,
        soc_pct=said.soc_pct,
        max_cell_mv=said.max_cell_mv,
        remaining_s=said.remaining_s,
    )


async def save_points(connection: BaseDBAsyncClient, writes: Sequence[SavePoint]) -> list[None]:
    """Bulk form of SavePoint."""
    values = []
    for write in writes:
        point = msgspec.structs.asdict(write) | {"at": utc(write.at)}
        values.append([point[name] for name in COLUMNS])
    await execute_many(connection, _INSERT, values)
    return [None] * len(writes)


async def points_of(serial: str) -> list[SavePoint]:
    """The chart of one charge, oldest first, at most READ_MAX points."""
    rows = SessionPoint.filter(serial=serial).order_by("at").limit(READ_MAX)
    return [SavePoint(**row) for row in await rows.values(*COLUMNS)]


async def drop_old_points(now: datetime) -> None:
    """Throw away what is older than KEPT_DAYS."""
    await SessionPoint.filter(at__lt=utc(now) - timedelta(days=KEPT_DAYS)).delete()
