"""Tariffs: create, list, get, change by a new version, assign, and what each pile holds of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.http.admin.common import PREFIX, Code, IdPath, RowId, change, operator_of, tell
from pileward.http.admin.piles import describe
from pileward.http.api import Api
from pileward.http.node import NODE, Node
from pileward.http.paging import Page, PageQuery, page_of
from pileward.http.schemas.piles import TariffPush
from pileward.services import piles, stations, tariffs
from pileward.services.paging import cursor_of, row_of
from pileward.services.piles import PileChange
from pileward.services.stations import StationChange
from pileward.services.tariffs import TariffTerms, TariffView, VersionView

api = Api(PREFIX, tag="计费模型 / tariffs")

_PUSHES: Final = "tariff_piles"
"""Kind of cursor; its number is the place among the piles, in the order of registration."""

Moment = Annotated[
    datetime, Meta(tz=True, description="生效时间，缺省立即 / in force from, at once when left out")
]


class NewTariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tariff to create."""

    name: tariffs.Name
    terms: TariffTerms
    effective_at: Moment | None = None


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New prices of a tariff."""

    terms: TariffTerms
    effective_at: Moment | None = None


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stations and piles to bind."""

    station_ids: Annotated[list[RowId], Meta(max_length=200)] = []
    pile_codes: Annotated[list[Code], Meta(max_length=1_000)] = []


@api.post("/tariffs", summary="新建计费模型 / create a tariff", status=201, problems=(409,))
async def create_tariff(request: web.Request, body: NewTariff) -> TariffView:
    """Create a tariff with its first version; stations and piles are bound to it afterwards."""
    async with change(request) as who:
        return await tariffs.create_tariff(who, body.name, body.terms, body.effective_at)


@api.get("/tariffs", summary="计费模型列表 / list tariffs")
async def list_tariffs(request: web.Request, query: PageQuery) -> Page[TariffView]:
    """Tariffs, oldest first, each with the version in force and the one planned."""
    now = request.app[NODE].engine.clock.utc()
    found = await tariffs.list_tariffs(operator_of(request), now, cursor=query.cursor, limit=query.limit)
    return page_of(found)


@api.get("/tariffs/{id}", summary="一个计费模型 / one tariff")
async def get_tariff(request: web.Request, path: IdPath) -> TariffView:
    """One tariff."""
    return await tariffs.get_tariff(operator_of(request), path.id, request.app[NODE].engine.clock.utc())


@api.post("/tariffs/{id}/versions", summary="改价 / change the prices", status=201, problems=(409,))
async def add_tariff_version(request: web.Request, path: IdPath, body: NewVersion) -> TariffView:
    """A version never changes: new prices are a new version with a new number, which every pile gets."""
    async with change(request) as who:
        tariff = await tariffs.add_version(who, path.id, body.terms, body.effective_at)
    await tell(request, "tariff", [str(tariff.id)])
    return tariff


@api.get("/tariffs/{id}/versions", summary="历史版本 / versions")
async def list_tariff_versions(request: web.Request, path: IdPath, query: PageQuery) -> Page[VersionView]:
    """All versions, newest first."""
    found = await tariffs.list_versions(operator_of(request), path.id, cursor=query.cursor, limit=query.limit)
    return page_of(found)


@api.post("/tariffs/{id}/assign", summary="绑定场站或桩 / assign to stations and piles", problems=(409,))
async def assign_tariff(request: web.Request, path: IdPath, body: Assignment) -> TariffView:
    """Bind stations and piles to a tariff, all or none; each pile concerned gets it when it is idle."""
    async with change(request) as who:
        tariff = await tariffs.get_tariff(who.operator_id, path.id, who.at)
        for station_id in body.station_ids:
            await stations.change_station(who, station_id, StationChange(tariff_id=tariff.id))
        for pile_code in body.pile_codes:
            await piles.change_pile(who, pile_code, PileChange(tariff_id=tariff.id))
    await tell(request, "tariff", [str(tariff.id)])
    return tariff


@api.get("/tariffs/{id}/piles", summary="下发状态 / push state by pile")
async def list_tariff_piles(request: web.Request, path: IdPath, query: PageQuery) -> Page[TariffPush]:
    """The piles bound to a tariff: the number each should hold, and the one it has proven to hold."""
    node = request.app[NODE]
    operator_id = operator_of(request)
    await tariffs.get_tariff(operator_id, path.id, node.engine.clock.utc())
    codes = await tariffs.pile_codes_of_tariff(operator_id, path.id)
    offset = row_of(_PUSHES, query.cursor) if query.cursor is not None else 0
    end = offset + query.limit
    shown = await asyncio.gather(*(_push(node, code) for code in codes[offset:end]))
    return Page(shown, cursor_of(_PUSHES, end) if end < len(codes) else None)


async def _push(node: Node, pile_code: str) -> TariffPush:
    live = await describe(node, pile_code)
    if live is None:
        return TariffPush(pile_code, "", None, None, is_confirmed=False)
    wanted, held = live.wanted_billing_model_no, live.held_billing_model_no
    is_confirmed = wanted is not None and held == wanted
    return TariffPush(pile_code, live.state, wanted, held, is_confirmed)
