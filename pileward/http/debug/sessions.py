"""One charge from inside: what is durable of it, and what its actor says while it lives."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from pileward.actors.engine import ActorInfo, Cell, Engine
from pileward.http.admin.common import operator_of
from pileward.http.admin.sessions import SerialPath, charge_of
from pileward.http.api import Access, Api
from pileward.http.node import NODE
from pileward.http.schemas.sessions import ChargeInside, TimerRow
from pileward.services.sessions import facts_of, session_by_serial

api = Api("/debug", tag="调试 / debug", access=Access.OPERATOR_BROWSER)

ORDERS_MAX: Final = 500
"""Actors below one pile that are looked through; a pile has one a gun, and those that wait for a refund."""


@api.get("/sessions/{serial}", summary="一个充电订单的内部 / one charge from inside", problems=(404,))
async def inspect_charge(request: web.Request, path: SerialPath) -> ChargeInside:
    """State and transitions, timers, payments, refunds in the outbox, ledger entries, vehicle's values."""
    node = request.app[NODE]
    row = await session_by_serial(path.serial, operator_id=operator_of(request))
    charge = await charge_of(request, row)
    facts = await facts_of(node.database.connection, row.serial)
    found = _actor(node.engine, node.fleet.address_of(row.pile_code), row.serial)
    if found is None:
        return ChargeInside(charge, "session", row.state.word, None, None, [], facts)
    cell, info = found
    timers = [TimerRow(name, round(due, 1)) for name, due in node.engine.timers.named(cell).items()]
    return ChargeInside(charge, "session", info.state, info.path, info.detail, timers, facts)


def _actor(engine: Engine, address: Any, serial: str) -> tuple[Cell, ActorInfo] | None:
    """The actor of a charge, below that of its pile; None when it is over."""
    if address is None:
        return None
    for cell in engine.children(engine.local(address), 0, ORDERS_MAX):
        info = engine.info(cell)
        if info is not None and info.detail.get("serial") == serial:
            return cell, info
    return None
