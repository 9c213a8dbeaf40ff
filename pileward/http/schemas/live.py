"""The public picture: a snapshot, and what is sent over the live feed after it.

Every message of `/ws` has `type`. The first is a snapshot; after it come changes in the words of
`messages.events`. A listener that could not keep up gets a new snapshot in place of what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pileward.messages.events import AlarmChanged, GunChanged, PileChanged
from pileward.messages.live import StationView


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot", tag_field="type"):
    """Everything that is shown, at one moment."""

    at: datetime
    rate: float
    """Clock seconds in a real second; not 1 in a demonstration that runs faster."""
    stations: Sequence[StationView]
    events: Sequence[PileChanged | AlarmChanged]
    """The last events, oldest first."""
    pile_counts: dict[str, int]
    """Piles by state, all of them."""
    gun_counts: dict[str, int]
    """Guns by state, all of them."""
    is_partial: bool
    """There are more guns than `stations` holds; the counts include all."""
    fault_texts: dict[str, tuple[str, str]]
    """Fault codes in words, Chinese and English."""


class Changes(msgspec.Struct, frozen=True, tag="changes", tag_field="type"):
    """What changed since the last message; of one gun only the newest. May be empty: then it is a sign of
    life.
    """

    at: datetime
    events: Sequence[msgspec.Raw]


class Lagged(msgspec.Struct, frozen=True, tag="lagged", tag_field="type"):
    """This listener, or the feed behind it, lost events; a snapshot follows."""

    at: datetime
    lost: int


class Counts(msgspec.Struct, frozen=True, tag="counts", tag_field="type"):
    """Fresh counts for a listener that sees only a part."""

    at: datetime
    pile_counts: dict[str, int]
    gun_counts: dict[str, int]


FeedMessage = Snapshot | Changes | Lagged | Counts
Event = GunChanged | PileChanged | AlarmChanged
