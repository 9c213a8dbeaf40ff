"""The tree of actors: creating, exiting, names, capabilities, looking inside, and that nothing stays."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import pytest
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ChildActorExited,
    InvalidActorAddress,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    Thespian_ActorStatus,
    Thespian_StatusReq,
    requireCapability,
)

from pileward.actors.engine import Engine
from pileward.actors.engine_cell import Cell
from tests.unit.engine_actors import Boom, Doer, PlainDoer, boom, engine_with, inside, settle


def make(engine: Engine, parent: Cell, count: int = 1) -> list[Cell]:
    """Let `parent` make children."""

    def deed(me: Doer, _: Any) -> None:
        for number in range(count):
            me.createActor(Doer, number)

    engine.deliver(parent, deed)
    return engine.children(parent)


async def test_an_exit_goes_down_the_tree_and_the_parent_is_told() -> None:
    async with engine_with() as engine:
        root = engine.create(Doer)
        (child,) = make(engine, root)
        grandchildren = make(engine, child, 3)
        engine.deliver(child, ActorExitRequest())
        assert [engine.info(cell) for cell in (child, *grandchildren)] == [None] * 4
        assert inside(root).seen == [ChildActorExited(child)]
        assert engine.children(root) == []


async def test_an_actor_is_told_of_its_exit_first() -> None:
    last: list[Any] = []

    class Polite(Doer):
        def receiveMessage(self, message: Any, sender: Any) -> None:
            if isinstance(message, ActorExitRequest):
                last.append((message.isRecursive, len(self.engine.children(self.myAddress))))
                self.send(friend, "farewell")

    async with engine_with() as engine:
        friend = engine.create(Doer)
        actor = engine.create(Polite)
        engine.deliver(actor, ActorExitRequest())
        assert last == [(True, 0)]
        assert inside(friend).seen == ["farewell"]


async def test_an_actor_may_end_itself() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: me.send(me.myAddress, ActorExitRequest()))
        assert engine.roots() == []


async def test_children_outlive_an_exit_that_is_not_recursive() -> None:
    async with engine_with() as engine:
        root = engine.create(Doer)
        (child,) = make(engine, root)
        engine.deliver(root, ActorExitRequest(recursive=False))
        assert engine.roots() == [child]
        assert child.path == f"/Doer~{child.number}"
        assert engine.find(child.path) is child


async def test_messages_behind_an_exit_are_dead_letters() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        engine.tell(actor, ActorExitRequest())
        engine.tell(actor, "too late")
        engine.tell(actor, ActorExitRequest())
        await settle(engine)
        assert engine.dead_letters == 2


async def test_an_exited_actor_can_have_no_children() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        instance = inside(actor)
        engine.deliver(actor, ActorExitRequest())
        with pytest.raises(InvalidActorAddress):
            instance.createActor(Doer)


class _Unborn(Doer):
    def __init__(self, requirements: Any = None) -> None:
        raise Boom("cannot be made")


async def test_a_primary_actor_that_cannot_be_made_says_why() -> None:
    async with engine_with() as engine:
        with pytest.raises(Boom, match="cannot be made"):
            engine.create(_Unborn, global_name="taken?")
        assert engine.roots() == []
        assert engine.tree.global_names == {}


@pytest.mark.parametrize("kind", [Doer, PlainDoer])
async def test_a_child_that_cannot_be_made_is_one_that_has_exited(kind: type[Any]) -> None:
    async with engine_with() as engine:
        parent = engine.create(kind)
        made: list[Cell] = []
        engine.deliver(parent, lambda me, _: made.append(me.createActor(_Unborn)))
        assert inside(parent).seen == [ChildActorExited(made[0])]
        assert engine.children(parent) == []


async def test_classes_may_be_given_by_name() -> None:
    async with engine_with() as engine:
        actor = engine.create("tests.unit.engine_actors.Doer")
        assert isinstance(inside(actor), Doer)
        with pytest.raises(ImportError):
            engine.create("tests.unit.no_such_module.Doer")
        with pytest.raises(InvalidActorSpecification):
            engine.create("Doer")


async def test_only_what_a_constructor_asks_for_is_handed_over() -> None:
    class Curious(Actor):
        def __init__(self, capabilities: Any = None, *, requirements: Any = None) -> None:
            self.given = (capabilities["colour"], requirements)

    async with engine_with(capabilities={"colour": "green"}) as engine:
        assert inside(engine.create(Curious, 5)).given == ("green", 5)
        assert isinstance(inside(engine.create(PlainDoer, 5)), PlainDoer)


async def test_global_names_are_kept_once_and_freed_at_the_exit() -> None:
    async with engine_with() as engine:
        boss = engine.create(Doer, global_name="boss")
        assert engine.create(PlainDoer, global_name="boss") is boss
        found: list[Any] = []
        other = engine.create(Doer)
        engine.deliver(other, lambda me, _: found.append(me.createActor(Doer, globalName="boss")))
        assert found == [boss]
        assert inside(boss).globalName == "boss"
        engine.deliver(boss, ActorExitRequest())
        assert engine.create(Doer, global_name="boss") is not boss


async def test_capabilities_decide_who_may_live_here() -> None:
    @requireCapability("gpu")
    class Needy(Doer):
        pass

    async with engine_with() as engine:
        with pytest.raises(NoCompatibleSystemForActor):
            engine.create(Needy)
        engine.updateCapability("gpu", True)
        needy, plain = engine.create(Needy), engine.create(Doer)
        engine.deliver(plain, lambda me, _: me.createActor(Needy))
        engine.updateCapability("gpu")
        await settle(engine)
        assert engine.roots() == [plain]
        assert engine.children(plain) == []
        assert engine.info(needy) is None
        with pytest.raises(NoCompatibleSystemForActor):
            engine.create(Needy)


async def test_an_actor_may_change_the_capabilities() -> None:
    capabilities: dict[str, Any] = {}
    async with engine_with(capabilities=capabilities) as engine:
        actor = engine.create(Doer)
        engine.deliver(actor, lambda me, _: me.updateCapability("gpu", 2))
        assert capabilities["gpu"] == 2


async def test_the_view_of_an_actor() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer, global_name="boss")
        make(engine, actor, 2)
        engine.clock.advance(3)  # type: ignore[attr-defined] # a manual clock
        engine.deliver(actor, "one")
        engine.tell(actor, "waiting")
        engine.tell(actor, "waiting")
        info = engine.info(actor)
        assert info is not None
        assert info.path == f"/Doer~{actor.number}"
        assert (info.actor_class, info.state, info.global_name) == ("Doer", "doing", "boss")
        assert (info.mailbox_depth, info.children, info.age_s) == (2, 2, 3.0)
        assert info.handled == 3
        assert (info.failures, info.restarts, info.last_error, info.is_quarantined) == (0, 0, "", False)
        await settle(engine)
        engine.deliver(actor, boom)
        info = engine.info(actor)
        assert info is not None
        assert (info.failures, info.restarts, info.last_error) == (1, 1, "Boom: on purpose")
        assert info.handled == 6


async def test_children_come_in_pages() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        children = make(engine, actor, 25)
        assert len(children) == 25
        pages = [engine.children(actor, offset, 10) for offset in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert list(itertools.chain(*pages)) == children


async def test_paths_lead_to_actors() -> None:
    async with engine_with() as engine:
        root = engine.create(Doer)
        (child,) = make(engine, root)
        assert child.path == f"/Doer~{root.number}/Doer~{child.number}"
        assert engine.find(child.path) is child
        assert engine.find(root.path) is root
        for nowhere in ("", "/", "/Doer~0", "/Doer~x", "/Doer~²", f"{root.path}/Doer~999", "Doer"):
            assert engine.find(nowhere) is None
        engine.deliver(child, ActorExitRequest())
        assert engine.find(f"{root.path}/Doer~{child.number}") is None


async def test_the_status_that_thespian_knows() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer)
        make(engine, actor, 2)
        status = await engine.ask_async(actor, Thespian_StatusReq(), 1.0)
        assert isinstance(status, Thespian_ActorStatus)
        assert status.childActors == engine.children(actor)


async def test_nothing_is_kept_of_an_exited_actor() -> None:
    async with engine_with() as engine:
        actor = engine.create(Doer, global_name="boss")
        make(engine, actor, 3)
        engine.deliver(actor, boom)
        engine.deliver(actor, lambda me, _: me.handleDeadLetters())
        instance, cell = weakref.ref(inside(actor)), actor.number
        engine.deliver(actor, ActorExitRequest())
        del actor
        gc.collect()
        assert instance() is None
        left = [
            o for o in gc.get_objects() if isinstance(o, Cell) and o.engine is engine and o.number == cell
        ]
        assert left == []


async def test_many_that_come_and_go_leave_no_trace() -> None:
    async with engine_with() as engine:

        def round_trip(me: Doer, _: Any) -> None:
            child = me.createActor(Doer)
            me.send(child, "work")
            me.send(child, ActorExitRequest())

        parent = engine.create(Doer)
        for _ in range(200):
            engine.deliver(parent, round_trip)
        inside(parent).seen.clear()
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(3_000):
            engine.deliver(parent, round_trip)
        inside(parent).seen.clear()
        gc.collect()
        assert len(gc.get_objects()) - before < 50
        assert engine.children(parent) == []
