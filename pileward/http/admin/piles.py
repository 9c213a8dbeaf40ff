"""Piles: add, list, get with live state, change, maintenance, retire."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.engine import AskError
from pileward.http.admin.common import PREFIX, PilePath, RowId, change, operator_of, tell
from pileward.http.api import Api
from pileward.http.node import NODE, Node
from pileward.http.paging import Page, PageQuery
from pileward.http.schemas.piles import PileLive, PileShown
from pileward.messages.commands import DescribePile, PileDescription
from pileward.services import piles
from pileward.services.piles import NewPile, PileChange, PileView

api = Api(PREFIX, tag="桩 / piles")

DESCRIBE_S: Final = 2.0
"""Real seconds for an actor to say how it is; it needs microseconds."""


class PilesQuery(PageQuery, frozen=True, kw_only=True):
    """Which piles."""

    station_id: RowId | None = None
    with_retired: Annotated[bool, Meta(description="含已退役 / retired ones too")] = False


class Maintenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Into maintenance, or out of it."""

    is_in_maintenance: bool


@api.post("/piles", summary="登记桩 / add a pile", status=201, problems=(404, 409))
async def add_pile(request: web.Request, body: NewPile) -> PileShown:
    """Register a pile. Its actor is there when the answer comes: the pile may connect at once."""
    async with change(request) as who:
        pile = await piles.add_pile(who, body)
    await tell(request, "pile", [pile.pile_code])
    return await _show(request.app[NODE], pile)


@api.get("/piles", summary="桩列表 / list piles")
async def list_piles(request: web.Request, query: PilesQuery) -> Page[PileShown]:
    """Piles with their live state, in the order of registration."""
    node = request.app[NODE]
    found = await piles.list_piles(
        operator_of(request),
        station_id=query.station_id,
        with_retired=query.with_retired,
        cursor=query.cursor,
        limit=query.limit,
    )
    shown = await asyncio.gather(*(_show(node, pile) for pile in found.items))
    return Page(shown, found.next_cursor)


@api.get("/piles/{pile_code}", summary="一台桩 / one pile")
async def get_pile(request: web.Request, path: PilePath) -> PileShown:
    """One pile, retired or not, with its live state."""
    pile = await piles.get_pile(operator_of(request), path.pile_code)
    return await _show(request.app[NODE], pile)


@api.patch("/piles/{pile_code}", summary="修改桩 / change a pile", problems=(409,))
async def change_pile(request: web.Request, path: PilePath, body: PileChange) -> PileShown:
    """Change the fields that are given; `tariff_id` null means the station's tariff again."""
    return await _change(request, path.pile_code, body)


@api.post("/piles/{pile_code}/maintenance", summary="进入或结束维护 / maintenance")
async def set_maintenance(request: web.Request, path: PilePath, body: Maintenance) -> PileShown:
    """Guns of a pile in maintenance are shown so and start no charge; a running one ends as usual."""
    return await _change(request, path.pile_code, PileChange(is_in_maintenance=body.is_in_maintenance))


@api.post("/piles/{pile_code}/retire", summary="退役 / retire")
async def retire_pile(request: web.Request, path: PilePath) -> PileShown:
    """Take a pile out for good: its actor ends, its connection is closed, its records stay."""
    return await _change(request, path.pile_code, PileChange(is_retired=True))


async def describe(node: Node, pile_code: str) -> PileLive | None:
    """What a pile's actor says; None when there is none or it does not answer."""
    address = node.fleet.address_of(pile_code)
    if address is None:
        return None
    try:
        answer = await node.engine.ask_async(address, DescribePile(), DESCRIBE_S)
    except AskError:
        return None
    assert isinstance(answer, PileDescription), answer
    return msgspec.convert(answer.data, PileLive)


async def _change(request: web.Request, pile_code: str, wanted: PileChange) -> PileShown:
    async with change(request) as who:
        pile = await piles.change_pile(who, pile_code, wanted)
    await tell(request, "pile", [pile.pile_code])
    return await _show(request.app[NODE], pile)


async def _show(node: Node, pile: PileView) -> PileShown:
    return PileShown(pile, await describe(node, pile.pile_code))
