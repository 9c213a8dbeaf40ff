"""Serials of a node: blocks that are durable before a number leaves the house, refilled ahead of need."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from pileward.actors.saving import NotStored, Saving
from pileward.actors.serials import NoSerialError, Serials
from pileward.actors.store import StoreActor, StoreStart, Waiting
from pileward.actors.store_messages import Refused, Save, Stored
from pileward.actors.supervised import Supervised
from pileward.messages.charging_writes import ReserveSerials
from pileward.models.database import Database
from pileward.services.backend import DatabaseBackend
from tests.around import surroundings
from tests.business import NOW
from tests.unit.engine_actors import engine_with
from tests.waiting import until


class Counters:
    """In place of the store: counts on, fails as often as it is told."""

    def __init__(self) -> None:
        self.next = 0
        self.asked: list[Any] = []
        self.failures = 0

    async def save(self, write: ReserveSerials) -> int:
        self.asked.append(write)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise NotStored("the database is away", is_pressure=True)
        first, self.next = self.next, self.next + write.count
        return first


def holds(serials: Serials, count: int) -> bool:
    return len(serials) == count


async def test_a_serial_is_the_time_in_china_the_node_and_a_counter() -> None:
    serials = Serials(7, Counters().save, block=4)
    await serials.start()
    assert serials.next(NOW) == "260301120506" + "07" + "000000"
    assert serials.next(NOW) == "260301120506" + "07" + "000001"


async def test_the_next_block_is_there_before_it_is_needed() -> None:
    store = Counters()
    serials = Serials(1, store.save, block=10)
    await serials.start()
    taken = [serials.next(NOW) for _ in range(4)]
    await asyncio.sleep(0)
    assert len(store.asked) == 1
    taken.append(serials.next(NOW))
    await until(lambda: len(serials) == 15)
    taken += [serials.next(NOW) for _ in range(15)]
    assert [serial[-6:] for serial in taken] == [f"{number:06d}" for number in range(20)]
    await serials.close()


async def test_a_database_that_is_away_is_noticed_only_when_everything_is_used() -> None:
    store = Counters()
    serials = Serials(1, store.save, block=4, again_s=0.001)
    await serials.start()
    store.failures = 1_000_000
    taken = [serials.next(NOW) for _ in range(4)]
    with pytest.raises(NoSerialError):
        serials.next(NOW)
    store.failures = 0
    await until(lambda: len(serials) == 4)
    assert serials.next(NOW) not in taken
    await serials.close()


async def test_closing_ends_a_reservation_that_never_succeeds() -> None:
    store = Counters()
    serials = Serials(1, store.save, block=2, again_s=60.0)
    await serials.start()
    store.failures = 1_000_000
    serials.next(NOW)
    await until(lambda: len(store.asked) == 2)
    await serials.close()
    await serials.close()


async def test_blocks_are_durable_and_no_number_comes_twice_over_restarts(database: Database) -> None:
    seen: list[str] = []
    for _ in range(3):
        async with engine_with() as engine:
            around = surroundings(engine)
            backend = DatabaseBackend(database, engine.clock.utc)
            around.store = engine.create(StoreActor, StoreStart(around, backend, Waiting()))
            serials = Serials(1, Saving(engine, around).save, block=10)
            await serials.start()
            seen += [serials.next(NOW) for _ in range(7)]
            await until(functools.partial(holds, serials, 13))
            await serials.close()
    assert len(set(seen)) == len(seen) == 21
    assert seen == sorted(seen)


class Answering(Supervised):
    """In place of the store: answers each write by what it is called with."""

    def __init__(self, requirements: Any) -> None:
        self.answer = requirements

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, Save) and self.answer is not None:
            self.send(sender, self.answer(message.ticket))


class TestSaving:
    async def saved(self, answer: Any) -> Any:
        async with engine_with() as engine:
            around = surroundings(engine)
            around.store = engine.create(Answering, answer)
            return await Saving(engine, around, within_s=0.01).save("write")

    async def test_a_write_comes_back_with_its_result(self) -> None:
        assert await self.saved(lambda ticket: Stored(ticket, "result")) == "result"

    @pytest.mark.parametrize("is_pressure", [True, False])
    async def test_what_the_store_refuses_is_told_with_its_reason(self, is_pressure: bool) -> None:
        with pytest.raises(NotStored, match="because") as caught:
            await self.saved(lambda ticket: Refused(ticket, "because", is_pressure))
        assert caught.value.is_pressure is is_pressure

    async def test_a_store_that_does_not_answer_leaves_it_open_whether_it_was_written(self) -> None:
        with pytest.raises(NotStored, match="AskTimeout") as caught:
            await self.saved(None)
        assert caught.value.is_pressure
