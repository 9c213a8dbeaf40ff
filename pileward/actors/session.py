"""The actor of one charge: a thin shell that feeds `session_machine.step` and performs its effects.

A child of its pile's actor, which hands it what the pile says and sends what it wants sent. What must be
durable first is held back until the store has committed it, in order. When a handler fails, or the row turns
out to be elsewhere, it begins again from the row; it exits when the charge is over.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

import msgspec
from thespian.actors import ActorExitRequest

from pileward.actors import effects as fx
from pileward.actors.session_machine import EVENTS, is_decided, step
from pileward.actors.session_order import moment
from pileward.actors.session_state import (
    PAY_WITHIN_S,
    RECORD_WITHIN_S,
    START_WITHIN_S,
    AnswerDue,
    AskFor,
    CancelAsked,
    ChargingDue,
    DecisionAsked,
    FundedBy,
    LastLookDue,
    PayDue,
    PaymentClosed,
    PileLost,
    ProvisionalDue,
    RecordArrived,
    RecordDue,
    RefundMovedOn,
    Session,
    SessionMovedTo,
    Spending,
    StartAsked,
    StartByDue,
    StopAsked,
    StopDue,
    StopWatchDue,
    Written,
    new_session,
)
from pileward.actors.session_view import describe, session_event
from pileward.actors.store_messages import LoadSession, Refused, Save, SessionLoaded, Stored
from pileward.actors.supervised import Supervised, TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.actors.transitions import SessionTransitions
from pileward.logs import logger
from pileward.messages import downlinks as down
from pileward.messages import sessions as ask
from pileward.messages.charging import OVER, OpenSession, SessionState
from pileward.messages.commands import Outcome
from pileward.messages.events import AlarmChanged
from pileward.ports import ALARM_TOPIC, session_topic
from pileward.services.alarms import CloseAlarm, OpenAlarm
from pileward.services.records import RecordResult, RecordState
from pileward.values import ResultStatus

PENDING_WRITES_MAX: Final = 16
"""Writes of one session that may wait for the store."""
LATE_S: Final = 1.0
"""A deadline that passed while nobody ran fires this soon after a start."""

log = logger(__name__)

_TIMERS: Final[dict[str, type]] = {
    "pay": PayDue,
    "start_by": StartByDue,
    "answer": AnswerDue,
    "charging": ChargingDue,
    "last_look": LastLookDue,
    "stop": StopDue,
    "stop_watch": StopWatchDue,
    "record": RecordDue,
    "provisional": ProvisionalDue,
}
_EVENTS: Final = frozenset(EVENTS)
_AT_ONCE: Final = frozenset((fx.Arm, fx.Disarm, fx.Note, down.RemoteStop, down.ReadTelemetry))
"""Never held back by a write: timers, what nobody waits for, and a stop, which is always safe."""


class SessionStart(msgspec.Struct, frozen=True):
    """Start argument of a session actor."""

    opened: OpenSession
    around: Any
    pile: Any
    """Address of the pile's actor."""
    is_pile_online: bool
    spending: Spending


class Held(NamedTuple):
    """A write on its way to the store, and the effects behind it."""

    ticket: int
    write: Any
    effects: list[Any]


