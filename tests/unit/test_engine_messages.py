"""How messages travel: order, turns, asking, dead letters, full mailboxes."""

from __future__ import annotations

import asyncio
import copy
import itertools
import pickle
import time
from typing import Any

import pytest
from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorTypeDispatcher,
    DeadEnvelope,
    InvalidActorAddress,
    PoisonMessage,
)

from pileward.actors import engine as engine_module
from pileward.actors.engine import (
    ActorFailed,
    ActorGone,
    AskTimeout,
    Cell,
    MailboxFull,
)
from pileward.actors.supervised import Supervised
from tests.unit.engine_actors import Doer, PlainDoer, boom, engine_with, inside, seen, settle


async def test_tell_is_handled_in_a_later_turn_in_order() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        for number in range(5):
            engine.tell(actor, number)
        assert inside(actor).seen == []
        await settle(engine)
        assert inside(actor).seen == [0, 1, 2, 3, 4]


async def test_deliver_is_handled_before_it_returns_with_all_that_follows() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        await settle(engine)
        engine.deliver(one, lambda me, _: me.send(two, "passed on"))
        assert inside(two).seen == ["passed on"]


async def test_deliver_inside_a_handler_only_sends() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        await settle(engine)
        during: list[list[Any]] = []

        def deed(me: Doer, _: Any) -> None:
            me.engine.deliver(two, "later")
            during.append(list(inside(two).seen))

        engine.deliver(one, deed)
        assert during == [[]]
        assert inside(two).seen == ["later"]


async def test_what_a_handler_sends_goes_behind_what_waits() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        engine.tell(one, lambda me, _: me.send(two, "second"))
        engine.tell(two, "first")
        await settle(engine)
        assert inside(two).seen == ["first", "second"]


async def test_a_task_of_an_actor_may_send_while_no_handler_runs() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        await settle(engine)
        inside(one).send(two, "from a task")
        await settle(engine)
        assert inside(two).seen == ["from a task"]


async def test_sockets_get_their_turn_while_actors_are_busy() -> None:
    """Two actors that never stop talking leave the loop free again and again: count bound."""
    async with engine_with() as engine:

        def on(me: Doer, sender: Any) -> None:
            me.send(sender, on)

        one, two = engine.create(Doer), engine.create(Doer)
        await settle(engine)
        engine.deliver(one, lambda me, _: me.send(two, on))
        counts = []
        for _ in range(5):
            await asyncio.sleep(0)
            counts.append(engine.handled)
        steps = [after - before for before, after in itertools.pairwise(counts)]
        assert all(0 < step <= engine_module.SLICE_MESSAGES for step in steps), steps
        engine.tell(one, ActorExitRequest())


async def test_sockets_get_their_turn_while_handlers_are_slow() -> None:
    """The time bound: far fewer messages than the count bound would allow."""
    async with engine_with() as engine:
        actor = engine.create(Doer)
        await settle(engine)

        def slow(me: Doer, _: Any) -> None:
            end = time.perf_counter() + 0.001
            while time.perf_counter() < end:
                pass

        for _ in range(200):
            engine.tell(actor, slow)
        before = engine.handled
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < engine.handled - before < 150
        await settle(engine)


async def test_deliver_does_not_overtake_when_a_slice_was_not_enough() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        await settle(engine)
        for number in range(engine_module.SLICE_MESSAGES + 10):
            engine.tell(actor, number)
        await asyncio.sleep(0)
        assert engine.waiting
        engine.deliver(actor, "last")
        assert engine.waiting
        await settle(engine)
        assert inside(actor).seen[-1] == "last"


async def test_ask_brings_the_first_answer() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        answer = await engine.ask_async(actor, lambda me, sender: me.send(sender, 42), 1.0)
        assert answer == 42


async def test_an_answer_may_come_much_later_and_from_another_actor() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)

        def pass_on(me: Doer, sender: Any) -> None:
            me.send(two, lambda other, _: other.send(sender, "from two"))

        assert await engine.ask_async(one, pass_on, 1.0) == "from two"


async def test_ask_gives_up_after_its_real_time() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        with pytest.raises(AskTimeout, match="Doer"):
            await engine.ask_async(actor, "no answer to this", 0.01)
        assert actor.callers is None


async def test_a_late_answer_is_a_dead_letter_and_hurts_nobody() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        askers: list[Any] = []
        with pytest.raises(AskTimeout):
            await engine.ask_async(actor, lambda me, sender: askers.append(sender), 0.01)
        engine.deliver(actor, lambda me, _: me.send(askers[0], "too late"))
        assert engine.dead_letters == 1


async def test_a_second_answer_is_ignored() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)

        def twice(me: Doer, sender: Any) -> None:
            me.send(sender, 1)
            me.send(sender, 2)

        assert await engine.ask_async(actor, twice, 1.0) == 1
        assert engine.dead_letters == 0


async def test_asking_an_actor_that_has_exited_fails_at_once() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, ActorExitRequest())
        with pytest.raises(ActorGone):
            await engine.ask_async(actor, "anybody?", 60.0)


async def test_who_waits_for_an_actor_that_exits_is_told() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        waiting = asyncio.ensure_future(engine.ask_async(actor, "no answer to this", 60.0))
        await settle(engine)
        engine.tell(actor, ActorExitRequest())
        with pytest.raises(ActorGone):
            await waiting


