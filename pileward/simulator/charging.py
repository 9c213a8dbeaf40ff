"""How the guns of a pile charge: from the question to the record (YKC 1.6, APP 充电, 8.2 to 8.7).

A start is asked for, by 0x34 or at the pile; the gun waits for a car if none is there; charger and vehicle
shake hands; current flows, reported every 15 s, until something ends it; then the record is made and sent
until it is confirmed. Each gun goes through this by itself. Timers are named `gun:<what>:<gun>`;
what outlives the charge stands in `aftermath`.

What must survive is in the memory before the frame that tells of it leaves: the shell saves a memory that is
`is_dirty` before it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pileward.simulator import bms, stops
from pileward.simulator.car import Car, draw_car
from pileward.simulator.charge import NO_CARD, Charge, Stage, StartType
from pileward.simulator.dice import Dice
from pileward.simulator.gun import Gun
from pileward.simulator.habits import AC
from pileward.simulator.orders import Phase
from pileward.simulator.quirks import SURPRISES, Quirk
from pileward.simulator.stops import Stop

if TYPE_CHECKING:
    from pileward.simulator.pile import SimPile

DEVICE_MISMATCH: Final = 1
ALREADY_CHARGING: Final = 2
DEVICE_FAULT: Final = 3
DEVICE_OFFLINE: Final = 4
NOT_PLUGGED: Final = 5
"""Reasons of 0x33 and 0xA3 (YKC 1.6, 7.4)."""
WAS_NOT_CHARGING: Final = 2
STOP_FAILED: Final = 3
"""Reasons of 0x35."""
SURPRISE_WITHIN_S: Final = 1_500.0
METER_MOST_E4_KWH: Final = 3_000_000_000
"""A new pile's meter stands anywhere below 300,000 kWh."""

Say = Callable[[int, int], None]
"""Answers with result and reason."""


class Asked(NamedTuple):
    """A start that is not accepted yet: it waits for a car, or for a late answer."""

    wish: Wish
    say: Say
    charge: Charge | None = None


class Wish(NamedTuple):
    """Who wants to charge, and with what money."""

    trade_no: str
    balance_fen: int
    card_no: str = NO_CARD
    start_type: StartType = StartType.APP


def start_refusal(pile: SimPile, gun: Gun | None) -> int:
    """Why a charge cannot start at this gun, as a reason of 0x33, 0 when it can.

    A pile without a tariff must not charge (YKC 1.6, 0x09).
    """
    if gun is None:
        return DEVICE_MISMATCH
    if gun.charge is not None:
        return ALREADY_CHARGING
    if not gun.is_plugged:
        return NOT_PLUGGED
    if gun.faults & stops.FAULTS_OF_AN_OFFLINE_GUN:
        return DEVICE_OFFLINE
    if gun.faults & stops.FAULTS_THAT_STOP or pile.memory.is_locked or pile.memory.tariff is None:
        return DEVICE_FAULT
    return 0


# The start.


def ask_start(pile: SimPile, gun_no: int, wish: Wish, say: Say, now: float) -> None:
    """Somebody wants to charge: begin, refuse, or wait up to 60 s for a car (YKC 1.6, 0x33)."""
    gun = pile.gun(gun_no)
    reason = start_refusal(pile, gun)
    if gun is None:
        say(0, reason)
    elif reason == NOT_PLUGGED:
        say(0, reason)
        gun.asked = Asked(wish, say)
        pile.timers.arm(timer("wait", gun), now + pile.habits.plug_wait_s)
    elif reason:
        say(0, reason)
    else:
        _draw_and_begin(pile, gun, wish, say, now)


def plug_in(pile: SimPile, gun: Gun, car: Car | None, now: float) -> None:
    """A car comes, this one or one to be drawn; whoever waits for it may begin."""
    _set_plugged(pile, gun, True)
    if car is not None:
        pile.memory.cars[gun.no] = car
    if pile.phase is not Phase.ONLINE:
        return
    pile.report(gun, now)
    if gun.asked is not None and gun.asked.charge is None:
        wish, say, _ = gun.asked
        withdraw(pile, gun)
        reason = start_refusal(pile, gun)
        if reason:
            say(0, reason)
        else:
            _draw_and_begin(pile, gun, wish, say, now)


def unplug(pile: SimPile, gun: Gun, now: float) -> None:
    """The car leaves; pulled out of a charge it ends it."""
    _set_plugged(pile, gun, False)
    if gun.charge is not None:
        end(pile, gun, stops.PULLED, now)
    elif pile.phase is Phase.ONLINE:
        pile.report(gun, now)
    pile.memory.cars.pop(gun.no, None)


