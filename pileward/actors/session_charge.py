"""Actions of the session machine while energy flows: metering, limits, stopping, losing the pile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from pileward.actors.effects import Arm, Clear, Disarm, Effects, Note, Persist, Raise, Reply, ShowSession
from pileward.actors.session_order import ACCEPTED, cap_fen, moment
from pileward.actors.session_state import (
    LIVE_SAVE_MS,
    NOT_CHARGING,
    PROVISIONAL_AFTER_S,
    RECORD_WITHIN_S,
    STOP_ANSWER_S,
    STOP_ATTEMPTS,
    STOP_WATCH_S,
    Session,
    StopAsked,
)
from pileward.messages.charging import LimitKind, SessionState
from pileward.messages.charging_writes import KeepFact, MoveSession, SaveLive
from pileward.messages.downlinks import ReadTelemetry, RemoteStop
from pileward.messages.uplinks import StopAnswer, Telemetry
from pileward.values import ReportedStatus, Severity, fen_half_up

S = SessionState
Step = tuple[Session, Effects]

CHARGED = frozenset((S.STARTING, S.CHARGING, S.STOPPING, S.INTERRUPTED, S.AWAITING_RECORD))


# --- guards ---------------------------------------------------------------------------------------------


def is_own(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun reports this charge's number."""
    return event.wire_number == session.row.wire_number


