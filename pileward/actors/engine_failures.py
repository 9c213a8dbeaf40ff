"""What happens when a handler raises.

What the handler sent is taken back, always. A plain actor gets its message again, three times in all, then
the sender gets Thespian's `PoisonMessage`. A `Supervised` one is replaced by a fresh instance, its sender and
everybody else who waits for it are answered `Failed`, and on the sixth failure within a minute it is
quarantined instead.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from thespian.actors import ActorExitRequest, PoisonMessage

from pileward.actors.engine_cell import BEGIN, Begin, Cell, Due
from pileward.actors.supervised import Failed, Quarantined, Supervised

if TYPE_CHECKING:
    from pileward.actors.engine import Engine

#: How often a plain actor is given a message that it fails on.
PLAIN_ATTEMPTS: Final = 3
#: Restarts of a supervised actor within the window; one failure more quarantines it.
RESTART_LIMIT: Final = 5
#: The window, in clock seconds.
RESTART_WINDOW_S: Final = 60.0
#: Characters of a message that a failure report shows.
_SHOWN: Final = 500

#: An answer to these is never answered itself, or two failing actors would keep each other busy for ever.
_NEVER_ANSWERED: Final = (Failed, Quarantined, PoisonMessage)

log = structlog.get_logger(__name__)


class Failure(msgspec.Struct, frozen=True):
    """One handler that raised."""

    at: datetime
    path: str
    actor_class: str
    message: str
    error: str
    traceback: str
    is_quarantined: bool
    address: Cell
    sender: Cell


class QuarantineGate:
    """Answers for an actor that is out of use."""

    __slots__ = ("_failures",)

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        if isinstance(message, ActorExitRequest):
            return False
        troubles = cell.note_trouble()
        self._failures.answer(cell, message, sender, Quarantined(troubles.last_error))
        return True


class Failures:
    """Takes back, repeats, restarts and quarantines, for one engine."""

    __slots__ = (
        "_engine",
        "_gate",
        "births",
        "births_at",
        "births_of",
        "count",
        "on_failure",
        "on_quarantine",
        "quarantined",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gate = QuarantineGate(self)
        self.count = 0
        self.quarantined: dict[int, Cell] = {}
        self.on_failure: Callable[[Failure], None] = log_failure
        self.on_quarantine: Callable[[Failure], None] = log_quarantine
        # Children made by the handler that runs: by whom, in which message of his, which.
        self.births_of: Cell | None = None
        self.births_at = 0
        self.births: list[Cell] = []

    def note_birth(self, parent: Cell, child: Cell) -> None:
        """Remember that the handler of `parent` that runs has made `child`."""
        if self.births_of is not parent or self.births_at != parent.handled:
            self.births_of, self.births_at, self.births = parent, parent.handled, []
        self.births.append(child)
        self._engine.has_births = True

    def forget_births(self) -> None:
        """Nothing can be undone any more."""
        self.births_of, self.births = None, []
        self._engine.has_births = False

    def handle(self, cell: Cell, message: Any, sender: Cell, mark: int, error: BaseException) -> None:
        """The handler of `cell` raised `error` at `message`.

        What it sent stands in the queue from `mark` on.
        """
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            raise error  # not the actor's: somebody wants the process to end
        if isinstance(message, ActorExitRequest):
            # It exits all the same; there is nothing to repeat or to restart.
            self._take_back(cell, mark, is_supervised=False)
            self._report(cell, message, sender, error, is_quarantined=False)
            self._engine.tree.remove(cell, message)
        elif isinstance(cell.instance, Supervised):
            self._take_back(cell, mark, is_supervised=True)
            self._restart(cell, message, sender, error)
        elif isinstance(error, SystemExit):
            # A plain actor may leave as if it were a process of its own; everyone else stays.
            self._take_back(cell, mark, is_supervised=False)
            self._report(cell, message, sender, error, is_quarantined=False)
            self._engine.tree.remove(cell, ActorExitRequest())
        else:
            self._take_back(cell, mark, is_supervised=False)
            self._repeat(cell, message, sender, error)

    def answer(self, cell: Cell, message: Any, sender: Cell, answer: Any) -> None:
        """Tell the sender of `message` what became of it, unless it is the actor itself or such an answer."""
        if sender is not cell and not isinstance(message, _NEVER_ANSWERED):
            self._engine.post(sender, answer, cell)

    def release(self, cell: Cell) -> None:
        """Put a quarantined actor back to work, with a fresh instance and a clean record."""
        if self.quarantined.pop(cell.number, None) is None:
            return
        troubles = cell.note_trouble()
        troubles.recent.clear()
        cell.gate = None
        error = self._renew(cell)
        if error is not None:
            self._restart(cell, BEGIN, cell, error)

    def _take_back(self, cell: Cell, mark: int, is_supervised: bool) -> None:
        """Drop what the failing handler sent, and for a supervised actor whom it made."""
        engine = self._engine
        queue = engine.queue
        kept = []
        while len(queue) > mark:
            item = queue.pop()
            target, _, sender = item
            if sender is engine.system and not is_supervised:
                kept.append(item)  # the children of a plain actor stay, and so does what they are told first
            else:
                target.room += 1
        queue.extend(reversed(kept))
        if is_supervised and self.births_of is cell and self.births_at == cell.handled:
            for child in self.births:
                engine.tree.undo_birth(child)
        self.forget_births()

    def _repeat(self, cell: Cell, message: Any, sender: Cell, error: BaseException) -> None:
        engine = self._engine
        if isinstance(message, Due):
            message = message.content  # the timer is spent: what it said is repeated
        for _ in range(PLAIN_ATTEMPTS - 1):
            self._report(cell, message, sender, error, is_quarantined=False)
            mark = len(engine.queue)
            try:
                engine.hand_over(cell, message, sender)
            except BaseException as again:
                if isinstance(again, (SystemExit, KeyboardInterrupt, GeneratorExit)):
                    self.handle(cell, message, sender, mark, again)
                    return
                self._take_back(cell, mark, is_supervised=False)
                error = again
            else:
                return
        self._report(cell, message, sender, error, is_quarantined=False)
        details = "".join(traceback.format_exception(error))
        self.answer(cell, message, sender, PoisonMessage(message, details))

    def _restart(self, cell: Cell, message: Any, sender: Cell, error: BaseException) -> None:
        """Replace the instance, as often as the limit allows when the fresh one fails too."""
        engine = self._engine
        while True:
            troubles = cell.note_trouble()
            now = engine.clock.monotonic()
            recent = troubles.recent
            recent.append(now)
            while recent[0] <= now - RESTART_WINDOW_S:
                recent.popleft()
            is_quarantined = len(recent) > RESTART_LIMIT
            self._report(cell, message, sender, error, is_quarantined)
            failed = Failed(troubles.last_error)
            self.answer(cell, message, sender, failed)
            for caller in self._heard_callers(cell):
                if caller is not sender:
                    engine.post(caller, failed, cell)
            if is_quarantined:
                self._quarantine(cell)
                return
            troubles.restarts += 1
            cell.gate = None
            engine.return_held(cell)
            again = self._renew(cell)
            if again is None:
                return
            message, sender, error = BEGIN, cell, again

    def _heard_callers(self, cell: Cell) -> list[Cell]:
        """Who waits for an answer of the instance that is lost, and not those whose question still waits."""
        if not cell.callers:
            return []
        waiting = itertools.chain(self._engine.queue, cell.held or ())
        unheard = {sender for target, _, sender in waiting if target is cell}
        return [caller for caller in cell.callers if caller not in unheard]

    def _renew(self, cell: Cell) -> BaseException | None:
        """Put a fresh instance in place and let it begin; its error when it cannot."""
        engine = self._engine
        engine.timers.drop(cell)
        cell.handled += 1  # a step of its own, so that children born in it are told from earlier ones
        mark = len(engine.queue)
        try:
            instance = engine.tree.build(cell)
            cell.instance = instance
            assert isinstance(instance, Supervised)
            instance.started(True)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                raise
            self._take_back(cell, mark, is_supervised=True)
            return error
        return None

    def _quarantine(self, cell: Cell) -> None:
        engine = self._engine
        engine.timers.drop(cell)
        cell.gate = self._gate
        cell.instance = None
        self.quarantined[cell.number] = cell
        engine.return_held(cell)

    def _report(
        self, cell: Cell, message: Any, sender: Cell, error: BaseException, is_quarantined: bool
    ) -> None:
        self.count += 1
        troubles = cell.note_trouble()
        troubles.failures += 1
        troubles.last_error = f"{type(error).__name__}: {error}"
        failure = Failure(
            at=self._engine.clock.utc(),
            path=cell.path,
            actor_class=cell.kind.__name__,
            message=_show(message),
            error=troubles.last_error,
            traceback="".join(traceback.format_exception(error)),
            is_quarantined=is_quarantined,
            address=cell,
            sender=sender,
        )
        for hook in (self.on_failure, self.on_quarantine) if is_quarantined else (self.on_failure,):
            try:
                hook(failure)
            except Exception:
                log.exception("failure_hook_failed", actor=failure.path)


def _show(message: Any) -> str:
    """A message as text, bounded, whatever its own `repr` does."""
    if isinstance(message, Begin):
        return "started"
    if isinstance(message, Due):
        message = message.content
    try:
        text = repr(message)
    except Exception as error:
        text = f"{type(message).__name__} (cannot be shown: {type(error).__name__})"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def log_failure(failure: Failure) -> None:
    """Write a failure to the log, with the message that caused it."""
    log.error(
        "actor_failed",
        actor=failure.path,
        sender=failure.sender.path,
        message=failure.message,
        error=failure.error,
        traceback=failure.traceback,
    )


def log_quarantine(failure: Failure) -> None:
    """Write to the log that an actor is out of use."""
    log.critical("actor_quarantined", actor=failure.path, error=failure.error)
