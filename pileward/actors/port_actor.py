"""What the port actors of money have in common: lasting work, alarms of the platform, telling piles.

A port actor takes messages, lets its desk do the work in coroutines (`jobs`), and performs what each piece of
work asks for as effects. It keeps nothing that is not durable or in its `Jobs`, so it may fail at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pileward.actors import platform_alarms
from pileward.actors.effects import Clear, Effect, Raise, TellRefunds
from pileward.actors.jobs import JobDone, Jobs
from pileward.actors.store_messages import Save
from pileward.actors.supervised import Supervised
from pileward.actors.surroundings import Surroundings

LOOK_AT_LEAST_S: Final = 1.0
"""Clock seconds between two looks at what is due."""
LOOK_AT_LEAST_REAL_S: Final = 0.05
"""The same in real seconds, for clocks that run fast."""
QUARANTINED: Final = "money_quarantined"
"""Alarm: a port actor of money is out of use for a while."""


class BeginWork(msgspec.Struct, frozen=True):
    """From the node: piles and their sessions are there; take up what is due."""


class TellPile(Effect, frozen=True):
    """Tell the actor of a pile something about one of its sessions; nothing happens when it has none."""

    pile_code: str
    message: Any


class Done(msgspec.Struct, frozen=True):
    """What a piece of work came to: an answer for whoever waits, and effects, in order."""

    answer: Any = None
    effects: tuple[Any, ...] = ()


class PortActor(Supervised):
    """Base of the payments and refunds actors."""

    around: Surroundings

    def perform(self, effects: Sequence[Any]) -> None:
        """Do what a piece of work asks for."""
        for effect in effects:
            match effect:
                case TellPile(pile_code, message):
                    address = self.around.piles.get(pile_code)
                    if address is not None:
                        self.send(address, message)
                case TellRefunds(message):
                    if self.around.refunds is not None:
                        self.send(self.around.refunds, message)
                case Raise():
                    self._note(platform_alarms.opened(self.around, effect, self.clock.utc()))
                case Clear(kind):
                    self._note(platform_alarms.closed(self.around, kind, self.clock.utc()))
                case _:
                    raise AssertionError(effect)

    def _note(self, write: Any) -> None:
        """Write something that nobody waits for."""
        if write is not None:
            self.send(self.around.store, Save(0, write))

    def begin(self, jobs: Jobs) -> None:
        """Begin what may begin of some work; its end comes as JobDone."""
        engine, me = self.engine, self.myAddress

        def tell(done: JobDone) -> None:
            engine.tell(me, done)

        jobs.start(tell)

    def within(self, wait_s: float, most_s: float) -> float:
        """Clock seconds until the next look at what is due in `wait_s`: not too often, not too seldom."""
        least_s = max(LOOK_AT_LEAST_S, LOOK_AT_LEAST_REAL_S * self.clock.rate)
        return max(min(wait_s, most_s), least_s)
