"""The supervisor of all pile actors: makes one for each registered pile, keeps the directory, handles ends.

Restarting a failed pile actor is the engine's work (its address, mailbox and connection stay). The fleet
tells people about it, takes a quarantined pile off the line with an alarm, and releases it when staff say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace
from thespian.actors import ActorExitRequest, ChildActorExited

from pileward.actors.connection_messages import PileUnlinked
from pileward.actors.engine_failures import Failure
from pileward.actors.gun_machine import GunState
from pileward.actors.pile import QUARANTINE, PileActor, PileStart
from pileward.actors.pile_commands import moment
from pileward.actors.pile_state import Pile, PileStatus, new_pile
from pileward.actors.pile_view import pile_event
from pileward.actors.session import SessionStart
from pileward.actors.session_state import SessionTrouble
from pileward.actors.store_messages import PileLoaded, Save
from pileward.actors.supervised import Supervised
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.charging import OpenSession
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.ports import ALARM_TOPIC, PILE_TOPIC
from pileward.services.alarms import CloseAlarm, OpenAlarm
from pileward.services.pile_configs import PileConfig
from pileward.values import Severity

log = logger(__name__)

OpenAlarms = frozenset[tuple[str, int | None]]


class KnownPile(msgspec.Struct, frozen=True):
    """A registered pile, the alarms open on it, and the charges that are not over."""

    config: PileConfig
    open_alarms: OpenAlarms = frozenset()
    sessions: tuple[OpenSession, ...] = ()


class FleetStart(msgspec.Struct, frozen=True):
    """Start argument of the fleet: all piles as loaded from the database."""

    around: Any
    piles: tuple[KnownPile, ...]


class TakePiles(msgspec.Struct, frozen=True):
    """Piles as the database has them now: new ones get an actor, changed ones are told, absent ones end.

    A pile without a config is no longer registered. Answered with Taken.
    """

    piles: tuple[PileLoaded, ...]


class Taken(msgspec.Struct, frozen=True):
    """Every pile of the request has its actor, or none any more."""


class PileTrouble(msgspec.Struct, frozen=True):
    """From the engine: a pile actor failed."""

    failure: Failure


class Revive(msgspec.Struct, frozen=True):
    """Let a quarantined pile work again; answered with Revived."""

    pile_code: str


class Revived(msgspec.Struct, frozen=True):
    """Whether there was anything to revive."""

    was_quarantined: bool


class Directory:
    """Read-only view of the pile actors for the edges."""

    __slots__ = ("_piles",)

    def __init__(self, piles: dict[str, Any]) -> None:
        self._piles = piles

    def address_of(self, pile_code: str) -> Any | None:
        """The actor of a registered pile; None for any other code."""
        return self._piles.get(pile_code)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._piles))

    def __len__(self) -> int:
        return len(self._piles)


class FleetActor(Supervised):
    """Parent of all pile actors."""

    mailbox_limit = 100_000

    def __init__(self, requirements: FleetStart) -> None:
        self.around: Surroundings = requirements.around
        self.piles = requirements.piles

    def started(self, restarted: bool) -> None:
        """Make an actor for every registered pile, connected or not; after a failure they are all there."""
        if restarted:
            # but for what the failed handler was about: actors that have exited, or were never to be
            for address in [known for known in self.around.piles.values() if self.engine.info(known) is None]:
                self._forget(address)
            return
        for known in self.piles:
            if known.config.pile_code not in self.around.piles:
                self._enlist(known)

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        if isinstance(message, TakePiles):
            for loaded in message.piles:
                self._take(loaded)
            self.send(sender, Taken())
        elif isinstance(message, PileTrouble):
            self._trouble(message.failure)
        elif isinstance(message, Revive):
            self._revive(message.pile_code, sender)
        elif isinstance(message, ChildActorExited):
            self._forget(message.childAddress)

    def _enlist(self, known: KnownPile) -> None:
        alarms = known.open_alarms
        if (QUARANTINE, None) in alarms:
            # it was in quarantine when an earlier process ended; it begins anew in this one
            alarms -= {(QUARANTINE, None)}
            self._close_quarantine(known.config.pile_code)
        start = PileStart(known.config, self.around, alarms, known.sessions)
        self.around.piles[known.config.pile_code] = self.createActor(PileActor, start)

    def _take(self, loaded: PileLoaded) -> None:
        address = self.around.piles.get(loaded.pile_code)
        if loaded.config is None:
            if address is not None:
                self._retire(loaded, address)
        elif address is None:
            self._enlist(KnownPile(loaded.config, loaded.open_alarms))
        else:
            self.send(address, loaded)

    def _retire(self, loaded: PileLoaded, address: Any) -> None:
        """The actor ends itself with all that is open about its pile; one in quarantine cannot."""
        code = loaded.pile_code
        if self.around.quarantined.pop(code, None) is None:
            self.send(address, loaded)
            return
        now = self.clock.epoch_ms()
        for kind, gun_no in sorted(self.around.alarms.get(code, ()), key=str):
            self.send(self.around.store, Save(0, CloseAlarm(code, gun_no, kind, moment(now))))
        self._close_quarantine(code)
        self._publish_alarm(code, False, "", now)
        self.send(address, ActorExitRequest())

    def _close_quarantine(self, code: str) -> None:
        closed = CloseAlarm(code, None, QUARANTINE, moment(self.clock.epoch_ms()))
        self.send(self.around.store, Save(0, closed))

    def _forget(self, address: Any) -> None:
        """A pile was retired: its actor is gone, and with it everything that is shown of it."""
        around = self.around
        for code in [code for code, known in around.piles.items() if known is address]:
            del around.piles[code]
            around.quarantined.pop(code, None)
            around.metrics.alarms_open -= len(around.alarms.pop(code, ()))
            gone = around.seen.pop(code, None)
            if gone is not None:
                around.metrics.moved(around.metrics.piles, gone.status, None)
                for gun in gone.guns:
                    around.metrics.moved(around.metrics.guns, gun.state, None)
            log.info("pile_retired", pile=code)

    def _trouble(self, failure: Failure) -> None:
        start = failure.address.requirements
        if isinstance(start, SessionStart) and failure.is_quarantined:
            self.send(start.pile, SessionTrouble(start.opened.row.serial, failure.error))
        if not isinstance(start, PileStart):
            return
        # a quarantined actor has no instance any more: what it was started with still names it
        code = start.config.pile_code
        now = self.clock.epoch_ms()
        pile = self.around.seen.get(code) or new_pile(start.config)
        reason = QUARANTINE if failure.is_quarantined else "actor_failed"
        event = pile_event(pile, reason, now)
        if not failure.is_quarantined:
            self._publish(event)
            return
        self.around.quarantined[code] = failure.error
        self._publish(replace(event, state=QUARANTINE))
        zh = f"桩程序连续出错，已隔离：{failure.error}"
        en = f"the pile's actor failed repeatedly and is quarantined: {failure.error}"
        opened = OpenAlarm(code, None, QUARANTINE, Severity.FAULT, zh, en, moment(now))
        self.send(self.around.store, Save(0, opened))
        self._publish_alarm(code, True, f"{zh} / {en}", now)
        if pile.link is not None:
            self.send(pile.link, PileUnlinked(code, QUARANTINE))
        self._take_off_line(pile, now)

    def _take_off_line(self, pile: Pile, now: int) -> None:
        """Nobody watches over the pile any more: whoever reads its last state must not find it online."""
        metrics = self.around.metrics
        metrics.moved(metrics.piles, pile.status, PileStatus.OFFLINE)
        for gun in pile.guns:
            metrics.moved(metrics.guns, gun.state, GunState.OFFLINE)
        guns = tuple(replace(gun, state=GunState.OFFLINE, since_ms=now) for gun in pile.guns)
        self.around.seen[pile.code] = replace(
            pile,
            guns=guns,
            status=PileStatus.OFFLINE,
            since_ms=now,
            reason=QUARANTINE,
            link=None,
            tariff_ok=False,
            pending=(),
        )

    def _revive(self, code: str, sender: Any) -> None:
        address = self.around.piles.get(code)
        if address is None or self.around.quarantined.pop(code, None) is None:
            self.send(sender, Revived(False))
            return
        self._close_quarantine(code)  # first: the actor then loads its open alarms
        self.engine.release(address)
        self._publish_alarm(code, False, "", self.clock.epoch_ms())
        self.send(sender, Revived(True))

    def _publish(self, event: PileChanged) -> None:
        self.around.recent.append(event)
        if self.around.bus.has_subscribers(PILE_TOPIC):
            self.around.bus.publish(PILE_TOPIC, msgspec.json.encode(event))

    def _publish_alarm(self, code: str, is_open: bool, text: str, now: int) -> None:
        event = AlarmChanged(code, None, QUARANTINE, Severity.FAULT.value, is_open, text, moment(now))
        self.around.recent.append(event)
        self.around.metrics.alarms_open += 1 if is_open else -1
        if self.around.bus.has_subscribers(ALARM_TOPIC):
            self.around.bus.publish(ALARM_TOPIC, msgspec.json.encode(event))

    def inspect(self) -> dict[str, Any]:
        """Numbers for people; the piles are the children."""
        return {
            "state": "supervising",
            "piles": len(self.around.piles),
            "quarantined": dict(list(self.around.quarantined.items())[:100]),
        }
