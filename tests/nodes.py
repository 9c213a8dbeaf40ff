"""A whole node on a database of its own, with simulated piles on real sockets, for end-to-end tests.

Server and piles share one clock that moves only when a test says so; sockets are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import Pile, PileStatus
from pileward.clock import ManualClock
from pileward.config.settings import load
from pileward.livefeed.memory import MemoryBus
from pileward.messages.commands import Command, Outcome
from pileward.models.database import Database, open_database
from pileward.models.kinds import PileKind
from pileward.node import Node
from pileward.services import operators, piles, stations, tariffs
from pileward.services.audit import Who
from pileward.simulator.control import Control
from pileward.simulator.fleet import Fleet
from pileward.simulator.habits import make_nameplate
from pileward.values import RatePrice

ORIGIN = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
"""Noon in China, on a Sunday."""
TOKEN = "token-of-the-tests-0123456789"
TERMS = tariffs.TariffTerms(
    sharp=RatePrice(120_000, 30_000),
    peak=RatePrice(100_000, 30_000),
    flat=RatePrice(70_000, 30_000),
    valley=RatePrice(40_000, 30_000),
    slots="3" * 14 + "1" * 22 + "2" * 12,
)
CODES = ("32010600000001", "32010600000002", "32010600000003")


class Street:
    """One station with registered piles, the node that supervises them, and their simulated selves."""

    node: Node
    database: Database
    fleet: Fleet
    who: Who
    """Who acts for the operator, at the moment the street was opened."""

    def __init__(self, environ: dict[str, str], clock: ManualClock) -> None:
        self.environ = environ
        self.clock = clock
        self.at_end: list[Callable[[], object]] = []
        """Called when the street is closed, for what else stands on it."""
        self._is_up = False

    async def open(self) -> None:
        """Start a node on a fresh database, and piles that know where it listens."""
        self.database = await open_database(self.environ["PILEWARD_DATABASE_URL"])
        self.who = await seed_street(self.clock)
        await self._start()
        self.environ["PILEWARD_YKC_PORT"] = str(self.node.ykc_port)
        self.fleet = Fleet("127.0.0.1", self.node.ykc_port, clock=self.clock, is_watched=True)

    async def restart(self) -> None:
        """Start another node on the same database and port, after `crash` or `stop`."""
        self.database = await open_database(self.environ["PILEWARD_DATABASE_URL"])
        await self._start()

    async def _start(self) -> None:
        self.node = Node(load(environ=self.environ), self.database, MemoryBus(), self.clock)
        await self.node.start()
        self._is_up = True

    async def stop(self) -> None:
        """End the node in good order."""
        if self._is_up:
            self._is_up = False
            await self.node.close()
            await self.database.close()

    async def crash(self) -> None:
        """End the node as a kill does: nothing is flushed, nobody is told, sockets are reset."""
        self._is_up = False
        node = self.node
        node.system.shutdown()
        tasks = list(node.waiting.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for gateway in node.gateways:
            assert gateway._server is not None
            gateway._server.close()
            for sock in list(gateway._sockets):
                sock.abort("crash")
        await node.bus.close()
        await self.database.close()

    async def close(self) -> None:
        """End everything."""
        for end in self.at_end:
            end()
        await self.fleet.close()
        await self.stop()

    def power_on(self, *codes: str, guns: int = 2, one_line: bool = False) -> list[Control]:
        """Give simulated piles their power; each on a connection of its own unless `one_line`."""
        plates = [make_nameplate(code, guns, seed=1) for code in codes]
        if one_line:
            return self.fleet.add(plates)
        return [control for plate in plates for control in self.fleet.add([plate])]

    async def online(self, *codes: str) -> None:
        """Let time pass until the node shows these piles online, with their tariff and their guns."""
        await self.eventually(lambda: all(self.is_online(code) for code in codes), what=f"{codes} online")

    async def eventually(
        self, condition: Callable[[], object], within_s: float = 300.0, what: str = ""
    ) -> None:
        """Let clock time pass until a condition holds; fails after `within_s` clock seconds."""
        deadline = self.clock.monotonic() + within_s
        while not condition():
            assert self.clock.monotonic() < deadline, f"{what or condition} did not come in {within_s:g} s"
            await self.pass_time(0.5, step=0.5)

    def is_online(self, code: str) -> bool:
        """Whether the pile is online, holds its tariff and has told of its guns."""
        pile = self.pile(code)
        is_told = all(gun.state is not GunState.UNKNOWN for gun in pile.guns)
        return pile.status is PileStatus.ONLINE and pile.tariff_ok and is_told

    def pile(self, code: str) -> Pile:
        """The pile as its actor last published it."""
        return self.node.around.seen[code]

    def alarms(self, code: str) -> set[str]:
        """Kinds of the alarms open on a pile."""
        instance = self.node.around.piles[code].instance
        return {kind for kind, _ in instance.open_alarms}

    def who_now(self) -> Who:
        """Who acts for the operator, at this moment."""
        return Who(self.who.operator_id, self.who.actor, self.clock.utc())

    async def command(self, code: str, command: Command) -> Outcome:
        """Ask a pile's actor, as an edge does, while the clock stands still."""
        address = self.node.fleet.address_of(code)
        assert address is not None
        outcome = await self.node.engine.ask_async(address, command, 10.0)
        assert isinstance(outcome, Outcome)
        return outcome

    def asking(self, code: str, command: Command) -> asyncio.Task[Outcome]:
        """Ask a pile's actor and go on, to let time pass meanwhile."""
        return asyncio.create_task(self.command(code, command))

    async def forget_tariff(self) -> None:
        """Take the tariff off the station, so that its piles have none."""
        await stations.change_station(self.who_now(), 1, stations.StationChange(tariff_id=None))
        await self.node.fleet_changed("station", "1")

    async def settle(self) -> None:
        """Let sockets and actors come to rest after time was moved."""
        for _ in range(5):
            await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Move the clock in steps, with turns for the sockets in between."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            for _ in range(6):
                await asyncio.sleep(0.001)
        await self.settle()


