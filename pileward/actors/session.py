"""The actor of one charge: a thin shell that feeds `session_machine.step` and performs its effects.

A child of its pile's actor, which hands it what the pile says and sends what it wants sent. What must be
durable first is held back until the store has committed it, in order. When a handler fails, or the row turns
out to be elsewhere, it begins again from the row; it exits when the charge is over.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace
from thespian.actors import ActorExitRequest

from pileward.actors import effects as fx
from pileward.actors.pile_state import PileStatus
from pileward.actors.session_machine import EVENTS, is_decided, step
from pileward.actors.session_order import refused
from pileward.actors.session_settle import is_undone
from pileward.actors.session_state import (
    AGAIN_MAX_S,
    PAY_WITHIN_S,
    START_WITHIN_S,
    AnswerDue,
    AskFor,
    CancelAsked,
    ChargingDue,
    DecisionAsked,
    FundedBy,
    LastLookDue,
    LiveDue,
    PayDue,
    PaymentClosed,
    PileBack,
    ProvisionalDue,
    RecordArrived,
    RecordDue,
    RefundMovedOn,
    Resumed,
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
from pileward.messages.charging import OVER, OpenSession, SessionRow, SessionState
from pileward.messages.commands import Outcome
from pileward.ports import session_topic
from pileward.services.records import RecordResult, RecordState
from pileward.values import ResultStatus, Severity

PENDING_WRITES_MAX: Final = 16
"""Writes of one session that may wait for the store."""
LATE_S: Final = 1.0
"""A deadline that passed while nobody ran fires this soon after a start."""
AGAIN_S: Final = 5.0
"""Before what the store has refused is tried again; twice as long each time, up to `AGAIN_MAX_S`."""
LEAVE_S: Final = 60.0
"""A session that is over and was not let go by its pile's actor says so again after this time."""

log = logger(__name__)

_TIMERS: Final[dict[str, type]] = {
    "pay": PayDue,
    "start_by": StartByDue,
    "answer": AnswerDue,
    "charging": ChargingDue,
    "last_look": LastLookDue,
    "live": LiveDue,
    "stop": StopDue,
    "stop_watch": StopWatchDue,
    "record": RecordDue,
    "provisional": ProvisionalDue,
}
_EVENTS: Final = frozenset(EVENTS)
_AT_ONCE: Final = frozenset((fx.Arm, fx.Disarm, fx.Note, down.RemoteStop, down.ReadTelemetry))
"""Never held back by a write: timers, what nobody waits for, and a stop, which is always safe."""

STUCK: Final = "session_stuck"
_BUSY: Final = Outcome(ResultStatus.REJECTED, "store_busy", "系统繁忙，请重试 / busy: try again")
_MOVED: Final = Outcome(
    ResultStatus.REJECTED, "order_moved", "订单状态已变化，请刷新 / the order has moved on: look again"
)
_FAILED: Final = Outcome(ResultStatus.FAILED, "failed", "系统出错，请重试 / something failed: try again")


class SessionStart(msgspec.Struct, frozen=True):
    """Start argument of a session actor."""

    opened: OpenSession
    around: Any
    pile: Any
    """Address of the pile's actor."""
    spending: Spending
    asked: dict[int, Any]
    """Who waits for an answer, by command id; outlives a failed instance, so that nobody waits in vain."""


class Held(NamedTuple):
    """A write on its way to the store, and the effects behind it."""

    ticket: int
    write: Any
    effects: list[Any]


class Shown(fx.Effect, frozen=True):
    """How the order stands after a step: what is told of it is what was stored, not what came since."""

    session: Session


