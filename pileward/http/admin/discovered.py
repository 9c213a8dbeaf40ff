"""Piles that tried to log in without being registered: list, adopt."""

from __future__ import annotations

from aiohttp import web

from pileward.http.admin.common import PREFIX, PilePath, change, tell
from pileward.http.admin.piles import describe
from pileward.http.api import Api
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery, page_of
from pileward.http.schemas.piles import PileShown
from pileward.services import discovered, piles
from pileward.services.discovered import DiscoveredView
from pileward.services.piles import AdoptedPile

api = Api(PREFIX, tag="发现的桩 / discovered piles")


@api.get("/discovered-piles", summary="发现的桩 / discovered piles")
async def list_discovered_piles(request: web.Request, query: PageQuery) -> Page[DiscoveredView]:
    """Pile codes that knocked and were refused, the last discovered first; at most 1,000 are kept."""
    return page_of(await discovered.list_discovered(cursor=query.cursor, limit=query.limit))


@api.post(
    "/discovered-piles/{pile_code}/adopt", summary="接纳 / adopt a pile", status=201, problems=(404, 409)
)
async def adopt_pile(request: web.Request, path: PilePath, body: AdoptedPile) -> PileShown:
    """Register a discovered pile; what is left out is what the pile said of itself."""
    async with change(request) as who:
        pile = await piles.adopt_pile(who, path.pile_code, body)
    await tell(request, "pile", [pile.pile_code])
    return PileShown(pile, await describe(request.app[NODE], pile.pile_code))
