"""What `/debug` shows: actors, machines, frames."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pileward.actors.engine_view import ActorInfo
from pileward.http.paging import Page


class ActorRow(msgspec.Struct, frozen=True):
    """One living actor in a list. `age_s` is in clock seconds."""

    path: str
    actor_class: str
    label: str
    """What it is about in the field's words (a pile code), where it says so."""
    state: str
    children: int
    mailbox_depth: int
    handled: int
    failures: int
    restarts: int
    is_quarantined: bool
    last_error: str
    age_s: float


class EngineCounts(msgspec.Struct, frozen=True):
    """The engine as a whole."""

    started_at: datetime
    now: datetime
    clock_rate: float
    handled: int
    waiting: int
    """Messages in the queue now."""
    failures: int
    quarantined: list[str]
    """Paths of actors that are out of use."""
    dead_letters: int
    overflows: int
    """Messages refused because a mailbox was full."""
    piles: int
    """Registered piles with an actor."""


class ActorTree(msgspec.Struct, frozen=True):
    """One level of the tree: an actor and a page of its children; at the top no actor but the engine."""

    engine: EngineCounts
    actor: ActorRow | None
    children: Page[ActorRow]


class ActorDetail(msgspec.Struct, frozen=True):
    """One actor: what the engine knows of it, and in `info.detail` what it says of itself."""

    info: ActorInfo
    parent: str | None


class FrameRow(msgspec.Struct, frozen=True):
    """One frame as it was on the wire, and what it says."""

    at: datetime
    direction: str
    """"up" from the pile, "down" to it."""
    hex: str
    damage: str
    """Why it was dropped; empty for a good frame."""
    decoded: dict[str, Any]


class Frames(msgspec.Struct, frozen=True):
    """The last frames of one pile, oldest first."""

    pile_code: str
    items: list[FrameRow]


class TailStarted(msgspec.Struct, frozen=True, tag="started", tag_field="type"):
    """First message of a live tail: what is already known, and whether the pile is there at all."""

    at: datetime
    pile_code: str
    outcome: str
    items: list[FrameRow]


class TailFrames(msgspec.Struct, frozen=True, tag="frames", tag_field="type"):
    """Frames since the last message; may be empty: then it is a sign of life. `lost`: frames that are
    missing.
    """

    at: datetime
    items: list[FrameRow]
    lost: int = 0


class DecodeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frames to decode: hexadecimal, one or several, white space anywhere."""

    hex: str
    protocol: str = "ykc"


class Decoded(msgspec.Struct, frozen=True):
    """Each frame, or piece of garbage, in its order."""

    items: list[dict[str, Any]]
    explained: list[dict[str, Any]]
    """Of a single frame: each field with its Chinese name and the words for its value."""


class MachineEdge(msgspec.Struct, frozen=True):
    """One row of a transition table."""

    state: str
    event: str
    guard: str
    target: str


class Machine(msgspec.Struct, frozen=True):
    """One transition table: its states in order, and its rows."""

    name: str
    states: list[str]
    edges: list[MachineEdge]
    ignored: dict[str, str]
    """`state/event` to the reason why nothing happens."""
