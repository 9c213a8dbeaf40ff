"""Stations and guns as a driver finds them: near, with the price now and what is free."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.errors import NotFoundError
from pileward.http.admin.common import IdPath
from pileward.http.api import Access, Api
from pileward.http.driver.common import PREFIX, driver_of, now_of
from pileward.http.driver.refusals import gun_not_found
from pileward.http.node import NODE, Node
from pileward.http.paging import Page, PageQuery
from pileward.http.problems import InvalidFieldError
from pileward.http.schemas.driver import GunCount, GunRow, GunShown, StationRow, StationShown
from pileward.http.words import gun_words
from pileward.messages.live import GunView
from pileward.models.kinds import PileKind
from pileward.services import nearby, stations, tariffs
from pileward.services.day_prices import DayPrices, Price, day_prices, price_now
from pileward.services.nearby import PileBrief, StationNear
from pileward.services.paging import PAGE_MAX
from pileward.services.pile_configs import PileConfig
from pileward.services.piles import PileView, get_pile, list_piles
from pileward.services.tariffs import TariffView
from pileward.values import GUNS_MAX

api = Api(PREFIX, tag="司机：场站与枪 / drivers: stations and guns", access=Access.DRIVER)

FREE: Final = frozenset(("idle", "plugged"))
"""States of a gun at which nobody charges."""
ORDERABLE: Final = FREE | {"finished"}
"""A finished gun may be taken by the next driver, who plugs in within a minute."""

_CODE: Final = re.compile(r"[0-9A-Za-z_.\-]+$")
_YKC_CODE: Final = 16
"""Digits of a YKC gun: 14 of the pile, 2 of the gun (YKC 1.6, 0xF0)."""

Latitude = Annotated[
    int, Meta(ge=-90_000_000, le=90_000_000, description="WGS-84，百万分之一度 / 1e-6 degrees")
]
Longitude = Annotated[
    int, Meta(ge=-180_000_000, le=180_000_000, description="WGS-84，百万分之一度 / 1e-6 degrees")
]


class StationsQuery(PageQuery, frozen=True, kw_only=True):
    """Where the driver is; without it the list is in no order of distance."""

    latitude_e6: Latitude | None = None
    longitude_e6: Longitude | None = None


class CodeQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was scanned or typed."""

    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="枪编码，或以其结尾的网址 / gun code, or a URL ending in it",
        ),
    ]


class Place(msgspec.Struct, frozen=True):
    """A gun by pile and number."""

    pile: PileView
    gun_no: int


@api.get("/stations", summary="附近场站 / stations nearby")
async def find_stations(request: web.Request, query: StationsQuery) -> Page[StationRow]:
    """Open stations, the nearest first, with the price now (total first) and how many guns are free."""
    if (query.latitude_e6 is None) is not (query.longitude_e6 is None):
        missing = "latitude_e6" if query.latitude_e6 is None else "longitude_e6"
        raise InvalidFieldError(missing, "经纬度须同时给出", "give both or neither", "query")
    position = None
    if query.latitude_e6 is not None and query.longitude_e6 is not None:
        position = (query.latitude_e6, query.longitude_e6)
    found = await nearby.stations_near(
        driver_of(request).operator_id, position, cursor=query.cursor, limit=query.limit
    )
    piles = await nearby.piles_of_stations([item.station.id for item in found.items])
    prices = _Prices(request)
    rows = [
        _row(request, item, piles.get(item.station.id, []), await prices.now(item.station.tariff_id))
        for item in found.items
    ]
    return Page(rows, found.next_cursor)


@api.get("/stations/{id}", summary="一个场站 / one station")
async def view_station(request: web.Request, path: IdPath) -> StationShown:
    """One station: its guns as they are now, and the prices of today with the present one marked."""
    operator_id = driver_of(request).operator_id
    station = await stations.get_station(operator_id, path.id)
    piles = await _piles(operator_id, station.id)
    prices = _Prices(request)
    today = await prices.today(station.tariff_id)
    guns = []
    for pile in piles:
        is_own = pile.tariff_id is not None and pile.tariff_id != station.tariff_id
        own = await prices.today(pile.tariff_id) if is_own else None
        has_price = today is not None if not is_own else own is not None
        guns += [_gun(request, pile, number, own, has_price) for number in range(1, pile.gun_count + 1)]
    briefs = [PileBrief(pile.pile_code, pile.kind, pile.gun_count) for pile in piles]
    row = _row(request, StationNear(station, None), briefs, today.now if today is not None else None)
    return StationShown(row, today, guns)


@api.get("/guns/by-code", summary="扫码查枪 / gun by its code", problems=(404,))
async def find_gun(request: web.Request, query: CodeQuery) -> GunShown:
    """The gun that a QR code or typed number means: state now, place, prices of today."""
    place = await find_place(driver_of(request).operator_id, query.text)
    operator_id, pile = driver_of(request).operator_id, place.pile
    station = await stations.get_station(operator_id, pile.station_id)
    prices = _Prices(request)
    today = await prices.today(pile.tariff_id if pile.tariff_id is not None else station.tariff_id)
    briefs = (await nearby.piles_of_stations([station.id])).get(station.id, [])
    row = _row(request, StationNear(station, None), briefs, await prices.now(station.tariff_id))
    return GunShown(_gun(request, pile, place.gun_no, None, today is not None), row, today)


