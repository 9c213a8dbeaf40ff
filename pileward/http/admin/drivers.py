"""Drivers: list, keep from ordering, what they owe."""

from __future__ import annotations

import msgspec
from aiohttp import web

from pileward.http.admin.common import PREFIX, IdPath, change, operator_of
from pileward.http.admin.sessions import SerialPath
from pileward.http.api import Api
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import debts, drivers
from pileward.services.debts import DebtView
from pileward.services.drivers import DriverView

api = Api(PREFIX, tag="司机 / drivers")


class Blocking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a driver may order."""

    is_blocked: bool


@api.get("/drivers", summary="司机列表 / list drivers")
async def list_drivers(request: web.Request, query: PageQuery) -> Page[DriverView]:
    """Drivers, newest first."""
    return page_of(await drivers.list_drivers(operator_of(request), cursor=query.cursor, limit=query.limit))


@api.get("/drivers/{id}", summary="一位司机 / one driver")
async def get_driver(request: web.Request, path: IdPath) -> DriverView:
    """One driver."""
    return await drivers.get_driver(path.id, operator_id=operator_of(request))


@api.post("/drivers/{id}/block", summary="停用或恢复 / block a driver")
async def block_driver(request: web.Request, path: IdPath, body: Blocking) -> DriverView:
    """A blocked driver orders nothing more; a charge under way goes on and can be stopped."""
    async with change(request) as person:
        return await drivers.block_driver(person, path.id, body.is_blocked)


@api.get("/debts", summary="欠款列表 / list debts")
async def list_debts(request: web.Request, query: PageQuery) -> Page[DebtView]:
    """What drivers owe, newest first; open debts only."""
    return page_of(await debts.list_debts(operator_of(request), cursor=query.cursor, limit=query.limit))


@api.post("/debts/{serial}/waive", summary="免除欠款 / waive a debt")
async def waive_debt(request: web.Request, path: SerialPath) -> DebtView:
    """The operator bears what a driver owes for a charge."""
    async with change(request) as person:
        connection = request.app[NODE].database.connection
        return await debts.waive_debt(connection, person, path.serial)
