"""The emulator's two times: real time for signatures and sockets, business time for everything in the books.

Business time runs `scale` times as fast as real time, so that a demonstration that runs faster than the world
sees refunds, repetitions and bills at its own pace. It is kept with the books and never goes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from pileward.values import CHINA


class BusinessClock:
    """A straight line through one point: `at_ms` when the real clock showed `real_s`."""

    def __init__(self, scale: float, at_ms: int, real_time: Callable[[], float] = time.time) -> None:
        assert scale > 0
        self.scale = scale
        self._real_time = real_time
        self._real_s = real_time()
        self._at_ms = at_ms

    def now_ms(self) -> int:
        """Business time, milliseconds since 1970, UTC."""
        return self._at_ms + round((self._real_time() - self._real_s) * 1000 * self.scale)

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        assert seconds >= 0
        self._at_ms += round(seconds * 1000)

    def real_delay_s(self, until_ms: int) -> float:
        """Real seconds until a business time; 0 when it has passed."""
        return max(until_ms - self.now_ms(), 0) / 1000 / self.scale


def rfc3339(at_ms: int) -> str:
    """A time as WeChat Pay writes it: whole seconds, China's zone."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(CHINA).isoformat()


def china(at_ms: int) -> datetime:
    """A time on China's clocks."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(CHINA)
