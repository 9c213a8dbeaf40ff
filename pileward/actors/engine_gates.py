"""What stands before a mailbox that does not simply receive.

Exits, selective receive, and ends outside the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thespian.actors import ActorExitRequest, ValidatedSource

from pileward.actors.engine_cell import Begin, Cell, Due, Nudge

if TYPE_CHECKING:
    from pileward.actors.engine import Engine


class GoneGate:
    """Stands for an actor that has exited: everything becomes a dead letter."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        self._engine.bury(cell, message, sender)
        return True


class OnlyGate:
    """Selective receive: lets some types through and puts the rest aside, in order."""

    __slots__ = ("_types",)

    def __init__(self, types: tuple[type, ...]) -> None:
        self._types = types

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        if isinstance(message, Nudge):
            return True  # from an earlier lifting; what waits is looked at by the gate that stands now
        if isinstance(message, (ActorExitRequest, Begin)) or self._is_wanted(message):
            return False
        if cell.held is None:
            cell.held = deque()
        cell.held.append((cell, message, sender))
        cell.room -= 1  # it still waits
        return True

    def _is_wanted(self, message: Any) -> bool:
        return isinstance(message.content if isinstance(message, Due) else message, self._types)


class LiftedGate:
    """Stands after `only()` until the next message: then what was put aside goes before it."""

    __slots__ = ("_engine", "_next")

    def __init__(self, engine: Engine, next_gate: OnlyGate | None) -> None:
        self._engine = engine
        self._next = next_gate

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        cell.gate = self._next
        if not isinstance(message, Nudge):
            self._engine.queue.appendleft((cell, message, sender))
            cell.room -= 1
        self._engine.return_held(cell)
        return True


class SystemGate:
    """The end that stands for the system itself: it takes the decisions of the source authority."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        if isinstance(message, ValidatedSource):
            self._engine.sources.accept(message)
        return True


class OutsideGate:
    """An end outside the engine: whatever is sent there is handed to a function."""

    __slots__ = ("_accept",)

    def __init__(self, accept: Callable[[Any], None]) -> None:
        self._accept = accept

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        self._accept(message)
        return True
