"""Plain Thespian actors that fail: three attempts, poison, and nothing that the handler sent gets out."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
import structlog
import structlog.testing
from thespian.actors import ActorExitRequest, ChildActorExited, PoisonMessage

from pileward.actors.engine import Engine, Failure
from pileward.actors.engine_failures import PLAIN_ATTEMPTS
from pileward.clock import ManualClock
from tests.unit.engine_actors import Boom, Doer, PlainDoer, boom, engine_with, inside, settle


async def test_a_message_is_tried_three_times_then_returned() -> None:
    async with engine_with() as engine:
        victim, sender = engine.create(PlainDoer), engine.create(Doer)
        attempts: list[int] = []

        def fail(me: PlainDoer, _: Any) -> None:
            attempts.append(1)
            raise Boom

        engine.tell(sender, lambda me, _: me.send(victim, fail))
        await settle(engine)
        assert len(attempts) == PLAIN_ATTEMPTS == 3
        assert [type(message) for message in inside(sender).seen] == [PoisonMessage]


async def test_a_later_attempt_may_succeed_and_counts() -> None:
    async with engine_with() as engine:
        victim, friend = engine.create(PlainDoer), engine.create(Doer)
        attempts: list[int] = []

        def fail_twice(me: PlainDoer, _: Any) -> None:
            attempts.append(1)
            me.send(friend, len(attempts))
            if len(attempts) < 3:
                raise Boom

        engine.deliver(victim, fail_twice)
        assert inside(friend).seen == [3]


async def test_the_state_of_a_plain_actor_stays_as_it_is() -> None:
    async with engine_with() as engine:
        victim = engine.create(PlainDoer)
        before = inside(victim)
        engine.deliver(victim, boom)
        engine.deliver(victim, "still there")
        assert inside(victim) is before
        assert before.seen == ["still there"]


async def test_what_a_failing_handler_sent_never_leaves() -> None:
    async with engine_with() as engine:
        victim, friend = engine.create(PlainDoer), engine.create(Doer)

        def send_and_fail(me: PlainDoer, _: Any) -> None:
            me.send(friend, "never")
            me.send(me.myAddress, "never")
            raise Boom

        engine.tell(friend, "before")
        engine.tell(victim, send_and_fail)
        engine.tell(friend, "after")
        await settle(engine)
        assert inside(friend).seen == ["before", "after"]
        assert inside(victim).seen == []
        assert (victim.depth, friend.depth) == (0, 0)


async def test_children_that_a_plain_actor_made_before_it_failed_live() -> None:
    async with engine_with() as engine:
        victim = engine.create(PlainDoer)

        def make_and_fail(me: PlainDoer, _: Any) -> None:
            me.createActor(Doer)
            raise Boom

        engine.deliver(victim, make_and_fail)
        children = engine.children(victim)
        assert [inside(child).starts for child in children] == [[False]] * PLAIN_ATTEMPTS


async def test_failing_on_poison_ends_there() -> None:
    """Two actors that fail on everything do not keep each other busy for ever."""

    class Grumpy(PlainDoer):
        def receiveMessage(self, msg: Any, sender: Any) -> None:
            if isinstance(msg, PoisonMessage):
                raise Boom
            super().receiveMessage(msg, sender)

    async with engine_with() as engine:
        one, two = engine.create(Grumpy), engine.create(Grumpy)
        engine.tell(one, lambda me, _: me.send(two, boom))
        await settle(engine)
        assert engine.waiting == 0
        assert engine.failures.count == 2 * PLAIN_ATTEMPTS


async def test_a_failing_wake_up_is_tried_three_times_too() -> None:
    clock = ManualClock()
    attempts: list[Any] = []

    class Sleepy(PlainDoer):
        def receiveMessage(self, msg: Any, sender: Any) -> None:
            if msg == "sleep":
                self.wakeupAfter(5, "wake")
            elif not isinstance(msg, (ActorExitRequest, PoisonMessage)):
                attempts.append(msg.payload)
                raise Boom

    async with engine_with(clock) as engine:
        engine.deliver(engine.create(Sleepy), "sleep")
        clock.advance(6)
        assert attempts == ["wake"] * PLAIN_ATTEMPTS


async def test_an_actor_that_fails_on_its_exit_exits() -> None:
    class Clinging(PlainDoer):
        def receiveMessage(self, msg: Any, sender: Any) -> None:
            raise Boom

    async with engine_with() as engine:
        actor = engine.create(Clinging)
        engine.deliver(actor, ActorExitRequest())
        assert engine.info(actor) is None
        assert engine.failures.count == 1


async def test_a_plain_actor_may_leave_like_a_process() -> None:
    async with engine_with() as engine:
        parent = engine.create(Doer)
        engine.tell(parent, lambda me, _: me.createActor(PlainDoer))
        await settle(engine)
        (child,) = engine.children(parent)
        engine.deliver(child, lambda me, _: sys.exit(1))
        assert engine.info(child) is None
        assert inside(parent).seen == [ChildActorExited(child)]


async def test_a_plain_actor_may_leave_in_a_later_attempt() -> None:
    async with engine_with() as engine:
        actor = engine.create(PlainDoer)
        attempts: list[int] = []

        def fail_then_leave(me: PlainDoer, _: Any) -> None:
            attempts.append(1)
            if len(attempts) == 2:
                sys.exit(1)
            raise Boom

        engine.deliver(actor, fail_then_leave)
        assert len(attempts) == 2
        assert engine.info(actor) is None


async def test_a_cancelled_future_fails_the_handler_not_the_engine() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.cancel()
        engine.deliver(actor, lambda me, _: future.result())
        engine.deliver(actor, "alive")
        assert inside(actor).seen == ["alive"]
        assert inside(actor).starts == [True]


async def test_an_interrupt_from_the_keyboard_goes_through_and_the_queue_survives() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        await settle(engine)

        def interrupt(me: Doer, _: Any) -> None:
            raise KeyboardInterrupt

        engine.tell(actor, interrupt)
        engine.tell(actor, "behind it")
        with pytest.raises(KeyboardInterrupt):
            engine.run()
        await settle(engine)
        assert inside(actor).seen == ["behind it"]


async def test_each_failure_is_reported_with_its_message() -> None:
    async with engine_with() as engine:
        failures: list[Failure] = []
        engine.on_failure = failures.append
        actor = engine.create(Doer)
        engine.deliver(actor, boom)
        (failure,) = failures
        assert failure.path == actor.path
        assert failure.actor_class == "Doer"
        assert "boom" in failure.message
        assert failure.error == "Boom: on purpose"
        assert "raise Boom" in failure.traceback
        assert failure.at == engine.clock.utc()
        assert not failure.is_quarantined


async def test_a_message_that_cannot_be_shown_does_not_hide_the_failure() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise ValueError

        def __call__(self, me: Any, sender: Any) -> None:
            raise Boom

    async with engine_with() as engine:
        failures: list[Failure] = []
        engine.on_failure = failures.append
        engine.deliver(engine.create(Doer), Unshowable())
        assert "Unshowable" in failures[0].message


async def test_a_hook_that_fails_itself_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with engine_with() as engine:

        def hook(failure: Failure) -> None:
            raise Boom

        engine.on_failure = hook
        actor = engine.create(Doer)
        engine.deliver(actor, boom)
        engine.deliver(actor, "alive")
        assert inside(actor).seen == ["alive"]


async def test_without_a_hook_failures_are_logged() -> None:
    engine = Engine()
    actor = engine.create(Doer)
    with structlog.testing.capture_logs() as shown:  # whatever an earlier test did to the settings of the log
        for _ in range(6):
            engine.deliver(actor, boom)
    assert {entry["event"] for entry in shown} == {"actor_failed", "actor_quarantined"}
    assert all(actor.path in str(entry) for entry in shown)
    engine.shutdown()