async def test_a_cancelled_ask_leaves_nothing_behind() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        waiting = asyncio.ensure_future(engine.ask_async(actor, "no answer to this", 60.0))
        await settle(engine)
        assert actor.callers
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert actor.callers is None


async def test_a_poisoned_plain_actor_fails_the_ask() -> None:
    async with engine_with() as engine:
        actor = engine.create(PlainDoer)
        with pytest.raises(ActorFailed, match="on purpose"):
            await engine.ask_async(actor, boom, 1.0)


async def test_dead_letters_are_counted_and_go_to_the_actor_that_handles_them() -> None:
    async with engine_with() as engine:
        gone, undertaker = engine.create(Doer), engine.create(Doer)
        engine.tell(gone, ActorExitRequest())
        engine.tell(gone, "before anybody handles them")
        engine.tell(undertaker, lambda me, _: me.handleDeadLetters())
        engine.tell(gone, "now")
        await settle(engine)
        assert engine.dead_letters == 2
        (envelope,) = inside(undertaker).seen
        assert isinstance(envelope, DeadEnvelope)
        assert (envelope.deadMessage, envelope.deadAddress) == ("now", gone)
        engine.tell(undertaker, lambda me, _: me.handleDeadLetters(False))
        engine.tell(gone, "again")
        await settle(engine)
        assert len(inside(undertaker).seen) == 1
        assert engine.dead_letters == 3


async def test_the_handler_of_dead_letters_is_forgotten_when_it_exits() -> None:
    async with engine_with() as engine:
        undertaker = engine.create(Doer)
        engine.tell(undertaker, lambda me, _: me.handleDeadLetters())
        engine.tell(undertaker, ActorExitRequest())
        engine.tell(undertaker, "to the dead undertaker")
        await settle(engine)
        assert engine.dead_letter_handler is None
        assert engine.dead_letters == 1


class _Small(Doer):
    mailbox_limit = 3


async def test_a_full_mailbox_takes_no_more_and_counts_what_it_refused() -> None:
    async with engine_with() as engine:
        actor = engine.create(_Small)
        await settle(engine)
        for number in range(5):
            engine.tell(actor, number)
        assert engine.info(actor).mailbox_depth == 3  # type: ignore[union-attr] # it lives
        assert (engine.overflows, engine.dead_letters) == (2, 2)
        with pytest.raises(MailboxFull):
            await engine.ask_async(actor, seen, 1.0)
        await settle(engine)
        assert inside(actor).seen == [0, 1, 2]
        assert await engine.ask_async(actor, seen, 1.0) == [0, 1, 2]
        assert engine.info(actor).mailbox_depth == 0  # type: ignore[union-attr] # it lives


async def test_what_the_engine_itself_says_is_never_refused() -> None:
    async with engine_with() as engine:
        actor = engine.create(_Small)
        engine.tell(actor, lambda me, _: setattr(me, "child", me.createActor(Doer)))
        await settle(engine)
        child = inside(actor).child
        engine.tell(child, ActorExitRequest())
        for number in range(3):
            engine.tell(actor, number)
        await settle(engine)
        assert len(inside(actor).seen) == 4


async def test_answers_to_a_tell_are_not_dead_letters() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, sender: me.send(sender, "thanks"))
        assert engine.dead_letters == 0


async def test_addresses_are_cheap_keys_and_stay_what_they_are() -> None:
    async with engine_with() as engine:
        one, two = engine.create(Doer), engine.create(Doer)
        assert isinstance(one, ActorAddress)
        assert (one == one, one == two, one != two) == (True, False, True)
        assert one != ActorAddress("elsewhere")
        assert {one: 1}[one] == 1
        assert copy.copy(one) is one
        assert copy.deepcopy([one])[0] is one
        assert str(one) != str(two)
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(one)


async def test_addresses_of_elsewhere_are_refused() -> None:
    async with engine_with() as engine, engine_with() as other:
        stranger = other.create(Doer)
        for address in (ActorAddress("/made/up"), stranger):
            with pytest.raises(InvalidActorAddress):
                engine.tell(address, "hello")


async def test_the_type_dispatcher_works() -> None:
    class Dispatcher(ActorTypeDispatcher):
        def receiveMsg_int(self, message: int, sender: Cell) -> None:
            self.send(sender, message + 1)

        def receiveMsg_str(self, message: str, sender: Cell) -> None:
            self.send(sender, message.upper())

    async with engine_with() as engine:
        actor = engine.create(Dispatcher)
        assert await engine.ask_async(actor, 1, 1.0) == 2
        assert await engine.ask_async(actor, "a", 1.0) == "A"


async def test_a_supervised_actor_without_a_handler_says_so() -> None:
    async with engine_with() as engine:
        actor = engine.create(Supervised)
        with pytest.raises(ActorFailed, match="no receiveMessage"):
            await engine.ask_async(actor, "hello", 1.0)


async def test_poison_returns_to_the_sender_with_what_happened() -> None:
    async with engine_with() as engine:
        sender, victim = engine.create(Doer), engine.create(PlainDoer)
        engine.tell(sender, lambda me, _: me.send(victim, boom))
        await settle(engine)
        (poison,) = inside(sender).seen
        assert isinstance(poison, PoisonMessage)
        assert poison.poisonMessage is boom
        assert "on purpose" in (poison.details or "")
