"""Actors that do what a test tells them: the message is the deed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from thespian.actors import Actor

from pileward.actors.engine import Engine, Failure
from pileward.actors.supervised import Supervised
from pileward.clock import Clock, ManualClock

Deed = Callable[[Any, Any], object]


class Doer(Supervised):
    """Notes every message, and runs those that are functions of (actor, sender)."""

    def __init__(self, requirements: Any = None) -> None:
        self.requirements = requirements
        self.seen: list[Any] = []
        self.starts: list[bool] = []

    def started(self, restarted: bool) -> None:
        self.starts.append(restarted)
        if isinstance(self.requirements, dict) and (deed := self.requirements.get("at_start")) is not None:
            deed(self, restarted)

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if callable(message) and not isinstance(message, type):
            message(self, sender)
        else:
            self.seen.append(message)

    def inspect(self) -> dict[str, Any]:
        return {"state": "doing", "seen": len(self.seen)}


class PlainDoer(Actor):
    """The same as a plain Thespian actor."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def receiveMessage(self, msg: Any, sender: Any) -> None:
        if callable(msg):
            msg(self, sender)
        else:
            self.seen.append(msg)


class Boom(Exception):  # noqa: N818 - it reads better in a test
    """What deeds of tests raise."""


def boom(actor: Any, sender: Any) -> None:
    """Fail."""
    raise Boom("on purpose")


def seen(actor: Any, sender: Any) -> None:
    """Answer what was seen so far."""
    actor.send(sender, list(actor.seen))


def _ignore(failure: Failure) -> None:
    """Say nothing: tests fail on purpose."""


@asynccontextmanager
async def engine_with(clock: Clock | None = None, **options: Any) -> AsyncIterator[Engine]:
    """An engine on the running loop, silent about failures, shut down in the end."""
    engine = Engine(clock=clock or ManualClock(), **options)
    engine.on_failure = engine.on_quarantine = _ignore
    try:
        yield engine
    finally:
        engine.shutdown()


async def settle(engine: Engine) -> None:
    """Wait until no message is on its way."""
    await asyncio.sleep(0)
    while engine.waiting:  # noqa: ASYNC110 - turns of the loop are what is waited for
        await asyncio.sleep(0)


def inside(address: Any) -> Any:
    """The instance behind an address, to look at what it has noted."""
    return address.instance
