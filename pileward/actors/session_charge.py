"""Actions of the session machine while energy flows: metering, limits, stopping, losing the pile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from pileward.actors.effects import (
    Arm,
    Clear,
    Disarm,
    Effects,
    Note,
    Persist,
    Raise,
    Reply,
    ShowSession,
)
from pileward.actors.session_order import ACCEPTED, cap_fen, moment
from pileward.actors.session_state import (
    LIVE_SAVE_MS,
    NOT_CHARGING,
    PROVISIONAL_AFTER_S,
    QUIET_S,
    RECORD_WITHIN_S,
    STOP_ANSWER_S,
    STOP_ATTEMPTS,
    STOP_WATCH_S,
    Session,
    StopAsked,
)
from pileward.messages.charging import LimitKind, ReviewKind, SessionState
from pileward.messages.charging_writes import KeepFact, MoveSession, OpenReview, SaveLive
from pileward.messages.downlinks import ReadTelemetry, RemoteStop
from pileward.messages.uplinks import StopAnswer, Telemetry
from pileward.services.billing import add_energy
from pileward.values import ReportedStatus, Severity, fen_half_up

S = SessionState
Step = tuple[Session, Effects]

# --- guards ---------------------------------------------------------------------------------------------


def is_own(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun reports this charge's number."""
    return event.wire_number == session.row.wire_number


