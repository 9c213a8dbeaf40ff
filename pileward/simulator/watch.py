"""How a driver looks at an order: by WebSocket if wanted and to be had, else by asking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from pileward.simulator.driver_api import Json

if TYPE_CHECKING:
    from pileward.simulator.driver import Driver


class Watch:
    """Looks at one order again and again: by WebSocket if wanted and to be had, else by asking."""

    def __init__(self, driver: Driver, serial: str, by_socket: bool) -> None:
        self._driver = driver
        self._path = f"/sessions/{serial}"
        self._serial = serial
        self._by_socket = by_socket
        self._is_first = True
        self._seen: Json | None = None
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def look(self) -> Json:
        """The order as it is now: at once the first time, then at the driver's pace."""
        if self._is_first:
            self._is_first = False
            if self._by_socket:
                self._listener = asyncio.create_task(self._listen())
            return await self._driver.get(self._path)
        await self._driver.wait_a_look()
        seen, self._seen = self._seen, None
        if self._listener is not None and not self._listener.done() and seen is not None:
            return seen
        return await self._driver.get(self._path)

    async def _listen(self) -> None:
        """Keep the newest picture; a socket that breaks is not missed, there is still asking."""
        try:
            async with self._driver.open_socket(self._serial) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return
                    self._seen = msgspec.json.decode(message.data)
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError):
            return
