"""The engine as Thespian's system base: its own thread, blocking calls, private ends, shutdown."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from thespian.actors import (
    ActorExitRequest,
    ActorSystem,
    ActorSystemFailure,
    InvalidActorAddress,
    InvalidActorSourceHash,
    WakeupMessage,
)

from pileward.actors.engine import Engine
from pileward.actors.engine_cell import MAILBOX_LIMIT
from pileward.clock import ManualClock
from tests.unit.engine_actors import Boom, Doer, boom, engine_with, inside, settle


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    """Thespian's front on an engine with a thread of its own."""
    engine = Engine()
    engine.on_failure = lambda failure: None
    system = ActorSystem(systemBase=engine, transientUnique=True)
    yield system
    system.shutdown()


def answer(value: Any) -> Any:
    """A deed that answers `value`."""
    return lambda me, sender: me.send(sender, value)


def test_ask_tell_and_listen_block_as_thespians_do(system: ActorSystem) -> None:
    actor = system.createActor(Doer)
    assert system.ask(actor, answer(1), 5) == 1
    system.tell(actor, answer(2))
    system.tell(actor, answer(3))
    assert (system.listen(5), system.listen(timedelta(seconds=5))) == (2, 3)
    assert system.listen(0) is None
    assert system.ask(actor, "no answer to this", 0.01) is None


def test_actors_run_in_the_engines_own_thread(system: ActorSystem) -> None:
    actor = system.createActor(Doer)
    name = system.ask(actor, lambda me, sender: me.send(sender, threading.current_thread().name), 5)
    assert name == "pileward-engine"


def test_errors_of_creation_come_through(system: ActorSystem) -> None:
    class Unborn(Doer):
        def __init__(self, requirements: Any = None) -> None:
            raise Boom

    with pytest.raises(Boom):
        system.createActor(Unborn)
    with pytest.raises(ImportError):
        system.createActor("no.such.Actor")


def test_messages_of_the_engine_are_not_answers(system: ActorSystem) -> None:
    actor = system.createActor(Doer)
    system.tell(actor, lambda me, sender: me.send(sender, WakeupMessage(1)))
    assert system.ask(actor, answer("real"), 5) == "real"


def test_failures_come_back_as_messages(system: ActorSystem) -> None:
    actor = system.createActor(Doer)
    assert system.ask(actor, boom, 5).reason == "Boom: on purpose"


def test_private_ends_do_not_mix_up_their_answers(system: ActorSystem) -> None:
    def worker(number: int) -> list[Any]:
        with system.private() as own:
            actor = own.createActor(Doer)
            answers = [own.ask(actor, answer((number, step)), 5) for step in range(20)]
            own.tell(actor, ActorExitRequest())
            return answers

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(worker, range(8)))
    assert results == [[(number, step) for step in range(20)] for number in range(8)]


def test_a_private_end_that_is_closed_takes_nothing(system: ActorSystem) -> None:
    actor = system.createActor(Doer)
    senders: list[Any] = []

    def note_sender(me: Doer, sender: Any) -> None:
        senders.append(sender)
        me.send(sender, "noted")

    with system.private() as own:
        own.ask(actor, note_sender, 5)
    assert system.ask(actor, lambda me, sender: (me.send(senders[0], "late"), me.send(sender, 1)), 5) == 1
    assert system._systemBase.dead_letters == 1


def test_an_end_outside_where_nobody_listens_does_not_grow(system: ActorSystem) -> None:
    actor = system.createActor(Doer)

    def flood(me: Doer, sender: Any) -> None:
        for number in range(MAILBOX_LIMIT):
            me.send(sender, number)

    system.tell(actor, flood)
    system.tell(actor, answer("newest"))
    system.tell(actor, answer("newest of all"))
    assert system.ask(actor, lambda me, sender: None, 0) is not None
    assert system._systemBase.outside.main._inbox.qsize() <= MAILBOX_LIMIT


def test_capabilities_and_dead_letters_of_the_front(system: ActorSystem) -> None:
    system.updateCapability("gpu", 1)
    assert system._systemBase.capabilities["gpu"] == 1
    undertaker, gone = system.createActor(Doer), system.createActor(Doer)
    system._systemBase._handleDeadLetters(undertaker, True)
    system.tell(gone, ActorExitRequest())
    system.tell(gone, "dead")
    assert system.ask(undertaker, lambda me, sender: me.send(sender, len(me.seen)), 5) == 1


