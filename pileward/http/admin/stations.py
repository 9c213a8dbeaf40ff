"""Stations: create, list, get, change."""

from __future__ import annotations

from aiohttp import web

from pileward.http.admin.common import PREFIX, IdPath, change, operator_of, tell
from pileward.http.api import Api
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import stations
from pileward.services.stations import NewStation, StationChange, StationView

api = Api(PREFIX, tag="场站 / stations")


@api.post("/stations", summary="新建场站 / create a station", status=201, problems=(404, 409))
async def create_station(request: web.Request, body: NewStation) -> StationView:
    """Create a station; its code is the operator's own and unique."""
    async with change(request) as who:
        station = await stations.add_station(who, body)
    await tell(request, "station", [str(station.id)])
    return station


@api.get("/stations", summary="场站列表 / list stations")
async def list_stations(request: web.Request, query: PageQuery) -> Page[StationView]:
    """Stations, oldest first."""
    found = await stations.list_stations(operator_of(request), cursor=query.cursor, limit=query.limit)
    return page_of(found)


@api.get("/stations/{id}", summary="一个场站 / one station")
async def get_station(request: web.Request, path: IdPath) -> StationView:
    """One station."""
    return await stations.get_station(operator_of(request), path.id)


@api.patch("/stations/{id}", summary="修改场站 / change a station", problems=(409,))
async def change_station(request: web.Request, path: IdPath, body: StationChange) -> StationView:
    """Change the fields that are given; piles without a tariff of their own follow the station's."""
    async with change(request) as who:
        station = await stations.change_station(who, path.id, body)
    await tell(request, "station", [str(station.id)])
    return station