class SessionActor(Supervised):
    """One charge; performs what its table says."""

    mailbox_limit = 1_024

    def __init__(self, requirements: SessionStart) -> None:
        self.around: Surroundings = requirements.around
        self.parent = requirements.pile
        self.spending = requirements.spending
        self.opened = requirements.opened
        self.session: Session = new_session(
            requirements.opened.row,
            is_pile_online=requirements.is_pile_online,
            spending=requirements.spending,
        )
        self.transitions = SessionTransitions()
        self.held: deque[Held] = deque()
        self.asked: dict[int, Any] = {}
        self.open_alarms: set[tuple[str, int | None]] = set()
        self.is_leaving = False

    # --- beginning --------------------------------------------------------------------------------------

    def started(self, restarted: bool) -> None:
        """Begin from the row that came along, or after a failure from the row as it is now."""
        if restarted:
            self._reload()
        else:
            self._begin(self.opened)

    def _reload(self) -> None:
        self.only(SessionLoaded)
        self.send(self.around.store, LoadSession(self.session.serial))

    def _loaded(self, message: SessionLoaded) -> None:
        self.only()
        self.held.clear()
        if message.opened is None:
            self._leave(SessionState.CLOSED)
            return
        before = self.session
        self.session = new_session(
            message.opened.row, is_pile_online=before.is_pile_online, spending=self.spending
        )
        self._begin(message.opened)

    def _begin(self, opened: OpenSession) -> None:
        """Arm what the state waits for; what is past due fires at once."""
        row = opened.row
        self._note(before=None)
        if row.state in OVER:
            self._leave(row.state)
            return
        now = self.clock.utc()
        for name, due in _deadlines(row):
            self.arm(name, max((due - now).total_seconds(), LATE_S))
        if row.state is SessionState.AWAITING_RECORD:
            self.arm("record", RECORD_WITHIN_S)
        self._perform_show()
        if opened.waiting_record_id is not None:
            number = opened.waiting_record_id
            self._step(RecordArrived(None, RecordResult(RecordState.STORED, number, number)))
        elif not self.session.is_pile_online and row.state in (SessionState.CHARGING, SessionState.STOPPING):
            self._step(PileLost("restart"))
        if any(refund.next_attempt_at is not None for refund in opened.refunds):
            self.send(self.around.refunds, ask.RefundsWaiting())

    # --- what comes in ----------------------------------------------------------------------------------

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        kind = type(message)
        if kind in _EVENTS:
            self._step(message)
        elif kind is TimerFired:
            self._step(_TIMERS[message.name]())
        elif kind is AskFor:
            self._asked(message)
        elif kind is Stored:
            self._stored(message)
        elif kind is Refused:
            self._refused(message)
        elif kind is SessionLoaded:
            self._loaded(message)
        elif kind is ask.Funded:
            self._step(FundedBy(message.confirmed))
        elif kind is ask.PaymentOver:
            self._step(PaymentClosed())
        elif kind is ask.RefundChanged:
            self._step(RefundMovedOn(message.moved))

    def _asked(self, message: AskFor) -> None:
        command, sender = message.command, message.sender
        if isinstance(command, ask.DescribeSession):
            self.send(sender, ask.SessionDescription(self._describe()))
            return
        owner = getattr(command, "driver_id", None)
        if owner is not None and owner != self.session.row.driver_id:
            self.send(sender, Outcome(ResultStatus.REJECTED, "not_yours"))
            return
        number = next(self.around.numbers)
        self.asked[number] = sender
        if isinstance(command, ask.StartSession):
            self._step(StartAsked(number, message.refusal))
        elif isinstance(command, ask.StopSession):
            self._step(StopAsked(number, command.reason))
        elif isinstance(command, ask.CancelOrder):
            self._step(CancelAsked(number))
        elif isinstance(command, ask.DecideSession):
            self._step(DecisionAsked(number, command.decision, command.actor, command.note))

    # --- the step and its effects -----------------------------------------------------------------------

    def _step(self, event: Any) -> None:
        before = self.session
        now = self.clock.epoch_ms()
        after, effects = step(before, event, now)
        self.session = after
        if after.state is not before.state:
            self.transitions.add(now, 0, type(event), before.state, after.state)
            self._note(before)
        elif after is before and not effects and not is_decided(before.state, type(event)):
            self.around.metrics.misplaced[f"{type(event).__name__} in session {before.state.word}"] += 1
        for effect in effects:
            self._take(effect)
        if after.state in OVER and not self.held:
            self._leave(after.state)

    def _take(self, effect: Any) -> None:
        """Perform an effect, or put it behind the write it waits for."""
        kind = type(effect)
        if kind is fx.Persist:
            if len(self.held) >= PENDING_WRITES_MAX:
                raise RuntimeError(f"{PENDING_WRITES_MAX} writes wait for the store")
            ticket = next(self.around.numbers)
            self.held.append(Held(ticket, effect.write, []))
            self.send(self.around.store, Save(ticket, effect.write))
        elif self.held and kind not in _AT_ONCE:
            self.held[-1].effects.append(effect)
        else:
            _PERFORM[kind](self, effect)

    def _stored(self, message: Stored) -> None:
        if not self.held or self.held[0].ticket != message.ticket:
            return  # of an instance before this one
        done = self.held.popleft()
        for effect in done.effects:
            _PERFORM[type(effect)](self, effect)
        self._step(Written(done.write, message.result))

    def _refused(self, message: Refused) -> None:
        """What was not stored has not happened: begin again from the row and say so to whoever waits."""
        if not any(entry.ticket == message.ticket for entry in self.held):
            return
        log.warning(
            "session_write_refused",
            session=self.session.serial,
            reason=message.reason,
            busy=message.is_pressure,
        )
        for sender in self.asked.values():
            self.send(
                sender, Outcome(ResultStatus.REJECTED, "store_busy", "系统繁忙，请重试 / busy: try again")
            )
        self.asked.clear()
        self._reload()

    def _leave(self, state: SessionState) -> None:
        """The charge is over: the pile's actor forgets it, and this actor ends."""
        if self.is_leaving:
            return
        self.is_leaving = True
        row = self.session.row
        self.around.metrics.moved(self.around.metrics.sessions, self.session.state, None)
        self.send(self.parent, SessionMovedTo(row.serial, row.gun_no, state, is_over=True))
        self.send(self.myAddress, ActorExitRequest())

    def _note(self, before: Session | None) -> None:
        counted = self.around.session_states
        known = counted.get(self.session.serial)
        self.around.metrics.moved(self.around.metrics.sessions, known, self.session.state)
        counted[self.session.serial] = self.session.state

    # --- performing -------------------------------------------------------------------------------------

    def _transmit(self, downlink: down.Downlink) -> None:
        self.send(self.parent, downlink)

    def _perform_note(self, effect: fx.Note) -> None:
        self.send(self.around.store, Save(0, effect.write))

    def _arm(self, effect: fx.Arm) -> None:
        self.arm(effect.timer, effect.after_s)

    def _disarm(self, effect: fx.Disarm) -> None:
        self.disarm(effect.timer)

    def _reply(self, effect: fx.Reply) -> None:
        waiting = self.asked.pop(effect.command_id, None)
        if waiting is not None:
            self.send(waiting, effect.outcome)

    def _tell_payments(self, effect: fx.TellPayments) -> None:
        self.send(self.around.payments, effect.message)

    def _tell_refunds(self, effect: fx.TellRefunds) -> None:
        self.send(self.around.refunds, effect.message)

    def _perform_reload(self, _: fx.Reload) -> None:
        self._reload()

    def _perform_show(self, _: fx.ShowSession | None = None) -> None:
        session = self.session
        row = session.row
        self.send(self.parent, SessionMovedTo(row.serial, row.gun_no, row.state, is_over=False))
        topic = session_topic(row.serial)
        if self.around.bus.has_subscribers(topic):
            event = session_event(session, self.clock.epoch_ms())
            self.around.bus.publish(topic, msgspec.json.encode(event))

    def _raise(self, effect: fx.Raise) -> None:
        key = (effect.kind, effect.gun_no)
        if key in self.open_alarms:
            return
        self.open_alarms.add(key)
        row, now = self.session.row, moment(self.clock.epoch_ms())
        zh, en = f"{effect.text_zh}（订单 {row.serial}）", f"{effect.text_en} (order {row.serial})"
        self._save_alarm(
            OpenAlarm(row.pile_code, effect.gun_no, effect.kind, effect.severity, zh, en, now),
            AlarmChanged(
                row.pile_code, effect.gun_no, effect.kind, effect.severity.value, True, f"{zh} / {en}", now
            ),
        )
        log.warning(
            "alarm", pile=row.pile_code, gun=effect.gun_no, session=row.serial, alarm=effect.kind, text=en
        )

    def _clear(self, effect: fx.Clear) -> None:
        row, now = self.session.row, moment(self.clock.epoch_ms())
        if (effect.kind, effect.gun_no) not in self.open_alarms:
            return
        self.open_alarms.discard((effect.kind, effect.gun_no))
        self._save_alarm(
            CloseAlarm(row.pile_code, effect.gun_no, effect.kind, now),
            AlarmChanged(row.pile_code, effect.gun_no, effect.kind, "info", False, "", now),
        )

    def _save_alarm(self, write: OpenAlarm | CloseAlarm, event: AlarmChanged) -> None:
        self.send(self.around.store, Save(0, write))
        self.around.recent.append(event)
        if self.around.bus.has_subscribers(ALARM_TOPIC):
            self.around.bus.publish(ALARM_TOPIC, msgspec.json.encode(event))

    # --- looking inside ---------------------------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """Everything about the charge, for people."""
        return self._describe()

    def _describe(self) -> dict[str, Any]:
        data = describe(self.session, self.clock.epoch_ms())
        data["transitions"] = self.transitions.rows()
        data["pending_writes"] = [type(entry.write).__name__ for entry in self.held]
        data["waiting_commands"] = len(self.asked)
        return data


