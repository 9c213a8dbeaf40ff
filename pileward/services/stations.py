"""Stations (场站): added, changed, listed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileward.errors import ConflictError, NotFoundError
from pileward.models.piles import Pile
from pileward.models.stations import Station
from pileward.models.tariffs import Tariff
from pileward.services.audit import Who, note
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import utc

Code = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-.]{1,32}$", description="the operator's own code")]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
NameEn = Annotated[str, Meta(max_length=100)]
Text = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=500)]
Phone = Annotated[str, Meta(max_length=40)]
Latitude = Annotated[int, Meta(ge=-90_000_000, le=90_000_000, description="WGS-84, millionths of a degree")]
Longitude = Annotated[
    int, Meta(ge=-180_000_000, le=180_000_000, description="WGS-84, millionths of a degree")
]


class NewStation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A station to add."""

    code: Code
    name_zh: Name
    name_en: NameEn = ""
    address: Text = ""
    latitude_e6: Latitude | None = None
    longitude_e6: Longitude | None = None
    opening_hours: Text = ""
    parking: LongText = ""
    phone: Phone = ""
    tariff_id: int | None = None
    is_open: bool = True


class StationChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a station; what is left out stays."""

    code: Code | UnsetType = UNSET
    name_zh: Name | UnsetType = UNSET
    name_en: NameEn | UnsetType = UNSET
    address: Text | UnsetType = UNSET
    latitude_e6: Latitude | UnsetType | None = UNSET
    longitude_e6: Longitude | UnsetType | None = UNSET
    opening_hours: Text | UnsetType = UNSET
    parking: LongText | UnsetType = UNSET
    phone: Phone | UnsetType = UNSET
    tariff_id: int | UnsetType | None = UNSET
    is_open: bool | UnsetType = UNSET


class StationView(msgspec.Struct, frozen=True):
    """A station as shown."""

    id: int
    code: str
    name_zh: str
    name_en: str
    address: str
    latitude_e6: int | None
    longitude_e6: int | None
    opening_hours: str
    parking: str
    phone: str
    tariff_id: int | None
    is_open: bool
    created_at: datetime
    updated_at: datetime


async def add_station(who: Who, new: NewStation) -> StationView:
    """Add a station; raises ConflictError, NotFoundError (tariff)."""
    await _check(who.operator_id, new.code, new.tariff_id, except_id=None)
    at = utc(who.at)
    values = msgspec.structs.asdict(new)
    row = await Station.create(operator_id=who.operator_id, created_at=at, updated_at=at, **values)
    await note(who, "station.add", "station", str(row.id), None, station_view(row))
    return station_view(row)


async def change_station(who: Who, station_id: int, change: StationChange) -> StationView:
    """Change a station; raises NotFoundError, ConflictError."""
    before = await get_station(who.operator_id, station_id)
    values = changed_values(change)
    await _check(who.operator_id, values.get("code"), values.get("tariff_id"), except_id=station_id)
    if values:
        rows = Station.filter(id=station_id, operator_id=who.operator_id)
        await rows.update(**values, updated_at=utc(who.at))
        after = await get_station(who.operator_id, station_id)
        await note(who, "station.change", "station", str(station_id), before, after)
        return after
    return before


async def get_station(operator_id: int, station_id: int) -> StationView:
    """One station; raises NotFoundError."""
    row = await Station.get_or_none(id=station_id, operator_id=operator_id)
    if row is None:
        raise NotFoundError(
            "station_not_found", "没有这个场站", f"station {station_id} does not exist", field="station_id"
        )
    return station_view(row)


async def find_station(operator_id: int, code: str) -> StationView | None:
    """The station with an operator's own code."""
    row = await Station.get_or_none(code=code, operator_id=operator_id)
    return None if row is None else station_view(row)


async def list_stations(
    operator_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[StationView]:
    """Stations, oldest first."""
    found, following = await page(Station.filter(operator_id=operator_id), "station", cursor, limit)
    return Page([station_view(row) for row in found], following)


async def load_stations() -> list[StationView]:
    """Every station of every operator, for the live picture."""
    return [station_view(row) for row in await Station.all().order_by("id")]


async def pile_codes_of_station(operator_id: int, station_id: int) -> list[str]:
    """Piles to tell when a station changes."""
    rows = Pile.filter(operator_id=operator_id, station_id=station_id, is_retired=False).order_by("id")
    return [str(code) for code in await rows.values_list("pile_code", flat=True)]


def changed_values(change: msgspec.Struct) -> dict[str, object]:
    """The fields of a change that were given."""
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}


async def must_be_own_tariff(operator_id: int, tariff_id: object) -> None:
    """Raise NotFoundError unless the tariff is None or one of the operator's."""
    if tariff_id is not None and not await Tariff.filter(id=tariff_id, operator_id=operator_id).exists():
        raise NotFoundError(
            "tariff_not_found", "没有这个计费模型", f"tariff {tariff_id} does not exist", field="tariff_id"
        )


async def _check(operator_id: int, code: object, tariff_id: object, except_id: int | None) -> None:
    await must_be_own_tariff(operator_id, tariff_id)
    same = Station.filter(operator_id=operator_id, code=code).exclude(id=except_id or 0)
    if code is not None and await same.exists():
        raise ConflictError(
            "station_exists", f"场站编码 {code} 已存在", f"station {code} exists already", field="code"
        )


def station_view(row: Station) -> StationView:
    """A row as it is shown."""
    return StationView(
        id=row.id,
        code=row.code,
        name_zh=row.name_zh,
        name_en=row.name_en,
        address=row.address,
        latitude_e6=row.latitude_e6,
        longitude_e6=row.longitude_e6,
        opening_hours=row.opening_hours,
        parking=row.parking,
        phone=row.phone,
        tariff_id=row.tariff_id,
        is_open=row.is_open,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