def is_own_charging(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun charges under this charge's number."""
    return event.status is ReportedStatus.CHARGING and is_own(session, event)


def is_other(session: Session, event: Telemetry, *_now: int) -> bool:
    """It says nothing about this charge, neither that it runs nor that it has ended."""
    return not is_own_charging(session, event)


def is_ended(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun no longer charges under this number: it rests, is faulty, or serves another charge."""
    if event.status is ReportedStatus.CHARGING:
        return bool(event.wire_number) and not is_own(session, event)
    if event.status in (ReportedStatus.OFFLINE, ReportedStatus.UNKNOWN):
        return False
    return is_own(session, event) or not event.wire_number


def began(session: Session, event: Telemetry, *_now: int) -> bool:
    """Charging is seen: with or without an answer to the start frame, it has begun (YKC 1.6, 8.2)."""
    return is_own_charging(session, event)


def began_too_late(session: Session, event: Telemetry, *_now: int) -> bool:
    """Charging is seen when the start was already being taken back."""
    return session.is_giving_up and is_own_charging(session, event)


def is_at_limit(session: Session, event: Telemetry, now: int) -> bool:
    """Money, energy or time is used up, or will be before the next report."""
    return bool(limit_reached(metered(session, event, now), event, now))


def wants_stop(session: Session, _: Any, *_now: int) -> bool:
    """It should end, and has not: the stop was lost, or asked for while the pile was away."""
    return session.wants_stop


def is_own_and_unwanted(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun charges under this number though it should have ended."""
    return session.wants_stop and is_own_charging(session, event)


def is_own_and_provisional(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun still charges under a number that was billed without its record."""
    return session.row.is_provisional and is_own_charging(session, event)


def is_quiet(session: Session, _: Any, now: int) -> bool:
    """Nothing was heard of the gun for several reports, though its pile is online."""
    return session.is_pile_online and now - session.telemetry_ms >= QUIET_S * 1000


def is_stopped(_: Session, event: StopAnswer, *_now: int) -> bool:
    """0x35 says that it stops."""
    return event.is_accepted


def was_not_charging(_: Session, event: StopAnswer, *_now: int) -> bool:
    """0x35 says that there was nothing to stop: a record is still to be expected."""
    return event.reason == NOT_CHARGING


# --- metering -------------------------------------------------------------------------------------------


def metered(session: Session, event: Telemetry, now: int) -> Session:
    """Take the live values; the energy since the last ones is spread over the rates of that time.

    Energy never goes down within a charge: a smaller value is an old or damaged one and is left out.
    """
    energy, amount, row, at = event.energy_e4_kwh, event.amount_e4_yuan, session.row, moment(now)
    if energy is not None and energy > row.energy_e4_kwh:
        since = row.live_at or row.started_at or at
        rates = add_energy(row.tariff, row.rate_energy_e4_kwh, energy, since, at)
        row = replace(row, energy_e4_kwh=energy, rate_energy_e4_kwh=rates)
    if amount is not None and amount > row.live_amount_e4_yuan:
        row = replace(row, live_amount_e4_yuan=amount)
    soc = event.soc_pct if event.soc_pct is not None else row.soc_pct
    row = replace(row, soc_pct=soc, live_at=at)
    return replace(session, row=row, telemetry=event, telemetry_ms=now, is_pile_online=True)


def limit_reached(session: Session, event: Telemetry, now: int) -> str:
    """Which limit ends the charge now: a stop reason, or "" for none."""
    row, limit = session.row, session.row.limit
    if limit.kind is LimitKind.ENERGY and limit.value and row.energy_e4_kwh >= limit.value:
        return "energy_limit"
    if limit.kind is LimitKind.TIME and limit.value and _charged_s(session, event, now) >= limit.value:
        return "time_limit"
    own = fen_half_up(session.amount_e9_yuan)
    by_pile = -(-row.live_amount_e4_yuan // 100)
    ahead = fen_half_up(_energy_ahead_e4_kwh(session, event) * _dearest(session))
    if max(own, by_pile) + ahead + session.spending.margin_fen >= cap_fen(session):
        return "cost_limit"
    return ""


def _charged_s(session: Session, event: Telemetry, now: int) -> float:
    """How long it charges: as the pile says, else since it was first seen."""
    if event.charged_s is not None:
        return event.charged_s
    began = session.row.started_at
    return (moment(now) - began).total_seconds() if began is not None else 0.0


def _energy_ahead_e4_kwh(session: Session, event: Telemetry) -> int:
    """What flows until the next report at the present power: W x s / 3,600,000 kWh."""
    if event.voltage_mv is None or event.current_ma is None:
        return 0
    power_w = event.voltage_mv * abs(event.current_ma) // 1_000_000
    return power_w * session.spending.report_s // 360


def _dearest(session: Session) -> int:
    """The dearest price of the tariff, 1e-5 yuan/kWh: a change of period may come before the next report."""
    return max(price.total_e5_yuan for price in session.row.tariff.prices)


def meter(session: Session, event: Telemetry, now: int) -> Step:
    """Show live values, and make them durable now and then."""
    session = metered(session, event, now)
    if now - session.saved_ms < LIVE_SAVE_MS:
        return session, (ShowSession(),)
    return replace(session, saved_ms=now), (Note(_live(session, now)), ShowSession())


def _live(session: Session, now: int) -> SaveLive:
    row = session.row
    return SaveLive(
        session.serial,
        moment(now),
        row.energy_e4_kwh,
        row.live_amount_e4_yuan,
        row.soc_pct,
        row.rate_energy_e4_kwh,
    )


def ask_quiet(session: Session, _: Any, __: int) -> Step:
    """The gun should have said something: ask it."""
    row = session.row
    return session, (ReadTelemetry(row.pile_code, None, row.gun_no), Arm("live", QUIET_S))


def listen_on(session: Session, _: Any, now: int) -> Step:
    """Something was heard meanwhile, or the pile is away: look again when the gun could have become quiet."""
    heard_s = (now - session.telemetry_ms) / 1000
    return session, (Arm("live", max(QUIET_S - heard_s, 1.0) if session.is_pile_online else QUIET_S),)


def keep_fact(session: Session, event: Any, now: int) -> Step:
    """Keep what the vehicle says: once for the order, the last values for who looks inside."""
    kind = type(event).__name__
    data = {
        name: value
        for name, value in msgspec.to_builtins(event).items()
        if name not in ("pile_code", "wire_seq", "wire_number", "gun_no")
    }
    is_first = all(known != kind for known, _ in session.facts)
    facts = (*((known, old) for known, old in session.facts if known != kind), (kind, data))
    session = replace(session, facts=facts)
    if kind in ("BmsDemand", "BmsInfo") and not is_first:
        return session, ()  # said every 15 s: the first stays durable, the last is shown
    return session, (Note(KeepFact(session.serial, kind, data, moment(now))),)


# --- beginning ------------------------------------------------------------------------------------------


def begin(session: Session, event: Telemetry, now: int) -> Step:
    """Charging is seen: from here on money is used."""
    session = metered(replace(session, detail="", is_accepted=True), event, now)
    session, write = _moved(session, frozenset((S.STARTING,)), S.CHARGING, now, started_at=moment(now))
    return session, (Persist(write), *_start_timers_off(), Arm("live", QUIET_S), ShowSession())


def begin_and_stop(session: Session, event: Telemetry, now: int) -> Step:
    """It began when the start was being taken back: what it uses until it stops is billed."""
    session = metered(replace(session, detail="stopping", is_accepted=True, is_giving_up=False), event, now)
    session, write = _moved(
        session,
        frozenset((S.STARTING,)),
        S.STOPPING,
        now,
        started_at=moment(now),
        stop_reason="remote",
        start_failure="",
    )
    session, stopping = _send_stop(replace(session, stop_attempts=0))
    return session, (Persist(write), *_start_timers_off(), *stopping, ShowSession())


def _start_timers_off() -> Effects:
    return tuple(Disarm(name) for name in ("answer", "charging", "last_look"))


# --- stopping -------------------------------------------------------------------------------------------


def stop(session: Session, event: StopAsked, now: int) -> Step:
    """Somebody wants it to end."""
    session, effects = _stop(session, _reason(event), now)
    return session, (*effects, Reply(event.command_id, ACCEPTED))


def stop_at_limit(session: Session, event: Telemetry, now: int) -> Step:
    """The money, energy or time is used up."""
    session = metered(session, event, now)
    session, effects = _stop(session, limit_reached(session, event, now), now)
    return session, (*effects, Note(_live(session, now)))


def stop_again(session: Session, _: Any, now: int) -> Step:
    """No answer to the stop: say it again, three times in all, then tell a person and keep watching."""
    if session.stop_attempts < STOP_ATTEMPTS:
        return _send_stop(session)
    return session, (*_stop_failed(session, now), Arm("stop_watch", STOP_WATCH_S))


def stop_harder(session: Session, _: Any, now: int) -> Step:
    """It still charges a minute after it was told to stop: tell it again, and somebody."""
    session, effects = _send_stop(replace(session, stop_attempts=0))
    return session, (*effects, *_stop_failed(session, now))


def stop_anew(session: Session, _: Any, __: int) -> Step:
    """The actor began again while a stop was under way: nobody knows whether it was heard."""
    row = session.row
    session, effects = _send_stop(replace(session, stop_attempts=0))
    return session, (ReadTelemetry(row.pile_code, None, row.gun_no), *effects)


def watch_stop(session: Session, _: Any, __: int) -> Step:
    """The pile says that it stops: its end and its record follow."""
    return session, (Disarm("stop"), Arm("stop_watch", STOP_WATCH_S))


def stop_later(session: Session, event: StopAsked, now: int) -> Step:
    """The pile is away, or has only just come back: it is stopped as soon as it says that it charges."""
    reply = Reply(event.command_id, ACCEPTED)
    if session.wants_stop:
        return session, (reply,)
    only_here = frozenset((S.INTERRUPTED,))
    session, write = _moved(session, only_here, S.INTERRUPTED, now, stop_reason=_reason(event))
    return session, (Persist(write), reply, ShowSession())


def stop_runaway(session: Session, _: Any, __: int) -> Step:
    """It charges although its order is over: at the operator's loss (YKC 1.6, 8.2)."""
    row = session.row
    zh, en = "订单已结束，但桩仍在充电", "the gun charges though its order is over"
    return session, (
        RemoteStop(row.pile_code, None, row.gun_no, row.wire_number),
        Raise("charging_after_end", Severity.FAULT, zh, en, row.gun_no),
    )


def _reason(event: StopAsked) -> str:
    return "remote" if event.reason == "user" else event.reason[:40]


def _stop(session: Session, reason: str, now: int) -> Step:
    session, write = _moved(
        replace(session, detail="stopping", stop_attempts=0),
        frozenset((S.CHARGING,)),
        S.STOPPING,
        now,
        stop_reason=reason,
    )
    session, effects = _send_stop(session)
    return session, (Persist(write), *effects, ShowSession())


def _send_stop(session: Session) -> Step:
    row = session.row
    frame = RemoteStop(row.pile_code, None, row.gun_no, row.wire_number)
    return replace(session, stop_attempts=session.stop_attempts + 1), (frame, Arm("stop", STOP_ANSWER_S))


def _stop_failed(session: Session, now: int) -> Effects:
    """A fault in the field: an alarm now, and somebody's work until it is looked at."""
    row = session.row
    zh, en = "停止充电指令未生效", "the charge does not stop"
    reason = f"{row.pile_code}/{row.gun_no} does not stop"
    review = OpenReview(
        ReviewKind.STOP_FAILED, reason, moment(now), serial=row.serial, operator_id=row.operator_id
    )
    return (Raise("stop_failed", Severity.FAULT, zh, en, row.gun_no), Note(review))


# --- ended, lost, back ----------------------------------------------------------------------------------


def await_record(session: Session, event: Any, now: int) -> Step:
    """The gun charges no more: its record follows within half a minute (YKC 1.6, 8.6)."""
    if isinstance(event, Telemetry) and is_own(session, event):
        session = metered(session, event, now)
    before = frozenset((S.CHARGING, S.STOPPING, S.INTERRUPTED))
    session, write = _moved(
        replace(session, detail="awaiting_record"),
        before,
        S.AWAITING_RECORD,
        now,
        ended_at=moment(now),
        deadline_at=moment(now) + timedelta(seconds=PROVISIONAL_AFTER_S),
        deadline_kind="provisional",
    )
    return session, (
        Persist(write),
        Note(_live(session, now)),
        *_CHARGE_TIMERS_OFF,
        Arm("record", RECORD_WITHIN_S),
        Arm("provisional", PROVISIONAL_AFTER_S),
        Clear("stop_failed", session.row.gun_no),
        ShowSession(),
    )


def interrupt(session: Session, _: Any, now: int) -> Step:
    """The pile is lost, the charge goes on: nothing is closed before its record has come (YKC 1.6, 8.7)."""
    session, write = _moved(
        replace(session, is_pile_online=False, detail="pile_lost"),
        frozenset((S.CHARGING, S.STOPPING)),
        S.INTERRUPTED,
        now,
        deadline_at=moment(now) + timedelta(seconds=PROVISIONAL_AFTER_S),
        deadline_kind="provisional",
    )
    return session, (
        Persist(write),
        Note(_live(session, now)),
        *_CHARGE_TIMERS_OFF,
        Arm("provisional", PROVISIONAL_AFTER_S),
        ShowSession(),
    )


def ask_after_return(session: Session, _: Any, __: int) -> Step:
    """The pile is back: ask how the gun stands, and compare (YKC 1.6, 8.1)."""
    row = session.row
    session = replace(session, is_pile_online=True)
    return session, (ReadTelemetry(row.pile_code, None, row.gun_no), Arm("live", QUIET_S), ShowSession())


def wait_for_record(session: Session, _: Any, __: int) -> Step:
    """The actor began again after the end of the charge: the record gets its half minute anew."""
    return session, (Arm("record", RECORD_WITHIN_S),)


def go_on(session: Session, event: Telemetry, now: int) -> Step:
    """It charges on."""
    session = metered(replace(session, detail=""), event, now)
    session, write = _moved(session, _PAUSED, S.CHARGING, now, ended_at=None)
    return session, (Persist(write), *_gone_on(session), Arm("live", QUIET_S), ShowSession())


def go_on_and_stop(session: Session, event: Telemetry, now: int) -> Step:
    """It charges on, though it should have ended."""
    session = metered(replace(session, detail="stopping", stop_attempts=0), event, now)
    session, write = _moved(session, _PAUSED, S.STOPPING, now, ended_at=None)
    session, stopping = _send_stop(session)
    return session, (Persist(write), *_gone_on(session), *stopping, ShowSession())


_PAUSED = frozenset((S.INTERRUPTED, S.AWAITING_RECORD))
_CHARGE_TIMERS_OFF: Effects = (Disarm("stop"), Disarm("stop_watch"), Disarm("live"))


def _gone_on(session: Session) -> Effects:
    return (Disarm("provisional"), Disarm("record"), Clear("record_missing", session.row.gun_no))


def _moved(
    session: Session, before: frozenset[SessionState], state: SessionState, now: int, **changes: Any
) -> tuple[Session, MoveSession]:
    """The same change in the row held here and in the write that makes it durable.

    A deadline ends with its state, here as in the database.
    """
    write = MoveSession(session.serial, before, state, moment(now), changes)
    if state is not session.state:
        changes = {"deadline_at": None, "deadline_kind": "", **changes}
    return replace(session, row=replace(session.row, **changes)), write
