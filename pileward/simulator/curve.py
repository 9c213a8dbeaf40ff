"""How fast a battery fills: power as a line through points, and the two questions asked of it.

Between two points power changes linearly with the energy that is in the battery, dE/dt = a + b·E, so both
"how much after so many seconds" and "how many seconds to so much" have exact answers. Nothing is simulated
in steps, and looking at a charge does not change it.

Energies are watt-hours counted from an empty battery, powers watts; batteries are not money, so these are
floats, and what goes on the wire is cut to integers elsewhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

HOUR_S: Final = 3600.0
_FLAT: Final = 1e-9
"""A slope below which power counts as constant, 1/h."""


class Curve:
    """Power over energy from an empty battery to a full one, cut off at what the charger can give."""

    __slots__ = ("_energies", "_powers", "full_wh")

    def __init__(self, points: Sequence[tuple[float, float]], cap_w: float) -> None:
        """Points (energy, power) with rising energies and powers above 0; nothing is above `cap_w`."""
        assert cap_w > 0 and len(points) >= 2
        capped = [(energy, min(power, cap_w)) for energy, power in _with_crossings(points, cap_w)]
        self._energies = [energy for energy, _ in capped]
        self._powers = [power for _, power in capped]
        self.full_wh = self._energies[-1]

    def power_w(self, energy_wh: float) -> float:
        """What flows at this filling; 0 when it is full."""
        if energy_wh >= self.full_wh:
            return 0.0
        at = self._piece(energy_wh)
        left, right = self._energies[at], self._energies[at + 1]
        share = (energy_wh - left) / (right - left)
        return self._powers[at] + share * (self._powers[at + 1] - self._powers[at])

    def after(self, energy_wh: float, seconds: float) -> float:
        """The filling after `seconds` (0 or more), at most full."""
        hours = seconds / HOUR_S
        while hours > 0 and energy_wh < self.full_wh:
            at = self._piece(energy_wh)
            end = self._energies[at + 1]
            needed = self._hours(at, energy_wh, end)
            if needed > hours:
                return min(end, energy_wh + self._gain(at, energy_wh, hours))
            hours -= needed
            energy_wh = end
        return energy_wh

    def seconds(self, from_wh: float, to_wh: float) -> float:
        """How long it takes from one filling to another; infinite for more than full."""
        if to_wh > self.full_wh:
            return math.inf
        hours = 0.0
        while from_wh < to_wh:
            at = self._piece(from_wh)
            end = min(to_wh, self._energies[at + 1])
            hours += self._hours(at, from_wh, end)
            from_wh = end
        return hours * HOUR_S

    def _piece(self, energy_wh: float) -> int:
        last = len(self._energies) - 2
        return min(last, max(0, bisect_right(self._energies, energy_wh) - 1))

    def _slope(self, at: int) -> float:
        return (self._powers[at + 1] - self._powers[at]) / (self._energies[at + 1] - self._energies[at])

    def _hours(self, at: int, from_wh: float, to_wh: float) -> float:
        slope = self._slope(at)
        power = self._powers[at] + slope * (from_wh - self._energies[at])
        gain = to_wh - from_wh
        return gain / power if abs(slope) < _FLAT else math.log1p(slope * gain / power) / slope

    def _gain(self, at: int, from_wh: float, hours: float) -> float:
        slope = self._slope(at)
        power = self._powers[at] + slope * (from_wh - self._energies[at])
        return power * hours if abs(slope) < _FLAT else power * math.expm1(slope * hours) / slope


def _with_crossings(points: Sequence[tuple[float, float]], cap_w: float) -> list[tuple[float, float]]:
    """The same line with a point wherever it goes through the cap."""
    line = [points[0]]
    for energy, power in points[1:]:
        before, was = line[-1]
        if (was - cap_w) * (power - cap_w) < 0:
            line.append((before + (energy - before) * (cap_w - was) / (power - was), cap_w))
        line.append((energy, power))
    return line
