"""Token buckets as one number a key: the instant at which the bucket will be full again.

This is the generic cell rate algorithm: taking a token moves that instant by 1/rate, and a token may be taken
while it is at most (burst - 1)/rate ahead. It allows what a bucket of `burst` tokens allows, and an instant
that has passed needs no memory at all. The script in `redis_bus.py` is the same rule on a shared clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

KEYS_KEPT = 100_000
"""More keys than this at once, and the one not used for longest is forgotten (that is, allowed again)."""

ROUNDING_S = 1e-9


class Buckets:
    """The buckets of one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, keys_kept: int = KEYS_KEPT) -> None:
        self._monotonic = monotonic
        self._keys_kept = keys_kept
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, rate_per_s: float, burst: int) -> bool:
        """Take one token if there is one."""
        assert rate_per_s > 0 and burst >= 1
        now = self._monotonic()
        full_at = max(self._full_at.get(key, now), now)
        if full_at - now > (burst - 1) / rate_per_s + ROUNDING_S:
            return False
        self._full_at.pop(key, None)  # put back at the end: the order is that of use
        self._full_at[key] = full_at + 1 / rate_per_s
        if len(self._full_at) > self._keys_kept:
            self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        """Drop the oldest key, and with it the oldest ones that are full again anyhow."""
        del self._full_at[next(iter(self._full_at))]
        while self._full_at:
            key = next(iter(self._full_at))
            if self._full_at[key] > now:
                return
            del self._full_at[key]
