"""Counts and latencies of a fleet: plain numbers that piles add to and reports read."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pileward.simulator.histogram import Histogram


class Snapshot(NamedTuple):
    """The counts of one moment."""

    online: int
    charging: int
    frames_up: int
    frames_down: int
    events: Counter[str]


class Tally:
    """What a fleet did and saw since it was made."""

    __slots__ = (
        "charging",
        "connections",
        "events",
        "frames_down",
        "frames_up",
        "garbage_down",
        "heartbeat",
        "login",
        "online",
    )

    def __init__(self) -> None:
        self.frames_up = 0
        """Frames written by piles, damaged ones included."""
        self.frames_down = 0
        """Good frames received."""
        self.garbage_down = 0
        """Pieces of damage received."""
        self.connections = 0
        """Sockets open now, abandoned ones left out."""
        self.online = 0
        """Piles whose login is accepted now."""
        self.charging = 0
        """Guns through which current flows now."""
        self.events: Counter[str] = Counter()
        """How often what happened: hazards, slips, refusals, losses."""
        self.heartbeat = Histogram()
        """From a heartbeat to its answer, seconds of the clock."""
        self.login = Histogram()
        """From a login frame to its answer, seconds of the clock."""

    def snapshot(self) -> Snapshot:
        """The counts as they are now."""
        return Snapshot(self.online, self.charging, self.frames_up, self.frames_down, Counter(self.events))
