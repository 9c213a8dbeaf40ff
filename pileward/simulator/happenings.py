"""What a pile's fate does to it: one pair of functions for each hazard, one table.

A happening begins, lasts (if its pace says so) and ends; then the next one is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pileward.simulator import cards, hands
from pileward.simulator.fate import BEGIN, END, Fate
from pileward.simulator.profiles import CARDS, FAULTS, Hazard

if TYPE_CHECKING:
    from pileward.simulator.dice import Dice
    from pileward.simulator.pile import SimPile

ALL_FAULTS: Final = 0xFFFF
_FAULT_WEIGHTS: Final = tuple(((bits, is_of_pile), weight) for bits, weight, is_of_pile in FAULTS)


def happen(pile: SimPile, fate: Fate, name: str, now: float) -> None:
    """Tell the piece of fate that is due, and arm the one after it."""
    if name.startswith(BEGIN):
        key = name.removeprefix(BEGIN)
        hazard = Hazard(key.partition(":")[0])
        lasts_s = fate.lasts(key)
        pile.tally.events[hazard] += 1
        _BEGINNINGS[hazard](pile, key, lasts_s, fate.dice(key), now)
        if lasts_s > 0:
            pile.timers.arm(END + key, now + lasts_s)
            return
    else:
        key = name.removeprefix(END)
        _ENDS[Hazard(key.partition(":")[0])](pile, key, now)
    pile.timers.arm(BEGIN + key, now + fate.wait(key))


def _gun_of(key: str) -> int:
    return int(key.partition(":")[2])


def _arrive(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    gun = pile.gun(_gun_of(key))
    if gun is not None and not gun.is_plugged:
        hands.set_plugged(pile, gun.no, True, now)
        gun.is_fates = True


def _leave(pile: SimPile, key: str, now: float) -> None:
    """The car that came this way leaves; one that somebody else plugged in stays."""
    gun = pile.gun(_gun_of(key))
    if gun is not None and gun.is_fates:
        hands.leave(pile, gun.no, now)


def _break(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    bits, is_of_pile = dice.weighted(_FAULT_WEIGHTS)
    hands.set_faults(pile, now, begin=bits, gun_no=None if is_of_pile else 1 + dice.below(len(pile.guns)))


def _mend(pile: SimPile, key: str, now: float) -> None:
    hands.set_faults(pile, now, end=ALL_FAULTS)


def _cut_power(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    pile.cut_power(now)


def _restore_power(pile: SimPile, key: str, now: float) -> None:
    pile.restore_power(now)


def _drop(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    pile.drop(now, is_reset=dice.happens(0.5))


def _vanish(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    pile.vanish(now, lasts_s)


def _freeze(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    pile.freeze()


def _thaw(pile: SimPile, key: str, now: float) -> None:
    pile.thaw(now)


def _reboot(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    pile.reboot(now, when_idle=True)


def _swipe(pile: SimPile, key: str, lasts_s: float, dice: Dice, now: float) -> None:
    cards.swipe(pile, _gun_of(key), dice.weighted(CARDS), now)


def _nothing(pile: SimPile, key: str, now: float) -> None:
    """The pile comes back by itself."""


_BEGINNINGS: Final[dict[Hazard, Callable[[SimPile, str, float, Dice, float], None]]] = {
    Hazard.PLUG: _arrive,
    Hazard.FAULT: _break,
    Hazard.POWER_CUT: _cut_power,
    Hazard.DROP: _drop,
    Hazard.VANISH: _vanish,
    Hazard.HANG: _freeze,
    Hazard.REBOOT: _reboot,
    Hazard.CARD: _swipe,
}
_ENDS: Final[dict[Hazard, Callable[[SimPile, str, float], None]]] = {
    Hazard.PLUG: _leave,
    Hazard.FAULT: _mend,
    Hazard.POWER_CUT: _restore_power,
    Hazard.DROP: _nothing,
    Hazard.VANISH: _nothing,
    Hazard.HANG: _thaw,
    Hazard.REBOOT: _nothing,
    Hazard.CARD: _nothing,
}
