"""What all WebSockets share: opening, several tasks that end together, a bound on what clients may say."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from pileward.http.problems import HttpError

PING_S: Final = 20.0
SEND_WITHIN_S: Final = 20.0
"""A listener that takes no byte for so long is given up; its buffer is all that waits for it."""
HEARD_MAX: Final = 1_000
"""Messages that a client may send on a connection where nothing is expected of it."""
MOST_SOCKETS: Final = 500
"""WebSockets of people in this process; each costs an open file that a pile could have had."""

_SOCKETS: Final = web.AppKey("websockets", set[web.WebSocketResponse])


def prepare(app: web.Application) -> None:
    """Keep account of the open sockets of an application, and close them when it stops."""
    app[_SOCKETS] = set()
    app.on_shutdown.append(_close_all)


async def serve(
    request: web.Request, *work: Coroutine[Any, Any, None], socket: web.WebSocketResponse
) -> None:
    """Run the work of one opened socket until any of it ends or the client goes."""
    sockets = request.app[_SOCKETS]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in (*work, _listen(socket))]
    sockets.add(socket)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sockets.discard(socket)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()
    for task in done:
        error = task.exception()
        # A client that goes away, or that takes nothing more, is no failure of ours.
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            raise error


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    """Answer the handshake; raises HttpError for what is none, comes from another site, or is too many."""
    socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=4096, timeout=5.0)
    if not socket.can_prepare(request).ok:
        raise HttpError("websocket_required", headers={"Upgrade": "websocket"})
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise HttpError("foreign_origin")
    if len(request.app[_SOCKETS]) >= MOST_SOCKETS:
        raise HttpError("too_many_requests", headers={"Retry-After": "30"})
    await socket.prepare(request)
    return socket


async def send(socket: web.WebSocketResponse, message: bytes) -> None:
    """Send one JSON message as text; raises TimeoutError when the client takes nothing."""
    async with asyncio.timeout(SEND_WITHIN_S):
        await socket.send_str(message.decode())


async def _listen(socket: web.WebSocketResponse) -> None:
    """Take what the client says, for its close and its pongs; nothing else is expected."""
    heard = 0
    async for message in socket:
        heard += 1
        if message.type is WSMsgType.ERROR or heard > HEARD_MAX:
            break


async def _close_all(app: web.Application) -> None:
    sockets = app[_SOCKETS]
    for socket in tuple(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"server stops")
