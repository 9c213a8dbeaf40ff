"""The engine: a Thespian system base that runs all actors of the process on one asyncio loop.

One queue holds every message on its way, as `(to, message, from)`. A run takes them one after the other and
calls the handlers; what a handler sends goes to the end of the queue and is taken off again when the handler
raises. A run ends when the queue is empty or its slice is used up; the loop then serves sockets before the
next. Nothing here depends on how many actors or timers there are, and nothing is kept of an actor that has
exited.

    engine = Engine(clock=Clock())                       # in a coroutine: on the loop that runs
    fleet = engine.create(Fleet, requirements=settings)
    answer = await engine.ask_async(fleet, Question(), timeout=5)

It is also given to Thespian's own front, `ActorSystem(systemBase=engine, transientUnique=True)`; without a
loop that runs, the engine starts one in a thread, and `ask` and `listen` block as Thespian's do. Everything
without `async` and not said to be otherwise is called in the loop's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter
from typing import Any, BinaryIO, Final

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ActorSystemMessage,
    DeadEnvelope,
    InvalidActorAddress,
    Thespian_ActorStatus,
    Thespian_StatusReq,
)
from thespian.system.timing import ExpirationTimer

from pileward.actors.engine_ask import (
    ActorFailed,
    ActorGone,
    ActorQuarantined,
    AskError,
    AskGate,
    AskTimeout,
    MailboxFull,
    ask,
)
from pileward.actors.engine_build import own_capabilities
from pileward.actors.engine_cell import NUDGE, Begin, Cell, Due, Nudge
from pileward.actors.engine_failures import Failure, Failures
from pileward.actors.engine_gates import LiftedGate, OnlyGate
from pileward.actors.engine_outside import Outside, PrivateContext
from pileward.actors.engine_sources import Sources
from pileward.actors.engine_timers import Timers
from pileward.actors.engine_tree import Tree
from pileward.actors.engine_view import ActorInfo, describe, find
from pileward.actors.supervised import Supervised
from pileward.clock import Clock

__all__ = [
    "ActorFailed",
    "ActorGone",
    "ActorInfo",
    "ActorQuarantined",
    "AskError",
    "AskTimeout",
    "Cell",
    "Engine",
    "Failure",
    "MailboxFull",
]

#: Messages handled before sockets get their turn.
SLICE_MESSAGES: Final = 2_000
#: Milliseconds of handling before sockets get their turn; looked at after every few messages.
SLICE_MS: Final = 5.0
_LOOK_EVERY: Final = 16
#: Seconds that actors are given to come to an end in a shutdown.
SHUTDOWN_S: Final = 10.0

log = logging.getLogger(__name__)


class _IdleOutbox:
    """Where actors send to while no handler runs, say from a task of theirs.

    It also sees to it that a run comes.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, item: tuple[Cell, Any, Cell]) -> None:
        self._engine.queue.append(item)
        self._engine.wake()


class Turn:
    """When the present run of handlers began: near enough for whatever comes in by a socket."""

    __slots__ = ("ms", "s")

    def __init__(self) -> None:
        self.s = 0.0
        """Clock seconds, as `Clock.monotonic`."""
        self.ms = 0
        """Epoch milliseconds, UTC."""


