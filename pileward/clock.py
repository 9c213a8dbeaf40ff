"""The time that the house runs on.

One `Clock` is shared by the engine, the server and the simulator. It may run faster than the world (`rate`),
so that a demonstration shows a day in minutes: timers of actors and stamps of records follow it. Signatures,
tokens, TLS and HTTP time-outs do not; they use the machine's time.

`monotonic()` is for timers and never goes back; `utc()` is for records.
"""

from __future__ import annotations

import math
import time
import weakref
from datetime import UTC, datetime, timedelta
from typing import Protocol

_START_OF_MANUAL_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Sleeper(Protocol):
    """What waits for moments of a clock that is moved by hand: an engine's timers."""

    def next_due(self) -> float | None:
        """The earliest moment waited for, in clock seconds; None when there is none."""

    def run_due(self) -> None:
        """Do what is due at the clock's present moment, and all that follows from it at once."""


class Clock:
    """Time that runs `rate` clock seconds in each real second, from `origin` (aware; by default now) on.

    A plain `Clock()` is the machine's time, and follows its corrections.
    """

    __slots__ = ("__weakref__", "_follows_machine", "_origin_ms", "_start", "origin", "rate")

    def __init__(self, rate: float = 1.0, origin: datetime | None = None) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"clock rate must be more than 0 and finite, not {rate}")
        if origin is not None and origin.tzinfo is None:
            raise ValueError("clock origin must be aware: give it a time zone")
        self.rate = rate
        self._follows_machine = origin is None and rate == 1.0
        self.origin = (origin or datetime.now(UTC)).astimezone(UTC)
        self._origin_ms = round(self.origin.timestamp() * 1000)
        self._start = time.monotonic()

    def utc(self) -> datetime:
        """The present moment, aware, in UTC."""
        if self._follows_machine:
            return datetime.now(UTC)
        return self.origin + timedelta(seconds=self.monotonic())

    def epoch_ms(self) -> int:
        """The present moment in milliseconds since 1970-01-01 UTC."""
        if self._follows_machine:
            return time.time_ns() // 1_000_000
        return self._origin_ms + int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        """Clock seconds since this clock was made; never goes back."""
        return (time.monotonic() - self._start) * self.rate

    def real_s(self, clock_s: float) -> float:
        """Real seconds in which `clock_s` clock seconds pass.

        Infinite when they do not pass by themselves.
        """
        return clock_s / self.rate

    def attach(self, sleeper: Sleeper) -> None:
        """Tell `sleeper` when this clock is moved by hand. A clock that runs by itself tells nobody."""


class ManualClock(Clock):
    """Time that moves only when told, for tests.

    `advance` goes from one awaited moment to the next, so everything happens at its own time and in its
    order.
    """

    __slots__ = ("_now", "_sleepers")

    def __init__(self, origin: datetime = _START_OF_MANUAL_TIME) -> None:
        super().__init__(origin=origin)
        self._follows_machine = False
        self._now = 0.0
        self._sleepers: weakref.WeakSet[Sleeper] = weakref.WeakSet()

    def monotonic(self) -> float:
        """Clock seconds that this clock was advanced by."""
        return self._now

    def real_s(self, clock_s: float) -> float:
        """Infinite: no real time moves this clock; 0 when nothing is to be waited for."""
        return math.inf if clock_s > 0 else 0.0

    def attach(self, sleeper: Sleeper) -> None:
        """Run `sleeper` at each moment that it waits for. It is not kept alive."""
        self._sleepers.add(sleeper)

    def advance(self, seconds: float) -> None:
        """Move time on by `seconds` (0 or more), stopping at each awaited moment on the way."""
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds} s")
        end = self._now + seconds
        while (sleeper := self._next_sleeper(end)) is not None:
            self._now = max(self._now, sleeper.next_due() or 0.0)
            sleeper.run_due()
        self._now = end

    def _next_sleeper(self, end: float) -> Sleeper | None:
        """Whoever waits for the earliest moment up to `end`."""
        waiting = [(due, s) for s in self._sleepers if (due := s.next_due()) is not None and due <= end]
        return min(waiting, key=lambda pair: pair[0])[1] if waiting else None