class SessionActor(Supervised):
    """One charge; performs what its table says."""

    mailbox_limit = 1_024

    def __init__(self, requirements: SessionStart) -> None:
        self.around: Surroundings = requirements.around
        self.parent = requirements.pile
        self.spending = requirements.spending
        self.opened = requirements.opened
        self.asked = requirements.asked
        self.session: Session = new_session(
            self.opened.row, is_pile_online=False, spending=requirements.spending
        )
        self.told: SessionState | None = None
        """The state that the pile's actor was told last."""
        self.waiting_record_id: int | None = None
        """A record that was stored and not settled when this actor began."""
        self.transitions = SessionTransitions()
        self.held: deque[Held] = deque()
        self.due: dict[str, float] = {}
        """When each timer is due, clock seconds."""
        self.refusals = 0
        """Writes that the store has refused since it took one."""
        self.is_loading = False
        self.is_leaving = False

    # --- beginning --------------------------------------------------------------------------------------

    def started(self, restarted: bool) -> None:
        """Begin from the row that came along, or after a failure from the row as it is now."""
        if restarted:
            self._answer_all(_FAILED)
            self._reload()
        else:
            self._begin(self.opened)

    def _reload(self) -> None:
        self.is_loading = True
        self.only(SessionLoaded)
        self.send(self.around.store, LoadSession(self.session.serial))

    def _loaded(self, message: SessionLoaded) -> None:
        self.is_loading = False
        self.only()
        self.held.clear()
        for name in tuple(self.due):
            self._disarm(fx.Disarm(name))
        if message.opened is None:
            row = replace(self.session.row, state=SessionState.CLOSED)
            self.session = replace(self.session, row=row)
            self._note(None)
            self._leave()
        else:
            self._begin(message.opened)

    def _begin(self, opened: OpenSession) -> None:
        """Arm what the state waits for, what is past due at once; then take up what was under way."""
        row = opened.row
        seen = self.around.seen.get(row.pile_code)
        is_online = seen is not None and seen.status is PileStatus.ONLINE
        self.session = new_session(row, is_pile_online=is_online, spending=self.spending)
        self._note(None)
        if row.state in OVER:
            self._leave()
            return
        now = self.clock.utc()
        patience_s = min(AGAIN_S * 2 ** (self.refusals - 1), AGAIN_MAX_S) if self.refusals else 0.0
        for name, due in _deadlines(row):
            self._arm(fx.Arm(name, max((due - now).total_seconds(), LATE_S, patience_s)))
        self.told = None
        self._show(Shown(self.session))
        self.waiting_record_id = opened.waiting_record_id
        if self.refusals:
            self._arm(fx.Arm("again", patience_s))
        else:
            self._resume()

    def _resume(self) -> None:
        number, self.waiting_record_id = self.waiting_record_id, None
        if number is not None:
            self._step(RecordArrived(None, RecordResult(RecordState.STORED, number, number)))
        else:
            self._step(Resumed())

    # --- what comes in ----------------------------------------------------------------------------------

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        kind = type(message)
        if kind in _EVENTS:
            if kind is PileBack:
                self.told = None  # its actor may have begun again meanwhile
            self._step(message)
        elif kind is TimerFired:
            self._timer(message.name)
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
        elif kind is ActorExitRequest:
            self._forget()

    def _timer(self, name: str) -> None:
        self.due.pop(name, None)
        if name == "again":
            self._resume()
        elif name == "leave":
            self._leave()
        else:
            self._step(_TIMERS[name]())

    def _asked(self, message: AskFor) -> None:
        command, sender = message.command, message.sender
        if isinstance(command, ask.DescribeSession):
            self.send(sender, ask.SessionDescription(self._describe()))
            return
        owner = getattr(command, "driver_id", None)
        if owner is not None and owner != self.session.row.driver_id:
            self.send(sender, refused("not_yours"))
            return
        number = next(self.around.numbers)
        self.asked[number] = sender
        match command:
            case ask.StartSession():
                self._step(StartAsked(number, message.refusal))
            case ask.StopSession(reason=reason):
                self._step(StopAsked(number, reason))
            case ask.CancelOrder():
                self._step(CancelAsked(number))
            case ask.DecideSession(decision=decision, actor=actor, note=note):
                self._step(DecisionAsked(number, decision, actor, note))

    # --- the step and its effects -----------------------------------------------------------------------

    def _step(self, event: Any) -> None:
        before = self.session
        now = self.clock.epoch_ms()
        after, effects = step(before, event, now)
        self.session = after
        if after.state is not before.state:
            self.transitions.add(now, 0, type(event), before.state, after.state)
            self._note(type(event))
        elif after is before and not effects and not is_decided(before.state, type(event)):
            self.around.metrics.misplaced[f"{type(event).__name__} in session {before.state.word}"] += 1
        for effect in effects:
            self._take(effect)
        if after.state in OVER and not (self.held or self.is_loading or self.is_leaving):
            self._leave()

    def _take(self, effect: Any) -> None:
        """Perform an effect, or put it behind the write it waits for."""
        kind = type(effect)
        if kind is fx.ShowSession:
            effect, kind = Shown(self.session), Shown
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
        if is_undone(message.result):
            # nobody is told of what has not happened; the step below begins again from the row
            self.refusals += 1
            log.warning("session_elsewhere", session=self.session.serial, write=type(done.write).__name__)
            self.held.clear()
            self._answer_all(_MOVED)
        else:
            if self.refusals:
                self.refusals = 0
                self._clear(fx.Clear(STUCK, self.session.row.gun_no))
            for effect in done.effects:
                _PERFORM[type(effect)](self, effect)
        self._step(Written(done.write, message.result))

    def _refused(self, message: Refused) -> None:
        """What was not stored has not happened: begin again from the row, and say so to whoever waits."""
        if not any(entry.ticket == message.ticket for entry in self.held):
            return
        self.refusals += 1
        log.warning(
            "session_write_refused",
            session=self.session.serial,
            reason=message.reason,
            busy=message.is_pressure,
        )
        if not message.is_pressure:
            zh, en = f"订单无法继续：{message.reason}", f"an order cannot go on: {message.reason}"
            self._raise(fx.Raise(STUCK, Severity.FAULT, zh[:200], en[:200], self.session.row.gun_no))
        self._answer_all(_BUSY)
        self._reload()

    def _answer_all(self, outcome: Outcome) -> None:
        for sender in self.asked.values():
            self.send(sender, outcome)
        self.asked.clear()

    def _leave(self) -> None:
        """The charge is over: the pile's actor forgets it and lets this actor exit; until then it says so."""
        row = self.session.row
        self.is_leaving = True
        self._forget()
        self.send(self.parent, SessionMovedTo(row.serial, row.gun_no, row.state, is_over=True))
        self._arm(fx.Arm("leave", LEAVE_S))

    def _note(self, event: type | None) -> None:
        """Count the state, and leave a line of how the order came to it."""
        row = self.session.row
        if self.is_leaving:
            return
        counted = self.around.session_states
        self.around.metrics.moved(self.around.metrics.sessions, counted.get(row.serial), row.state)
        counted[row.serial] = row.state
        if event is not None:
            log.info(
                "session",
                session=row.serial,
                pile=row.pile_code,
                gun=row.gun_no,
                state=row.state.word,
                event_kind=event.__name__,
                detail=self.session.detail,
            )

    def _forget(self) -> None:
        """Count the order no more."""
        known = self.around.session_states.pop(self.session.serial, None)
        if known is not None:
            self.around.metrics.moved(self.around.metrics.sessions, known, None)

    # --- performing -------------------------------------------------------------------------------------

    def _transmit(self, downlink: down.Downlink) -> None:
        self.send(self.parent, downlink)

    def _transmit_start(self, downlink: down.RemoteStart) -> None:
        """A start that was given up while the store was away is never sent."""
        if self.session.state is SessionState.STARTING and not self.session.is_giving_up:
            self.send(self.parent, downlink)
        else:
            log.warning("start_not_sent", session=self.session.serial, state=self.session.state.word)

    def _perform_note(self, effect: fx.Note) -> None:
        self.send(self.around.store, Save(0, effect.write))

    def _arm(self, effect: fx.Arm) -> None:
        self.due[effect.timer] = self.clock.monotonic() + effect.after_s
        self.arm(effect.timer, effect.after_s)

    def _disarm(self, effect: fx.Disarm) -> None:
        if self.due.pop(effect.timer, None) is not None:
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

    def _show(self, effect: Shown) -> None:
        session, row = effect.session, effect.session.row
        if row.state is not self.told:
            self.told = row.state
            self.send(self.parent, SessionMovedTo(row.serial, row.gun_no, row.state, is_over=False))
        topic = session_topic(row.serial)
        if self.around.bus.has_subscribers(topic):
            event = session_event(session, self.clock.epoch_ms())
            self.around.bus.publish(topic, msgspec.json.encode(event))

    def _raise(self, effect: fx.Raise) -> None:
        """The pile's actor keeps the alarms of its guns; this one says which order it is about."""
        serial = self.session.serial
        zh, en = f"{effect.text_zh}（订单 {serial}）", f"{effect.text_en} (order {serial})"
        self.send(self.parent, replace(effect, text_zh=zh, text_en=en))

    def _clear(self, effect: fx.Clear) -> None:
        self.send(self.parent, effect)

    # --- looking inside ---------------------------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """Everything about the charge, for people."""
        return self._describe()

    def _describe(self) -> dict[str, Any]:
        data = describe(self.session, self.clock.epoch_ms())
        now = self.clock.monotonic()
        if self.held and self.told is not None:
            data["state"] = self.told.word  # the next one is not durable yet
        data["transitions"] = self.transitions.rows()
        data["timers"] = [
            {"name": name, "due_in_s": round(due - now, 1)}
            for name, due in sorted(self.due.items(), key=lambda item: item[1])
        ]
        data["pending_writes"] = [type(entry.write).__name__ for entry in self.held]
        data["refused_writes"] = self.refusals
        data["waiting_commands"] = len(self.asked)
        return data


def _deadlines(row: SessionRow) -> list[tuple[str, Any]]:
    """The timers of a state, from what is durable."""
    if row.state is SessionState.CREATED:
        return [("pay", row.requested_at + timedelta(seconds=PAY_WITHIN_S))]
    if row.state is SessionState.FUNDED:
        return [("start_by", (row.funded_at or row.requested_at) + timedelta(seconds=START_WITHIN_S))]
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
    Shown: SessionActor._show,
    fx.TellPayments: SessionActor._tell_payments,
    fx.TellRefunds: SessionActor._tell_refunds,
    fx.Reload: SessionActor._perform_reload,
    down.RemoteStart: SessionActor._transmit_start,
    down.RemoteStop: SessionActor._transmit,
    down.ReadTelemetry: SessionActor._transmit,
}
"""How each effect is performed; a downlink goes to the pile's actor, which has the connection."""
