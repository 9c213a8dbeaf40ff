"""Asking an actor from a coroutine: a message whose sender is a future.

Actors among themselves send and arm a timer; asking is for the edges, where somebody waits for an answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from thespian.actors import PoisonMessage

from pileward.actors.engine_cell import Cell
from pileward.actors.supervised import Failed, Quarantined

if TYPE_CHECKING:
    from pileward.actors.engine import Engine


class AskError(Exception):
    """An `ask_async` that brought no answer."""


class AskTimeout(AskError):  # noqa: N818 - named for what happened, like TimeoutError's own kin
    """The actor did not answer in time; whether it did what it was asked is not known."""


class ActorFailed(AskError):  # noqa: N818
    """The actor failed while somebody waited for it."""


class ActorQuarantined(AskError):  # noqa: N818
    """The actor is out of use after too many failures."""


class ActorGone(AskError):  # noqa: N818
    """The actor has exited."""


class MailboxFull(AskError):  # noqa: N818
    """Too many messages wait for the actor."""


class AskGate:
    """The end of an `ask_async`: the first message that comes is the answer."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def take(self, cell: Cell, message: Any, sender: Cell) -> bool:
        if self._future.done():
            return True
        match message:
            case Failed(reason):
                self._future.set_exception(ActorFailed(reason))
            case Quarantined(reason):
                self._future.set_exception(ActorQuarantined(reason))
            case PoisonMessage():
                self._future.set_exception(ActorFailed(message.details or "poisoned"))
            case AskError():
                self._future.set_exception(message)
            case _:
                self._future.set_result(message)
        return True


async def ask(engine: Engine, target: Cell, message: Any, timeout: float) -> Any:  # noqa: ASYNC109
    """See `Engine.ask_async`."""
    if target.room <= 0:
        engine.overflows += 1
        raise MailboxFull(f"{target.path} has {target.depth} messages waiting")
    loop = engine.outside.loop
    future: asyncio.Future[Any] = loop.create_future()
    asker = Cell(engine, 0, AskGate, None)
    asker.gate = AskGate(future)
    callers = target.callers
    if callers is None:
        callers = target.callers = {}
    callers[asker] = None
    asker.actor_send(target, message)
    engine.run_unless_behind()
    handle = loop.call_later(timeout, _give_up, future, target, timeout)
    try:
        return await future
    finally:
        handle.cancel()
        if future.done() and not future.cancelled():
            future.exception()  # seen, even when the waiting task was cancelled at the same moment
        asker.gate = engine.gone
        callers.pop(asker, None)
        if not callers and target.callers is callers:
            target.callers = None


def _give_up(future: asyncio.Future[Any], target: Cell, timeout: float) -> None:
    if not future.done():
        future.set_exception(AskTimeout(f"{target.path} did not answer within {timeout} s"))
