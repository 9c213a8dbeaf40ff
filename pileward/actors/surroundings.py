"""What the actors of one node share: addresses of port actors, the bus, counters, and what is shown.

Built once by the node and handed to each actor in its start argument; never looked up.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pileward.actors.engine import Turn
from pileward.actors.frame_tail import FrameTail
from pileward.actors.pile_state import Pile
from pileward.messages.charging import SessionState
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.metrics import Metrics
from pileward.ports import Bus

if TYPE_CHECKING:
    from pileward.actors.pile_sessions import PileSessions

RECENT_EVENTS: Final = 50
"""Events kept for somebody who opens the page now."""


class Admission:
    """Paces logins after a mass reconnection, so that answers stay quick for those already admitted.

    A leaky bucket in clock seconds: up to `burst` logins at once, then `rate_per_s`; none waits longer than
    `longest_wait_s`, because a pile that gets no answer in time comes again and makes it worse.
    """

    __slots__ = ("_burst_s", "_free_at", "_gap_s", "longest_wait_s")

    def __init__(self, rate_per_s: float = 2_000.0, burst: int = 2_000, longest_wait_s: float = 10.0) -> None:
        self._gap_s = 1.0 / rate_per_s
        self._burst_s = burst / rate_per_s
        self._free_at = -self._burst_s  # the bucket begins empty: a cold start may admit a whole burst
        self.longest_wait_s = longest_wait_s

    def wait_s(self, now: float) -> float:
        """Take a place; returns how long this login has to wait (0: not at all), clock seconds."""
        self._free_at = max(self._free_at, now - self._burst_s) + self._gap_s
        return min(max(self._free_at - now, 0.0), self.longest_wait_s)


class Surroundings:
    """The shared parts of one node."""

    __slots__ = (
        "admission",
        "alarms",
        "bus",
        "fleet",
        "metrics",
        "numbers",
        "payments",
        "piles",
        "quarantined",
        "recent",
        "refunds",
        "seen",
        "session_states",
        "sessions_of",
        "store",
        "tail",
        "turn",
    )

    def __init__(self, bus: Bus, metrics: Metrics, tail: FrameTail, admission: Admission, turn: Turn) -> None:
        self.bus = bus
        self.metrics = metrics
        self.tail = tail
        self.admission = admission
        self.turn = turn
        """The moment of the present run of handlers: "now" on the frame path."""
        self.store: Any = None
        """Address of the store actor."""
        self.payments: Any = None
        """Address of the payments actor."""
        self.refunds: Any = None
        """Address of the refunds actor."""
        self.sessions_of: dict[str, PileSessions] = {}
        """The orders of each pile that has any; written by its actor, and kept over its restarts."""
        self.session_states: dict[str, SessionState] = {}
        """How each open charge is counted in the metrics; written by its own actor."""
        self.fleet: Any = None
        """Address of the fleet supervisor."""
        self.piles: dict[str, Any] = {}
        """The directory: pile code to the address of its actor; written by the fleet alone."""
        self.seen: dict[str, Pile] = {}
        """The last state each pile actor published; values are frozen, so anybody may read them."""
        self.alarms: dict[str, set[tuple[str, int | None]]] = {}
        """The alarms (kind, gun) that each pile actor has open, as the gauge counts them ("": platform)."""
        self.numbers = itertools.count(1)
        """For tickets and command ids: never one twice, so that an answer to an actor before its restart is
        not taken for one to the actor after it."""
        self.quarantined: dict[str, str] = {}
        """Piles whose actor failed too often, with the last error."""
        self.recent: deque[PileChanged | AlarmChanged] = deque(maxlen=RECENT_EVENTS)
