"""The alarm clocks of one pile: names and deadlines, without any loop.

A pile has about ten of them, so a dictionary and a minimum are both small and quick; the fleet keeps one
heap over all piles and asks each only for its earliest deadline.
"""

from __future__ import annotations

import math
from typing import Final

NEVER: Final = math.inf


class Timers:
    """Named deadlines in seconds of monotonic time; arming a name again moves it."""

    __slots__ = ("_deadlines", "next")

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}
        self.next = NEVER
        """The earliest deadline, `NEVER` when nothing is armed."""

    def arm(self, name: str, deadline: float) -> None:
        """Let `name` come due at `deadline`."""
        was = self._deadlines.get(name)
        self._deadlines[name] = deadline
        if deadline <= self.next:
            self.next = deadline
        elif was == self.next:
            self.next = min(self._deadlines.values())

    def disarm(self, name: str) -> None:
        """Forget `name`; nothing happens when it is not armed."""
        was = self._deadlines.pop(name, None)
        if was is not None and was == self.next:
            self.next = min(self._deadlines.values(), default=NEVER)

    def pop(self, now: float) -> str | None:
        """Take the earliest name that is due at `now`, or None."""
        if self.next > now:
            return None
        name = min(self._deadlines, key=self._deadlines.__getitem__)
        del self._deadlines[name]
        self.next = min(self._deadlines.values(), default=NEVER)
        return name

    def deadline(self, name: str) -> float:
        """When `name` is due, `NEVER` when it is not armed."""
        return self._deadlines.get(name, NEVER)
