"""The store actor: what is written together, what is repeated, what is refused, and that nothing is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pileward.actors import store as store_module
from pileward.actors.engine import Engine
from pileward.actors.store import (
    BATCH_MAX,
    LOADS_AT_ONCE,
    SAMPLE_EVERY_S,
    Flush,
    Flushed,
    StoreActor,
    StoreStart,
    Waiting,
)
from pileward.actors.store_messages import LoadPile, PileLoaded, Refused, Save, Stored, TakeSample
from pileward.clock import ManualClock
from pileward.models.database import Database, open_database
from pileward.services.alarms import OpenAlarm, open_of_pile
from pileward.services.backend import DatabaseBackend, LoadedPile
from pileward.services.pile_facts import ConfirmTariff
from pileward.services.records import RecordState, StoreRecord
from pileward.values import Severity
from tests.around import speak, stand_in, surroundings
from tests.business import NOW, PILE_CODE, later, open_business
from tests.piles import config, telemetry
from tests.unit.engine_actors import boom, engine_with, inside, settle
from tests.waiting import until


class Outage(Exception):  # noqa: N818 - what the scripted database raises while it is away
    """The database is away."""


class Culprit(Exception):  # noqa: N818
    """This write never works."""


class ScriptedBackend:
    """In place of a database: writes when it is let, fails as it is told."""

    def __init__(self, *, is_gated: bool = False) -> None:
        self.calls: list[list[Any]] = []
        self.rows: list[Any] = []
        self.samples: list[Any] = []
        self.loaded: list[str] = []
        self.most_loads = 0
        self.culprits: set[Any] = set()
        self.outages = 0
        """So many of the next calls find the database away."""
        self.load_errors = 0
        self.sample_errors = 0
        self._is_gated = is_gated
        self._gates: deque[asyncio.Event] = deque()
        self._loads = 0

    async def write(self, writes: list[Any]) -> list[Any]:
        self.calls.append(list(writes))
        await self._wait()
        if self.outages:
            self.outages -= 1
            raise Outage
        for write in writes:
            if write in self.culprits:
                raise Culprit(write)
        self.rows += writes
        return [f"row of {write}" for write in writes]

    async def write_samples(self, samples: list[Any]) -> None:
        if self.sample_errors:
            self.sample_errors -= 1
            raise Outage
        self.samples += samples

    async def load_pile(self, pile_code: str) -> LoadedPile:
        self._loads += 1
        self.most_loads = max(self.most_loads, self._loads)
        self.loaded.append(pile_code)
        await self._wait()
        self._loads -= 1
        if self.load_errors:
            self.load_errors -= 1
            raise Outage
        return LoadedPile(config(pile_code=pile_code), frozenset({("offline", None)}))

    def is_outage(self, error: BaseException) -> bool:
        return isinstance(error, Outage)

    async def _wait(self) -> None:
        if self._is_gated:
            gate = asyncio.Event()
            self._gates.append(gate)
            await gate.wait()

    def let_one(self) -> None:
        """Let the oldest call that waits go on."""
        self._gates.popleft().set()

    def let_all(self) -> None:
        """Let every call go on from now on."""
        self._is_gated = False
        while self._gates:
            self.let_one()


class Shop:
    """A store actor on an engine, and actors that write through it."""

    def __init__(self, engine: Engine, backend: Any) -> None:
        self.engine = engine
        self.backend = backend
        self.waiting = Waiting()
        self.around = surroundings(engine)
        self.store = engine.create(StoreActor, StoreStart(self.around, backend, self.waiting))
        self.around.store = self.store

    def writer(self) -> Any:
        """An actor of its own that notes its answers."""
        return stand_in(self.engine)

    def send(self, sender: Any, *messages: Any) -> None:
        """Have an actor send to the store."""
        speak(self.engine, sender, self.store, *messages)

    def save(self, sender: Any, *writes: tuple[int, Any]) -> None:
        """Have an actor save, each write with its ticket."""
        self.send(sender, *(Save(ticket, write) for ticket, write in writes))

    async def answers(self, sender: Any, count: int) -> list[Any]:
        """Wait for so many answers; no more may have come."""
        await until(lambda: len(inside(sender).seen) >= count, what=f"{count} answers")
        await settle(self.engine)
        assert len(inside(sender).seen) == count
        return list(inside(sender).seen)

    async def flushed(self) -> None:
        assert isinstance(await self.engine.ask_async(self.store, Flush(), 10.0), Flushed)

    def fail(self) -> None:
        """Let the next handler of the actor raise: a fresh instance takes over."""
        self.engine.tell(self.store, TakeSample(telemetry(), 0))
        inside(self.store)._take_sample = lambda message: boom(None, None)


@asynccontextmanager
async def shop(backend: Any = None) -> AsyncIterator[Shop]:
    async with engine_with(ManualClock()) as engine:
        opened = Shop(engine, backend or ScriptedBackend())
        yield opened
        await until(lambda: not opened.waiting.tasks, what="the store's own tasks to end")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.01)


def stored(*tickets_and_writes: tuple[int, Any]) -> list[Stored]:
    return [Stored(ticket, f"row of {write}") for ticket, write in tickets_and_writes]


# --- batches --------------------------------------------------------------------------------------------


async def test_a_lone_write_waits_for_nobody() -> None:
    async with shop() as opened:
        writer = opened.writer()
        opened.save(writer, (7, "a"))
        assert await opened.answers(writer, 1) == stored((7, "a"))
        assert opened.backend.calls == [["a"]]


async def test_one_batch_is_in_flight_while_the_next_collects() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"), (3, "c"))
        opened.save(opened.writer(), (1, "d"))
        await settle(opened.engine)
        assert opened.backend.calls == [["a"]]
        assert (opened.waiting.in_flight, len(opened.waiting.queue)) == (1, 3)
        assert opened.around.metrics.store_queue == 4
        opened.backend.let_one()
        await until(lambda: len(opened.backend.calls) == 2)
        assert opened.backend.calls[1] == ["b", "c", "d"]
        assert inside(writer).seen == stored((1, "a"))
        opened.backend.let_all()
        assert await opened.answers(writer, 3) == stored((1, "a"), (2, "b"), (3, "c"))


async def test_a_batch_is_bounded() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        writer = opened.writer()
        opened.save(writer, (1, "first"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, *((2 + number, number) for number in range(BATCH_MAX + 10)))
        opened.backend.let_all()
        await opened.answers(writer, BATCH_MAX + 11)
        assert [len(call) for call in opened.backend.calls] == [1, BATCH_MAX, 10]
        assert sum(opened.around.metrics.store_batch.counts) == 3


async def test_answers_come_in_the_order_of_the_writes_of_each_sender() -> None:
    async with shop() as opened:
        writers = [opened.writer() for _ in range(3)]
        for number in range(1, 31):
            opened.save(writers[number % 3], (number, number))
        for index, writer in enumerate(writers):
            seen = await opened.answers(writer, 10)
            assert [answer.ticket for answer in seen] == list(range(index or 3, 31, 3))


async def test_ticket_nought_wants_no_answer() -> None:
    async with shop() as opened:
        writer = opened.writer()
        opened.save(writer, (0, "a"), (1, "b"))
        assert await opened.answers(writer, 1) == stored((1, "b"))
        assert opened.backend.rows == ["a", "b"]


# --- failures -------------------------------------------------------------------------------------------


async def test_of_a_failing_batch_only_the_culprit_is_refused() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        opened.backend.culprits = {"c"}
        writer, other = opened.writer(), opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"), (3, "c"), (4, "d"))
        opened.save(other, (1, "e"))
        opened.backend.let_all()
        one, two, refused, four = await opened.answers(writer, 4)
        assert [one, two, four] == stored((1, "a"), (2, "b"), (4, "d"))
        assert isinstance(refused, Refused)
        assert (refused.ticket, refused.is_pressure) == (3, False)
        assert "Culprit" in refused.reason
        assert await opened.answers(other, 1) == stored((1, "e"))
        assert opened.backend.rows == ["a", "b", "d", "e"]
        assert opened.around.metrics.store_writes == 4
        assert opened.around.metrics.store_failures == 1


@pytest.mark.parametrize("outages", [1, 3])
async def test_an_outage_is_waited_out_and_everything_stored(outages: int) -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"), (3, "c"))
        opened.backend.outages = outages
        assert opened.waiting.stuck_s() > 0
        opened.backend.let_all()
        assert await opened.answers(writer, 3) == stored((1, "a"), (2, "b"), (3, "c"))
        assert opened.backend.rows == ["a", "b", "c"]
        assert opened.waiting.stuck_s() == 0
        assert opened.around.metrics.store_failures == outages


async def test_an_outage_in_the_midst_of_repeating_is_waited_out_too() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        opened.backend.culprits = {"b"}
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"), (3, "c"))
        opened.backend.let_one()
        await until(lambda: len(opened.backend.calls) == 2)
        opened.backend.let_one()
        await until(lambda: len(opened.backend.calls) == 3)
        opened.backend.outages = 2
        opened.backend.let_all()
        kinds = [type(answer) for answer in await opened.answers(writer, 3)]
        assert kinds == [Stored, Refused, Stored]
        assert opened.backend.rows == ["a", "c"]


async def test_a_full_queue_refuses_at_once() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "QUEUE_MAX", 2)
        patch.setattr(store_module, "FOLLOW_UPS_MAX", 1)
        async with shop(ScriptedBackend(is_gated=True)) as opened:
            writer = opened.writer()
            opened.save(writer, (1, "a"))
            await until(lambda: opened.backend.calls)
            opened.save(writer, (2, "b"), (3, "c"), (4, "d"), (0, "alarm"), (0, "one too many"))
            (refused,) = await opened.answers(writer, 1)
            assert (refused.ticket, refused.is_pressure) == (4, True)
            opened.backend.let_all()
            assert (await opened.answers(writer, 4))[1:] == stored((1, "a"), (2, "b"), (3, "c"))
            opened.save(writer, (5, "d"))
            assert (await opened.answers(writer, 5))[-1:] == stored((5, "d"))
            assert opened.backend.rows == ["a", "b", "c", "alarm", "d"]


# --- samples --------------------------------------------------------------------------------------------


async def take(opened: Shop, count: int) -> None:
    sender = opened.writer()
    opened.send(sender, *(TakeSample(telemetry(), number) for number in range(count)))
    await settle(opened.engine)


async def test_samples_are_written_together_every_few_seconds() -> None:
    async with shop() as opened:
        await take(opened, 3)
        opened.engine.clock.advance(SAMPLE_EVERY_S - 0.1)  # type: ignore[attr-defined] # a ManualClock
        await settle(opened.engine)
        assert opened.backend.samples == []
        opened.engine.clock.advance(0.1)  # type: ignore[attr-defined]
        await until(lambda: len(opened.backend.samples) == 3)
        assert [at for _, at in opened.backend.samples] == [0, 1, 2]
        assert not opened.waiting.samples


async def test_samples_are_shed_before_anything_else() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "QUEUE_MAX", 4)
        async with shop(ScriptedBackend(is_gated=True)) as opened:
            writer = opened.writer()
            opened.save(writer, (1, "a"))
            await until(lambda: opened.backend.calls)
            opened.save(writer, (2, "b"), (3, "c"), (4, "d"))
            await take(opened, 2)
            assert (len(opened.waiting.samples), opened.around.metrics.samples_shed) == (0, 2)
            assert inside(writer).seen == []  # no write was refused
            opened.backend.let_all()
            await opened.answers(writer, 4)
            await take(opened, 1)
            assert len(opened.waiting.samples) == 1


async def test_samples_are_bounded_and_a_failure_sheds_them() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "SAMPLES_MAX", 5)
        async with shop() as opened:
            opened.backend.sample_errors = 1
            await take(opened, 7)
            assert opened.around.metrics.samples_shed == 2
            opened.engine.clock.advance(SAMPLE_EVERY_S)  # type: ignore[attr-defined]
            await until(lambda: opened.around.metrics.samples_shed == 7)
            await take(opened, 1)
            opened.engine.clock.advance(SAMPLE_EVERY_S)  # type: ignore[attr-defined]
            await until(lambda: len(opened.backend.samples) == 1)


# --- a restart of the actor -----------------------------------------------------------------------------


async def test_a_restarted_store_loses_nothing_that_waits() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"))
        await take(opened, 1)
        first = inside(opened.store)
        opened.fail()
        await settle(opened.engine)
        assert inside(opened.store) is not first
        opened.backend.let_all()
        assert await opened.answers(writer, 2) == stored((1, "a"), (2, "b"))
        opened.engine.clock.advance(SAMPLE_EVERY_S)  # type: ignore[attr-defined]
        await until(lambda: len(opened.backend.samples) == 1)


async def test_answers_that_were_on_their_way_when_it_failed_are_given_once() -> None:
    async with shop() as opened:
        writer = opened.writer()
        failing = inside(opened.store)
        failing.send = boom
        opened.save(writer, (1, "a"), (2, "b"))
        assert await opened.answers(writer, 2) == stored((1, "a"), (2, "b"))
        assert inside(opened.store) is not failing
        opened.save(writer, (3, "c"))
        assert (await opened.answers(writer, 3))[-1:] == stored((3, "c"))
        assert opened.backend.rows == ["a", "b", "c"]


# --- flushing and reading -------------------------------------------------------------------------------


async def test_flushed_when_nothing_waits_any_more() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        await opened.flushed()
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.save(writer, (2, "b"))
        waiting = [asyncio.create_task(opened.flushed()) for _ in range(2)]
        opened.backend.let_one()
        await until(lambda: len(opened.backend.calls) == 2)
        assert not any(task.done() for task in waiting)
        opened.backend.let_all()
        await asyncio.gather(*waiting)
        assert opened.backend.rows == ["a", "b"]


async def test_a_load_is_answered_and_repeated_while_the_database_is_away() -> None:
    async with shop() as opened:
        opened.backend.load_errors = 2
        reader = opened.writer()
        opened.send(reader, LoadPile("P1"))
        (answer,) = await opened.answers(reader, 1)
        assert answer == PileLoaded("P1", config(pile_code="P1"), frozenset({("offline", None)}))
        assert opened.backend.loaded == ["P1"] * 3


async def test_few_loads_run_at_a_time() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        reader = opened.writer()
        opened.send(reader, *(LoadPile(f"P{number}") for number in range(3 * LOADS_AT_ONCE)))
        await until(lambda: len(opened.backend.loaded) == LOADS_AT_ONCE)
        opened.backend.let_one()
        await until(lambda: len(opened.backend.loaded) == LOADS_AT_ONCE + 1)
        opened.backend.let_all()
        assert {answer.pile_code for answer in await opened.answers(reader, 3 * LOADS_AT_ONCE)} == {
            f"P{number}" for number in range(3 * LOADS_AT_ONCE)
        }
        assert opened.backend.most_loads == LOADS_AT_ONCE


async def test_a_load_does_not_overtake_the_writes_before_it() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        opened.send(writer, Save(2, "b"), LoadPile("P1"), Save(3, "c"))
        await settle(opened.engine)
        assert opened.backend.loaded == []
        opened.backend.let_one()
        await until(lambda: len(opened.backend.calls) == 2)
        assert opened.backend.loaded == []
        opened.backend.let_one()
        await until(lambda: opened.backend.loaded == ["P1"])
        opened.backend.let_all()
        await opened.answers(writer, 4)


async def test_what_the_store_shows_of_itself() -> None:
    async with shop(ScriptedBackend(is_gated=True)) as opened:
        assert inside(opened.store).inspect() == {
            "state": "idle",
            "queue": 0,
            "in_flight": 0,
            "samples": 0,
            "loads": 0,
            "oldest_waits_s": 0.0,
        }
        writer = opened.writer()
        opened.save(writer, (1, "a"))
        await until(lambda: opened.backend.calls)
        assert inside(opened.store).inspect()["state"] == "committing"
        opened.backend.let_all()
        await opened.answers(writer, 1)


# --- a real database ------------------------------------------------------------------------------------


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url)
    yield opened
    await opened.close()


def a_record(number: int, body: bytes = b"body", pile_code: str = PILE_CODE) -> StoreRecord:
    return StoreRecord("ykc", pile_code, 1, f"{number:032d}", body, {"n": number}, later(number))


async def test_writes_of_all_kinds_reach_the_database(sqlite: Database) -> None:
    await open_business()
    async with shop(DatabaseBackend(sqlite, lambda: later(60))) as opened:
        writer = opened.writer()
        alarm = OpenAlarm(PILE_CODE, 1, "gun_silent", Severity.WARNING, "无心跳", "silent", NOW)
        writes: Iterable[Any] = [
            a_record(1),
            alarm,
            a_record(1),
            ConfirmTariff(PILE_CODE, "0001", later(5)),
            a_record(1, b"other"),
        ]
        opened.save(writer, *enumerate(writes, start=1))
        answers = await opened.answers(writer, 5)
        states = [answers[index].result.state for index in (0, 2, 4)]
        assert states == [RecordState.STORED, RecordState.SAME, RecordState.DIFFERENT]
        assert await open_of_pile(PILE_CODE) == {("gun_silent", 1)}


async def test_a_record_that_can_never_be_stored_is_refused_alone(sqlite: Database) -> None:
    await open_business()
    async with shop(DatabaseBackend(sqlite, lambda: NOW)) as opened:
        writer = opened.writer()
        stranger = a_record(2, pile_code="99999999999999")
        opened.save(writer, (1, a_record(1)), (2, stranger), (3, a_record(3)))
        kinds = [type(answer) for answer in await opened.answers(writer, 3)]
        assert kinds == [Stored, Refused, Stored]


async def test_a_pile_is_read_with_what_was_written_just_before(sqlite: Database) -> None:
    await open_business()
    async with shop(DatabaseBackend(sqlite, lambda: later(60))) as opened:
        reader = opened.writer()
        alarm = OpenAlarm(PILE_CODE, None, "no_tariff", Severity.FAULT, "无", "none", NOW)
        confirmed = ConfirmTariff(PILE_CODE, "0042", later(5))
        opened.send(reader, Save(0, alarm), Save(0, confirmed), LoadPile(PILE_CODE), LoadPile("unknown"))
        answers = await opened.answers(reader, 2)
        found = {answer.pile_code: answer for answer in answers}
        loaded = found[PILE_CODE]
        assert loaded.config.confirmed_billing_model_no == "0042"
        assert loaded.config.gun_count == 2
        assert loaded.open_alarms == {("no_tariff", None)}
        assert found["unknown"] == PileLoaded("unknown", None, frozenset())
