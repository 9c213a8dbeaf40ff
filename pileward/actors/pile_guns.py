"""Actions of the pile machine that concern its guns: signs of life, telemetry, faults."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pileward.actors import pile_commands as commands
from pileward.actors import pile_tariff as tariff
from pileward.actors.effects import (
    NOTHING,
    Arm,
    Clear,
    ClearFamily,
    Count,
    Disarm,
    Effects,
    Raise,
    Sample,
    ShowGun,
)
from pileward.actors.gun_machine import BUSY, GONE, Gun, GunEvent, GunState, heard, next_state
from pileward.actors.pile_state import RECORD_WITHIN_S, Pile, RecordDue
from pileward.messages import faults
from pileward.messages.downlinks import HeartbeatAnswer, ReadTelemetry
from pileward.messages.uplinks import Heartbeat, Telemetry
from pileward.values import Severity

Step = tuple[Pile, Effects]

SAMPLE_EVERY_MS = 10_000
"""Telemetry is kept for charts at most this often a gun (charging piles report every 15 s), and on change."""
FAULT_READ_AFTER_MS = 30_000
"""A heartbeat that says fault asks for telemetry only when the last one is older than this."""

FAULT_ALARM = "fault:"
"""Alarms of hardware faults are this and the fault's code."""

ENDED = (GunState.STOPPING, GunState.FINISHED, GunState.FAULT)
"""What a charge ends in: from there on its record is waited for (YKC 1.6, 8.5 and 8.6)."""


def beat(pile: Pile, event: Heartbeat, now: int) -> Step:
    """Answer a heartbeat at once; its fault flag is only a hint to ask for telemetry (YKC 1.6, 0x03)."""
    answer = HeartbeatAnswer(pile.config.pile_code, event.wire_seq, event.gun_no)
    index = event.gun_no - 1
    if not 0 <= index < len(pile.guns):
        return pile, (answer, Count("unknown_gun"))
    gun = pile.guns[index]
    if gun.state is GunState.OFFLINE:
        pile, effects = tell(pile, event.gun_no, GunEvent.HEARD_AGAIN, now)
        return pile, (answer, *effects, ReadTelemetry(pile.code, None, event.gun_no))
    if event.is_faulty and gun.state is not GunState.FAULT and now - gun.telemetry_ms > FAULT_READ_AFTER_MS:
        return pile, (answer, ReadTelemetry(pile.code, None, event.gun_no))
    return pile, (answer,)


def measure(pile: Pile, event: Telemetry, now: int) -> Step:
    """Take state and measurements of one gun."""
    index = event.gun_no - 1
    if not 0 <= index < len(pile.guns):
        return pile, (Count("unknown_gun"),)
    before = pile.guns[index]
    word = heard(event)
    state = next_state(before.state, word)
    changed = state is not before.state
    is_sampled = changed or now - before.sampled_ms >= SAMPLE_EVERY_MS
    since_ms = now if changed else before.since_ms
    gun = Gun(event.gun_no, state, since_ms, event, now, now if is_sampled else before.sampled_ms)
    guns = pile.guns
    pile = replace(pile, guns=(*guns[:index], gun, *guns[index + 1 :]))
    effects: Effects = (ShowGun(event.gun_no), Sample(event)) if is_sampled else (ShowGun(event.gun_no),)
    old_codes = () if before.telemetry is None else before.telemetry.fault_codes
    if before.telemetry is None:
        # before the first word after a start, alarms of any fault may still be open from an earlier life
        kept = tuple(f"{FAULT_ALARM}{code}" for code in event.fault_codes)
        effects += (ClearFamily(FAULT_ALARM, event.gun_no, kept),)
    if event.fault_codes != old_codes:
        effects += _new_faults(event.gun_no, old_codes, event.fault_codes)
        effects += _ended_faults(event.gun_no, old_codes, event.fault_codes)
    if changed:
        pile, more = _entered(pile, before, gun, word, now)
        effects += more
    if pile.pending:
        pile, answered = commands.answer(pile, f"read:{event.gun_no}", is_ok=True)
        effects += answered
    return pile, effects


