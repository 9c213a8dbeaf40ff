"""Latencies in bounded memory: counts in buckets that grow by a fixed ratio.

Each power of two is cut into 32 buckets, so a quantile is at most 3.2 % too high, over ten decades, in
about 1,000 integers, however many values are added. Minimum, maximum and sum are exact.
"""

from __future__ import annotations

import math
from typing import Final

_LOWEST_US: Final = 1.0
_PER_OCTAVE: Final = 32
_OCTAVES: Final = 34
"""1 µs to 2^34 µs (4.8 hours); what is longer counts in the last bucket."""


class Histogram:
    """Counts of durations in seconds."""

    __slots__ = ("_buckets", "count", "max_s", "min_s", "sum_s")

    def __init__(self) -> None:
        self._buckets = [0] * (_OCTAVES * _PER_OCTAVE + 1)
        self.count = 0
        self.sum_s = 0.0
        self.min_s = math.inf
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration; a negative one (a clock that was set) counts as 0."""
        seconds = max(seconds, 0.0)
        self.count += 1
        self.sum_s += seconds
        self.min_s = min(self.min_s, seconds)
        self.max_s = max(self.max_s, seconds)
        micros = seconds * 1e6
        if micros <= _LOWEST_US:
            self._buckets[0] += 1
            return
        # frexp gives the octave exactly and, within it, a mantissa in [0.5, 1) that is cut evenly.
        mantissa, exponent = math.frexp(micros)
        index = (exponent - 1) * _PER_OCTAVE + int((mantissa - 0.5) * 2 * _PER_OCTAVE) + 1
        self._buckets[min(index, len(self._buckets) - 1)] += 1

    def quantile_s(self, share: float) -> float:
        """The duration that `share` (0 to 1) of all values do not exceed (its bucket's end); 0 when empty."""
        if self.count == 0:
            return 0.0
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for index, amount in enumerate(self._buckets):
            seen += amount
            if seen >= wanted:
                return min(self.max_s, max(self.min_s, _upper_us(index) / 1e6))
        raise AssertionError("the buckets hold fewer values than were counted")

    def merge(self, other: Histogram) -> None:
        """Add all values of another histogram."""
        self._buckets = [mine + theirs for mine, theirs in zip(self._buckets, other._buckets, strict=True)]
        self.count += other.count
        self.sum_s += other.sum_s
        self.min_s = min(self.min_s, other.min_s)
        self.max_s = max(self.max_s, other.max_s)

    def summary_ms(self) -> dict[str, float]:
        """Count, p50, p99, largest and mean, durations in milliseconds."""
        return {
            "count": self.count,
            "p50_ms": round(self.quantile_s(0.50) * 1e3, 3),
            "p99_ms": round(self.quantile_s(0.99) * 1e3, 3),
            "max_ms": round(self.max_s * 1e3, 3),
            "mean_ms": round(self.sum_s / self.count * 1e3, 3) if self.count else 0.0,
        }


def _upper_us(index: int) -> float:
    """Upper end of a bucket in microseconds."""
    if index == 0:
        return _LOWEST_US
    octave, part = divmod(index - 1, _PER_OCTAVE)
    return float(2.0**octave * (1 + (part + 1) / _PER_OCTAVE))
