"""How a driver looks at an order: by WebSocket if wanted and to be had, else by asking."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from pileward.simulator.driver_api import Json

if TYPE_CHECKING:
    from pileward.simulator.driver import Driver


OLD_S: Final = 15.0
"""Real seconds after which a socket without a word is not trusted; the platform speaks every ten."""


class Watch:
    """Looks at one order again and again, for as long as it is open as a context."""

    def __init__(self, driver: Driver, serial: str, by_socket: bool) -> None:
        self._driver = driver
        self._path = f"/sessions/{serial}"
        self._serial = serial
        self._by_socket = by_socket
        self._is_first = True
        self._seen: Json | None = None
        self._seen_at = 0.0
        self._news = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def look(self) -> Json:
        """The order: at once the first time, then when there is news or it is time to look again."""
        if self._is_first:
            self._is_first = False
            if self._by_socket:
                self._listener = asyncio.create_task(self._listen())
            return await self._driver.get(self._path)
        await self._wait()
        if self._seen is not None and self._is_listening and time.monotonic() - self._seen_at < OLD_S:
            return self._seen
        return await self._driver.get(self._path)

    @property
    def _is_listening(self) -> bool:
        return self._listener is not None and not self._listener.done()

    async def _wait(self) -> None:
        pause = asyncio.ensure_future(self._driver.wait_a_look())
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({pause, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            news.cancel()
            await asyncio.gather(pause, news, return_exceptions=True)
        self._news.clear()

    async def _listen(self) -> None:
        """Keep the newest picture; a socket that breaks is not missed, there is still asking."""
        try:
            async with self._driver.open_socket(self._serial) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return
                    self._seen = msgspec.json.decode(message.data)
                    self._seen_at = time.monotonic()
                    self._news.set()
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError):
            return
