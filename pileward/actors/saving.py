"""Durable writes from a coroutine: the work of port actors awaits them; a machine would hold its effects."""

from __future__ import annotations

import itertools
from typing import Any, Final

from pileward.actors.engine import AskError, Engine
from pileward.actors.store_messages import Refused, Save, Stored
from pileward.actors.surroundings import Surroundings

STORE_WITHIN_S: Final = 30.0
"""Real seconds a write may take; the store itself goes on trying while the database is away."""


class NotStored(Exception):  # noqa: N818 - what became of the write, not what is wrong with the program
    """The write is not known to be durable; `is_pressure`: offering it again later may help."""

    def __init__(self, reason: str, *, is_pressure: bool) -> None:
        super().__init__(reason)
        self.is_pressure = is_pressure


class Saving:
    """The store as whoever awaits it sees it."""

    def __init__(self, engine: Engine, around: Surroundings, within_s: float = STORE_WITHIN_S) -> None:
        self._engine = engine
        self._around = around
        self._within_s = within_s
        self._tickets = itertools.count(1)

    async def save(self, write: Any) -> Any:
        """Write durably and return the result; raises NotStored.

        A write that was given up waiting for may still be done: every write may be repeated.
        """
        try:
            answer = await self._engine.ask_async(
                self._around.store, Save(next(self._tickets), write), self._within_s
            )
        except AskError as error:
            raise NotStored(f"{type(error).__name__}: {error}", is_pressure=True) from error
        if isinstance(answer, Stored):
            return answer.result
        assert isinstance(answer, Refused), answer
        raise NotStored(answer.reason, is_pressure=answer.is_pressure)
