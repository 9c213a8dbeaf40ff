"""One actor inside the engine: its address and the engine's notes about it, in one object.

Senders hold a `Cell` as the actor's address: there is exactly one for each actor, so comparing and hashing go
by identity and cost nothing, and sending needs no lookup. It is also what Thespian calls an actor's `_myRef`.
What only few actors need is kept apart and made when needed, because there may be hundreds of thousands of
idle ones.

An actor that has exited leaves its `Cell` to those who still hold the address, emptied and with the gate
`GONE`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from thespian.actors import Actor, ActorAddress, ActorSystemMessage

if TYPE_CHECKING:
    from pileward.actors.engine import Engine

#: Messages that may wait for one actor, where its class has no `mailbox_limit`; more become dead letters.
MAILBOX_LIMIT: Final = 65_536


class Gate(Protocol):
    """What stands before the mailbox of an actor that does not simply receive."""

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        """Deal with the message instead of the actor (True), or let it through (False)."""


class Begin(ActorSystemMessage):
    """Engine to a supervised actor, first of all: `started`."""

    __slots__ = ()


class Nudge(ActorSystemMessage):
    """Actor to itself when it stops waiting for certain messages: look at what was put aside."""

    __slots__ = ()


class Due(ActorSystemMessage):
    """Engine to an actor: timer `key` of generation `number` has run out. The actor gets `content`."""

    __slots__ = ("content", "key", "number")

    def __init__(self, key: str | int, number: int, content: Any) -> None:
        self.key = key
        self.number = number
        self.content = content


BEGIN: Final = Begin()
NUDGE: Final = Nudge()


class Troubles:
    """What went wrong with one actor; kept only for those with which something did."""

    __slots__ = ("failures", "last_error", "recent", "restarts")

    def __init__(self) -> None:
        self.failures = 0
        self.restarts = 0
        self.last_error = ""
        #: Clock seconds of the failures that still count towards quarantine.
        self.recent: deque[float] = deque()


class Cell(ActorAddress):
    """The address of one actor, and the engine's notes about it.

    Actors see `str()`, `==` and `hash()` of it.
    """

    __slots__ = (
        "born",
        "callers",
        "children",
        "engine",
        "gate",
        "global_name",
        "handled",
        "held",
        "instance",
        "kind",
        "number",
        "parent",
        "requirements",
        "room",
        "source_hash",
        "timers",
        "troubles",
    )

    def __init__(self, engine: Engine, number: int, kind: type, parent: Cell | None) -> None:
        self.engine = engine
        self.number = number
        self.kind = kind
        self.parent = parent
        self.instance: Actor | None = None
        self.gate: Gate | None = None
        #: How many more messages may be put into the mailbox.
        self.room: int = getattr(kind, "mailbox_limit", None) or MAILBOX_LIMIT
        self.handled = 0
        self.born = engine.clock.monotonic()
        self.requirements: Any = None
        self.source_hash: str | None = None
        self.global_name: str | None = None
        self.children: dict[int, Cell] | None = None
        #: Timer name (number, for wake-ups) to the generation that counts; negative once in the mailbox.
        self.timers: dict[str | int, int] | None = None
        #: Messages put aside by `only()`, oldest first.
        self.held: deque[tuple[Cell, Any, Cell]] | None = None
        #: Who asked this actor and still waits.
        self.callers: dict[Cell, None] | None = None
        self.troubles: Troubles | None = None

    # As an address.

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__

    def __copy__(self) -> Cell:
        return self

    def __deepcopy__(self, memo: object) -> Cell:
        return self

    def __reduce__(self) -> str:
        raise TypeError(f"{self} belongs to one running engine and cannot be pickled")

    @property
    def addressDetails(self) -> str:
        return f"/A~{self.number}"

    @property
    def actorAddressString(self) -> str:
        return self.addressDetails

    def __str__(self) -> str:
        return f"ActorAddr-{self.addressDetails}"

    __repr__ = __str__

    @property
    def path(self) -> str:
        """Where the actor stands in the tree: `/Fleet~1/Pile~7`. A number is never used twice."""
        parts = []
        cell: Cell | None = self
        while cell is not None and cell.number:
            parts.append(f"{cell.kind.__name__}~{cell.number}")
            cell = cell.parent
        return "/" + "/".join(reversed(parts))

    @property
    def depth(self) -> int:
        """Messages that wait for the actor."""
        return (getattr(self.kind, "mailbox_limit", None) or MAILBOX_LIMIT) - self.room

    def note_trouble(self) -> Troubles:
        """The notes about failures, made when there are none yet."""
        if self.troubles is None:
            self.troubles = Troubles()
        return self.troubles

    def live_children(self) -> Iterable[Cell]:
        """The children at this moment; may be changed while it is gone through."""
        return tuple(self.children.values()) if self.children else ()

    # As an actor's way to the engine: what Thespian's `Actor` methods call.

    @property
    def address(self) -> Cell:
        return self

    @property
    def globalName(self) -> str | None:
        return self.global_name

    def actor_send(self, target: Any, message: Any) -> None:
        engine = self.engine
        try:
            room = target.room
            if room > 0 and target.engine is engine:
                target.room = room - 1
                engine.outbox.append((target, message, self))
                return
        except AttributeError:
            pass  # an address that is not ours
        engine.send_unusual(target, message, self)

    def createActor(
        self, kind: type | str, requirements: Any, global_name: str | None, source_hash: str | None = None
    ) -> Cell:
        return self.engine.tree.create_child(
            self, kind, requirements, global_name, source_hash or self.source_hash
        )

    def wakeupAfter(self, period: timedelta | float, payload: Any = None) -> None:
        self.engine.timers.wake(self, period, payload)

    def arm(self, name: str, delay_s: float) -> None:
        self.engine.timers.arm(self, name, delay_s)

    def disarm(self, name: str) -> None:
        self.engine.timers.disarm(self, name)

    def receive_only(self, types: tuple[type, ...]) -> None:
        self.engine.receive_only(self, types)

    def handleDeadLetters(self, address: Cell, enable: bool) -> None:
        self.engine.handle_dead_letters(address, enable)

    def registerSourceAuthority(self, address: Cell) -> None:
        self.engine.sources.authority = address

    def notifyOnSourceAvailability(self, address: Cell, enable: bool) -> None:
        self.engine.sources.notify(address, enable)

    def notifyOnSystemRegistrationChanges(self, address: Cell, enable: bool) -> None:
        """One process is one system: there are no others whose coming and going could be told."""

    def preRegisterRemoteSystem(self, address: Any, capabilities: dict[str, Any]) -> None:
        """One process is one system: other nodes are reached by other means."""

    def deRegisterRemoteSystem(self, address: Any) -> None:
        """See `preRegisterRemoteSystem`."""

    def updateCapability(self, name: str, value: Any) -> None:
        self.engine.updateCapability(name, value)

    def loadActorSource(self, source: str | BinaryIO) -> str:
        return self.engine.loadActorSource(source)

    def unloadActorSource(self, source_hash: str) -> None:
        self.engine.unloadActorSource(source_hash)

    def actorSystemShutdown(self) -> None:
        self.engine.shutdown_soon()
