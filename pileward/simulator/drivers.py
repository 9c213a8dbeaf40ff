"""Drivers who come and go: a crowd at the piles of one fleet, with telephones of their own.

They are people of the outside world: what they know of the platform they read from its HTTP API, what they do
to a pile they do by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp

from pileward.simulator.dice import Dice
from pileward.simulator.driver import Driver, Place
from pileward.simulator.driver_api import Phone, Wallet
from pileward.simulator.fleet import Fleet
from pileward.simulator.intent import Intent, draw_intent
from pileward.simulator.plan import host_of, is_loopback
from pileward.simulator.sleeper import Sleeper
from pileward.simulator.trips import Trips

POLL_S: Final = 5.0
"""Clock seconds between two looks at an order."""
POLL_REAL_S: Final = 0.4
"""But not more often than this, however fast the clock is."""
REST_MEAN_S: Final = 300.0
"""Clock seconds between two trips of one driver."""
FIRST_WITHIN_S: Final = 120.0
PER_SOURCE: Final = 60
"""Telephones behind one address, as behind a carrier's; a platform limits logins of one address."""
SOURCES_MAX: Final = 200
CONNECTIONS_PER_SOURCE: Final = 200
PAUSE_REAL_S: Final = 0.5


class Crowd:
    """Everybody's common ground: the street, the wallets' provider, the tally, the clock."""

    def __init__(
        self,
        fleet: Fleet,
        api_url: str,
        pay_url: str,
        *,
        seed: int = 0,
        poll_s: float | None = None,
    ) -> None:
        """`poll_s`: clock seconds between two looks at an order, if not the usual ones."""
        self.fleet = fleet
        self.clock = fleet.clock
        self.seed = seed
        self.trips = Trips()
        self.taken: set[str] = set()
        """Codes of guns that a driver has chosen."""
        self.run = f"{time.time_ns() // 1_000_000:x}"
        """Names this run, so that its requests are not taken for those of an earlier one."""
        self.poll_s = poll_s if poll_s is not None else max(POLL_S, POLL_REAL_S * self.clock.rate)
        self.sleeper = Sleeper(self.clock)
        self._api_url = api_url
        self._sessions: list[aiohttp.ClientSession] = []
        self._phones = 0
        self._pay_http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._sessions.append(self._pay_http)
        self.wallet = Wallet(self._pay_http, pay_url)

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            await session.close()

    def phone(self) -> Phone:
        """A telephone for one more driver; many share one address."""
        source = self._phones // PER_SOURCE
        if self._phones % PER_SOURCE == 0:
            local = (
                (f"127.0.1.{1 + source % SOURCES_MAX}", 0) if is_loopback(host_of(self._api_url)) else None
            )
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_PER_SOURCE, local_addr=local)
            self._sessions.append(aiohttp.ClientSession(connector=connector))
        self._phones += 1
        return Phone(self._sessions[-1], self._api_url)

    def place(self, pile_code: str, gun_no: int) -> Place | None:
        """A gun of the street; None for one of another simulator."""
        control = self.fleet.controls.get(pile_code)
        return Place(control, gun_no) if control is not None else None

    def free_place(self, pile_code: str, gun_no: int) -> Place | None:
        """The same if nobody stands there and nobody is on the way."""
        place = self.place(pile_code, gun_no)
        if place is None or place.gun_code in self.taken or not place.is_free:
            return None
        return place

    def real_s(self) -> float:
        """Real time, for latencies."""
        return time.monotonic()

    async def sleep(self, clock_s: float) -> None:
        """Wait in clock seconds."""
        await self.sleeper.sleep(clock_s)

    async def pause(self, attempt: int) -> None:
        """Wait before a request is repeated: real seconds, longer each time."""
        await asyncio.sleep(PAUSE_REAL_S * 2**attempt)


class Drivers:
    """People who make one trip after another until they are told to stop."""

    def __init__(
        self,
        crowd: Crowd,
        count: int,
        *,
        rest_mean_s: float = REST_MEAN_S,
        intents: Callable[[Dice], Intent] = draw_intent,
    ) -> None:
        """`intents`: draws what a driver has in mind on a trip."""
        self._crowd = crowd
        self._rest_mean_s = rest_mean_s
        self._intents = intents
        self._people = [Driver(crowd, f"driver-{number}", crowd.phone()) for number in range(1, count + 1)]
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def start(self) -> None:
        """Let them come."""
        self._tasks = [asyncio.create_task(self._live(driver)) for driver in self._people]

    async def stop(self) -> None:
        """Let everybody drop what they do; orders that are open stay as they are."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, driver: Driver) -> None:
        rests = Dice(self._crowd.seed, "rests of", driver.name)
        wishes = Dice(self._crowd.seed, "wishes of", driver.name)
        await self._crowd.sleep(rests.between(0.0, FIRST_WITHIN_S))
        while not self._is_stopping:
            await driver.trip(self._intents(wishes))
            await self._crowd.sleep(rests.wait(self._rest_mean_s))


class EndlessCharging:
    """For load: drivers who each own one gun and charge at it again and again."""

    def __init__(self, crowd: Crowd, places: Sequence[Place], intent: Intent, *, ramp_s: float = 0.0) -> None:
        """One driver for each place; they begin within `ramp_s` clock seconds."""
        self._crowd = crowd
        self._intent = intent
        self._ramp_s = ramp_s
        self._people = [Driver(crowd, f"load-{place.gun_code}", crowd.phone(), place) for place in places]
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        count = max(1, len(self._people))
        self._tasks = [
            asyncio.create_task(self._charge(driver, self._ramp_s * at / count))
            for at, driver in enumerate(self._people)
        ]

    async def finish(self, within_s: float) -> None:
        """Begin no more trips, and wait (real seconds) for those that are under way."""
        self._is_stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            if late:
                self._crowd.trips.outcomes["unfinished"] += len(late)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _charge(self, driver: Driver, after_s: float) -> None:
        await self._crowd.sleep(after_s)
        while not self._is_stopping.is_set():
            outcome = await driver.trip(self._intent)
            if outcome != "charged":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_stopping.wait(), PAUSE_REAL_S)
