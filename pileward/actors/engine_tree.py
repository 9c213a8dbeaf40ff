"""The tree of actors of one engine: how they come, where they stand, and how they go."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import structlog
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ChildActorExited,
    InvalidActorAddress,
    NoCompatibleSystemForActor,
)

from pileward.actors.engine_ask import ActorGone
from pileward.actors.engine_build import accepted_arguments, find_class, is_capable
from pileward.actors.engine_cell import BEGIN, Cell
from pileward.actors.engine_gates import GoneGate, SystemGate
from pileward.actors.supervised import Supervised

if TYPE_CHECKING:
    from pileward.actors.engine import Engine

log = structlog.get_logger(__name__)


class Tree:
    """All actors that live, below `system`; and `nobody`, from whom messages from outside come."""

    __slots__ = ("_engine", "_numbers", "global_names", "gone", "nobody", "system")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count(1)
        self.global_names: dict[str, Cell] = {}
        #: The gate of every actor that has exited.
        self.gone = GoneGate(engine)
        self.system = Cell(engine, 0, Tree, None)
        self.system.gate = SystemGate(engine)
        self.nobody = Cell(engine, 0, Tree, None)
        self.nobody.gate = self.gone

    def create_primary(
        self,
        kind: type | str,
        requirements: Any = None,
        global_name: str | None = None,
        source_hash: str | None = None,
    ) -> Cell:
        """Make an actor at the top, or find the one of that name. Raises what its constructor raises."""
        if global_name is not None and (known := self.global_names.get(global_name)) is not None:
            return known
        cell = self._new_cell(kind, self.system, requirements, source_hash)
        try:
            cell.instance = self.build(cell)
        except BaseException:
            self.undo_birth(cell)
            raise
        self._let_begin(cell, global_name)
        return cell

    def create_child(
        self,
        parent: Cell,
        kind: type | str,
        requirements: Any,
        global_name: str | None,
        source_hash: str | None,
    ) -> Cell:
        """Make a child, or find the actor of that name.

        When the constructor raises, the address is that of an actor that has exited, and the parent is told.
        """
        if global_name is not None and (known := self.global_names.get(global_name)) is not None:
            return known
        if parent.gate is self.gone:
            raise InvalidActorAddress(parent, "the address of an exited actor, which can have no children")
        engine = self._engine
        cell = self._new_cell(kind, parent, requirements, source_hash)
        if engine.is_running:
            engine.failures.note_birth(parent, cell)
        try:
            cell.instance = self.build(cell)
        except ImportError:
            self.undo_birth(cell)
            raise
        except Exception:
            log.exception("actor_not_created", actor=cell.path)
            self.undo_birth(cell)
            engine.post(parent, ChildActorExited(cell), self.system)
            return cell
        self._let_begin(cell, global_name)
        return cell

    def build(self, cell: Cell) -> Actor:
        """Make the instance of an actor, at its beginning and at each restart."""
        kind, requirements, capabilities = cell.kind, cell.requirements, self._engine.capabilities
        if not is_capable(kind, capabilities, requirements):
            raise NoCompatibleSystemForActor(kind, "No compatible ActorSystem could be found")
        offered = {"capabilities": capabilities, "requirements": requirements}
        instance: Actor = kind(**{name: offered[name] for name in accepted_arguments(kind)})
        instance._myRef = cell
        return instance

    def undo_birth(self, cell: Cell) -> None:
        """Let an actor never have been: nobody is told, and its address is that of one that has exited."""
        self._engine.timers.drop(cell)
        if cell.global_name is not None:
            self.global_names.pop(cell.global_name, None)
        cell.gate = self.gone
        cell.instance = cell.requirements = cell.children = None
        parent, cell.parent = cell.parent, None
        if parent is not None and parent.children is not None:
            parent.children.pop(cell.number, None)
            if not parent.children:
                parent.children = None

    def remove(self, cell: Cell, request: ActorExitRequest) -> None:
        """End an actor, whose parent is told.

        Its children are asked to exit too, or go to the top when the request is not recursive.
        """
        if cell.gate is self.gone or cell is self.system:
            return
        engine = self._engine
        parent, children, path = cell.parent, cell.live_children(), cell.path
        self.undo_birth(cell)
        engine.forget(cell)
        for child in children:
            if request.isRecursive:
                child.parent = None
                engine.post(child, ActorExitRequest(), self.system)
            else:
                self._adopt(self.system, child)
        held, cell.held = cell.held, None
        for _, message, sender in held or ():
            engine.bury(cell, message, sender)
        callers, cell.callers = cell.callers, None
        for caller in callers or ():
            engine.post(caller, ActorGone(f"{path} has exited"), cell)
        if parent is not None and parent is not self.system:
            engine.post(parent, ChildActorExited(cell), self.system)

    def dismiss_incapable(self) -> None:
        """Ask those to exit that cannot live with the capabilities as they are now; looks at all."""
        engine = self._engine
        below = list(self.system.live_children())
        while below:
            cell = below.pop()
            below.extend(cell.live_children())
            if not is_capable(cell.kind, engine.capabilities, cell.requirements):
                engine.post(cell, ActorExitRequest(), self.system)

    def _new_cell(self, kind: type | str, parent: Cell, requirements: Any, source_hash: str | None) -> Cell:
        engine = self._engine
        found = find_class(kind, engine.sources.loader(source_hash))
        cell = Cell(engine, next(self._numbers), found, parent)
        cell.requirements = requirements
        cell.source_hash = source_hash
        self._adopt(parent, cell)
        return cell

    def _let_begin(self, cell: Cell, global_name: str | None) -> None:
        if global_name is not None:
            cell.global_name = global_name
            self.global_names[global_name] = cell
        if isinstance(cell.instance, Supervised):
            self._engine.post(cell, BEGIN, self.system)

    @staticmethod
    def _adopt(parent: Cell, cell: Cell) -> None:
        cell.parent = parent
        if parent.children is None:
            parent.children = {}
        parent.children[cell.number] = cell