def is_own_charging(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun charges under this charge's number."""
    return event.status is ReportedStatus.CHARGING and is_own(session, event)


def is_other(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun charges under another number: not this charge's business."""
    return not is_own_charging(session, event)


def is_ended(session: Session, event: Telemetry, *_now: int) -> bool:
    """The gun no longer charges: it is idle, plugged, finished or faulty under this number or none."""
    if event.status in (ReportedStatus.CHARGING, ReportedStatus.OFFLINE, ReportedStatus.UNKNOWN):
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
    return bool(limit_reached(metered(session, event, now), event))


def wants_stop(session: Session, _: Any, *_now: int) -> bool:
    """It was asked to stop while the pile was away."""
    return session.wants_stop


def is_stopped(_: Session, event: StopAnswer, *_now: int) -> bool:
    """0x35 says that it stops."""
    return event.is_accepted


def was_not_charging(_: Session, event: StopAnswer, *_now: int) -> bool:
    """0x35 says that there was nothing to stop: a record is still to be expected."""
    return event.reason == NOT_CHARGING


# --- metering -------------------------------------------------------------------------------------------


def metered(session: Session, event: Telemetry, now: int) -> Session:
    """Take the live values; the energy since the last ones belongs to the rate in force now.

    Energy never goes down within a charge: a smaller value is an old or damaged one and is left out.
    """
    energy, amount = event.energy_e4_kwh, event.amount_e4_yuan
    rates, row = session.rate_energy_e4_kwh, session.row
    if energy is not None and energy > row.energy_e4_kwh:
        rate = row.tariff.rate_at(moment(now))
        added = energy - row.energy_e4_kwh
        one, two, three, four = (value + (added if place == rate else 0) for place, value in enumerate(rates))
        rates = (one, two, three, four)
        row = replace(row, energy_e4_kwh=energy)
    if amount is not None and amount > row.live_amount_e4_yuan:
        row = replace(row, live_amount_e4_yuan=amount)
    soc = event.soc_pct if event.soc_pct is not None else row.soc_pct
    row = replace(row, soc_pct=soc, live_at=moment(now))
    return replace(
        session, row=row, rate_energy_e4_kwh=rates, telemetry=event, telemetry_ms=now, is_pile_online=True
    )


def limit_reached(session: Session, event: Telemetry) -> str:
    """Which limit ends the charge now: a stop reason, or "" for none."""
    row, limit = session.row, session.row.limit
    if limit.kind is LimitKind.ENERGY and limit.value and row.energy_e4_kwh >= limit.value:
        return "energy_limit"
    if limit.kind is LimitKind.TIME and limit.value and (event.charged_s or 0) >= limit.value:
        return "time_limit"
    own = fen_half_up(session.amount_e9_yuan)
    by_pile = -(-row.live_amount_e4_yuan // 100)
    ahead = fen_half_up(_energy_ahead_e4_kwh(session, event) * _dearest_now(session))
    if max(own, by_pile) + ahead + session.spending.margin_fen >= cap_fen(session):
        return "cost_limit"
    return ""


def _energy_ahead_e4_kwh(session: Session, event: Telemetry) -> int:
    """What flows until the next report at the present power: W x s / 3,600,000 kWh."""
    if event.voltage_mv is None or event.current_ma is None:
        return 0
    power_w = event.voltage_mv * abs(event.current_ma) // 1_000_000
    return power_w * session.spending.report_s // 360


def _dearest_now(session: Session) -> int:
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
        session.rate_energy_e4_kwh,
    )


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
    return session, (Persist(write), *_start_timers_off(), ShowSession())


def begin_and_stop(session: Session, event: Telemetry, now: int) -> Step:
    """It began when the start was being taken back: what it uses until it stops is billed."""
    session = metered(replace(session, detail="stopping"), event, now)
    session, write = _moved(
        session, frozenset((S.STARTING,)), S.STOPPING, now, started_at=moment(now), stop_reason="remote"
    )
    session, stopping = _send_stop(session)
    return session, (Persist(write), *_start_timers_off(), *stopping, ShowSession())


def _start_timers_off() -> Effects:
    return tuple(Disarm(name) for name in ("answer", "charging", "last_look"))


# --- stopping -------------------------------------------------------------------------------------------


def stop(session: Session, event: StopAsked, now: int) -> Step:
    """Somebody wants it to end."""
    reason = "remote" if event.reason == "user" else event.reason
    session, effects = _stop(session, reason, now)
    return session, (*effects, Reply(event.command_id, ACCEPTED))


def stop_at_limit(session: Session, event: Telemetry, now: int) -> Step:
    """The money, energy or time is used up."""
    session = metered(session, event, now)
    reason = limit_reached(session, event) or "cost_limit"
    session, effects = _stop(session, reason, now)
    return session, (*effects, Note(_live(session, now)))


def stop_again(session: Session, _: Any, __: int) -> Step:
    """No answer to the stop: say it again, three times in all, then tell a person and keep watching."""
    if session.stop_attempts < STOP_ATTEMPTS:
        session, effects = _send_stop(session)
        return session, effects
    return session, (*_stop_failed(session), Arm("stop_watch", STOP_WATCH_S))


def stop_harder(session: Session, _: Any, __: int) -> Step:
    """It still charges a minute after it was told to stop: the driver is not billed for a deaf pile's whim
    without somebody knowing.
    """
    session, effects = _send_stop(replace(session, stop_attempts=0))
    return session, (*effects, *_stop_failed(session))


def watch_stop(session: Session, _: Any, __: int) -> Step:
    """The pile says that it stops: its end and its record follow."""
    return session, (Disarm("stop"), Arm("stop_watch", STOP_WATCH_S))


def stop_later(session: Session, event: StopAsked, _: int) -> Step:
    """The pile is away: it is stopped as soon as it is back."""
    return replace(session, wants_stop=True), (Reply(event.command_id, ACCEPTED), ShowSession())


def stop_runaway(session: Session, _: Any, __: int) -> Step:
    """It charges although the order was given up and its money is on the way back: at the operator's loss."""
    row = session.row
    zh, en = "订单已失败退款，但桩仍在充电", "the gun charges though its order failed and is refunded"
    return session, (
        RemoteStop(row.pile_code, None, row.gun_no, row.wire_number),
        Raise("charging_after_failure", Severity.FAULT, zh, en, row.gun_no),
    )


def _stop(session: Session, reason: str, now: int) -> Step:
    session, write = _moved(
        replace(session, detail="stopping"), frozenset((S.CHARGING,)), S.STOPPING, now, stop_reason=reason
    )
    session, effects = _send_stop(session)
    return session, (Persist(write), *effects, ShowSession())


def _send_stop(session: Session) -> Step:
    row = session.row
    frame = RemoteStop(row.pile_code, None, row.gun_no, row.wire_number)
    return replace(session, stop_attempts=session.stop_attempts + 1), (frame, Arm("stop", STOP_ANSWER_S))


def _stop_failed(session: Session) -> Effects:
    zh, en = "停止充电指令未生效", "the charge does not stop"
    return (Raise("stop_failed", Severity.FAULT, zh, en, session.row.gun_no),)


# --- ended, lost, back ----------------------------------------------------------------------------------


def await_record(session: Session, event: Any, now: int) -> Step:
    """The gun charges no more: its record follows within half a minute (YKC 1.6, 8.6)."""
    if isinstance(event, Telemetry) and event.wire_number:
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
        Disarm("stop"),
        Disarm("stop_watch"),
        Arm("record", RECORD_WITHIN_S),
        Arm("provisional", PROVISIONAL_AFTER_S),
        Clear("stop_failed", session.row.gun_no),
        ShowSession(),
    )


def interrupt(session: Session, _: Any, now: int) -> Step:
    """The pile is lost, the charge goes on: nothing is closed before its record has come (YKC 1.6, 8.7)."""
    is_stopping = session.state is S.STOPPING
    session, write = _moved(
        replace(session, is_pile_online=False, detail="pile_lost", wants_stop=is_stopping),
        frozenset((S.CHARGING, S.STOPPING)),
        S.INTERRUPTED,
        now,
        deadline_at=moment(now) + timedelta(seconds=PROVISIONAL_AFTER_S),
        deadline_kind="provisional",
    )
    return session, (
        Persist(write),
        Note(_live(session, now)),
        Disarm("stop"),
        Disarm("stop_watch"),
        Arm("provisional", PROVISIONAL_AFTER_S),
        ShowSession(),
    )


def ask_after_return(session: Session, _: Any, __: int) -> Step:
    """The pile is back: ask how the gun stands, and compare (YKC 1.6, 8.1)."""
    row = session.row
    session = replace(session, is_pile_online=True)
    return session, (ReadTelemetry(row.pile_code, None, row.gun_no), ShowSession())


def go_on(session: Session, event: Telemetry, now: int) -> Step:
    """It charges on."""
    session = metered(replace(session, detail=""), event, now)
    before = frozenset((S.INTERRUPTED, S.AWAITING_RECORD))
    session, write = _moved(session, before, S.CHARGING, now, deadline_at=None, deadline_kind="")
    return session, (
        Persist(write),
        Disarm("provisional"),
        Disarm("record"),
        Clear("record_missing", session.row.gun_no),
        ShowSession(),
    )


def go_on_and_stop(session: Session, event: Telemetry, now: int) -> Step:
    """It charges on, and was asked to stop meanwhile."""
    session = metered(replace(session, detail="stopping", wants_stop=False, stop_attempts=0), event, now)
    session, write = _moved(
        session,
        frozenset((S.INTERRUPTED,)),
        S.STOPPING,
        now,
        stop_reason=session.row.stop_reason or "remote",
        deadline_at=None,
        deadline_kind="",
    )
    session, stopping = _send_stop(session)
    return session, (Persist(write), Disarm("provisional"), *stopping, ShowSession())


def _moved(
    session: Session, before: frozenset[SessionState], state: SessionState, now: int, **changes: Any
) -> tuple[Session, MoveSession]:
    """The same change in the row held here and in the write that makes it durable."""
    write = MoveSession(session.serial, before, state, moment(now), changes)
    return replace(session, row=replace(session.row, **changes)), write
