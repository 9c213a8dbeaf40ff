"""`Supervised`: the base of Pileward's own actors, and the messages that the engine makes for them.

A plain Thespian actor that fails gets its message three times and then goes on with whatever state it is left
in. A supervised one never goes on with a state of which nobody knows how far it got: what its failing handler
sent is dropped, the sender is answered `Failed`, and the engine puts a fresh instance in place of the old
one, under the same address and with the same mailbox and children. The fresh instance gets the same
`requirements`, is told `started(restarted=True)`, and loads what it needs from its durable state; meanwhile
`only()` keeps other messages waiting. An actor that fails too often is quarantined: its messages are answered
`Quarantined`, and everyone else goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from thespian.actors import Actor, ActorSystemMessage

if TYPE_CHECKING:
    from pileward.actors.engine import Engine
    from pileward.actors.engine_cell import Cell
    from pileward.clock import Clock


class TimerFired(msgspec.Struct, frozen=True):
    """The timer `name` of this actor is due."""

    name: str


class Failed(msgspec.Struct, frozen=True):
    """The actor that was asked failed; it may have been restarted, and what was asked for did not happen."""

    reason: str


class Quarantined(msgspec.Struct, frozen=True):
    """The actor that was asked failed too often and is out of use until somebody releases it."""

    reason: str


class Supervised(Actor):
    """An actor whose instance the engine replaces when a handler of it raises.

    A subclass sets its fields in `__init__`, where nothing can be sent yet, and begins its work in `started`.
    """

    #: Messages that may wait for this actor; None: the engine's own bound (`engine_cell.MAILBOX_LIMIT`).
    mailbox_limit: int | None = None

    _myRef: Cell

    def __init__(self, requirements: Any = None) -> None:
        """`requirements` is the start argument, any value, handed over again at each restart."""

    def started(self, restarted: bool) -> None:
        """Begin: the first thing that runs once `send`, `arm` and the rest work, before any message."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message; must not block. An exit, of its own or of a child, is also told here."""
        if not isinstance(message, ActorSystemMessage):
            raise NotImplementedError(f"{type(self).__name__} has no receiveMessage")

    def inspect(self) -> dict[str, Any]:
        """Show the state to whoever looks inside: values that JSON knows; `state` is the state's name."""
        return {}

    def send(self, targetAddr: Any, msg: Any) -> None:
        """Send `msg`; it leaves when the handler returns, and never when the handler raises."""
        me = self._myRef
        engine = me.engine
        try:
            room = targetAddr.room
            if room > 0 and targetAddr.engine is engine:  # as `Cell.actor_send`, without the call
                targetAddr.room = room - 1
                engine.outbox.append((targetAddr, msg, me))
                return
        except AttributeError:
            pass
        engine.send_unusual(targetAddr, msg, me)

    def only(self, *types: type) -> None:
        """Receive only messages of these types, and exits, from now on; others wait in their order.

        `only()` lifts it; what waited is received before what came later.
        """
        self._myRef.receive_only(types)

    def arm(self, name: str, delay_s: float) -> None:
        """Have `TimerFired(name)` sent here in `delay_s` clock seconds, in place of an older `name`."""
        self._myRef.arm(name, delay_s)

    def disarm(self, name: str) -> None:
        """Forget the timer `name`.

        Not even one that is already on its way arrives. Unknown names do nothing.
        """
        self._myRef.disarm(name)

    @property
    def engine(self) -> Engine:
        """The engine that runs this actor."""
        return self._myRef.engine

    @property
    def clock(self) -> Clock:
        """The engine's clock."""
        return self._myRef.engine.clock