def _set_plugged(pile: SimPile, gun: Gun, is_plugged: bool) -> None:
    gun.is_plugged = is_plugged
    gun.is_fates = gun.leaves_after = False
    gun.screen = ""
    pile.memory.plugged = [each.no for each in pile.guns if each.is_plugged]
    pile.is_dirty = True


def withdraw(pile: SimPile, gun: Gun) -> None:
    """Nobody waits to charge here any more."""
    gun.asked = None
    pile.timers.disarm(timer("wait", gun))
    pile.timers.disarm(timer("late", gun))


def _draw_and_begin(pile: SimPile, gun: Gun, wish: Wish, say: Say, now: float) -> None:
    charge = draw_charge(pile, gun, wish, now)
    events = pile.tally.events
    events.update(charge.quirks)
    if charge.has(Quirk.START_MUTE):
        return
    if charge.has(Quirk.START_REFUSED):
        say(0, DEVICE_FAULT)
        return
    if charge.has(Quirk.START_LATE):
        gun.asked = Asked(wish, say, charge)
        pile.timers.arm(timer("late", gun), now + _late_s(pile, charge))
        return
    _begin(pile, gun, charge, say, now)


def _begin(pile: SimPile, gun: Gun, charge: Charge, say: Say, now: float) -> None:
    if charge.has(Quirk.CHARGES_REFUSED):
        say(0, DEVICE_FAULT)
    elif not charge.has(Quirk.START_ANSWER_LOST):
        say(1, 0)
    if charge.has(Quirk.NEVER_CHARGES):
        return
    charge.at = now
    gun.charge = charge
    pile.memory.charges.append(charge)
    pile.is_dirty = True
    pile.tally.events["charge_begun"] += 1
    pile.timers.arm(timer("shake", gun), now + charge.handshake_s / 2)


def draw_charge(pile: SimPile, gun: Gun, wish: Wish, now: float) -> Charge:
    """Draw all that chance decides about the next charge of a gun, from a stream of its own."""
    memory, habits = pile.memory, pile.habits
    assert memory.tariff is not None
    number = memory.charges_begun.get(gun.no, 0)
    memory.charges_begun[gun.no] = number + 1
    pile.is_dirty = True
    dice = Dice(pile.seed, pile.code, "charge", gun.no, number)
    quirks = [quirk for quirk in Quirk if dice.happens(pile.profile.quirks.get(quirk, 0.0))]
    surprise_s = dice.between(20.0, SURPRISE_WITHIN_S)
    idle_at = 2 + dice.below(4)
    quirks += [quirk for quirk in Quirk if quirk in gun.given_quirks and quirk not in quirks]
    gun.given_quirks.clear()
    is_late = Quirk.RECORD_LATE in quirks
    return Charge(
        trade_no=wish.trade_no,
        gun_no=gun.no,
        start_type=wish.start_type,
        card_no=wish.card_no,
        balance_fen=wish.balance_fen,
        tariff=memory.tariff,
        car=car_at(pile, gun),
        cap_w=gun_power_w(pile),
        is_ac=pile.plate.pile_type == AC,
        meter_start_e4_kwh=meter_e4_kwh(pile, gun),
        asked_at=pile.clock.read(now),
        at=now,
        quirks=quirks,
        handshake_s=dice.between(habits.handshake_shortest_s, habits.handshake_longest_s),
        record_after_s=(
            dice.between(habits.late_record_shortest_s, habits.late_record_longest_s)
            if is_late
            else dice.between(habits.record_shortest_s, habits.record_longest_s)
        ),
        surprise_s=surprise_s if any(quirk in SURPRISES for quirk in quirks) else None,
        idle_at=idle_at if Quirk.IDLE_FRAMES in quirks else 0,
    )


def car_at(pile: SimPile, gun: Gun) -> Car:
    """The car at a gun; drawn when nobody has said which one it is."""
    memory = pile.memory
    car = memory.cars.get(gun.no)
    if car is None:
        visit = memory.visits.get(gun.no, 0)
        memory.visits[gun.no] = visit + 1
        car = memory.cars[gun.no] = draw_car(Dice(pile.seed, pile.code, "car", gun.no, visit))
        pile.is_dirty = True
    return car


def gun_power_w(pile: SimPile) -> int:
    """What a gun of this pile can give now, under the limit of 0x52."""
    return pile.plate.gun_power_w * pile.memory.max_power_pct // 100


