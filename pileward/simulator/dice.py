"""Seeded chance: small, reproducible streams of random numbers.

A pile draws from several streams, one for each purpose, so that what happens to a gun does not depend on
how many frames went over the wire meanwhile. A stream is one integer, because a fleet has a hundred
thousand of them; the generator is SplitMix64 (Steele, Lea, Flood 2014). Never use it where an adversary
could gain from guessing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 1.0 / (1 << 53)


class Dice:
    """One stream of random numbers; equal names give equal streams, on every machine."""

    __slots__ = ("_state",)

    def __init__(self, *name: int | str) -> None:
        digest = hashlib.blake2b("\x1f".join(map(str, name)).encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest, "little")

    def bits(self) -> int:
        """Draw 64 random bits."""
        self._state = (self._state + _STEP) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def fraction(self) -> float:
        """Draw from [0, 1)."""
        return (self.bits() >> 11) * _UNIT

    def happens(self, chance: float) -> bool:
        """Tell whether something of this chance (0 to 1) happens now."""
        return chance > 0 and self.fraction() < chance

    def below(self, limit: int) -> int:
        """Draw a whole number from 0 to `limit` - 1."""
        assert limit > 0
        return self.bits() % limit

    def between(self, low: float, high: float) -> float:
        """Draw evenly from [low, high)."""
        return low + (high - low) * self.fraction()

    def wait(self, mean: float) -> float:
        """Draw the time to the next of many independent happenings that are `mean` apart on average."""
        return -mean * math.log(1.0 - self.fraction())

    def pick(self, choices: Sequence[T]) -> T:
        """Draw one of some values."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, float]]) -> T:
        """Draw one of some (value, weight) pairs."""
        mark = self.fraction() * sum(weight for _, weight in choices)
        for value, weight in choices:
            mark -= weight
            if mark < 0:
                return value
        return choices[-1][0]

    def data(self, size: int) -> bytes:
        """Draw `size` random bytes."""
        return b"".join(self.bits().to_bytes(8, "little") for _ in range((size + 7) // 8))[:size]
