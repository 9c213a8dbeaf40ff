"""The actor of one pile: a thin shell that feeds `pile_machine.step` and performs its effects.

It owns the link to the current connection, the named timers, the effects that wait for the store, and which
alarms are open. It decides nothing about the pile itself. When a handler fails the engine puts a new instance
in its place, which loads the pile from the database and goes on with the connection that still speaks for it.
What others read of a pile (`Surroundings.seen`, the gauges) changes once a step has been performed.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final, NamedTuple

import msgspec
from thespian.actors import ActorExitRequest, ChildActorExited

from pileward.actors import effects as fx
from pileward.actors.connection_messages import PileUnlinked, Watch
from pileward.actors.pile_commands import moment
from pileward.actors.pile_machine import BY_PAIR, UPLINKS, step
from pileward.actors.pile_sessions import HEARD, PileSessions
from pileward.actors.pile_state import (
    AbsenceDue,
    AdmissionDue,
    ClockDue,
    CommandAsked,
    ConfigChanged,
    LinkLost,
    LoginAsked,
    Pile,
    PileStatus,
    ReadDue,
    RecordDue,
    RecordKept,
    ReplyDue,
    Resumed,
    SilenceChecked,
    TariffDue,
    new_pile,
)
from pileward.actors.pile_view import describe, gun_event, pile_event
from pileward.actors.session_state import SessionMovedTo, SessionTrouble, Spending
from pileward.actors.store_messages import LoadPile, PileLoaded, Refused, Save, Stored, TakeSample
from pileward.actors.supervised import Supervised, TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.actors.transitions import PileTransitions
from pileward.logs import logger
from pileward.messages import downlinks as down
from pileward.messages import sessions as ask
from pileward.messages.charging import ACTIVE, OpenSession
from pileward.messages.commands import (
    Command,
    DescribePile,
    Outcome,
    PileDescription,
    WatchFrames,
)
from pileward.messages.events import AlarmChanged
from pileward.messages.uplinks import Telemetry
from pileward.ports import ALARM_TOPIC, GUN_TOPIC, PILE_TOPIC
from pileward.services.alarms import CloseAlarm, OpenAlarm
from pileward.services.pile_configs import PileConfig
from pileward.values import ResultStatus, Severity

PENDING_WRITES_MAX: Final = 256
"""Writes of one pile that may wait for the store; a record beyond is left unconfirmed and comes again.

