"""Supervised actors: restart in place, quarantine, selective receive, waiting callers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from thespian.actors import ActorExitRequest, ChildActorExited

from pileward.actors.engine import ActorFailed, ActorQuarantined, Failure
from pileward.actors.engine_failures import RESTART_LIMIT, RESTART_WINDOW_S
from pileward.actors.supervised import Failed, Quarantined, Supervised
from pileward.clock import ManualClock
from tests.unit.engine_actors import Boom, Doer, boom, engine_with, inside, seen, settle


async def test_started_comes_first_and_everything_works_in_it() -> None:
    async with engine_with() as engine:
        friend = engine.create(Doer)
        told: list[Any] = []

        def at_start(me: Doer, restarted: bool) -> None:
            me.send(friend, "I am here")
            told.append((me.myAddress, me.clock, me.engine, restarted))

        actor = engine.create(Doer, {"at_start": at_start})
        engine.tell(actor, "first")
        await settle(engine)
        assert told == [(actor, engine.clock, engine, False)]
        assert inside(friend).seen == ["I am here"]


async def test_requirements_of_any_kind_are_handed_over_and_kept_for_a_restart() -> None:
    async with engine_with() as engine:
        marker = object()
        actor = engine.create(Doer, marker)
        first = inside(actor)
        engine.deliver(actor, boom)
        assert inside(actor) is not first
        assert (first.requirements, inside(actor).requirements) == (marker, marker)


async def test_the_failed_message_is_dropped_a_fresh_instance_starts_and_the_mailbox_goes_on() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        old = inside(actor)
        for message in ("before", boom, "after", "and more"):
            engine.tell(actor, message)
        await settle(engine)
        assert old.seen == ["before"]
        assert inside(actor).starts == [True]
        assert inside(actor).seen == ["after", "and more"]


async def test_what_the_failing_handler_sent_is_dropped_and_its_sender_is_told() -> None:
    async with engine_with() as engine:
        actor, friend, asker = engine.create(Doer), engine.create(Doer), engine.create(Doer)

        def send_and_fail(me: Doer, sender: Any) -> None:
            me.send(friend, "never")
            me.send(sender, "never")
            raise Boom("no")

        engine.tell(asker, lambda me, _: me.send(actor, send_and_fail))
        await settle(engine)
        assert inside(friend).seen == []
        assert inside(asker).seen == [Failed("Boom: no")]
        assert (actor.depth, friend.depth, asker.depth) == (0, 0, 0)


async def test_children_born_in_the_failing_handler_never_were_older_ones_stay() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: me.createActor(Doer, "old"))
        born: list[Any] = []

        def make_and_fail(me: Doer, _: Any) -> None:
            born.append(me.createActor(Doer, "new", globalName="newborn"))
            raise Boom

        engine.deliver(actor, make_and_fail)
        (child,) = engine.children(actor)
        assert inside(child).requirements == "old"
        assert inside(actor).seen == []  # nobody tells of a child that never was
        assert engine.info(born[0]) is None
        assert "newborn" not in engine.tree.global_names


async def test_timers_are_dropped_at_a_restart() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)

        def arm(me: Doer, _: Any) -> None:
            me.arm("tick", 5)
            me.wakeupAfter(5, "wake")

        engine.deliver(actor, arm)
        engine.deliver(actor, boom)
        clock.advance(10)
        assert inside(actor).seen == []
        assert len(engine.timers) == 0


async def test_a_timer_in_the_mailbox_does_not_survive_a_restart() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)

        engine.deliver(actor, lambda me, _: me.arm("tick", 5))
        engine.tell(actor, boom)
        clock.advance(5)
        await settle(engine)
        assert inside(actor).seen == []


async def test_the_sixth_failure_in_a_minute_quarantines() -> None:
    async with engine_with() as engine:
        alarms: list[Failure] = []
        engine.on_quarantine = alarms.append
        actor, neighbour = engine.create(Doer), engine.create(Doer)
        for _ in range(RESTART_LIMIT):
            with pytest.raises(ActorFailed):
                await engine.ask_async(actor, boom, 1.0)
            assert not alarms
        assert await engine.ask_async(actor, seen, 1.0) == []
        with pytest.raises(ActorFailed):
            await engine.ask_async(actor, boom, 1.0)
        (alarm,) = alarms
        assert (alarm.address, alarm.is_quarantined) == (actor, True)
        with pytest.raises(ActorQuarantined, match="on purpose"):
            await engine.ask_async(actor, seen, 1.0)
        assert await engine.ask_async(neighbour, seen, 1.0) == []
        assert engine.quarantined == [actor]


async def test_failures_further_apart_never_quarantine() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(Doer)
        for _ in range(5 * RESTART_LIMIT):
            engine.deliver(actor, boom)
            clock.advance(RESTART_WINDOW_S / RESTART_LIMIT)
        assert engine.quarantined == []
        info = engine.info(actor)
        assert info is not None
        assert (info.failures, info.restarts) == (25, 25)


def _wear_out(engine: Any, actor: Any) -> None:
    for _ in range(RESTART_LIMIT + 1):
        engine.deliver(actor, boom)


async def test_messages_to_a_quarantined_actor_are_answered_and_its_children_live() -> None:
    async with engine_with() as engine:
        actor, asker = engine.create(Doer), engine.create(Doer)
        engine.deliver(actor, lambda me, _: me.createActor(Doer))
        (child,) = engine.children(actor)
        _wear_out(engine, actor)
        engine.deliver(asker, lambda me, _: me.send(actor, "hello?"))
        assert inside(asker).seen == [Quarantined("Boom: on purpose")]
        assert await engine.ask_async(child, seen, 1.0) == []


async def test_a_quarantined_actor_can_be_asked_to_exit() -> None:
    async with engine_with() as engine:
        parent = engine.create(Doer)
        engine.deliver(parent, lambda me, _: me.createActor(Doer))
        (child,) = engine.children(parent)
        _wear_out(engine, child)
        engine.deliver(child, ActorExitRequest())
        assert engine.info(child) is None
        assert engine.quarantined == []
        assert inside(parent).seen == [ChildActorExited(child)]


async def test_a_released_actor_works_again_with_a_clean_record() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer, "kept")
        _wear_out(engine, actor)
        engine.release(actor)
        assert engine.quarantined == []
        assert inside(actor).starts == [True]
        assert inside(actor).requirements == "kept"
        engine.deliver(actor, boom)
        assert engine.quarantined == []
        engine.release(actor)  # not quarantined: nothing happens
        assert await engine.ask_async(actor, seen, 1.0) == []


async def test_an_actor_that_cannot_start_again_is_quarantined() -> None:
    async with engine_with() as engine:
        starts: list[bool] = []

        def at_start(me: Doer, restarted: bool) -> None:
            starts.append(restarted)
            me.arm("never", 5)
            me.createActor(Doer)
            if restarted:
                raise Boom("cannot load")

        actor = engine.create(Doer, {"at_start": at_start})
        with pytest.raises(ActorFailed, match="on purpose"):
            await engine.ask_async(actor, boom, 1.0)
        assert starts == [False] + [True] * RESTART_LIMIT
        assert engine.quarantined == [actor]
        assert len(engine.children(actor)) == 1  # of the one start that went well
        assert len(engine.timers) == 0
        engine.release(actor)
        assert engine.quarantined == [actor]


async def test_an_actor_that_cannot_begin_is_restarted_like_any_other() -> None:
    async with engine_with() as engine:
        starts: list[bool] = []

        def at_start(me: Doer, restarted: bool) -> None:
            starts.append(restarted)
            if len(starts) < 3:
                raise Boom

        actor = engine.create(Doer, {"at_start": at_start})
        engine.tell(actor, "hello")
        await settle(engine)
        assert starts == [False, True, True]
        assert inside(actor).seen == ["hello"]


async def test_an_actor_whose_constructor_fails_at_a_restart_is_quarantined() -> None:
    class Fragile(Doer):
        made = 0

        def __init__(self, requirements: Any = None) -> None:
            super().__init__(requirements)
            Fragile.made += 1
            if Fragile.made > 1:
                raise Boom("cannot be made")

    async with engine_with() as engine:
        actor = engine.create(Fragile)
        engine.deliver(actor, boom)
        assert engine.quarantined == [actor]
        assert Fragile.made == 1 + RESTART_LIMIT


async def test_who_waits_for_the_lost_instance_is_answered_failed() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        waiting = asyncio.ensure_future(engine.ask_async(actor, "will be answered later", 60.0))
        await settle(engine)
        engine.deliver(actor, boom)
        with pytest.raises(ActorFailed, match="on purpose"):
            await waiting


async def test_a_question_behind_the_failing_message_is_answered() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        await settle(engine)
        for _ in range(2):
            engine.tell(actor, boom)

        async def ask() -> Any:
            return await engine.ask_async(actor, seen, 60.0)

        assert list(await asyncio.gather(ask(), ask())) == [[], []]


async def test_failing_on_failed_ends_there() -> None:
    """Two supervised actors that fail on everything do not keep each other busy."""

    class Grumpy(Doer):
        def receiveMessage(self, message: Any, sender: Any) -> None:
            if isinstance(message, Failed):
                raise Boom
            super().receiveMessage(message, sender)

    async with engine_with() as engine:
        one, two = engine.create(Grumpy), engine.create(Grumpy)
        engine.tell(one, lambda me, _: me.send(two, boom))
        await settle(engine)
        assert engine.waiting == 0
        assert engine.failures.count == 2


class _Bad(int):
    """A number that nobody can stomach."""


class _Narrow(Doer):
    """Receives only ints from the start, until it gets a 0."""

    def started(self, restarted: bool) -> None:
        super().started(restarted)
        self.only(int)

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, _Bad):
            raise Boom
        super().receiveMessage(message, sender)
        if message == 0:
            self.only()


async def test_only_keeps_the_rest_waiting_in_order() -> None:
    async with engine_with() as engine:
        actor = engine.create(_Narrow)
        for message in ("a", 1, "b", 2, "c"):
            engine.tell(actor, message)
        await settle(engine)
        assert inside(actor).seen == [1, 2]
        assert actor.depth == 3
        engine.tell(actor, 0)
        engine.tell(actor, "d")
        await settle(engine)
        assert inside(actor).seen == [1, 2, 0, "a", "b", "c", "d"]
        assert actor.depth == 0


async def test_only_may_be_narrowed_again_while_what_waited_is_received() -> None:
    async with engine_with() as engine:

        class Choosy(_Narrow):
            def receiveMessage(self, message: Any, sender: Any) -> None:
                super().receiveMessage(message, sender)
                if message == "b":
                    self.only(float)
                if message == 1.5:
                    self.only()

        actor = engine.create(Choosy)
        for message in ("a", "b", "c", 0, "d", 1.5, "e"):
            engine.tell(actor, message)
        await settle(engine)
        assert inside(actor).seen == [0, "a", "b", 1.5, "c", "d", "e"]


async def test_only_may_change_to_what_already_waits() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        await settle(engine)
        inside(actor).only(int)
        for message in ("a", 1.0, "b"):
            engine.tell(actor, message)
        await settle(engine)
        inside(actor).only(float)
        await settle(engine)
        assert inside(actor).seen == [1.0]
        inside(actor).only()
        await settle(engine)
        assert inside(actor).seen == [1.0, "a", "b"]


async def test_an_exit_passes_only_and_what_waited_becomes_dead_letters() -> None:
    async with engine_with() as engine:
        actor = engine.create(_Narrow)
        engine.tell(actor, "a")
        engine.tell(actor, "b")
        engine.tell(actor, ActorExitRequest())
        await settle(engine)
        assert engine.info(actor) is None
        assert engine.dead_letters == 2


async def test_timers_wait_behind_only_unless_named() -> None:
    clock = ManualClock()
    async with engine_with(clock) as engine:
        actor = engine.create(_Narrow)
        await settle(engine)
        inside(actor).arm("late", 1)
        inside(actor).arm("off", 1)
        clock.advance(2)
        assert inside(actor).seen == []
        inside(actor).disarm("off")
        engine.deliver(actor, 0)
        await settle(engine)
        assert [getattr(message, "name", message) for message in inside(actor).seen] == [0, "late"]


async def test_a_restart_lifts_only_and_the_fresh_instance_may_set_it_again() -> None:
    async with engine_with() as engine:
        actor = engine.create(_Narrow)
        for message in ("a", _Bad(1), "b", 0):
            engine.tell(actor, message)
        await settle(engine)
        assert inside(actor).starts == [True]
        assert inside(actor).seen == [0, "a", "b"]


async def test_who_was_put_aside_is_served_by_the_fresh_instance() -> None:
    """A question that still waits is neither lost nor answered Failed."""
    async with engine_with() as engine:
        actor = engine.create(_Narrow)
        held = asyncio.ensure_future(engine.ask_async(actor, seen, 60.0))
        await settle(engine)
        engine.tell(actor, _Bad(1))
        engine.tell(actor, 0)
        assert await held == [0]


async def test_what_waits_for_a_quarantined_actor_is_answered() -> None:
    async with engine_with() as engine:
        actor, asker = engine.create(_Narrow), engine.create(Doer)
        engine.tell(asker, lambda me, _: me.send(actor, "held"))
        await settle(engine)
        for _ in range(RESTART_LIMIT + 1):
            engine.failures.handle(actor, 1, engine.nobody, engine.waiting, Boom("from outside"))
            await settle(engine)
        assert inside(asker).seen == [Quarantined("Boom: from outside")]


async def test_inspect_shows_and_a_failing_one_does_not_hurt() -> None:
    class Opaque(Supervised):
        def inspect(self) -> dict[str, Any]:
            raise Boom("not now")

    async with engine_with() as engine:
        shown, hidden = engine.info(engine.create(Doer)), engine.info(engine.create(Opaque))
        assert shown is not None
        assert hidden is not None
        assert (shown.state, shown.detail["seen"]) == ("doing", 0)
        assert hidden.detail == {"inspect_failed": "Boom: not now"}
