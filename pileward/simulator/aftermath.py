"""What outlives a charge: its record, and the pile going off and coming back with a charge in its memory.

A charge stays in the memory from its accepted start until its record is made; after that the record does,
until it is confirmed. So at every moment one of them stands there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pileward.simulator import charging, delivery, stops
from pileward.simulator.charge import Charge, Stage
from pileward.simulator.quirks import Quirk
from pileward.simulator.record import make_other_record, make_record
from pileward.simulator.stops import Stop

if TYPE_CHECKING:
    from pileward.simulator.pile import SimPile

ECHO_AFTER_S: Final = 4.0


def on_timer(pile: SimPile, name: str, now: float) -> bool:
    """Do what a timer of records is for; False for others."""
    if name.startswith(charging.RECORD):
        make_due_record(pile, name.removeprefix(charging.RECORD), now)
    elif name.startswith(delivery.ECHO):
        delivery.send_echoes(pile, now, name.removeprefix(delivery.ECHO))
    else:
        return False
    return True


def make_due_record(pile: SimPile, trade_no: str, now: float) -> None:
    """The time for a record has come."""
    for charge in pile.memory.charges:
        if charge.trade_no == trade_no and charge.stage is Stage.ENDED:
            _make_record(pile, charge, now)
            return


def _make_record(pile: SimPile, charge: Charge, now: float) -> None:
    """Make the record, and keep it until it is confirmed; a lost one is gone for good."""
    pile.memory.charges = [each for each in pile.memory.charges if each is not charge]
    pile.is_dirty = True
    if charge.has(Quirk.RECORD_LOST):
        return
    made_at = pile.clock.read(now)
    version, is_loss_zero = pile.plate.protocol_version, pile.ways.is_loss_zero
    record = make_record(charge, pile.code, made_at, is_loss_zero=is_loss_zero, version=version)
    pile.keep_record(record, now)
    if charge.has(Quirk.RECORD_DIFFERENT):
        record = make_other_record(charge, pile.code, made_at, is_loss_zero=is_loss_zero, version=version)
    elif not charge.has(Quirk.RECORD_TWICE):
        return
    delivery.keep_echo(pile, record, now + ECHO_AFTER_S)


def break_off(pile: SimPile, stop: Stop, now: float) -> None:
    """The pile goes off: charges end without a word, their records are made when it is back."""
    for gun in pile.guns:
        charging.withdraw(pile, gun)
        if gun.charge is not None:
            charging.end_in_silence(pile, gun, stop.code, now)
    for charge in pile.memory.charges:
        pile.timers.disarm(charging.RECORD + charge.trade_no)


def booted(pile: SimPile, now: float) -> None:
    """The pile has power again: it makes the records that are missing."""
    for charge in list(pile.memory.charges):
        if charge.stage is Stage.ENDED and pile.timers.deadline(charging.RECORD + charge.trade_no) > now:
            pile.timers.disarm(charging.RECORD + charge.trade_no)
            _make_record(pile, charge, now)


def resume(pile: SimPile, now: float) -> None:
    """Go on with the charges of a loaded memory: the world stood still while nobody simulated it."""
    for charge in pile.memory.charges:
        gun = pile.gun(charge.gun_no)
        if charge.stage is Stage.ENDED:
            continue
        if gun is None or gun.charge is not None:
            charge.stage = Stage.ENDED
            charge.stop_code = stops.RESTARTED.code
            charge.ended_at = pile.clock.read(now)
            continue
        gun.charge = charge
        charge.at = now
        pile.tally.events["charge_resumed"] += 1
        if charge.stage is Stage.ASKED:
            pile.timers.arm(charging.timer("shake", gun), now + charge.handshake_s / 2)
        else:
            pile.tally.charging += 1
            pile.timers.arm(charging.timer("report", gun), now + pile.habits.charging_report_s)
            charging.look_later(pile, gun, charge, now)
