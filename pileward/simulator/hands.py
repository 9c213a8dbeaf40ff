"""What people, cars and bad luck do to the guns of a pile.

Everything here is something that a person could do standing before it; how the pile reacts to it stands in
`charging`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pileward.simulator import charging
from pileward.simulator.car import Car
from pileward.simulator.orders import Phase
from pileward.simulator.quirks import Quirk
from pileward.simulator.stops import Stop

if TYPE_CHECKING:
    from pileward.simulator.pile import SimPile


def set_plugged(pile: SimPile, gun_no: int, is_plugged: bool, now: float, car: Car | None = None) -> None:
    """A car is plugged in, or leaves; pulled out of a charge it ends it."""
    gun = pile.gun(gun_no)
    if gun is None or gun.is_plugged == is_plugged:
        return
    if is_plugged:
        charging.plug_in(pile, gun, car, now)
    else:
        charging.unplug(pile, gun, now)


def leave(pile: SimPile, gun_no: int, now: float) -> None:
    """The car at a gun leaves, after its charge if one runs: the plug is locked until then."""
    gun = pile.gun(gun_no)
    if gun is not None and gun.is_plugged:
        if gun.charge is not None:
            gun.leaves_after = True
        else:
            set_plugged(pile, gun_no, False, now)


def set_faults(pile: SimPile, now: float, begin: int = 0, end: int = 0, gun_no: int | None = None) -> None:
    """Hardware breaks (`begin`) or is mended (`end`): bits of YKC 1.6, 硬件故障, on one gun or on all."""
    for gun in pile.guns:
        faults = (gun.faults | begin) & ~end
        if (gun_no is None or gun.no == gun_no) and faults != gun.faults:
            gun.faults = faults
            charge = gun.charge
            charging.fault_came(pile, gun, now)
            # A charge that the fault ended has said so with the fault in it.
            if pile.phase is Phase.ONLINE and gun.charge is charge:
                pile.report(gun, now)


def stop_charge(pile: SimPile, gun_no: int, stop: Stop, now: float) -> None:
    """End the charge of a gun in any of the ways in which charges end."""
    gun = pile.gun(gun_no)
    if gun is not None and gun.charge is not None:
        charging.end(pile, gun, stop, now)


def misbehave(pile: SimPile, gun_no: int, quirks: Iterable[Quirk]) -> None:
    """Let a gun be odd: in the charge that runs, else in the next one."""
    gun = pile.gun(gun_no)
    if gun is None:
        return
    if gun.charge is None:
        gun.given_quirks.update(quirks)
    else:
        gun.charge.quirks += [quirk for quirk in quirks if not gun.charge.has(quirk)]
        pile.is_dirty = True