class Engine:
    """Runs actors. See the module for how, `Supervised` for what they can do."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        capabilities: dict[str, Any] | None = None,
        clock: Clock | None = None,
        allow_sources: bool = False,
    ) -> None:
        """`loop`: the running one if None, or else a new one in a thread of the engine's own.

        `capabilities` is used as it is, not copied, and the engine's own are added to it. `allow_sources`
        lets actors be loaded from zip files at run time.
        """
        self.clock = clock or Clock()
        self.capabilities: dict[str, Any] = {} if capabilities is None else capabilities
        self.capabilities.update(own_capabilities())
        self.queue: deque[tuple[Cell, Any, Cell]] = deque()
        self._idle_outbox = _IdleOutbox(self)
        #: Where `send` puts messages: the queue itself while handlers run.
        self.outbox: deque[tuple[Cell, Any, Cell]] | _IdleOutbox = self._idle_outbox
        #: Whether a handler runs.
        self.is_running = False
        self._is_scheduled = False
        self._is_behind = False
        self.turn = Turn()
        self._is_closed = False
        #: Whether handlers of this run have made actors, which a failure may have to undo.
        self.has_births = False
        self.handled = 0
        self.dead_letters = 0
        self.overflows = 0
        self.dead_letter_handler: Cell | None = None
        self.tree = Tree(self)
        self.system, self.nobody, self.gone = self.tree.system, self.tree.nobody, self.tree.gone
        self.outside = Outside(self, loop)
        self.timers = Timers(self.clock, self.outside, self._post_due, self.run)
        self.failures = Failures(self)
        self.sources = Sources(self, allow_sources)
        self.outside.start()

    # Sending.

    def tell(self, address: ActorAddress, message: Any) -> None:
        """Send `message` from nobody.

        It is handled in this turn of the loop or the next. Any thread may call it.
        """
        if self.outside.is_here():
            self.nobody.actor_send(address, message)
        else:
            self.outside.tell(address, message)

    def bring(self, cell: Cell, message: Any) -> None:
        """Send what a socket received, from the loop's thread; it is handled in the loop's next turn.

        So all sockets that are ready are read before the first of their messages is handled, and all answers
        are written after the last: the machine does one kind of work at a time, which is much faster.
        """
        if cell.room > 0:
            cell.room -= 1
            self.queue.append((cell, message, self.nobody))
            if not self._is_scheduled:
                self.wake()
        else:
            self.nobody.actor_send(cell, message)

    def deliver(self, address: ActorAddress, message: Any) -> None:
        """Send `message` from nobody and let the actors work at once: for callbacks of sockets, the hot path.

        Inside a handler, and while an earlier slice was not enough, it only sends.
        """
        if type(address) is Cell and address.engine is self and not self.is_running and not self.queue:
            self._work(address, message, self.nobody)  # nothing comes before it: no need to queue it first
        else:
            self.nobody.actor_send(address, message)
            self.run_unless_behind()

    async def ask_async(self, address: ActorAddress, message: Any, timeout: float) -> Any:  # noqa: ASYNC109
        """Send `message` and wait for the first answer, for at most `timeout` real seconds.

        Raises AskTimeout, ActorFailed, ActorQuarantined, ActorGone or MailboxFull. Giving up waiting (a
        cancelled task) does not call back the message.
        """
        return await ask(self, self.local(address), message, timeout)

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Send what the engine itself has to say: never refused for want of room."""
        target.room -= 1
        self.queue.append((target, message, sender))
        if not self.is_running:
            self.wake()

    def send_unusual(self, target: Any, message: Any, sender: Cell) -> None:
        """Send where `Cell.actor_send` could not: an address of another kind, or a full mailbox."""
        cell = self.local(target)
        if cell.room > 0:
            self.outbox.append((cell, message, sender))
            cell.room -= 1
            return
        self.overflows += 1
        self.bury(cell, message, sender)

    def local(self, address: Any) -> Cell:
        """The `Cell` of an address. Raises InvalidActorAddress for one of another system."""
        if isinstance(address, Cell) and address.engine is self:
            return address
        if type(address) is ActorAddress and address.actorAddressString == "/ActorSys":
            return self.system
        raise InvalidActorAddress(address, "not an address of this engine")

    def bury(self, cell: Cell, message: Any, sender: Cell) -> None:
        """Count a message that nobody takes, and pass it to the actor that handles such, if there is one."""
        if isinstance(message, (Begin, Nudge, Due)):
            return
        if cell is self.nobody:
            return  # answers to a `tell`, which wants none
        self.dead_letters += 1
        if isinstance(sender.gate, AskGate):
            self.post(
                sender,
                ActorGone(f"{cell.path} has exited") if cell.gate is self.gone else MailboxFull(cell.path),
                cell,
            )
        handler = self.dead_letter_handler
        if handler is not None and not isinstance(message, DeadEnvelope):
            self.post(handler, DeadEnvelope(cell, message), sender)

    # Running.

    def wake(self) -> None:
        """See to it that a run comes in the next turn of the loop."""
        if self._is_closed:
            self.queue.clear()  # nobody is left to hear it
        elif not self._is_scheduled:
            self._is_scheduled = True
            self.outside.loop.call_soon(self._run_scheduled)

    def _run_scheduled(self) -> None:
        self._is_scheduled = self._is_behind = False
        self.run()

    def run(self) -> None:
        """Let the actors work until nothing is left to do or the slice is used up."""
        if self.queue and not self.is_running:
            cell, message, sender = self.queue.popleft()
            cell.room += 1
            self._work(cell, message, sender)

    def _work(self, cell: Cell, message: Any, sender: Cell) -> None:
        """Handle this message and then what waits in the queue, for one slice."""
        queue = self.queue
        popleft = queue.popleft
        left = SLICE_MESSAGES - 1
        end = 0.0  # not known before the first look: most runs are shorter
        self.is_running = True
        self.outbox = queue
        turn = self.turn
        turn.s = self.clock.monotonic()
        turn.ms = self.clock.epoch_ms()
        try:
            while True:
                mark = len(queue)
                cell.handled += 1
                try:
                    if cell.gate is None and not isinstance(message, ActorSystemMessage):
                        cell.instance.receiveMessage(message, sender)  # type: ignore[union-attr] # it lives
                    else:
                        self.hand_over(cell, message, sender)
                except BaseException as error:
                    self.failures.handle(cell, message, sender, mark, error)
                if not queue:
                    break
                if not left % _LOOK_EVERY:
                    now = perf_counter()
                    end = end or now + SLICE_MS / 1000
                    if not left or now > end:
                        break
                left -= 1
                cell, message, sender = popleft()
                cell.room += 1
        finally:
            self.is_running = False
            self.outbox = self._idle_outbox
            self.handled += SLICE_MESSAGES - left
            if self.has_births:
                self.failures.forget_births()
            if queue:
                self._is_behind = True
                self.wake()

    def run_unless_behind(self) -> None:
        """Let the actors work at once, but not inside a handler, nor before a run that others wait for."""
        if not self.is_running and not self._is_behind:
            self.run()

    def hand_over(self, cell: Cell, message: Any, sender: Cell) -> None:
        """Give one message to an actor, whatever its gate and whatever the message."""
        if cell.gate is not None and cell.gate.take(cell, message, sender):
            return
        instance = cell.instance
        if isinstance(message, Begin):
            assert isinstance(instance, Supervised)
            instance.started(False)
        elif isinstance(message, Due):
            message = self.timers.claim(cell, message)
            if message is not None and instance is not None:
                instance.receiveMessage(message, cell)
        elif isinstance(message, ActorExitRequest):
            if instance is not None:
                instance.receiveMessage(message, sender)
            self.tree.remove(cell, message)
        elif isinstance(message, Thespian_StatusReq):
            self.post(sender, self._thespian_status(cell), cell)
        elif not isinstance(message, Nudge) and instance is not None:
            instance.receiveMessage(message, sender)

    def receive_only(self, cell: Cell, types: tuple[type, ...]) -> None:
        """See `Supervised.only`."""
        gate = OnlyGate(types) if types else None
        if cell.held:
            cell.gate = LiftedGate(self, gate)
            cell.room -= 1
            self.outbox.append((cell, NUDGE, cell))
        else:
            cell.gate = gate

    def return_held(self, cell: Cell) -> None:
        """Put what was set aside back before everything else, in its order."""
        if cell.held:
            self.queue.extendleft(reversed(cell.held))
            cell.held = None

    def _post_due(self, cell: Cell, due: Due) -> None:
        self.post(cell, due, cell)

    # Actors.

    def create(
        self, kind: type[Actor] | str, requirements: Any = None, global_name: str | None = None
    ) -> Cell:
        """Make an actor at the top of the tree; `requirements` is its start argument.

        If the global name is taken, it is the actor of that name that comes back. Raises what the constructor
        raises, and NoCompatibleSystemForActor when the actor's capability check says no.
        """
        return self.tree.create_primary(kind, requirements, global_name)

    def forget(self, cell: Cell) -> None:
        """Drop what an exited actor was to the engine besides an actor."""
        self.failures.quarantined.pop(cell.number, None)
        self.sources.forget(cell)
        if self.dead_letter_handler is cell:
            self.dead_letter_handler = None

    # Looking inside.

    def info(self, address: ActorAddress) -> ActorInfo | None:
        """What there is to see of an actor; None when it has exited."""
        return describe(self, self.local(address))

    def children(
        self, address: ActorAddress | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Cell]:
        """Children of an actor, oldest first, a page of them if so asked; of the root without an address."""
        parent = self.system if address is None else self.local(address)
        if not parent.children:
            return []
        stop = None if limit is None else offset + limit
        return list(itertools.islice(parent.children.values(), offset, stop))

    def roots(self) -> list[Cell]:
        """The actors at the top of the tree."""
        return self.children()

    def find(self, path: str) -> Cell | None:
        """The living actor of a path as `ActorInfo.path` shows it."""
        return find(self.system, path)

    def release(self, address: ActorAddress) -> None:
        """Let a quarantined actor work again: a fresh instance, a clean record of failures."""
        self.failures.release(self.local(address))

    @property
    def quarantined(self) -> list[Cell]:
        """The actors that are out of use."""
        return list(self.failures.quarantined.values())

    @property
    def waiting(self) -> int:
        """Messages on their way."""
        return len(self.queue)

    @property
    def on_failure(self) -> Callable[[Failure], None]:
        """Called for each handler that raised; writes to the log by itself."""
        return self.failures.on_failure

    @on_failure.setter
    def on_failure(self, hook: Callable[[Failure], None]) -> None:
        self.failures.on_failure = hook

    @property
    def on_quarantine(self) -> Callable[[Failure], None]:
        """Called besides `on_failure` when the failing actor was quarantined; writes to the log by itself."""
        return self.failures.on_quarantine

    @on_quarantine.setter
    def on_quarantine(self, hook: Callable[[Failure], None]) -> None:
        self.failures.on_quarantine = hook

    def _thespian_status(self, cell: Cell) -> Thespian_ActorStatus:
        status = Thespian_ActorStatus(cell, cell.kind.__name__, self.system, cell.parent, cell.source_hash)
        for child in cell.live_children():
            status.addChild(child)
        status.addWakeups([(cell, ExpirationTimer(left_s)) for left_s in self.timers.remaining(cell)])
        status.addKeyVal("handled", cell.handled)
        status.addKeyVal("waiting", cell.depth)
        return status

    # What Thespian's ActorSystem calls, from any thread.

    def newPrimaryActor(
        self,
        kind: type | str,
        requirements: Any = None,
        global_name: str | None = None,
        source_hash: str | None = None,
    ) -> Cell:
        """`ActorSystem.createActor`."""
        return self.outside.call(self.tree.create_primary, kind, requirements, global_name, source_hash)

    def ask(self, address: ActorAddress, message: Any, timeout: timedelta | float | None = None) -> Any:
        """`ActorSystem.ask`.

        The first answer that comes, or None. Raises in the loop's own thread: use `ask_async`.
        """
        return self.outside.main.ask(address, message, timeout)

    def listen(self, timeout: timedelta | float | None = None) -> Any:
        """`ActorSystem.listen`: the next message to the outside, or None. Raises in the loop's own thread."""
        return self.outside.main.listen(timeout)

    def external_clone(self) -> PrivateContext:
        """`ActorSystem.private`: an end of its own for one thread outside."""
        return self.outside.clone()

    def updateCapability(self, name: str, value: Any = None) -> None:
        """`ActorSystem.updateCapability`: set, or with None remove; actors that cannot live with it exit."""
        self.outside.call(self._update_capability, name, value)

    def _update_capability(self, name: str, value: Any) -> None:
        if value is None:
            self.capabilities.pop(name, None)
        else:
            self.capabilities[name] = value
        self.tree.dismiss_incapable()

    def loadActorSource(self, source: str | BinaryIO) -> str:
        """`ActorSystem.loadActorSource`: the hash of the source. Raises unless `allow_sources` was set."""
        return self.outside.call(self.sources.load, source)

    def unloadActorSource(self, source_hash: str) -> None:
        """`ActorSystem.unloadActorSource`."""
        self.outside.call(self.sources.unload, source_hash)

    def handle_dead_letters(self, address: ActorAddress, enable: bool) -> None:
        """Send dead letters to this actor, in place of the one before; or no longer, if it is the one."""
        cell = self.local(address)
        if enable:
            self.dead_letter_handler = cell
        elif self.dead_letter_handler is cell:
            self.dead_letter_handler = None

    def _handleDeadLetters(self, address: ActorAddress, enable: bool) -> None:
        self.outside.call(self.handle_dead_letters, address, enable)

    def shutdown(self) -> None:
        """Ask all actors to exit, wait until they have, and stop. May be called again.

        Inside a handler it begins once that has returned.
        """
        if self.is_running and self.outside.is_here():
            self.shutdown_soon()
        elif not self._is_closed:
            self.outside.call(self._exit_all)
            self.outside.stop()

    def shutdown_soon(self) -> None:
        """Shut down once the handler that runs has returned."""
        self.outside.loop.call_soon(self.shutdown)

    def _exit_all(self) -> None:
        for cell in self.roots():
            self.post(cell, ActorExitRequest(), self.system)
        end = perf_counter() + SHUTDOWN_S
        while self.queue and perf_counter() < end:
            self.run()
        self.sources.close()
        self.timers.close()
        self._is_closed = True
