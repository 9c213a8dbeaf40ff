"""What all driver routes share: the prefix, who calls, whose order it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.engine import Cell
from pileward.errors import NotFoundError
from pileward.http.auth import DRIVER
from pileward.http.driver.refusals import session_not_found
from pileward.http.driver.tokens import DriverCaller
from pileward.http.node import NODE
from pileward.messages.charging import SessionRow
from pileward.services.sessions import session_by_serial

PREFIX: Final = "/api/driver/v1"

Serial = Annotated[str, Meta(pattern="^[0-9]{20}$", description="交易流水号 / serial of the order")]


class SerialPath(msgspec.Struct, frozen=True):
    """An order by its serial."""

    serial: Serial


def driver_of(request: web.Request) -> DriverCaller:
    """Who calls."""
    return request[DRIVER]


def now_of(request: web.Request) -> datetime:
    """The moment, by the clock of actors and records."""
    return request.app[NODE].engine.clock.utc()


async def own_session(request: web.Request, serial: str) -> SessionRow:
    """An order of the calling driver; any other is not found."""
    try:
        return await session_by_serial(serial, driver_id=driver_of(request).driver_id)
    except NotFoundError:
        raise session_not_found() from None


def pile_actor(request: web.Request, pile_code: str) -> Cell | None:
    """The actor of a pile; None for one that is not in service."""
    node = request.app[NODE]
    address = node.fleet.address_of(pile_code)
    return None if address is None else node.engine.local(address)
