"""Load with money in it: whole charges at many guns, from the order to the last fen of the refund."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from pileward.simulator.driver import Place
from pileward.simulator.drivers import Crowd, EndlessCharging
from pileward.simulator.habits import Habits
from pileward.simulator.intent import HASTY, Intent
from pileward.simulator.load import LoadReport, LoadRun, OnLook
from pileward.simulator.plan import Plan
from pileward.simulator.trips import TripsReport, report_of

QUICK: Final[dict[str, float]] = {
    "handshake_shortest_s": 0.05,
    "handshake_longest_s": 0.2,
    "record_shortest_s": 0.05,
    "record_longest_s": 0.2,
}
"""Habits of piles that do not keep anybody waiting."""
FINISH_WITHIN_S: Final = 60.0
"""Real seconds for trips under way when the measuring ends."""


def quick(habits: Habits) -> Habits:
    """The same piles, in a hurry."""
    return msgspec.structs.replace(habits, **QUICK)


class ChargesReport(msgspec.Struct, frozen=True):
    """What came of the drivers, and of the piles under them."""

    drivers: int
    trips: TripsReport
    piles: LoadReport

    def data(self) -> dict[str, Any]:
        """The report as plain data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @property
    def is_good(self) -> bool:
        """Whether all piles were there and every trip was a charge whose money adds up."""
        trips = self.trips
        return self.piles.online == self.piles.piles and not trips.wrongs and trips.trips == trips.charged > 0


class ChargesRun:
    """One run: all piles online, then drivers for a while, then wait for those under way."""

    def __init__(
        self,
        run: LoadRun,
        plan: Plan,
        drivers: int,
        api_url: str,
        pay_url: str,
        *,
        look_s: float = 0.2,
        intent: Intent = HASTY,
    ) -> None:
        """`look_s`: between two looks at an order. Raises ValueError for more drivers than guns."""
        if not 1 <= drivers <= plan.piles * plan.guns:
            raise ValueError(f"drivers must be 1 to {plan.piles * plan.guns} (one a gun), not {drivers}")
        self._run = run
        self._plan = plan
        self._drivers = drivers
        self._urls = (api_url, pay_url)
        self._look_s = look_s
        self._intent = intent

    async def run(self, duration_s: float, ramp_s: float, on_look: OnLook) -> ChargesReport:
        """Measure whole charges for `duration_s` real seconds; drivers begin within `ramp_s`."""
        fleet = self._run.fleet
        crowd = Crowd(fleet, *self._urls, seed=self._plan.seed, poll_s=self._look_s)
        loop = asyncio.get_running_loop()
        try:
            all_online_s = await self._run.bring_up(on_look)
            drivers = EndlessCharging(crowd, self._places(), self._intent, ramp_s=ramp_s)
            began = loop.time()
            drivers.start()
            piles = await self._run.measure(duration_s, all_online_s, on_look)
            await drivers.finish(FINISH_WITHIN_S)
            trips = report_of(crowd.trips, loop.time() - began)
        finally:
            await crowd.close()
            await fleet.close()
        return ChargesReport(self._drivers, trips, piles)

    def _places(self) -> list[Place]:
        """A gun for each driver: the first guns of all piles first."""
        controls = self._run.fleet.controls
        places = [
            Place(controls[code], gun_no)
            for gun_no in range(1, self._plan.guns + 1)
            for code in self._plan.codes
        ]
        return places[: self._drivers]