As many as a pile may have stored while it was away and delivers in one go (docs/decisions/0005).
"""

QUARANTINE: Final = "quarantined"
"""Alarm of a pile whose actor failed too often."""

COMMANDS_WAITING_MAX: Final = 64
"""Edges that may wait for one pile at a time."""

log = logger(__name__)

_UPLINKS: Final = frozenset(UPLINKS)
_ABOUT_SESSIONS: Final = frozenset(
    (
        # from sessions: where they are, what they have sent, alarms of their gun (kept here, with older ones)
        *(SessionMovedTo, down.RemoteStart, down.RemoteStop, down.ReadTelemetry, fx.Raise, fx.Clear),
        # from edges
        *(ask.ReserveGun, ask.StartSession, ask.StopSession, ask.CancelOrder, ask.DecideSession),
        ask.DescribeSession,
        # from payments and refunds
        *(ask.Funded, ask.PaymentOver, ask.RefundChanged),
        # from the engine, and from the fleet
        *(ChildActorExited, SessionTrouble),
    )
)

_URGENT: Final = frozenset(
    (
        down.HeartbeatAnswer,
        down.LoginAnswer,
        down.TariffCheckAnswer,
        down.TariffDelivery,
        down.SetClock,
        fx.Arm,
        fx.Disarm,
        fx.Note,
        fx.Sample,
        fx.Count,
    )
)
"""Never held back by a write: answers that keep the pile alive, timers, and what nobody outside is told."""


class PileStart(msgspec.Struct, frozen=True):
    """Start argument of a pile actor."""

    config: PileConfig
    around: Any
    open_alarms: frozenset[tuple[str, int | None]] = frozenset()
    sessions: tuple[OpenSession, ...] = ()
    """Charges that were open before this process."""
    spending: Spending = Spending()


class Later(NamedTuple):
    """An effect that waits for the store."""

    effect: Any
    link: Any
    """The connection it was meant for."""
    is_own: bool
    """Of the very step that wrote: when the write is dropped, it is as well."""


class Held(NamedTuple):
    """A write on its way to the store, and the effects behind it."""

    ticket: int
    about: Any
    effects: list[Later]


class PileActor(Supervised):
    """One pile; performs what its table says."""

    mailbox_limit = 4_096

    def __init__(self, requirements: PileStart) -> None:
        config = requirements.config
        self.around: Surroundings = requirements.around
        self.pile: Pile = new_pile(config)
        self.open_alarms: set[tuple[str, int | None]] = set(requirements.open_alarms)
        self.transitions = PileTransitions()
        self.heard_at = 0.0
        self.guns_heard_at: list[float] = [0.0] * config.gun_count
        self.held: deque[Held] | None = None
        self.asked: dict[int, Any] | None = None
        self.is_loading = False
        self.spending: Spending = requirements.spending
        self.sessions: PileSessions | None = None
        self.opened = requirements.sessions
        self.oddities: Counter[str] | None = None

    def started(self, restarted: bool) -> None:
        """A fresh actor shows its pile; a restarted one first loads it as it is now."""
        if restarted:
            self.is_loading = True
            self.only(PileLoaded)
            self.send(self.around.store, LoadPile(self.pile.code))
            return
        self._begin()
        for opened in self.opened:
            self._orders().load(opened)
        self.opened = ()

    def _begin(self) -> None:
        """Show the pile, in place of what an instance before this one has shown."""
        around, code = self.around, self.pile.code
        around.metrics.alarms_open += len(self.open_alarms) - len(around.alarms.get(code, ()))
        around.alarms[code] = self.open_alarms
        before = around.seen.get(code)
        around.metrics.moved(around.metrics.piles, before.status if before else None, self.pile.status)
        for gun in before.guns if before else ():
            around.metrics.moved(around.metrics.guns, gun.state, None)
        for gun in self.pile.guns:
            around.metrics.moved(around.metrics.guns, None, gun.state)
        around.seen[code] = self.pile
        self.arm("absence", float(self.pile.config.settings.offline_after_s) * 4)
        self._arm_next_tariff()

    # --- what comes in ----------------------------------------------------------------------------------

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message; frames come first, because nearly all messages are."""
        kind = type(message)
        if kind in _UPLINKS:
            if sender is not self.pile.link:
                self.around.metrics.misplaced["stale_link"] += 1
                return
            if self.sessions is not None and kind in HEARD and self.pile.status is PileStatus.ONLINE:
                is_taken = self.sessions.hear(message) and kind is not Telemetry
            else:
                is_taken = False
            turn = self.around.turn
            self.heard_at = turn.s
            gun_no = getattr(message, "gun_no", 0)
            if 0 < gun_no <= len(self.guns_heard_at):
                self.guns_heard_at[gun_no - 1] = turn.s
            if not is_taken:
                self._step_at(message, turn.ms)
        elif kind is TimerFired:
            self._timer(message.name)
        elif kind is LoginAsked:
            self.heard_at = now = self.clock.monotonic()
            self.guns_heard_at = [now] * self.pile.config.gun_count
            self._step(message)
        elif kind is LinkLost:
            self._step(message)
        elif kind is Stored:
            self._stored(message)
        elif kind is Refused:
            self._refused(message)
        elif kind is PileLoaded:
            self._loaded(message)
        elif kind is DescribePile:
            self.send(sender, PileDescription(self._describe()))
        elif kind is WatchFrames:
            self._watch(message, sender)
        elif kind in _ABOUT_SESSIONS:
            self._about_session(message, sender)
        elif isinstance(message, Command):
            self._command(message, sender)
        elif kind is ActorExitRequest:
            if self.pile.link is not None:
                self.send(self.pile.link, PileUnlinked(self.pile.code, "retired"))
        else:
            self.around.metrics.misplaced[f"to_pile:{kind.__name__}"] += 1

    def _timer(self, name: str) -> None:
        kind, _, number = name.partition(":")
        if kind == "silence":
            now = self.clock.monotonic()
            ages = tuple(now - heard for heard in self.guns_heard_at)
            self._step(SilenceChecked(now - self.heard_at, ages))
        elif kind == "reply":
            self._step(ReplyDue(number))
        elif kind == "record":
            self._step(RecordDue(int(number)))
        elif kind == "next_tariff":
            self.send(self.around.store, LoadPile(self.pile.code))
        elif kind == "release":
            ended = self._orders().release(number)
            if ended is not None:
                self._clear(ended)
        elif kind == "unsettled":
            self._orders().settle_again()
        else:
            self._step(_TIMERS[kind]())

    def _command(self, command: Command, sender: Any) -> None:
        asked = self.asked
        if asked is None:
            asked = self.asked = {}
        if len(asked) >= COMMANDS_WAITING_MAX:
            self.around.metrics.commands[ResultStatus.REJECTED.value] += 1
            self.send(sender, Outcome(ResultStatus.REJECTED, "too_many_commands"))
            return
        number = next(self.around.numbers)
        asked[number] = sender
        self._step(CommandAsked(number, command))

    def _about_session(self, message: Any, sender: Any) -> None:
        """What concerns one charge: the orders of this pile know whose it is."""
        match message:
            case SessionMovedTo():
                self._session_moved(message, sender)
            case ask.ReserveGun():
                self._orders().reserve(message, sender)
            case ask.Funded() | ask.PaymentOver() | ask.RefundChanged():
                self._orders().tell(message.serial, message)
            case down.Downlink():
                if self.pile.status is PileStatus.ONLINE:
                    self._transmit(message)
                else:
                    self._orders().unsent(message, sender)
            case fx.Raise() | fx.Clear():
                _PERFORM[type(message)](self, message)
            case ChildActorExited(childAddress=address):
                self._orders().gone(address)
            case SessionTrouble(serial, error):
                alarm = self._orders().quarantined(serial, error)
                if alarm is not None:
                    self._raise(alarm)
            case _:
                self._orders().ask(message, sender)
        self._forget_orders()

    def _forget_orders(self) -> None:
        """Most piles have no order most of the time."""
        if self.sessions is not None and self.sessions.is_empty:
            self.sessions = None
            del self.around.sessions_of[self.pile.code]

    def _orders(self) -> PileSessions:
        if self.sessions is None:
            self.sessions = PileSessions(self, self.spending)
            self.around.sessions_of[self.pile.code] = self.sessions
        return self.sessions

    def _session_moved(self, message: SessionMovedTo, sender: Any) -> None:
        self._orders().moved(message, sender)
        others = tuple(order for order in self.pile.orders if order[1] != message.serial)
        if not message.is_over and message.state in ACTIVE:
            others = (*others, (message.gun_no, message.serial, message.state))
        if others != self.pile.orders:
            self.pile = msgspec.structs.replace(self.pile, orders=others)
            self.around.seen[self.pile.code] = self.pile
            if message.gun_no <= len(self.pile.guns):
                self._show_gun(fx.ShowGun(message.gun_no))

    def _watch(self, message: WatchFrames, sender: Any) -> None:
        if self.pile.link is None:
            self.send(sender, Outcome(ResultStatus.OFFLINE, "pile_offline"))
            return
        self.send(self.pile.link, Watch(self.pile.code, message.for_s))
        self.send(sender, Outcome(ResultStatus.ACCEPTED))

    def _loaded(self, message: PileLoaded) -> None:
        if message.config is None:
            self._retire()
        elif self.is_loading:
            self._go_on(message.config, message.open_alarms)
        else:
            self._step(ConfigChanged(message.config))
            self._arm_next_tariff()

    def _go_on(self, config: PileConfig, open_alarms: frozenset[tuple[str, int | None]]) -> None:
        """Begin anew with what the database knows, on the connection that spoke for the pile before."""
        before = self.around.seen.get(config.pile_code)
        self.is_loading = False
        self.pile = new_pile(config)
        self.sessions = self.around.sessions_of.get(config.pile_code)
        if self.sessions is not None:
            self.sessions.adopt(self)
        if before is not None:
            self.pile = msgspec.structs.replace(self.pile, orders=before.orders)
        # one alarm is not the actor's own: its supervisor opens and closes it, perhaps at this very moment
        self.open_alarms = {alarm for alarm in open_alarms if alarm != (QUARANTINE, None)}
        self.heard_at = now = self.clock.monotonic()
        self.guns_heard_at = [now] * config.gun_count
        self.only()
        self._begin()
        if before is not None and before.status is PileStatus.ONLINE:
            self._step(Resumed(before.link, before.remote_address))
        elif before is not None and before.status is PileStatus.REGISTERING and before.login is not None:
            self._step(LoginAsked(before.login, before.link, before.remote_address))
        else:
            self._show_pile("restarted")

    def _retire(self) -> None:
        """The pile is no longer registered: what was open about it is closed, and the actor exits."""
        for kind, gun_no in sorted(self.around.alarms.get(self.pile.code, ()), key=str):
            self._clear(fx.Clear(kind, gun_no))
        self.send(self.myAddress, ActorExitRequest())

    # --- the step and its effects -----------------------------------------------------------------------

    def _step(self, event: Any) -> None:
        self._step_at(event, self.clock.epoch_ms())

    def _step_at(self, event: Any, now: int) -> None:
        before = self.pile
        after, effects = step(before, event, now)
        self.pile = after
        if self.held:
            self._hold(effects, is_own=False)
        elif len(effects) == 1:
            effect = effects[0]
            _PERFORM[type(effect)](self, effect)
        else:
            for index, effect in enumerate(effects):
                _PERFORM[type(effect)](self, effect)
                if self.held:
                    self._hold(effects[index + 1 :], is_own=True)
                    break
        if after is not before:
            self.around.seen[after.config.pile_code] = after
            if after.status is not before.status or not _same_states(before, after):
                self._note_changes(before, after, type(event), now)
        elif not effects and (before.status, type(event)) not in BY_PAIR:
            self.around.metrics.misplaced[f"{type(event).__name__} in {before.status.name}"] += 1

    def _hold(self, effects: fx.Effects, is_own: bool) -> None:
        """Put effects behind the write they wait for; what must not wait acts at once."""
        held = self.held
        assert held
        for effect in effects:
            if type(effect) in _URGENT:
                _PERFORM[type(effect)](self, effect)
            elif type(effect) is fx.Persist:
                if not self._persist(effect):
                    return  # dropped with all that follows it in this step: the pile repeats
                is_own = True
            else:
                held[-1].effects.append(Later(effect, self.pile.link, is_own))

    def _persist(self, effect: fx.Persist) -> bool:
        held = self.held
        if held is None:
            held = self.held = deque()
        if len(held) >= PENDING_WRITES_MAX:
            self._drop_record("too_many_pending")
            return False
        ticket = next(self.around.numbers)
        held.append(Held(ticket, effect.about, []))
        self.send(self.around.store, Save(ticket, effect.write))
        return True

    def _stored(self, message: Stored) -> None:
        if self.sessions is not None and self.sessions.stored(message):
            self._forget_orders()
            return
        held = self.held
        if not held or held[0].ticket != message.ticket:
            return  # of an instance before this one
        done = held.popleft()
        self._release(done.effects)
        if done.about is not None:
            self._step(RecordKept(done.about, message.result))
            self._orders().record_kept(done.about, message.result)

    def _release(self, effects: list[Later]) -> None:
        for effect, link, _ in effects:
            if isinstance(effect, down.Downlink) and link is not self.pile.link:
                continue  # a late answer on another connection would only confuse the pile
            _PERFORM[type(effect)](self, effect)

    def _refused(self, message: Refused) -> None:
        """A full store refuses at once, before it answers what it has taken: any held write may be meant."""
        if self.sessions is not None and self.sessions.refused(message):
            self._forget_orders()
            return
        held = self.held or deque()
        place = next((place for place, entry in enumerate(held) if entry.ticket == message.ticket), None)
        if place is None:
            return  # of an instance before this one
        if not message.is_pressure:
            raise RuntimeError(f"the store refused a write: {message.reason}")
        others = [later for later in held[place].effects if not later.is_own]
        del held[place]
        self._drop_record("store_busy")
        if place:
            held[place - 1].effects.extend(others)
        else:
            self._release(others)

    def _drop_record(self, reason: str) -> None:
        """Nothing is lost yet: the record is not confirmed, so the pile keeps and repeats it."""
        self.around.metrics.records_dropped += 1
        log.warning("record_left_unconfirmed", pile=self.pile.code, reason=reason)
        zh, en = "系统繁忙，交易记录暂未确认", "a record is left unconfirmed under pressure"
        self._raise(fx.Raise("record_unconfirmed", Severity.FAULT, zh, en))

    def _note_changes(self, before: Pile, after: Pile, event: type, now: int) -> None:
        metrics = self.around.metrics
        if after.status is not before.status:
            metrics.moved(metrics.piles, before.status, after.status)
            self.transitions.add(now, 0, event, before.status, after.status)
            if self.sessions is not None:
                self._tell_sessions(before, after)
        if after.guns is not before.guns:
            for old, new in zip(before.guns, after.guns, strict=False):
                if new.state is not old.state:
                    metrics.moved(metrics.guns, old.state, new.state)
                    self.transitions.add(now, new.gun_no, event, old.state, new.state)
            for gone in before.guns[len(after.guns) :]:
                metrics.moved(metrics.guns, gone.state, None)
            for added in after.guns[len(before.guns) :]:
                metrics.moved(metrics.guns, None, added.state)
            if len(after.guns) != len(self.guns_heard_at):
                self.guns_heard_at = [self.heard_at] * len(after.guns)

    def _tell_sessions(self, before: Pile, after: Pile) -> None:
        assert self.sessions is not None
        if after.status is PileStatus.ONLINE:
            self.sessions.back()
        elif before.status is PileStatus.ONLINE:
            self.sessions.lost(after.reason)

    # --- performing -------------------------------------------------------------------------------------

    def _transmit(self, downlink: down.Downlink) -> None:
        link = self.pile.link
        if link is not None:
            self._myRef.actor_send(link, downlink)

    def _note(self, effect: fx.Note) -> None:
        self.send(self.around.store, Save(0, effect.write))

    def _sample(self, effect: fx.Sample) -> None:
        self.send(self.around.store, TakeSample(effect.telemetry, self.around.turn.ms))

    def _arm(self, effect: fx.Arm) -> None:
        self.arm(effect.timer, effect.after_s)

    def _disarm(self, effect: fx.Disarm) -> None:
        self.disarm(effect.timer)

    def _reply(self, effect: fx.Reply) -> None:
        waiting = self.asked.pop(effect.command_id, None) if self.asked else None
        if waiting is not None:
            self.around.metrics.commands[effect.outcome.status.value] += 1
            self.send(waiting, effect.outcome)

    def _show_gun(self, effect: fx.ShowGun) -> None:
        if effect.gun_no <= len(self.pile.guns) and self.around.bus.has_subscribers(GUN_TOPIC):
            event = gun_event(self.pile, effect.gun_no, self.clock.epoch_ms())
            self.around.bus.publish(GUN_TOPIC, msgspec.json.encode(event))

    def _perform_show_pile(self, effect: fx.ShowPile) -> None:
        self._show_pile(effect.reason)

    def _show_pile(self, reason: str) -> None:
        event = pile_event(self.pile, reason, self.clock.epoch_ms())
        self.around.recent.append(event)
        log.info("pile", pile=self.pile.code, state=event.state, reason=reason)
        if self.around.bus.has_subscribers(PILE_TOPIC):
            self.around.bus.publish(PILE_TOPIC, msgspec.json.encode(event))

    def _raise(self, effect: fx.Raise) -> None:
        key = (effect.kind, effect.gun_no)
        if key in self.open_alarms:
            return
        self.open_alarms.add(key)
        now = moment(self.clock.epoch_ms())
        write = OpenAlarm(
            self.pile.code,
            effect.gun_no,
            effect.kind,
            effect.severity,
            effect.text_zh,
            effect.text_en,
            now,
        )
        self.send(self.around.store, Save(0, write))
        metrics = self.around.metrics
        metrics.alarms_open += 1
        metrics.alarms_raised[effect.kind] += 1
        log.warning("alarm", pile=self.pile.code, gun=effect.gun_no, alarm=effect.kind, text=effect.text_en)
        text = f"{effect.text_zh} / {effect.text_en}"
        self._show_alarm(
            AlarmChanged(self.pile.code, effect.gun_no, effect.kind, effect.severity.value, True, text, now)
        )

    def _clear(self, effect: fx.Clear) -> None:
        key = (effect.kind, effect.gun_no)
        if key not in self.open_alarms:
            return
        self.open_alarms.discard(key)
        now = moment(self.clock.epoch_ms())
        self.send(self.around.store, Save(0, CloseAlarm(self.pile.code, effect.gun_no, effect.kind, now)))
        self.around.metrics.alarms_open -= 1
        self._show_alarm(AlarmChanged(self.pile.code, effect.gun_no, effect.kind, "info", False, "", now))

    def _clear_family(self, effect: fx.ClearFamily) -> None:
        for kind, gun_no in sorted(self.open_alarms, key=str):
            if gun_no == effect.gun_no and kind.startswith(effect.prefix) and kind not in effect.kept:
                self._clear(fx.Clear(kind, gun_no))

    def _show_alarm(self, event: AlarmChanged) -> None:
        self.around.recent.append(event)
        if self.around.bus.has_subscribers(ALARM_TOPIC):
            self.around.bus.publish(ALARM_TOPIC, msgspec.json.encode(event))

    def _unlink(self, effect: fx.Unlink) -> None:
        if effect.link is not None:
            self.send(effect.link, PileUnlinked(self.pile.code, effect.reason))

    def _count(self, effect: fx.Count) -> None:
        """Count it, and log the first, tenth, hundredth time of a kind on this pile."""
        self.around.metrics.misplaced[effect.name] += 1
        if self.oddities is None:
            self.oddities = Counter()
        self.oddities[effect.name] += 1
        times = self.oddities[effect.name]
        if str(times).strip("0") == "1":
            log.warning("odd_message", pile=self.pile.code, reason=effect.name, times=times)

    def _perform_persist(self, effect: fx.Persist) -> None:
        self._persist(effect)

    def _arm_next_tariff(self) -> None:
        """Reload the pile when the next version of its tariff comes into force."""
        due = self.pile.config.next_tariff_at
        if due is None:
            self.disarm("next_tariff")
        else:
            self.arm("next_tariff", max((due - self.clock.utc()).total_seconds(), 1.0))

    # --- looking inside ---------------------------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """State, last transitions, open alarms and waiting commands, for people."""
        return self._describe()

    def _describe(self) -> dict[str, Any]:
        data = describe(self.pile, self.clock.epoch_ms())
        data["transitions"] = self.transitions.rows()
        data["alarms"] = [
            {"kind": kind, "gun_no": gun_no} for kind, gun_no in sorted(self.open_alarms, key=str)
        ]
        data["waiting_commands"] = len(self.asked) if self.asked else 0
        data["pending_writes"] = len(self.held) if self.held else 0
        data["silent_s"] = round(self.clock.monotonic() - self.heard_at, 1) if self.heard_at else None
        return data


