"""The actor tree, one actor, and the transition tables. Reads what the engine knows; sends no message."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors import gun_machine, pile_machine, session_machine
from pileward.actors.engine import ActorInfo, Cell, Engine
from pileward.actors.pile_state import PileStatus
from pileward.errors import NotFoundError
from pileward.http.admin.common import PilePath, own_actor
from pileward.http.api import Access, Api
from pileward.http.node import NODE, Node
from pileward.http.paging import Page, PageQuery
from pileward.http.schemas.debug import (
    ActorDetail,
    ActorRow,
    ActorTree,
    EngineCounts,
    Machine,
    MachineEdge,
)
from pileward.messages.charging import SessionState
from pileward.services.paging import cursor_of, row_of

api = Api("/debug", tag="调试 / debug", access=Access.OPERATOR_BROWSER)

_TREE: Final = "actors"
"""Kind of cursor; its number is the place among the children, oldest first."""

ActorPath = Annotated[str, Meta(max_length=400, description="如 / as in `/Fleet~1/Pile~7`")]


class TreeQuery(PageQuery, frozen=True, kw_only=True):
    """Which level of the tree."""

    path: ActorPath = ""
    """Empty: the top."""


class ActorQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which actor."""

    path: ActorPath


@api.get("/actors", summary="执行者树的一层 / one level of the actor tree", problems=(404,))
async def list_actors(request: web.Request, query: TreeQuery) -> ActorTree:
    """Actors below `path` (the top without one), oldest first, with counts; and the engine as a whole."""
    node = request.app[NODE]
    engine = node.engine
    parent = _find(engine, query.path) if query.path.strip("/") else None
    offset = row_of(_TREE, query.cursor) if query.cursor is not None else 0
    cells = engine.children(parent, offset, query.limit + 1)
    rows = [row for cell in cells[: query.limit] if (row := _row(engine, cell)) is not None]
    following = cursor_of(_TREE, offset + query.limit) if len(cells) > query.limit else None
    actor = _row(engine, parent) if parent is not None else None
    return ActorTree(_counts(node), actor, Page(rows, following))


@api.get("/actor", summary="一个执行者 / one actor", problems=(404,))
async def get_actor(request: web.Request, query: ActorQuery) -> ActorDetail:
    """State, mailbox, counters, last error; in `info.detail` what it says of itself, with its last
    transitions.
    """
    engine = request.app[NODE].engine
    cell = _find(engine, query.path)
    return _detail(engine, cell)


@api.get("/piles/{pile_code}", summary="一台桩的执行者 / the actor of one pile", problems=(404,))
async def get_pile_actor(request: web.Request, path: PilePath) -> ActorDetail:
    """The same as for any actor, found by the pile's code."""
    cell = await own_actor(request, path.pile_code)
    return _detail(request.app[NODE].engine, cell)


@api.get("/machines", summary="状态机的转换表 / transition tables")
async def list_machines(request: web.Request) -> list[Machine]:
    """The tables that piles, guns and charges follow, as data; the page draws its diagrams from them."""
    return MACHINES


def _find(engine: Engine, path: str) -> Cell:
    cell = engine.find(path)
    if cell is None:
        raise NotFoundError("unknown_actor", "没有这个执行者", f"no actor at {path}", field="path")
    return cell


def _detail(engine: Engine, cell: Cell) -> ActorDetail:
    info = engine.info(cell)
    if info is None:
        raise NotFoundError("unknown_actor", "执行者已退出", "the actor has exited", field="path")
    parent = cell.parent
    return ActorDetail(info, parent.path if parent is not None and parent.number else None)


def _row(engine: Engine, cell: Cell) -> ActorRow | None:
    info = engine.info(cell)
    return _shorten(info) if info is not None else None


def _shorten(info: ActorInfo) -> ActorRow:
    label = (
        info.detail.get("serial")
        or info.detail.get("pile_code")
        or info.detail.get("peer")
        or info.global_name
        or ""
    )
    return ActorRow(
        path=info.path,
        actor_class=info.actor_class,
        label=str(label),
        state=info.state,
        children=info.children,
        mailbox_depth=info.mailbox_depth,
        handled=info.handled,
        failures=info.failures,
        restarts=info.restarts,
        is_quarantined=info.is_quarantined,
        last_error=info.last_error,
        age_s=round(info.age_s, 1),
    )


def _counts(node: Node) -> EngineCounts:
    engine = node.engine
    return EngineCounts(
        started_at=node.started_at,
        now=engine.clock.utc(),
        clock_rate=engine.clock.rate,
        handled=engine.handled,
        waiting=engine.waiting,
        failures=engine.failures.count,
        quarantined=[cell.path for cell in engine.quarantined],
        dead_letters=engine.dead_letters,
        overflows=engine.overflows,
        piles=len(node.fleet),
    )


def _pile_table() -> Machine:
    edges = [
        MachineEdge(
            rule.state.name.lower(),
            rule.event.__name__,
            "" if rule.guard is pile_machine.always else rule.guard.__name__,
            rule.target.name.lower(),
        )
        for rule in pile_machine.RULES
    ]
    ignored = {
        f"{state.name.lower()}/{event.__name__}": why for (state, event), why in pile_machine.IGNORED.items()
    }
    return Machine("pile", [state.name.lower() for state in PileStatus], edges, ignored)


def _gun_table() -> Machine:
    edges = [
        MachineEdge(state.name.lower(), event.name.lower(), "", target.name.lower())
        for (state, event), target in gun_machine.RULES.items()
    ]
    ignored = {
        f"{state.name.lower()}/{event.name.lower()}": why
        for (state, event), why in gun_machine.IGNORED.items()
    }
    return Machine("gun", [state.name.lower() for state in gun_machine.REPORTED], edges, ignored)


def _session_table() -> Machine:
    edges = [
        MachineEdge(
            rule.state.word,
            rule.event.__name__,
            "" if rule.guard is session_machine.always else rule.guard.__name__,
            target.word,
        )
        for rule in session_machine.RULES
        for target in ((rule.target,) if rule.target is not None else sorted(session_machine.TARGETS))
    ]
    ignored = {
        f"{state.word}/{event.__name__}": why for (state, event), why in session_machine.IGNORED.items()
    }
    return Machine("session", [state.word for state in SessionState], edges, ignored)


MACHINES: Final = [_pile_table(), _gun_table(), _session_table()]
