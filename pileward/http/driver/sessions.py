"""Orders of the calling driver: start, stop, give up, look at. Each command has one outcome, at once."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta

from pileward.http.api import Access, Api
from pileward.http.driver.common import (
    PREFIX,
    SerialPath,
    driver_of,
    own_session,
    pile_actor,
)
from pileward.http.driver.refusals import REFUNDED, RefusedError, refusal_of
from pileward.http.driver.showing import brief, show
from pileward.http.idempotency import MayBeKeyed, once
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery
from pileward.http.schemas.driver import Accepted, Current, SessionBrief, SessionShown
from pileward.http.words import SESSION_STATES
from pileward.messages.charging import OVER, SessionRow, SessionState
from pileward.messages.commands import Command, Outcome
from pileward.messages.sessions import CancelOrder, StartSession, StopSession
from pileward.services.nearby import station_names
from pileward.services.sessions import open_serial_of_driver, sessions_of_driver
from pileward.values import ResultStatus

api = Api(PREFIX, tag="司机：充电 / drivers: charging", access=Access.DRIVER)

COMMAND_S: Final = 10.0
"""Real seconds: the answer comes as soon as the step is durable."""

_PROBLEMS: Final = (404, 409, 503, 504)
_ENDS_ORDER: Final = frozenset(("pile_offline", "gun_fault", "gun_busy", "gun_offline", "in_maintenance"))
"""A start that is refused for one of these has ended its order: the money is on its way back."""


class Which(enum.StrEnum):
    """Which orders."""

    OPEN = "open"
    CLOSED = "closed"


class SessionsQuery(PageQuery, frozen=True, kw_only=True):
    """Which orders."""

    state: Annotated[Which, Meta(description="open 进行中 / closed 已结束")] | None = None


@api.get("/sessions", summary="我的订单 / my orders")
async def list_my_sessions(request: web.Request, query: SessionsQuery) -> Page[SessionBrief]:
    """The driver's orders, newest first; open ones are those to which something may still happen."""
    found = await sessions_of_driver(
        driver_of(request).driver_id,
        is_over=None if query.state is None else query.state is Which.CLOSED,
        cursor=query.cursor,
        limit=query.limit,
    )
    names = await station_names(row.station_id for row in found.items)
    return Page([brief(row, names) for row in found.items], found.next_cursor)


@api.get("/sessions/current", summary="进行中的订单 / my open order")
async def view_my_current_session(request: web.Request) -> Current:
    """The order that occupies a gun for this driver; null when there is none."""
    driver_id = driver_of(request).driver_id
    serial = await open_serial_of_driver(request.app[NODE].database.connection, driver_id)
    if serial is None:
        return Current(None)
    return Current(await show(request, await own_session(request, serial)))


@api.get("/sessions/{serial}", summary="一个订单 / one order", problems=(404,))
async def view_my_session(request: web.Request, path: SerialPath) -> SessionShown:
    """One order: live values with their age while it charges, then its bill by period and its refunds."""
    return await show(request, await own_session(request, path.serial))


@api.post("/sessions/{serial}/start", summary="启动充电 / start charging", status=202, problems=_PROBLEMS)
async def start_my_session(request: web.Request, path: SerialPath, headers: MayBeKeyed) -> Accepted:
    """Start a paid order. 202: stored, and the command is on its way to the pile; then look at the order.

    A vehicle that is not plugged in yet has a minute. When it does not start, everything is paid back.
    """
    driver_id = driver_of(request).driver_id

    async def work(_: bool) -> Accepted:
        return await _command(request, path.serial, StartSession(path.serial, driver_id))

    accepted: Accepted = await once(request, headers.idempotency_key, None, work)
    return accepted


@api.post("/sessions/{serial}/stop", summary="停止充电 / stop charging", status=202, problems=_PROBLEMS)
async def stop_my_session(request: web.Request, path: SerialPath, headers: MayBeKeyed) -> Accepted:
    """Stop the charge; asking again while it stops is no error. What is not used comes back by itself."""
    driver_id = driver_of(request).driver_id

    async def work(_: bool) -> Accepted:
        return await _command(request, path.serial, StopSession(path.serial, driver_id))

    accepted: Accepted = await once(request, headers.idempotency_key, None, work)
    return accepted


@api.post("/sessions/{serial}/cancel", summary="取消订单 / give up an order", status=202, problems=_PROBLEMS)
async def cancel_my_session(request: web.Request, path: SerialPath, headers: MayBeKeyed) -> Accepted:
    """Give up an order that does not charge yet; what was paid comes back whole."""
    driver_id = driver_of(request).driver_id

    async def work(_: bool) -> Accepted:
        return await _command(request, path.serial, CancelOrder(path.serial, driver_id))

    accepted: Accepted = await once(request, headers.idempotency_key, None, work)
    return accepted


async def _command(request: web.Request, serial: str, command: Command) -> Accepted:
    """Ask the pile's actor; the state in the answer is the one that is durable now."""
    node = request.app[NODE]
    row = await own_session(request, serial)
    address = pile_actor(request, row.pile_code)
    answer: Any = None
    if address is not None and row.state not in OVER:
        answer = await node.engine.ask_async(address, command, COMMAND_S)
        assert isinstance(answer, Outcome), answer
    if answer is None or answer.reason == "unknown_session":
        # nobody lives who could be asked: what the rows say decides
        return _without_actor(await own_session(request, serial), command)
    if answer.status is not ResultStatus.ACCEPTED:
        if isinstance(command, StartSession) and answer.reason in _ENDS_ORDER:
            refusal = refusal_of(answer)
            message = f"{refusal.message}；{REFUNDED}"
            raise RefusedError(
                refusal.code, status=refusal.status, message=message, next="wait_refund", serial=serial
            )
        raise refusal_of(answer, serial=serial)
    return _accepted(await own_session(request, serial))


def _without_actor(row: SessionRow, command: Command) -> Accepted:
    """The answer about an order that is over, or whose pile is out of service."""
    state = row.state
    if isinstance(command, CancelOrder) and state in (SessionState.CANCELLED, SessionState.START_FAILED):
        return _accepted(row)
    if state in OVER:
        code = "not_charging" if isinstance(command, StopSession) else "order_over"
        raise RefusedError(code, serial=row.serial, state=state.word)
    raise RefusedError("pile_offline", serial=row.serial, state=state.word)


def _accepted(row: SessionRow) -> Accepted:
    zh, en = SESSION_STATES[row.state]
    return Accepted(row.serial, row.state.word, zh, en)
