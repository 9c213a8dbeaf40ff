"""Waiting by the house's clock: for coroutines that live beside simulated piles."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

from pileward.clock import Clock


class Sleeper:
    """Lets coroutines sleep in clock seconds, also by a clock that is moved by hand."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        clock.attach(self)

    async def sleep(self, clock_s: float) -> None:
        """Wait until so many clock seconds have passed; 0 gives others their turn."""
        real_s = self.clock.real_s(max(clock_s, 0.0))
        if not math.isinf(real_s):
            await asyncio.sleep(real_s)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (self.clock.monotonic() + clock_s, next(self._order), woken))
        await woken

    def next_due(self) -> float | None:
        """When the first of them is to be woken, for a clock that is moved by hand."""
        while self._heap and self._heap[0][2].done():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Wake whoever has slept long enough."""
        now = self.clock.monotonic()
        while (due := self.next_due()) is not None and due <= now:
            woken = heapq.heappop(self._heap)[2]
            woken.set_result(None)