def meter_e4_kwh(pile: SimPile, gun: Gun) -> int:
    """The reading of a gun's meter."""
    meters = pile.memory.meters_e4_kwh
    if gun.no not in meters:
        meters[gun.no] = Dice(pile.seed, pile.code, "meter", gun.no).below(METER_MOST_E4_KWH)
    return meters[gun.no]


def _late_s(pile: SimPile, charge: Charge) -> float:
    dice = Dice(pile.seed, pile.code, "late", charge.trade_no)
    return dice.between(pile.habits.late_shortest_s, pile.habits.late_longest_s)


# While it charges.


def _shake(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    """Half of the handshake is over: the vehicle has introduced itself, or not (YKC 1.6, 0x15, 0x17)."""
    if not charge.is_ac:
        if charge.has(Quirk.START_FAILS):
            code, flags = _handshake_failure(pile, charge)
            pile.tell(bms.error(charge, pile.code, flags))
            end(pile, gun, Stop(code), now)
            return
        pile.tell(bms.handshake(charge, pile.code))
        pile.tell(bms.parameters(charge, pile.code, pile.ways.current_sign))
    elif charge.has(Quirk.START_FAILS):
        end(pile, gun, Stop(stops.PILOT_OPEN_AT_START), now)
        return
    pile.timers.arm(timer("go", gun), now + charge.handshake_s / 2)


def _handshake_failure(pile: SimPile, charge: Charge) -> tuple[int, str]:
    return Dice(pile.seed, pile.code, "failure", charge.trade_no).pick(stops.HANDSHAKE_FAILURES)


def _go(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    """Current flows."""
    charge.stage = Stage.CHARGING
    charge.at = now
    charge.started_at = pile.clock.read(now)
    pile.tally.charging += 1
    _report(pile, gun, charge, now)
    look_later(pile, gun, charge, now)


def _report(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    """0x13, with DC also 0x23 and 0x25, every 15 s."""
    pile.timers.arm(timer("report", gun), now + pile.habits.charging_report_s)
    charge.advance(now, pile.clock)
    pile.is_dirty = True
    charge.reports += 1
    if charge.has(Quirk.SILENT) and charge.reports > 1:
        return
    if charge.idle_at and charge.idle_at <= charge.reports <= charge.idle_at + 1:
        pile.tell(gun.idle_frame(pile.code))
        return
    pile.tell(gun.real_time(pile.code))
    if not charge.is_ac:
        pile.tell(bms.demand(charge, pile.code, pile.ways.current_sign))
        pile.tell(bms.information(charge, pile.code))


def _look(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    """Something decisive may have been reached: a full battery, the end of the money, a surprise."""
    charge.advance(now, pile.clock)
    if charge.is_full:
        end(pile, gun, stops.FULL, now)
    elif charge.room_e4_kwh(pile.clock) < 1 and not charge.has(Quirk.OVERSPENDS):
        end(pile, gun, stops.spent(pile.ways.money_stop_code), now)
    elif charge.surprise_s is not None and charge.charged_s >= charge.surprise_s - 0.01:
        _surprise(pile, gun, charge, now)
    else:
        look_later(pile, gun, charge, now)


def look_later(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    """Look again when the next decisive thing can have happened."""
    pile.timers.arm(timer("look", gun), now + charge.seconds_to_look(pile.clock))


def _surprise(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    quirk = next(quirk for quirk in charge.quirks if quirk in SURPRISES)
    if quirk is Quirk.PULLED:
        unplug(pile, gun, now)
    else:
        end(pile, gun, Dice(pile.seed, pile.code, "end", charge.trade_no).pick(stops.SURPRISES[quirk]), now)


def advance(pile: SimPile, now: float) -> None:
    """Bring all meters to `now`: before anything changes by which they count."""
    for gun in pile.guns:
        if gun.charge is not None:
            gun.charge.advance(now, pile.clock)


def limits_changed(pile: SimPile, now: float) -> None:
    """The pile's power or a balance is another one: what was foreseen no longer holds."""
    for gun in pile.guns:
        if (charge := gun.charge) is not None:
            charge.cap_w = gun_power_w(pile)
            if charge.stage is Stage.CHARGING:
                look_later(pile, gun, charge, now)
            pile.is_dirty = True


# The end.


def ask_stop(pile: SimPile, gun_no: int, say: Say, now: float) -> None:
    """The platform wants a charge to end (YKC 1.6, 0x36)."""
    gun = pile.gun(gun_no)
    if gun is None:
        say(0, DEVICE_MISMATCH)
    elif (charge := gun.charge) is None:
        withdraw(pile, gun)
        say(0, WAS_NOT_CHARGING)
    elif charge.has(Quirk.STOP_REFUSED):
        say(0, STOP_FAILED)
    elif charge.has(Quirk.STOP_IGNORED):
        say(1, 0)
    elif charge.has(Quirk.STOP_LATE):
        gun.says_stopped = say
        pile.timers.arm(timer("stop", gun), now + _late_s(pile, charge))
    else:
        if not charge.has(Quirk.STOP_MUTE):
            say(1, 0)
        end(pile, gun, stops.REMOTE, now)


def _stop_late(pile: SimPile, gun: Gun, charge: Charge, now: float) -> None:
    if gun.says_stopped is not None:
        gun.says_stopped(1, 0)
    end(pile, gun, stops.REMOTE, now)


def fault_came(pile: SimPile, gun: Gun, now: float) -> None:
    """Hardware broke: some of it ends a charge."""
    if (charge := gun.charge) is not None:
        stop = stops.of_fault(gun.faults, charge.stage is Stage.CHARGING)
        if stop is not None:
            end(pile, gun, stop, now)


def end(pile: SimPile, gun: Gun, stop: Stop, now: float) -> None:
    """End the charge of a gun, say so, and make its record soon (within 30 s: YKC 1.6, 0x3B)."""
    charge = end_in_silence(pile, gun, stop.code, now)
    if not charge.is_ac and (frame := bms.abort(charge, pile.code, stop)) is not None:
        pile.tell(frame)
    pile.tell(gun.ended_frame(pile.code, charge))
    if not charge.is_ac and charge.started_at is not None:
        pile.tell(bms.charge_end(charge, pile.code))
    pile.timers.arm(RECORD + charge.trade_no, now + charge.record_after_s)
    if gun.leaves_after:
        unplug(pile, gun, now)
    pile.charge_over(now)


def end_in_silence(pile: SimPile, gun: Gun, stop_code: int, now: float) -> Charge:
    """End the charge of a gun in the memory, without a frame; its record is still to be made."""
    charge = gun.charge
    assert charge is not None
    charge.advance(now, pile.clock)
    if charge.stage is Stage.CHARGING:
        pile.tally.charging -= 1
    charge.stage = Stage.ENDED
    charge.stop_code = stop_code
    charge.ended_at = pile.clock.read(now)
    gun.charge = None
    gun.says_stopped = None
    memory = pile.memory
    memory.meters_e4_kwh[gun.no] = charge.meter_start_e4_kwh + charge.energy_e4_kwh
    if memory.cars.get(gun.no) == charge.car:
        soc_e1_pct = min(1000, round(1000 * charge.filled_wh / charge.car.capacity_wh))
        memory.cars[gun.no] = msgspec.structs.replace(charge.car, soc_e1_pct=soc_e1_pct)
    pile.is_dirty = True
    pile.tally.events["charge_ended"] += 1
    for what in _GUN_TIMERS:
        pile.timers.disarm(timer(what, gun))
    return charge


# Timers.

GUN: Final = "gun:"
RECORD: Final = "record:"
_GUN_TIMERS: Final = ("shake", "go", "report", "look", "stop")


def timer(what: str, gun: Gun) -> str:
    """The name of a gun's timer."""
    return f"{GUN}{what}:{gun.no}"


def on_timer(pile: SimPile, name: str, now: float) -> bool:
    """Do what a timer of this module is for; False for others."""
    if not name.startswith(GUN):
        return False
    _, what, gun_no = name.split(":")
    gun = pile.gun(int(gun_no))
    assert gun is not None
    if what in _WAITING:
        _WAITING[what](pile, gun, now)
    elif gun.charge is not None:
        _ON_TIMER[what](pile, gun, gun.charge, now)
    return True


def _waited(pile: SimPile, gun: Gun, now: float) -> None:
    """No car came within 60 s: neither start nor answer (YKC 1.6, 0x33)."""
    withdraw(pile, gun)


def _answer_late(pile: SimPile, gun: Gun, now: float) -> None:
    asked = gun.asked
    withdraw(pile, gun)
    if asked is not None and asked.charge is not None and start_refusal(pile, gun) == 0:
        _begin(pile, gun, asked.charge, asked.say, now)


_WAITING: Final[dict[str, Callable[[SimPile, Gun, float], None]]] = {"wait": _waited, "late": _answer_late}
_ON_TIMER: Final[dict[str, Callable[[SimPile, Gun, Charge, float], None]]] = {
    "shake": _shake,
    "go": _go,
    "report": _report,
    "look": _look,
    "stop": _stop_late,
}
