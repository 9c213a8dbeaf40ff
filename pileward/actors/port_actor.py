"""What the port actors of money have in common: lasting work, alarms of the platform, telling piles.

A port actor takes messages, lets its desk do the work in coroutines (`jobs`), and performs what each piece of
work asks for as effects. It keeps nothing that is not durable or in its `Jobs`, so it may fail at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from pileward.actors.effects import Clear, Effect, Raise, TellRefunds
from pileward.actors.jobs import JobDone, Jobs
from pileward.actors.store_messages import Save
from pileward.actors.supervised import Supervised
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.events import AlarmChanged
from pileward.ports import ALARM_TOPIC
from pileward.services.alarms import CloseAlarm, OpenAlarm

LOOK_AT_LEAST_S: Final = 1.0
"""Clock seconds between two looks at what is due."""
LOOK_AT_LEAST_REAL_S: Final = 0.05
"""The same in real seconds, for clocks that run fast."""
PLATFORM: Final = ""
"""The pile code of alarms that concern no pile."""

log = logger(__name__)


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
                    self._raise(effect)
                case Clear(kind):
                    self._clear(kind)
                case _:
                    raise AssertionError(effect)

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

    def _raise(self, effect: Raise) -> None:
        opened = self.around.alarms.setdefault(PLATFORM, set())
        key = (effect.kind, None)
        if key in opened:
            return
        opened.add(key)
        now = self.clock.utc()
        write = OpenAlarm(PLATFORM, None, effect.kind, effect.severity, effect.text_zh, effect.text_en, now)
        self.send(self.around.store, Save(0, write))
        self.around.metrics.alarms_open += 1
        self.around.metrics.alarms_raised[effect.kind] += 1
        log.warning("alarm", alarm=effect.kind, text=effect.text_en)
        text = f"{effect.text_zh} / {effect.text_en}"
        self._show_alarm(effect.kind, effect.severity.value, text, now, is_open=True)

    def _clear(self, kind: str) -> None:
        opened = self.around.alarms.get(PLATFORM, set())
        if (kind, None) not in opened:
            return
        opened.discard((kind, None))
        now = self.clock.utc()
        self.send(self.around.store, Save(0, CloseAlarm(PLATFORM, None, kind, now)))
        self.around.metrics.alarms_open -= 1
        self._show_alarm(kind, "info", "", now, is_open=False)

    def _show_alarm(self, kind: str, severity: str, text: str, at: datetime, *, is_open: bool) -> None:
        event = AlarmChanged(PLATFORM, None, kind, severity, is_open, text, at)
        self.around.recent.append(event)
        if self.around.bus.has_subscribers(ALARM_TOPIC):
            self.around.bus.publish(ALARM_TOPIC, msgspec.json.encode(event))
