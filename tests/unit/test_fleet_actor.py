"""The fleet: an actor for each registered pile, quarantine, release, retirement, and its own restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from thespian.actors import ActorExitRequest

from pileward.actors.connection_messages import PileUnlinked
from pileward.actors.engine import ActorQuarantined, Engine
from pileward.actors.engine_failures import RESTART_LIMIT, Failure
from pileward.actors.fleet import (
    Directory,
    FleetActor,
    FleetStart,
    KnownPile,
    PileTrouble,
    Revive,
    Revived,
    Taken,
    TakePiles,
)
from pileward.actors.pile import PileActor
from pileward.actors.pile_state import LoginAsked, PileStatus
from pileward.actors.pile_view import pile_view
from pileward.actors.store_messages import LoadPile, PileLoaded, Save
from pileward.clock import ManualClock
from pileward.messages.commands import DescribePile, PileDescription
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.services.alarms import CloseAlarm, OpenAlarm
from tests.around import noted, speak, stand_in, surroundings
from tests.piles import MOMENT, PEER, config, login
from tests.unit.engine_actors import boom, engine_with, inside, settle

ONE, TWO, THREE = "32010600000001", "32010600000002", "32010600000003"


class Yard:
    """A fleet of real pile actors, with stand-ins for store and connection."""

    def __init__(self, engine: Engine, *piles: KnownPile) -> None:
        self.engine = engine
        self.around = surroundings(engine)
        self.directory = Directory(self.around.piles)
        self.store = self.around.store = stand_in(engine)
        self.link = stand_in(engine)
        self.fleet = self.around.fleet = engine.create(FleetActor, FleetStart(self.around, piles))
        engine.on_failure = lambda failure: self._tell(failure, is_quarantined=False)
        engine.on_quarantine = lambda failure: self._tell(failure, is_quarantined=True)

    def _tell(self, failure: Failure, *, is_quarantined: bool) -> None:
        """As the node does: each failure is told once."""
        if failure.is_quarantined is is_quarantined and failure.address is not self.fleet:
            self.engine.tell(self.fleet, PileTrouble(failure))

    def address(self, code: str) -> Any:
        address = self.directory.address_of(code)
        assert address is not None
        return address

    async def ask(self, message: Any) -> Any:
        answer = await self.engine.ask_async(self.fleet, message, 10.0)
        await settle(self.engine)
        return answer

    async def take(self, *piles: PileLoaded) -> None:
        assert isinstance(await self.ask(TakePiles(piles)), Taken)

    def writes(self, kind: type) -> list[Any]:
        return [save.write for save in noted(self.store, Save) if isinstance(save.write, kind)]

    async def log_in(self, code: str) -> None:
        asked = LoginAsked(login(), self.link, PEER, 0.0)
        speak(self.engine, self.link, self.around.piles[code], asked)
        await settle(self.engine)

    async def fail(self, code: str, times: int = 1) -> None:
        """Let the actor of a pile fail so often, each time as it takes its row."""
        for _ in range(times):
            inside(self.around.piles[code])._loaded = boom
            await self.load(code)

    async def load(self, code: str, alarms: frozenset[tuple[str, int | None]] = frozenset()) -> None:
        loaded = PileLoaded(code, config(pile_code=code), alarms)
        speak(self.engine, self.store, self.around.piles[code], loaded)
        await settle(self.engine)

    def check_gauges(self) -> None:
        metrics, around = self.around.metrics, self.around
        assert set(around.seen) == set(around.piles)
        assert sum(metrics.piles.values()) == len(around.piles)
        assert min(metrics.piles.values(), default=0) >= 0
        assert sum(metrics.guns.values()) == sum(len(pile.guns) for pile in around.seen.values())
        open_alarms = sum(len(alarms) for alarms in around.alarms.values()) + len(around.quarantined)
        assert metrics.alarms_open == open_alarms


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    async with engine_with(ManualClock(MOMENT)) as engine:
        opened = Yard(
            engine,
            KnownPile(config(pile_code=ONE)),
            KnownPile(config(pile_code=TWO), frozenset({("offline", None)})),
        )
        await settle(engine)
        yield opened
        opened.check_gauges()


# --- coming and going -----------------------------------------------------------------------------------


async def test_every_registered_pile_has_its_actor_connected_or_not(yard: Yard) -> None:
    assert list(yard.directory) == [ONE, TWO]
    assert len(yard.directory) == 2
    assert yard.directory.address_of(THREE) is None
    address = yard.address(TWO)
    described = await yard.engine.ask_async(address, DescribePile(), 10.0)
    assert isinstance(described, PileDescription)
    assert described.data["alarms"] == [{"kind": "offline", "gun_no": None}]
    assert [child.kind for child in yard.engine.children(yard.fleet)] == [PileActor, PileActor]
    assert inside(yard.fleet).inspect() == {"state": "supervising", "piles": 2, "quarantined": {}}


async def test_new_piles_are_enlisted_and_changed_ones_told(yard: Yard) -> None:
    await yard.take(
        PileLoaded(THREE, config(pile_code=THREE), frozenset({("no_tariff", None)})),
        PileLoaded(ONE, config(pile_code=ONE, name="neu", gun_count=4)),
    )
    assert list(yard.directory) == [ONE, TWO, THREE]
    assert (yard.around.seen[ONE].config.name, len(yard.around.seen[ONE].guns)) == ("neu", 4)
    yard.check_gauges()


async def test_a_retired_pile_is_forgotten(yard: Yard) -> None:
    await yard.log_in(TWO)
    inside(yard.link).seen.clear()
    address = yard.address(TWO)
    await yard.take(PileLoaded(TWO, None), PileLoaded(THREE, None))
    assert list(yard.directory) == [ONE]
    assert yard.engine.info(address) is None
    assert noted(yard.link) == [PileUnlinked(TWO, "retired")]
    await yard.take(PileLoaded(TWO, config(pile_code=TWO)))
    assert yard.around.seen[TWO].status is PileStatus.UNKNOWN


async def test_what_a_retired_pile_had_open_is_closed(yard: Yard) -> None:
    await yard.take(PileLoaded(TWO, None))
    assert [(write.pile_code, write.kind) for write in yard.writes(CloseAlarm)] == [(TWO, "offline")]


# --- failures -------------------------------------------------------------------------------------------


async def test_a_failing_pile_is_told_of_and_goes_on(yard: Yard) -> None:
    await yard.fail(ONE)
    event = yard.around.recent[-1]
    assert isinstance(event, PileChanged)
    assert (event.pile_code, event.reason) == (ONE, "actor_failed")
    assert yard.around.quarantined == {}
    await yard.load(ONE)
    await yard.log_in(ONE)
    assert yard.around.seen[ONE].status is PileStatus.ONLINE
    yard.check_gauges()


async def test_one_that_fails_again_and_again_is_taken_off_the_line(yard: Yard) -> None:
    await yard.log_in(ONE)
    inside(yard.link).seen.clear()
    await yard.fail(ONE, RESTART_LIMIT + 1)
    assert "boom" in yard.around.quarantined[ONE]
    assert [(write.pile_code, write.kind) for write in yard.writes(OpenAlarm)][-1] == (ONE, "quarantined")
    assert noted(yard.link, PileUnlinked) == [PileUnlinked(ONE, "quarantined")]
    kinds = [event.state for event in yard.around.recent if isinstance(event, PileChanged)]
    assert kinds[-1] == "quarantined"
    assert any(isinstance(event, AlarmChanged) and event.is_open for event in yard.around.recent)
    assert pile_view(yard.around.seen[ONE], yard.around.quarantined[ONE]).state == "quarantined"
    with pytest.raises(ActorQuarantined):
        await yard.engine.ask_async(yard.address(ONE), DescribePile(), 10.0)
    described = await yard.engine.ask_async(yard.address(TWO), DescribePile(), 10.0)
    assert described.data["pile_code"] == TWO  # everybody else goes on
    yard.check_gauges()


async def test_staff_release_it_and_it_loads_its_row(yard: Yard) -> None:
    await yard.fail(ONE, RESTART_LIMIT + 1)
    inside(yard.store).seen.clear()
    assert await yard.ask(Revive(ONE)) == Revived(True)
    order = [type(getattr(message, "write", message)) for message in noted(yard.store)]
    assert order == [CloseAlarm, LoadPile]  # it must not load the alarm that is being closed
    assert yard.around.quarantined == {}
    await yard.load(ONE)
    await yard.log_in(ONE)
    assert yard.around.seen[ONE].status is PileStatus.ONLINE
    assert await yard.ask(Revive(ONE)) == Revived(False)
    assert await yard.ask(Revive(THREE)) == Revived(False)


async def test_a_quarantined_pile_may_be_retired(yard: Yard) -> None:
    await yard.fail(TWO, RESTART_LIMIT + 1)
    inside(yard.store).seen.clear()
    await yard.take(PileLoaded(TWO, None))
    assert list(yard.directory) == [ONE]
    assert {write.kind for write in yard.writes(CloseAlarm)} == {"offline", "quarantined"}
    assert yard.around.quarantined == {}


async def test_a_quarantine_of_an_earlier_process_is_over() -> None:
    async with engine_with(ManualClock(MOMENT)) as engine:
        alarms: frozenset[tuple[str, int | None]] = frozenset({("quarantined", None), ("offline", None)})
        yard = Yard(engine, KnownPile(config(pile_code=ONE), alarms))
        await settle(engine)
        assert [write.kind for write in yard.writes(CloseAlarm)] == ["quarantined"]
        assert yard.around.alarms[ONE] == {("offline", None)}
        yard.check_gauges()


async def test_trouble_of_others_is_not_the_fleets(yard: Yard) -> None:
    stranger = stand_in(yard.engine)
    yard.engine.tell(stranger, boom)
    await settle(yard.engine)
    assert not [event for event in yard.around.recent if isinstance(event, PileChanged)]


# --- its own restart ------------------------------------------------------------------------------------


async def test_a_restarted_fleet_keeps_its_piles_and_brings_no_retired_one_back(yard: Yard) -> None:
    await yard.take(PileLoaded(TWO, None), PileLoaded(THREE, config(pile_code=THREE)))
    before = inside(yard.fleet)
    before._take = boom
    failing = asyncio.create_task(yard.ask(TakePiles((PileLoaded(ONE, None),))))
    await asyncio.wait([failing])
    assert failing.exception() is not None
    assert inside(yard.fleet) is not before
    assert list(yard.directory) == [ONE, THREE]
    yard.check_gauges()
    await yard.take(PileLoaded(TWO, config(pile_code=TWO)))
    assert list(yard.directory) == [ONE, THREE, TWO]


async def test_a_pile_whose_end_went_unnoticed_is_forgotten_at_the_restart(yard: Yard) -> None:
    inside(yard.fleet)._forget = boom
    yard.engine.tell(yard.address(ONE), ActorExitRequest())
    await settle(yard.engine)
    assert list(yard.directory) == [TWO]


async def test_what_a_failing_handler_had_enlisted_is_forgotten(yard: Yard) -> None:
    before = inside(yard.fleet)
    before._retire = boom
    new = PileLoaded(THREE, config(pile_code=THREE))
    failing = asyncio.create_task(yard.ask(TakePiles((new, PileLoaded(ONE, None)))))
    await asyncio.wait([failing])
    assert failing.exception() is not None
    assert list(yard.directory) == [ONE, TWO]
    await yard.take(new)
    assert list(yard.directory) == [ONE, TWO, THREE]
