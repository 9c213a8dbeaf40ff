"""Many simulated piles in one process: their sockets, their timers, their memories.

One heap holds the next deadline of each pile, one timer of the loop waits for the earliest. A pile has at
most one valid entry; an entry that was overtaken by an earlier one is skipped when it surfaces. So a fleet
costs the loop nothing while nothing is due, and arming is O(log n) whatever the number of piles.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from pileward.clock import Clock
from pileward.codecs.ykc.table import Frame
from pileward.simulator.control import Control
from pileward.simulator.habits import Habits, Nameplate
from pileward.simulator.line import Line, Wire
from pileward.simulator.memory import MemoryFolder
from pileward.simulator.pile import SimPile
from pileward.simulator.profiles import STEADY, Profile
from pileward.simulator.tally import Tally

SLICE: Final = 256
"""Piles that are served before sockets get their turn."""
ABANDONED_MAX: Final = 512
"""Abandoned sockets that are kept open; the oldest is closed for a new one."""
DIALS_MAX: Final = 256
"""Connections that are being made at the same time."""


class Fleet:
    """Piles that live towards one platform; `start` and `close` belong to a running loop."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        clock: Clock | None = None,
        memories: MemoryFolder | None = None,
        is_watched: bool = False,
    ) -> None:
        """`is_watched`: keep the frames each pile receives, for `Control.expect`."""
        self.host = host
        self.port = port
        self.clock = clock or Clock()
        self.tally = Tally()
        self.controls: dict[str, Control] = {}
        self._memories = memories
        self._is_watched = is_watched
        self._lines: list[Line] = []
        self._heap: list[tuple[float, int, SimPile, Line]] = []
        self._armed: dict[SimPile, float] = {}
        self._order = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._timer_at = math.inf
        self._abandoned: deque[Wire] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialling = asyncio.Semaphore(DIALS_MAX)
        self.is_closed = False
        self.clock.attach(self)

    def add(
        self,
        plates: Sequence[Nameplate],
        *,
        seed: int = 0,
        profile: Profile = STEADY,
        habits: Habits | None = None,
        source: str | None = None,
        after_s: float = 0.0,
    ) -> list[Control]:
        """Put piles behind one line and let their life begin `after_s` clock seconds from now.

        Raises ValueError when a memory cannot be read or a pile is there already.
        """
        now = self.clock.monotonic()
        piles = []
        for plate in plates:
            if plate.pile_code in self.controls:
                raise ValueError(f"pile {plate.pile_code} is there already")
            memory = self._memories.load(plate.pile_code) if self._memories else None
            piles.append(
                SimPile(
                    plate,
                    seed=seed,
                    profile=profile,
                    habits=habits,
                    memory=memory,
                    tally=self.tally,
                    time=self.clock.utc(),
                    now=now,
                )
            )
        line = Line(self, piles, source)
        self._lines.append(line)
        controls = [Control(self, line, pile, is_watched=self._is_watched) for pile in piles]
        for pile, control in zip(piles, controls, strict=True):
            self.controls[pile.code] = control
            pile.start(now, after_s)
            line.perform(pile)
        return controls

    async def close(self) -> None:
        """Close all sockets, abandoned ones too, and wait until nothing of the fleet runs any more."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        for line in self._lines:
            line.close()
        for wire in self._abandoned:
            if wire.transport is not None:
                wire.transport.abort()
        self._abandoned.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle_dials(self) -> None:
        """Wait until every connection that is being made now is made or has failed."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What lines ask for.

    def save(self, pile: SimPile) -> None:
        """Write a changed memory to its file, when there is a folder."""
        pile.is_dirty = False
        if self._memories is not None:
            self._memories.save(pile.code, pile.memory)

    def heard(self, pile: SimPile, frame: Frame) -> None:
        """Keep a received frame for whoever expects it."""
        if self._is_watched:
            self.controls[pile.code].heard(frame)

    def schedule(self, pile: SimPile, line: Line) -> None:
        """Have the pile called when it is due."""
        due = pile.next_due
        if due < self._armed.get(pile, math.inf) and not self.is_closed:
            self._armed[pile] = due
            heapq.heappush(self._heap, (due, next(self._order), pile, line))
            if due < self._timer_at:
                self._set_timer(due)

    def abandon(self, wire: Wire) -> None:
        """Keep a socket open with nobody at this end, as a pile does whose path has died."""
        self._abandoned = deque(each for each in self._abandoned if each.transport is not None)
        self._abandoned.append(wire)
        if len(self._abandoned) > ABANDONED_MAX:
            oldest = self._abandoned.popleft()
            if oldest.transport is not None:
                oldest.transport.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task of this fleet."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def dial(self, line: Line) -> None:
        """Open the socket of a line; raises OSError."""
        local = (line.source, 0) if line.source else None
        async with self._dialling:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: Wire(line), self.host, self.port, local_addr=local)

    # Time.

    def next_due(self) -> float | None:
        """When the earliest pile is due, for a clock that is moved by hand."""
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Serve every pile that is due."""
        while self._heap and self._heap[0][0] <= self.clock.monotonic():
            self._serve(SLICE)

    def _serve(self, most: int) -> None:
        """Serve up to `most` piles that are due."""
        clock = self.clock
        now = clock.monotonic()
        heap = self._heap
        while heap and heap[0][0] <= now and most > 0:
            due, _, pile, line = heapq.heappop(heap)
            if self._armed.get(pile) != due:
                continue
            del self._armed[pile]
            # The clock is read anew for each pile: a heartbeat's latency begins when it is written.
            pile.due(clock.monotonic())
            line.perform(pile)
            most -= 1

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = self.clock.real_s(max(0.0, due - self.clock.monotonic()))
        self._timer_at = due
        # A clock that is moved by hand calls run_due itself.
        self._timer = (
            None if math.isinf(delay_s) else asyncio.get_running_loop().call_later(delay_s, self._tick)
        )

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._serve(SLICE)
        if self._heap and self._heap[0][0] < self._timer_at:
            self._set_timer(self._heap[0][0])