async def find_place(operator_id: int, text: str) -> Place:
    """The gun that a text names; raises RefusedError (gun_not_found).

    A text ends in pile code and gun number, two digits; what stands before is an operator's address. Where a
    pile has one gun, its code alone is enough.
    """
    found = _CODE.search(text.strip().rstrip("/"))
    for pile_code, gun_no in _readings(found[0]) if found is not None else ():
        try:
            pile = await get_pile(operator_id, pile_code)
        except NotFoundError:
            continue
        if pile.is_retired:
            continue
        if gun_no is None and pile.gun_count == 1:
            return Place(pile, 1)
        if gun_no is not None and 1 <= gun_no <= pile.gun_count:
            return Place(pile, gun_no)
    raise gun_not_found()


def find_config(node: Node, operator_id: int, text: str) -> tuple[PileConfig, int]:
    """The same from memory, for a pile that is in service: what its actor goes by, and the gun."""
    found = _CODE.search(text.strip().rstrip("/"))
    for pile_code, gun_no in _readings(found[0]) if found is not None else ():
        config = node.pile_config(pile_code)
        if config is None or config.operator_id != operator_id:
            continue
        if gun_no is None and config.gun_count == 1:
            return config, 1
        if gun_no is not None and 1 <= gun_no <= config.gun_count:
            return config, gun_no
    raise gun_not_found()


def _readings(run: str) -> list[tuple[str, int | None]]:
    """What a run of code letters may mean, the likeliest first."""
    readings: list[tuple[str, int | None]] = []
    for code in dict.fromkeys((run, run[-_YKC_CODE:])):
        if code[-2:].isdigit() and len(code) > 2:
            readings.append((code[:-2], int(code[-2:])))
    readings.append((run, None))
    readings.append((run[-(_YKC_CODE - 2) :], None))
    return [
        (pile_code, gun_no)
        for pile_code, gun_no in readings
        if len(pile_code) <= 36 and (gun_no is None or 1 <= gun_no <= GUNS_MAX)
    ]


class _Prices:
    """Prices of the tariffs that one answer needs, each looked up once."""

    def __init__(self, request: web.Request) -> None:
        self._operator_id = driver_of(request).operator_id
        self._now = now_of(request)
        self._known: dict[int, TariffView] = {}

    async def today(self, tariff_id: int | None) -> DayPrices | None:
        """The table of today; None where no tariff is in force."""
        tariff = await self._tariff(tariff_id)
        return day_prices(tariff, self._now) if tariff is not None else None

    async def now(self, tariff_id: int | None) -> Price | None:
        """The price at this moment."""
        tariff = await self._tariff(tariff_id)
        return price_now(tariff, self._now) if tariff is not None else None

    async def _tariff(self, tariff_id: int | None) -> TariffView | None:
        if tariff_id is None:
            return None
        if tariff_id not in self._known:
            self._known[tariff_id] = await tariffs.get_tariff(self._operator_id, tariff_id, self._now)
        return self._known[tariff_id]


async def _piles(operator_id: int, station_id: int) -> list[PileView]:
    """All piles in service of a station."""
    found: list[PileView] = []
    cursor = None
    while True:
        page = await list_piles(operator_id, station_id=station_id, cursor=cursor, limit=PAGE_MAX)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def _row(request: web.Request, near: StationNear, piles: list[PileBrief], price: Price | None) -> StationRow:
    """A station with its guns counted as they are now."""
    free: Counter[PileKind] = Counter()
    total: Counter[PileKind] = Counter()
    for pile in piles:
        shown = request.app[NODE].pile_shown(pile.pile_code)
        total[pile.kind] += pile.gun_count
        free[pile.kind] += sum(gun.state in FREE for gun in shown.guns) if shown is not None else 0
    station = near.station
    return StationRow(
        id=station.id,
        code=station.code,
        name_zh=station.name_zh,
        name_en=station.name_en,
        address=station.address,
        latitude_e6=station.latitude_e6,
        longitude_e6=station.longitude_e6,
        distance_m=near.distance_m,
        opening_hours=station.opening_hours,
        parking=station.parking,
        phone=station.phone,
        is_open=station.is_open,
        price=price,
        dc=GunCount(free[PileKind.DC], total[PileKind.DC]),
        ac=GunCount(free[PileKind.AC], total[PileKind.AC]),
    )


def _gun(
    request: web.Request, pile: PileView, gun_no: int, prices: DayPrices | None, has_price: bool
) -> GunRow:
    """A gun as its pile's actor last showed it."""
    shown = request.app[NODE].pile_shown(pile.pile_code)
    guns = shown.guns if shown is not None else ()
    view = next((gun for gun in guns if gun.gun_no == gun_no), GunView(gun_no, "unknown"))
    zh, en = gun_words(view.state)
    is_ready = shown is not None and shown.state == "online" and shown.tariff_ok
    return GunRow(
        gun_code=gun_code(pile.pile_code, gun_no),
        pile_code=pile.pile_code,
        gun_no=gun_no,
        pile_name=pile.name,
        kind=pile.kind.value,
        rated_power_w=pile.rated_power_w,
        state=view.state,
        state_zh=zh,
        state_en=en,
        can_order=is_ready and has_price and view.state in ORDERABLE,
        live=view,
        prices=prices,
    )


def gun_code(pile_code: str, gun_no: int) -> str:
    """What stands on a gun: its pile's code and its number, two digits."""
    return f"{pile_code}{gun_no:02d}"