def _same_states(before: Pile, after: Pile) -> bool:
    """Whether all guns are in the states they were in: nearly every report only brings new values."""
    old, new = before.guns, after.guns
    if old is new:
        return True
    if len(old) != len(new):
        return False
    for one, two in zip(old, new, strict=True):  # noqa: SIM110 - a generator costs more than all of this
        if one is not two and one.state is not two.state:
            return False
    return True


_TIMERS: Final[dict[str, type]] = {
    "admission": AdmissionDue,
    "tariff": TariffDue,
    "clock": ClockDue,
    "read": ReadDue,
    "absence": AbsenceDue,
}

_PERFORM: Final[dict[type, Any]] = {
    fx.Persist: PileActor._perform_persist,
    fx.Note: PileActor._note,
    fx.Sample: PileActor._sample,
    fx.Arm: PileActor._arm,
    fx.Disarm: PileActor._disarm,
    fx.Reply: PileActor._reply,
    fx.ShowGun: PileActor._show_gun,
    fx.ShowPile: PileActor._perform_show_pile,
    fx.Raise: PileActor._raise,
    fx.Clear: PileActor._clear,
    fx.ClearFamily: PileActor._clear_family,
    fx.Unlink: PileActor._unlink,
    fx.Count: PileActor._count,
    **{
        kind: PileActor._transmit
        for kind in vars(down).values()
        if isinstance(kind, type) and issubclass(kind, down.Downlink)
    },
}
"""How each effect is performed; a downlink is sent as it is."""