def tell(pile: Pile, gun_no: int, event: GunEvent, now: int) -> Step:
    """Move one gun by an event that is not a telemetry; a gun the pile does not have is counted."""
    index = gun_no - 1
    if not 0 <= index < len(pile.guns):
        return pile, (Count("unknown_gun"),)
    before = pile.guns[index]
    state = next_state(before.state, event)
    if state is before.state:
        return pile, NOTHING
    gun = replace(before, state=state, since_ms=now)
    pile = replace(pile, guns=(*pile.guns[:index], gun, *pile.guns[index + 1 :]))
    pile, effects = _entered(pile, before, gun, event, now)
    return pile, (*effects, ShowGun(gun_no))


def tell_all(pile: Pile, event: GunEvent, now: int) -> Step:
    """Move every gun by the same event."""
    effects: Effects = NOTHING
    for gun in pile.guns:
        pile, more = tell(pile, gun.gun_no, event, now)
        effects += more
    return pile, effects


def check_silence(pile: Pile, ages_s: tuple[float, ...], limit_s: float, now: int) -> Step:
    """A gun that alone is silent on a living pile goes offline, with an alarm."""
    effects: Effects = NOTHING
    for gun, age_s in zip(pile.guns, ages_s, strict=False):
        if age_s < limit_s or gun.state is GunState.OFFLINE:
            continue
        pile, more = tell(pile, gun.gun_no, GunEvent.FELL_SILENT, now)
        zh, en = f"{gun.gun_no} 号枪无心跳", f"gun {gun.gun_no} sends no heartbeat"
        effects += (*more, Raise("gun_silent", Severity.WARNING, zh, en, gun.gun_no))
    return pile, effects


def miss_record(pile: Pile, event: RecordDue, now: int) -> Step:
    """No record came in time after a charge ended: alarm, and show the gun as it is."""
    index = event.gun_no - 1
    if not 0 <= index < len(pile.guns):
        return pile, NOTHING
    telemetry = pile.guns[index].telemetry
    is_plugged = telemetry is not None and telemetry.is_plugged
    word = GunEvent.RECORD_OVERDUE_PLUGGED if is_plugged else GunEvent.RECORD_OVERDUE_IDLE
    pile, effects = tell(pile, event.gun_no, word, now)
    zh, en = "充电已结束，30 秒内未收到交易记录", "a charge ended and its record did not come within 30 s"
    return pile, (*effects, Raise("record_missing", Severity.FAULT, zh, en, event.gun_no))


def resize(pile: Pile) -> Step:
    """Fit the guns to a changed number of guns; with a gun that is no longer there its alarms end."""
    count = pile.config.gun_count
    if count == len(pile.guns):
        return pile, NOTHING
    effects: Effects = NOTHING
    for gone in pile.guns[count:]:
        effects += (Disarm(f"record:{gone.gun_no}"), ClearFamily("", gone.gun_no, ()))
    added = tuple(Gun(number) for number in range(len(pile.guns) + 1, count + 1))
    return replace(pile, guns=(*pile.guns[:count], *added)), effects


def _entered(pile: Pile, before: Gun, gun: Gun, event: GunEvent, now: int) -> Step:
    """What entering or leaving a state brings with it."""
    effects: tuple[Any, ...] = ()
    if before.state is GunState.CHARGING and gun.state in ENDED and event is not GunEvent.RECORD_KEPT:
        effects += (Arm(f"record:{gun.gun_no}", RECORD_WITHIN_S),)
    elif gun.state is GunState.OFFLINE or (gun.state is GunState.CHARGING and before.state in ENDED):
        effects += (Disarm(f"record:{gun.gun_no}"),)
    if before.state is GunState.OFFLINE:
        effects += (Clear("gun_silent", gun.gun_no),)
    if before.state in BUSY and gun.state not in BUSY and gun.state not in GONE and not pile.is_busy:
        pile, pushed = tariff.check_wanted(pile, now)
        effects += pushed
    return pile, effects


def _new_faults(gun_no: int, before: tuple[str, ...], now: tuple[str, ...]) -> Effects:
    return tuple(
        Raise(f"{FAULT_ALARM}{code}", Severity.FAULT, *faults.texts(code), gun_no)
        for code in now
        if code not in before
    )


def _ended_faults(gun_no: int, before: tuple[str, ...], now: tuple[str, ...]) -> Effects:
    return tuple(Clear(f"{FAULT_ALARM}{code}", gun_no) for code in before if code not in now)
