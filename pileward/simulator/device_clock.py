"""The clock inside a pile: set by the platform, drifting, sometimes with an empty battery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EMPTY_BATTERY: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What a clock shows after a power cut when its battery is empty."""


class DeviceClock:
    """A drifting clock: it was right (or not) at one moment and runs fast or slow since.

    `now` is monotonic time in seconds, as everywhere in the simulator; times are aware UTC.
    """

    __slots__ = ("_base", "_set_at", "drift_ppm")

    def __init__(self, base: datetime, now: float, drift_ppm: int = 0) -> None:
        self.drift_ppm = drift_ppm
        self._base = base
        self._set_at = now

    def read(self, now: float) -> datetime:
        """What the pile believes the time to be."""
        passed_s = (now - self._set_at) * (1 + self.drift_ppm / 1_000_000)
        return self._base + timedelta(seconds=passed_s)

    def seconds(self, device_s: float) -> float:
        """Seconds of true time in which this clock goes on by `device_s`."""
        return device_s / (1 + self.drift_ppm / 1_000_000)

    def set(self, time: datetime, now: float) -> None:
        """Take over a time from the platform (YKC 1.6, 0x56)."""
        self._base = time
        self._set_at = now

    def lose(self, now: float) -> None:
        """Fall back to the start of time, as after a power cut with an empty battery."""
        self.set(EMPTY_BATTERY, now)
