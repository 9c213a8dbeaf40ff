"""Stations as drivers look for them: open ones, the nearest first, with the piles they have."""

from __future__ import annotations

from collections.abc import Iterable
from math import asin, cos, radians, sin, sqrt
from typing import Any, Final

import msgspec

from pileward.models.kinds import PileKind
from pileward.models.piles import Pile
from pileward.models.stations import Station
from pileward.services.paging import PAGE_DEFAULT, Page, cursor_of, row_of
from pileward.services.sql import select
from pileward.services.stations import StationView, station_view

EARTH_M: Final = 6_371_000.0
UNPLACED_M: Final = 99_999_999
"""Stands for the distance of a station without a position: behind all others."""
_IDS: Final = 10**10
_KIND: Final = "station_near"


class StationNear(msgspec.Struct, frozen=True):
    """A station, and how far it is as the crow flies."""

    station: StationView
    distance_m: int | None


class StationName(msgspec.Struct, frozen=True):
    """What a driver reads of a station beside an order."""

    zh: str = ""
    en: str = ""
    phone: str = ""


class PileBrief(msgspec.Struct, frozen=True):
    """What a list needs to know of a pile."""

    pile_code: str
    kind: PileKind
    gun_count: int


async def stations_near(
    operator_id: int,
    position: tuple[int, int] | None,
    *,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[StationNear]:
    """Open stations, the nearest to `position` first (latitude, longitude; WGS-84, 1e-6 degrees), or by age.

    The cursor keeps its place while stations come and go; raises InvalidError for one that is none.
    """
    rows = Station.filter(operator_id=operator_id, is_open=True)
    places = await rows.values_list("id", "latitude_e6", "longitude_e6")
    ranked = sorted((_distance_m(position, latitude, longitude), row) for row, latitude, longitude in places)
    if cursor is not None:
        behind = row_of(_KIND, cursor)
        ranked = [entry for entry in ranked if _place(entry) > behind]
    chosen = ranked[:limit]
    found = {row.id: row for row in await Station.filter(id__in=[row for _, row in chosen])}
    items = [
        StationNear(station_view(found[row]), metres if metres != UNPLACED_M else None)
        for metres, row in chosen
        if row in found
    ]
    return Page(items, cursor_of(_KIND, _place(chosen[-1])) if len(ranked) > limit else None)


async def piles_of_stations(station_ids: Iterable[int]) -> dict[int, list[PileBrief]]:
    """The piles in service of some stations, by station, in the order of their codes."""
    rows = Pile.filter(station_id__in=list(station_ids), is_retired=False).order_by("pile_code")
    found: dict[int, list[PileBrief]] = {}
    for row in await rows.values_list("station_id", "pile_code", "kind", "gun_count"):
        station_id, pile_code, kind, gun_count = row
        found.setdefault(station_id, []).append(PileBrief(pile_code, PileKind(kind), gun_count))
    return found


async def station_names(station_ids: Iterable[int]) -> dict[int, StationName]:
    """What drivers read of some stations, by id."""
    wanted = sorted(set(station_ids))
    if not wanted:
        return {}
    query = f"SELECT id, name_zh, name_en, phone FROM station WHERE id IN ({', '.join('?' * len(wanted))})"  # noqa: S608
    found = await select(Station._meta.db, query, *wanted)
    return {row["id"]: StationName(row["name_zh"], row["name_en"], row["phone"]) for row in found}


def _place(entry: tuple[int, Any]) -> int:
    """Distance and id as one number that grows along the list."""
    return entry[0] * _IDS + int(entry[1])


def _distance_m(position: tuple[int, int] | None, latitude_e6: int | None, longitude_e6: int | None) -> int:
    """Great circle distance (haversine); half a per cent is good enough to choose by."""
    if position is None or latitude_e6 is None or longitude_e6 is None:
        return UNPLACED_M
    here, there = radians(position[0] / 1e6), radians(latitude_e6 / 1e6)
    across = radians((longitude_e6 - position[1]) / 1e6)
    half = sin((there - here) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
    return round(2 * EARTH_M * asin(sqrt(min(half, 1.0))))
