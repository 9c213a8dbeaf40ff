"""What all admin routes share: the prefix, whose data it is, and how a change is made known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.engine import Cell
from pileward.errors import NotFoundError
from pileward.http.auth import CALLER, who
from pileward.http.node import NODE
from pileward.services.audit import Who
from pileward.services.piles import get_pile

PREFIX: Final = "/api/admin/v1"

ID_MAX: Final = 2**63 - 1
"""What a row id can be; beyond it a database refuses to look."""

RowId = Annotated[int, Meta(ge=1, le=ID_MAX)]
Code = Annotated[
    str, Meta(min_length=1, max_length=36, pattern="^[0-9A-Za-z_.-]+$", description="桩号 / pile code")
]


class IdPath(msgspec.Struct, frozen=True):
    """A row by its id."""

    id: RowId


class PilePath(msgspec.Struct, frozen=True):
    """A pile by its own number."""

    pile_code: Code


def operator_of(request: web.Request) -> int:
    """Whose data the request may see."""
    return request[CALLER].operator_id


@asynccontextmanager
async def change(request: web.Request) -> AsyncIterator[Who]:
    """One transaction for one change, on behalf of the caller."""
    async with request.app[NODE].database.transaction():
        yield who(request)


async def tell(request: web.Request, kind: str, keys: Iterable[str]) -> None:
    """Tell the actors concerned that rows were changed; after the commit, never before."""
    node = request.app[NODE]
    for key in keys:
        await node.fleet_changed(kind, key)


async def own_actor(request: web.Request, pile_code: str) -> Cell:
    """The actor of a pile of the caller's operator; raises NotFoundError for any other code."""
    await get_pile(operator_of(request), pile_code)
    node = request.app[NODE]
    address = node.fleet.address_of(pile_code)
    if address is None:
        zh, en = f"桩 {pile_code} 已退役", f"pile {pile_code} is retired"
        raise NotFoundError("pile_retired", zh, en, field="pile_code")
    return node.engine.local(address)
