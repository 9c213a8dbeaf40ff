"""Counts and latencies of a fleet: plain numbers that piles add to and reports read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pileward.simulator.histogram import Histogram


class Tally:
    """What a fleet did and saw since it was made."""

    __slots__ = (
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
        self.events: Counter[str] = Counter()
        """How often what happened: hazards, slips, refusals, losses."""
        self.heartbeat = Histogram()
        """From a heartbeat to its answer, seconds of the clock."""
        self.login = Histogram()
        """From a login frame to its answer, seconds of the clock."""

    def summary(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "online": self.online,
            "connections": self.connections,
            "frames_up": self.frames_up,
            "frames_down": self.frames_down,
            "garbage_down": self.garbage_down,
            "heartbeat": self.heartbeat.summary_ms(),
            "login": self.login.summary_ms(),
            "events": dict(sorted(self.events.items())),
        }
