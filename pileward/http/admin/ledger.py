"""The books: entries of a charge, balances, and the proof that all adds up."""

from __future__ import annotations

import msgspec
from aiohttp import web

from pileward.http.admin.common import PREFIX, operator_of
from pileward.http.admin.sessions import SerialPath
from pileward.http.api import Api
from pileward.http.node import NODE
from pileward.services.balance_sheet import BalanceSheet, balance_sheet
from pileward.services.ledger import Difference, EntryView, check_books, entries_of
from pileward.services.sessions import session_by_serial

api = Api(PREFIX, tag="总账 / ledger")


class Proof(msgspec.Struct, frozen=True):
    """What does not agree in the books; nothing, when all is well."""

    is_right: bool
    differences: list[Difference]


@api.get("/sessions/{serial}/entries", summary="订单分录 / ledger entries of a charge")
async def list_entries(request: web.Request, path: SerialPath) -> list[EntryView]:
    """Every movement of money for a charge, in the order in which they were made."""
    row = await session_by_serial(path.serial, operator_id=operator_of(request))
    return await entries_of(row.serial)


@api.get("/ledger/balances", summary="余额 / balances")
async def get_balances(request: web.Request) -> BalanceSheet:
    """The accounts at this moment; their sum is 0."""
    return await balance_sheet(request.app[NODE].database.connection, operator_of(request))


@api.post("/ledger/check", summary="账务自检 / prove the books")
async def check_ledger(request: web.Request) -> Proof:
    """Compare balances with entries, revenue with bills, refunds with what is on its way. Walks all rows."""
    node = request.app[NODE]
    async with node.database.transaction() as connection:  # one picture of all tables
        found = await check_books(connection)
    return Proof(not found, found)
