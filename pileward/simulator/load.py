"""Load: many steady piles for a bounded time, and what the platform made of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from pileward.clock import Clock
from pileward.simulator.fleet import Fleet
from pileward.simulator.histogram import Histogram
from pileward.simulator.plan import Plan, populate

LOOK_S: Final = 0.25
"""How often a run looks at its fleet, real seconds."""

ERRORS: Final = (
    "not_connected",
    "lost",
    "login_refused",
    "login_unanswered",
    "heartbeat_unanswered",
    "platform_silent",
    "platform_slow",
    "not_understood",
)
"""Events of a tally that should not happen to a steady fleet."""

OnLook = Callable[[Fleet, float], None]
"""Told the fleet and the seconds measured so far, 0 while the piles are still coming."""


def _look_away(fleet: Fleet, measured_s: float) -> None:
    """Nobody watches."""


class LoadReport(msgspec.Struct, frozen=True):
    """Figures of one run; seconds are real."""

    piles: int
    connections: int
    online: int
    """At the end."""
    all_online_s: float | None
    """From the first connection to the last login; None when some pile never got there."""
    measured_s: float
    """Length of the time that rates and heartbeat latencies are about."""
    frames_up_per_s: float
    frames_down_per_s: float
    heartbeat: dict[str, float]
    login: dict[str, float]
    errors: dict[str, int]
    """Of the whole run, only what happened."""

    def data(self) -> dict[str, Any]:
        """The report as plain data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


class LoadRun:
    """One run: ramp up, measure, report. `stop` ends it early; the report then covers what was measured."""

    def __init__(self, host: str, port: int, plan: Plan, *, patience_s: float = 60.0) -> None:
        """`patience_s`: how long after the ramp to wait for the last pile before measuring all the same."""
        self.fleet = Fleet(host, port, clock=Clock())
        self._plan = plan
        self._patience_s = patience_s
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the run soon."""
        self._stopped.set()

    async def run(self, duration_s: float, on_look: OnLook | None = None) -> LoadReport:
        """Bring up all piles, then measure for `duration_s` real seconds, then close."""
        look = on_look or _look_away
        try:
            all_online_s = await self.bring_up(look)
            return await self.measure(duration_s, all_online_s, look)
        finally:
            await self.fleet.close()

    async def bring_up(self, look: OnLook = _look_away) -> float | None:
        """Start all piles; the seconds until all were online, None when some never were."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        populate(self.fleet, self._plan)
        deadline = began + self._plan.ramp_s + self._patience_s
        while self.fleet.tally.online < self._plan.piles and not self._stopped.is_set():
            look(self.fleet, 0.0)
            if loop.time() > deadline:
                return None
            await self._pause(0.01 if loop.time() - began < 2 else 0.05)
        return loop.time() - began if self.fleet.tally.online == self._plan.piles else None

    async def measure(
        self, duration_s: float, all_online_s: float | None, look: OnLook = _look_away
    ) -> LoadReport:
        """Watch the fleet live for a while."""
        loop = asyncio.get_running_loop()
        tally = self.fleet.tally
        # Logins belong to the ramp; what is measured is steady life.
        tally.heartbeat = Histogram()
        up, down = tally.frames_up, tally.frames_down
        began = loop.time()
        while (left_s := began + duration_s - loop.time()) > 0 and not self._stopped.is_set():
            await self._pause(min(LOOK_S, left_s))
            look(self.fleet, loop.time() - began)
        measured_s = max(loop.time() - began, 1e-9)
        errors = {name: tally.events[name] for name in ERRORS if tally.events[name]}
        if tally.garbage_down:
            errors["garbage_received"] = tally.garbage_down
        return LoadReport(
            piles=self._plan.piles,
            connections=tally.connections,
            online=tally.online,
            all_online_s=None if all_online_s is None else round(all_online_s, 3),
            measured_s=round(measured_s, 3),
            frames_up_per_s=round((tally.frames_up - up) / measured_s, 1),
            frames_down_per_s=round((tally.frames_down - down) / measured_s, 1),
            heartbeat=tally.heartbeat.summary_ms(),
            login=tally.login.summary_ms(),
            errors=errors,
        )

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        assert math.isfinite(seconds)
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
