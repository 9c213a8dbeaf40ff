"""One order live: the same picture as `GET /sessions/{serial}`, sent again whenever it changes.

The session's actor says on a topic of its own that there is something new, and then the picture is taken
again, at most once a second; without a word it is taken again every few seconds, so that nothing depends on
the feed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec
from aiohttp import web

from pileward.http import websockets
from pileward.http.api import Access, Api
from pileward.http.driver.common import PREFIX, SerialPath, own_session
from pileward.http.driver.showing import show
from pileward.http.node import NODE
from pileward.messages.charging import OVER
from pileward.ports import Subscription, session_topic

api = Api(PREFIX, tag="司机：充电 / drivers: charging", access=Access.DRIVER)

LEAST_S: Final = 1.0
"""Real seconds between two pictures."""
LOOK_S: Final = 5.0
"""Real seconds after which it is looked at again without a word."""
TICK_S: Final = 10.0
"""Something is sent at least this often, so that an app notices a connection that is gone."""
QUEUE: Final = 16

_encoder = msgspec.json.Encoder()


@api.get(
    "/sessions/{serial}/live",
    summary="订单实时（WebSocket）/ one order live (WebSocket)",
    status=101,
    problems=(404, 426, 429),
)
async def watch_my_session(request: web.Request, path: SerialPath) -> web.WebSocketResponse:
    """The order as JSON text messages, at once and at each change; ends when the order is over."""
    await own_session(request, path.serial)
    socket = await websockets.open_socket(request)
    async with request.app[NODE].bus.subscribe(session_topic(path.serial), limit=QUEUE) as events:
        news = asyncio.Event()
        await websockets.serve(
            request, _listen(events, news), _tell(request, path.serial, news, socket), socket=socket
        )
    return socket


async def _listen(events: Subscription, news: asyncio.Event) -> None:
    async for _ in events:
        news.set()


async def _tell(
    request: web.Request, serial: str, news: asyncio.Event, socket: web.WebSocketResponse
) -> None:
    """Send the picture when it differs, and now and then when it does not."""
    loop = asyncio.get_running_loop()
    told, told_at = b"", 0.0
    while True:
        news.clear()
        row = await own_session(request, serial)
        picture = _encoder.encode(await show(request, row))
        if picture != told or loop.time() - told_at >= TICK_S:
            await websockets.send(socket, picture)
            told, told_at = picture, loop.time()
        if row.state in OVER:
            return
        await asyncio.sleep(LEAST_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S - LEAST_S):
                await news.wait()
