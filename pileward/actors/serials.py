"""The node's serials: handed out from memory at once, out of blocks that were reserved durably ahead.

`next` never waits. While half a block is left the following one is fetched; a node that cannot reach its
database lives on what it has and then refuses new orders. What a stop leaves of a block is skipped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from pileward.actors.saving import NotStored
from pileward.errors import DatabaseError
from pileward.logs import logger
from pileward.messages.charging_writes import ReserveSerials
from pileward.services.serials import BLOCK, SerialBlock

AGAIN_S: Final = 1.0
"""Real seconds after a reservation that failed."""

log = logger(__name__)


class NoSerialError(DatabaseError):
    """Every reserved number is used and no more could be reserved: the database is away."""


class Serials:
    """Serials of one node; used from the loop's thread only."""

    def __init__(
        self, node: int, save: Callable[[Any], Awaitable[Any]], block: int = BLOCK, again_s: float = AGAIN_S
    ) -> None:
        """`save` writes durably and returns the result (`Saving.save`); `block`: so many at a time."""
        self._node = node
        self._save = save
        self._count = block
        self._again_s = again_s
        self._blocks: deque[SerialBlock] = deque()
        self._refill: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Numbers in hand."""
        return sum(len(block) for block in self._blocks)

    async def start(self) -> None:
        """Reserve the first block; raises NotStored."""
        await self._reserve()

    async def close(self) -> None:
        """Stop reserving; may be called twice."""
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)
            self._refill = None

    def next(self, now: datetime) -> str:
        """A serial that was never given out; raises NoSerialError. `now` is when the charge was ordered."""
        while self._blocks and not len(self._blocks[0]):
            self._blocks.popleft()
        if not self._blocks:
            self._refill_soon()
            raise NoSerialError("no serial is reserved: the database does not take the next block")
        serial = self._blocks[0].take(now)
        if len(self) <= self._count // 2:
            self._refill_soon()
        return serial

    def _refill_soon(self) -> None:
        if self._refill is None or self._refill.done():
            self._refill = asyncio.get_running_loop().create_task(self._reserve_again())

    async def _reserve_again(self) -> None:
        """Reserve one block, however often it takes."""
        while True:
            try:
                await self._reserve()
            except NotStored as error:
                log.warning("serials_not_reserved", left=len(self), error=str(error))
                await asyncio.sleep(self._again_s)
            else:
                return

    async def _reserve(self) -> None:
        first = await self._save(ReserveSerials(self._node, self._count))
        self._blocks.append(SerialBlock(self._node, first, self._count))
