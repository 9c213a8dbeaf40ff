"""Timers of all actors in one heap, with one timer of the loop for the earliest.

Arming and firing cost O(log n); nothing else knows how many there are. A timer is named by its actor, and
each arming is a new generation: what fires counts only while its actor still waits for that generation, so
replaced, disarmed and late ones are told apart without being searched for. They stay in the heap until they
are half of it, then it is rebuilt.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from heapq import heapify, heappop, heappush
from typing import Any, Final

from thespian.actors import WakeupMessage

from pileward.actors.engine_cell import Cell, Due
from pileward.actors.engine_outside import Outside
from pileward.actors.supervised import TimerFired
from pileward.clock import Clock

#: Timers that fire in one turn of the loop at most; sockets come in between.
FIRING_LIMIT: Final = 1_000
#: Dead entries that are not worth a rebuild.
_STALE_MINIMUM: Final = 64


class Timers:
    """When which actor is to be told what. Moments are seconds of the engine's clock."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_generation",
        "_handle",
        "_heap",
        "_outside",
        "_post",
        "_run",
        "_stale",
    )

    def __init__(
        self,
        clock: Clock,
        outside: Outside,
        post: Callable[[Cell, Due], None],
        run: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._outside = outside
        self._post = post
        self._run = run
        # (moment, generation, actor, name or number of the timer, what the actor gets)
        self._heap: list[tuple[float, int, Cell, str | int, Any]] = []
        self._generation = 0
        self._stale = 0
        self._handle: tuple[float, asyncio.TimerHandle] | None = None
        clock.attach(self)

    def __len__(self) -> int:
        """Timers that will fire."""
        return len(self._heap) - self._stale

    def wake(self, cell: Cell, period: timedelta | float, payload: Any) -> None:
        """Thespian's wake-up: cannot be taken back, and any number of them may run."""
        delay_s = period.total_seconds() if isinstance(period, timedelta) else period
        self._push(cell, self._generation + 1, delay_s, WakeupMessage(period, payload))

    def arm(self, cell: Cell, name: str, delay_s: float) -> None:
        """Start the named timer of the actor, in place of one of that name that runs."""
        self.disarm(cell, name)
        self._push(cell, name, delay_s, TimerFired(name))

    def disarm(self, cell: Cell, name: str) -> None:
        """Stop the named timer, if it runs."""
        if cell.timers is not None and cell.timers.pop(name, 0) > 0:
            self._forget(1)

    def drop(self, cell: Cell) -> None:
        """Stop all timers of the actor."""
        if cell.timers:
            count = sum(generation > 0 for generation in cell.timers.values())
            cell.timers = None
            self._forget(count)

    def claim(self, cell: Cell, due: Due) -> Any:
        """The message of a timer that has fired, for the actor; None when it does not count any more."""
        if cell.timers is None or cell.timers.get(due.key) != -due.number:
            return None
        del cell.timers[due.key]
        return due.content

    def remaining(self, cell: Cell) -> list[float]:
        """Clock seconds until each timer of the actor is due. Goes through all timers: to look inside."""
        now = self._clock.monotonic()
        return sorted(entry[0] - now for entry in self._heap if entry[2] is cell and _counts(entry))

    def named(self, cell: Cell) -> dict[str, float]:
        """Clock seconds until each named timer of the actor is due, the next first. As slow as the above."""
        now = self._clock.monotonic()
        mine = sorted((entry[0], entry[3]) for entry in self._heap if entry[2] is cell and _counts(entry))
        return {key: due - now for due, key in mine if isinstance(key, str)}

    def next_due(self) -> float | None:
        """The earliest moment, in clock seconds."""
        heap = self._heap
        while heap and not _counts(heap[0]):
            heappop(heap)
            self._stale -= 1
        return heap[0][0] if heap else None

    def run_due(self) -> None:
        """Send what is due and let the actors work at once. Any thread may call it, and waits."""
        self._outside.call(self._ring)

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._stale = 0
        if self._handle is not None:
            self._handle[1].cancel()
            self._handle = None

    def _push(self, cell: Cell, key: str | int, delay_s: float, content: Any) -> None:
        self._generation += 1
        if cell.timers is None:
            cell.timers = {}
        cell.timers[key] = self._generation
        due = self._clock.monotonic() + max(0.0, delay_s)
        heappush(self._heap, (due, self._generation, cell, key, content))
        if self._handle is None or due < self._handle[0]:
            self._set_alarm(due)

    def _forget(self, count: int) -> None:
        self._stale += count
        if self._stale > _STALE_MINIMUM and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if _counts(entry)]
            heapify(self._heap)
            self._stale = 0

    def _set_alarm(self, due: float) -> None:
        if self._handle is not None:
            self._handle[1].cancel()
            self._handle = None
        delay = self._clock.real_s(due - self._clock.monotonic())
        if delay < math.inf:
            self._handle = (due, self._outside.loop.call_later(max(0.0, delay), self._ring))

    def _ring(self) -> None:
        """Some are due: the loop's timer ran out, or a clock was moved."""
        if self._handle is not None:
            self._handle[1].cancel()
            self._handle = None
        self._fire()
        self._run()

    def _fire(self) -> None:
        heap, now = self._heap, self._clock.monotonic()
        for _ in range(FIRING_LIMIT):
            if not heap or heap[0][0] > now:
                break
            entry = heappop(heap)
            if _counts(entry):
                _, generation, cell, key, content = entry
                timers = cell.timers
                assert timers is not None
                timers[key] = -generation  # on its way: no longer in the heap, not yet with the actor
                self._post(cell, Due(key, generation, content))
            else:
                self._stale -= 1
        if heap:
            self._set_alarm(heap[0][0])


def _counts(entry: tuple[float, int, Cell, str | int, Any]) -> bool:
    """Whether the actor still waits for this generation of the timer."""
    timers = entry[2].timers
    return timers is not None and timers.get(entry[3]) == entry[1]