async def seed_street(clock: Any) -> Who:
    """An operator, a station with a tariff, three piles of two guns each."""
    operator = await operators.ensure_operator(clock.utc())
    who = Who(operator.id, "system", clock.utc())
    tariff = await tariffs.create_tariff(who, "日间", TERMS)
    station = await stations.add_station(
        who, stations.NewStation(code="S1", name_zh="一号站", name_en="Station one", tariff_id=tariff.id)
    )
    for number, code in enumerate(CODES, start=1):
        new = piles.NewPile(
            pile_code=code,
            station_id=station.id,
            rated_power_w=120_000,
            name=f"{number} 号桩",
            kind=PileKind.DC,
            gun_count=2,
        )
        await piles.add_pile(who, new)
    return who


@pytest.fixture
def node_settings() -> dict[str, str]:
    """Settings of the node beside the usual ones; a test that parametrizes this name chooses its own."""
    return {}


@pytest.fixture
def street_url(sqlite_url: str) -> str:
    """The database of the street; a writer that finds it locked gives up soon and tries again later."""
    return f"{sqlite_url}?busy_timeout=200"


@pytest.fixture
async def street(street_url: str, tmp_path: Path, node_settings: dict[str, str]) -> AsyncIterator[Street]:
    """A running node with three registered piles, none powered yet."""
    environ = {
        "PILEWARD_NODE_STATE_DIR": str(tmp_path / "state"),
        "PILEWARD_DATABASE_URL": street_url,
        "PILEWARD_YKC_HOST": "127.0.0.1",
        "PILEWARD_YKC_PORT": "0",
        "PILEWARD_OPERATOR_TOKEN": TOKEN,
        "PILEWARD_TAIL_SIZE_MIB": "4",
        **node_settings,
    }
    opened = Street(environ, ManualClock(ORIGIN))
    await opened.open()
    yield opened
    await opened.close()