def test_shutdown_ends_all_actors_and_the_thread() -> None:
    engine = Engine()
    system = ActorSystem(systemBase=engine, transientUnique=True)
    actor = system.createActor(Doer)
    inner = inside(actor)
    system.shutdown()
    system.shutdown()
    assert isinstance(inner.seen[-1], ActorExitRequest)
    assert not any(thread.name == "pileward-engine" for thread in threading.enumerate())
    engine.tell(actor, "nobody hears this")
    with pytest.raises(ActorSystemFailure):
        engine.newPrimaryActor(Doer)


def test_an_actor_may_shut_the_system_down() -> None:
    engine = Engine()
    actor = engine.newPrimaryActor(Doer)
    thread = next(thread for thread in threading.enumerate() if thread.name == "pileward-engine")
    engine.tell(actor, lambda me, _: me.actorSystemShutdown())
    thread.join(5)
    assert not thread.is_alive()
    engine.shutdown()


def test_a_manual_clock_may_be_moved_from_another_thread() -> None:
    clock = ManualClock()
    engine = Engine(clock=clock)
    actor = engine.newPrimaryActor(Doer)
    engine.ask(actor, lambda me, sender: (me.arm("t", 5), me.send(sender, 1)), 5)
    clock.advance(6)
    assert [message.name for message in inside(actor).seen] == ["t"]
    engine.shutdown()


async def test_blocking_calls_raise_in_the_loops_own_thread() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        with pytest.raises(RuntimeError, match="ask_async"):
            engine.ask(actor, 1, 1)
        with pytest.raises(RuntimeError, match="ask_async"):
            engine.listen(1)


async def test_thespians_front_works_on_a_running_loop_too() -> None:
    engine = Engine()
    system = ActorSystem(systemBase=engine, transientUnique=True)
    actor = system.createActor(Doer)
    system.tell(actor, "hello")
    await settle(engine)
    assert inside(actor).seen == ["hello"]
    with pytest.raises(RuntimeError):
        system.ask(actor, 1)
    system.shutdown()


async def test_other_threads_may_ask_while_the_loop_runs() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, engine.ask, actor, answer(5), 5) == 5
        await loop.run_in_executor(None, engine.tell, actor, "from a thread")
        await settle(engine)
        assert inside(actor).seen == ["from a thread"]


async def test_shutdown_on_a_running_loop_lets_actors_say_farewell() -> None:
    engine = Engine()
    last: list[str] = []

    class Polite(Doer):
        def receiveMessage(self, message: Any, sender: Any) -> None:
            last.append(type(message).__name__)

    actor = engine.create(Polite)
    engine.shutdown()
    assert last == ["ActorExitRequest"]
    assert engine.info(actor) is None
    engine.tell(actor, "nobody hears this")
    await asyncio.sleep(0)


async def test_shutdown_inside_a_handler_waits_for_its_end() -> None:
    engine = Engine()
    actor = engine.create(Doer)
    engine.deliver(actor, lambda me, _: (me.engine.shutdown(), me.seen.append("done")))
    inner = inside(actor)
    await asyncio.sleep(0)
    assert inner.seen[0] == "done"
    assert engine.info(actor) is None


async def test_sources_are_off_unless_allowed() -> None:
    async with engine_with() as engine:
        with pytest.raises(ActorSystemFailure, match="off"):
            engine.loadActorSource(io.BytesIO(b"anything"))
    async with engine_with(allow_sources=True) as engine:
        assert len(engine.loadActorSource(io.BytesIO(b"anything"))) == 32
        with pytest.raises(InvalidActorSourceHash):
            engine.newPrimaryActor("some.Actor", source_hash="unknown source")


async def test_there_are_no_other_systems() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)

        def deed(me: Doer, sender: Any) -> None:
            me.notifyOnSystemRegistrationChanges()
            me.preRegisterRemoteSystem("10.0.0.1:1900", {})
            me.deRegisterRemoteSystem("10.0.0.1:1900")
            me.send(sender, "fine")

        assert await engine.ask_async(actor, deed, 1.0) == "fine"
        with pytest.raises(InvalidActorAddress):
            engine.info("not an address")  # type: ignore[arg-type] # the fault that is looked for