def _deadlines(row: Any) -> list[tuple[str, Any]]:
    """The timers of a state, from what is durable."""
    state = row.state
    if state is SessionState.CREATED:
        return [("pay", moment(round((row.requested_at.timestamp() + PAY_WITHIN_S) * 1000)))]
    if state is SessionState.FUNDED:
        began = row.funded_at or row.requested_at
        return [("start_by", moment(round((began.timestamp() + START_WITHIN_S) * 1000)))]
    if row.deadline_at is not None and row.deadline_kind in _TIMERS:
        return [(row.deadline_kind, row.deadline_at)]
    return []


_PERFORM: Final[dict[type, Any]] = {
    fx.Note: SessionActor._perform_note,
    fx.Arm: SessionActor._arm,
    fx.Disarm: SessionActor._disarm,
    fx.Reply: SessionActor._reply,
    fx.Raise: SessionActor._raise,
    fx.Clear: SessionActor._clear,
    fx.ShowSession: SessionActor._perform_show,
    fx.TellPayments: SessionActor._tell_payments,
    fx.TellRefunds: SessionActor._tell_refunds,
    fx.Reload: SessionActor._perform_reload,
    down.RemoteStart: SessionActor._transmit,
    down.RemoteStop: SessionActor._transmit,
    down.ReadTelemetry: SessionActor._transmit,
}
"""How each effect is performed; a downlink goes to the pile's actor, which has the connection."""
