"""Timers: named and numbered, wake-ups, and that nothing of them stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from thespian.actors import ActorExitRequest, WakeupMessage

from pileward.actors.engine_timers import FIRING_LIMIT
from pileward.actors.supervised import TimerFired
from pileward.clock import Clock, ManualClock
from tests.unit.engine_actors import Doer, engine_with, inside, settle


def names(actor: Any) -> list[Any]:
    """The timers that fired, in their order."""
    return [message.name for message in inside(actor).seen if isinstance(message, TimerFired)]


async def test_timers_fire_at_their_time_and_in_their_order() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)

        def arm(me: Doer, _: Any) -> None:
            for name, delay_s in (("c", 3), ("a", 1), ("b", 2), ("b2", 2)):
                me.arm(name, delay_s)

        engine.deliver(actor, arm)
        clock.advance(0.999)
        assert names(actor) == []
        clock.advance(0.001)
        assert names(actor) == ["a"]
        clock.advance(5)
        assert names(actor) == ["a", "b", "b2", "c"]


async def test_a_timer_of_a_timer_fires_within_the_same_advance() -> None:
    clock = ManualClock()
    times: list[float] = []

    class Ticker(Doer):
        def receiveMessage(self, message: Any, sender: Any) -> None:
            times.append(self.clock.monotonic())
            self.arm("tick", 10)

    async with engine_with(clock) as engine:
        engine.deliver(engine.create(Ticker), "go")
        clock.advance(35)
        assert times == [0, 10, 20, 30]


async def test_arming_again_replaces() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: (me.arm("t", 1), me.arm("t", 5)))
        clock.advance(4)
        assert names(actor) == []
        clock.advance(1)
        assert names(actor) == ["t"]
        clock.advance(100)
        assert names(actor) == ["t"]


async def test_a_disarmed_timer_never_arrives_even_when_it_is_on_its_way() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: (me.arm("t", 1), me.arm("u", 1)))
        engine.tell(actor, lambda me, _: (me.disarm("t"), me.disarm("never armed")))
        clock.advance(1)  # both are due; the order to disarm stands before them in the mailbox
        assert names(actor) == ["u"]


async def test_a_late_timer_of_an_older_generation_is_not_delivered() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: me.arm("t", 1))
        engine.tell(actor, lambda me, _: me.arm("t", 50))
        clock.advance(1)
        assert names(actor) == []
        clock.advance(50)
        assert names(actor) == ["t"]


async def test_names_are_the_actors_own() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        for actor in (one, two):
            engine.deliver(actor, lambda me, _: me.arm("t", 1))
        engine.deliver(one, lambda me, _: me.disarm("t"))
        clock.advance(1)
        assert (names(one), names(two)) == ([], ["t"])


async def test_wake_ups_are_thespians() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)
        senders: list[Any] = []

        def wake(me: Doer, _: Any) -> None:
            me.wakeupAfter(timedelta(seconds=2), "two")
            me.wakeupAfter(1.0, "one")
            me.wakeupAfter(1.0, lambda *_: None)

        engine.deliver(actor, wake)
        clock.advance(1.5)
        assert [message.payload for message in inside(actor).seen[:1]] == ["one"]
        clock.advance(1.5)
        assert inside(actor).seen[2] == WakeupMessage(timedelta(seconds=2), "two")
        assert senders == []


async def test_real_time_fires_them_too_faster_with_a_faster_clock() -> None:
    async with engine_with(Clock(rate=1000.0)) as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: (me.arm("far", 3600), me.arm("soon", 10)))
        async with asyncio.timeout(5):
            while not names(actor):  # noqa: ASYNC110 - a timer of the loop is what is waited for
                await asyncio.sleep(0.001)
        assert names(actor) == ["soon"]


async def test_timers_of_an_exited_actor_are_gone() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        for _ in range(1_000):
            actor = engine.create(Doer)
            engine.deliver(actor, lambda me, _: (me.arm("t", 3600), me.wakeupAfter(3600)))
            engine.deliver(actor, ActorExitRequest())
        assert len(engine.timers) == 0
        assert len(engine.timers._heap) < 200


async def test_arming_again_and_again_does_not_grow() -> None:
    async with engine_with() as engine:
        actor, other = engine.create(Doer), engine.create(Doer)
        engine.deliver(other, lambda me, _: me.arm("far", 10_000))
        for _ in range(5_000):
            engine.deliver(actor, lambda me, _: me.arm("t", 3600))
        assert len(engine.timers) == 2
        assert len(engine.timers._heap) < 200


async def test_many_timers_due_at_once_come_in_portions() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actors = [engine.create(Doer) for _ in range(FIRING_LIMIT + 500)]
        for actor in actors:
            engine.tell(actor, lambda me, _: me.arm("t", 1))
        await settle(engine)
        clock.advance(1)
        await settle(engine)
        assert all(names(actor) == ["t"] for actor in actors)


async def test_an_actor_sees_how_many_timers_it_has() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: (me.arm("a", 5), me.arm("b", 7)))
        info = engine.info(actor)
        assert info is not None
        assert info.timers == 2
        assert engine.timers.remaining(actor) == [5, 7]
        assert engine.timers.named(actor) == {"a": 5, "b": 7}
