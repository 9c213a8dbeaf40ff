"""When what happens to one pile: its hazards as seeded streams.

Each hazard (for the cars: each gun) has a stream of its own, so its history depends on seed and pile number
alone. Histories are told in names of timers: `begin:<hazard>` and, for what lasts, `end:<hazard>`; a gun's
hazards carry its number, `begin:plug:2`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pileward.simulator.dice import Dice
from pileward.simulator.profiles import Hazard, Pace, Profile

BEGIN = "begin:"
END = "end:"


class Fate:
    """The hazards of one pile; empty for a profile in which nothing happens by itself."""

    __slots__ = ("_streams",)

    def __init__(self, seed: int, pile_code: str, guns: int, profile: Profile) -> None:
        self._streams: dict[str, tuple[Pace, Dice]] = {}
        for hazard, pace in profile.hazards.items():
            if pace.mean_s <= 0:
                continue
            for key in _keys(hazard, guns):
                self._streams[key] = (pace, Dice(seed, pile_code, key))

    def first(self) -> Iterator[tuple[str, float]]:
        """The first happening of each stream: name and seconds until it begins."""
        for key in self._streams:
            yield BEGIN + key, self.wait(key)

    def wait(self, key: str) -> float:
        """Seconds from the end of one happening to the next."""
        pace, dice = self._streams[key]
        return dice.wait(pace.mean_s)

    def lasts(self, key: str) -> float:
        """Seconds for which this happening lasts."""
        pace, dice = self._streams[key]
        return dice.between(pace.shortest_s, pace.longest_s)

    def dice(self, key: str) -> Dice:
        """The stream of a hazard, for what else has to be drawn about it."""
        return self._streams[key][1]


def _keys(hazard: Hazard, guns: int) -> tuple[str, ...]:
    if hazard in (Hazard.PLUG, Hazard.CARD):
        return tuple(f"{hazard}:{gun_no}" for gun_no in range(1, guns + 1))
    return (hazard.value,)
