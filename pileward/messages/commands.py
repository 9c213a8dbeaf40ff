"""What edges ask of a pile actor, and the one outcome each gets.

An edge sends a command with `ask`; the pile actor turns it into a downlink, arms a timer and answers with
exactly one `Outcome`: accepted, rejected with the pile's reason, timed out, offline, and so on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pileward.values import ResultStatus


class Command(msgspec.Struct, frozen=True):
    """Base of what an edge may ask of one pile."""


class RebootPile(Command, frozen=True):
    """Restart the pile, at once or when no charge runs."""

    is_when_idle: bool = True


class SetService(Command, frozen=True):
    """Take the pile in or out of service and limit its power (30 to 100 % of the rated power)."""

    is_in_service: bool
    max_power_pct: int = 100


class SyncClock(Command, frozen=True):
    """Set the pile's clock to the platform's time."""


class PushTariff(Command, frozen=True):
    """Send the wanted tariff now, or as soon as the pile is idle (outcome scheduled)."""


class ReadGun(Command, frozen=True):
    """Ask for fresh telemetry of one gun."""

    gun_no: int


class SendQrPrefix(Command, frozen=True):
    """Send the prefix of the QR code text."""

    prefix: str
    with_gun_no: bool = True


class WatchFrames(Command, frozen=True):
    """Publish each frame of this pile on the feed for a bounded time (seconds)."""

    for_s: int = 600


class DescribePile(Command, frozen=True):
    """Ask for the state of the pile as plain data."""


class Outcome(msgspec.Struct, frozen=True):
    """The one answer to a command; `reason` is a stable code, `detail` is for people."""

    status: ResultStatus
    reason: str = ""
    detail: str = ""


class PileDescription(msgspec.Struct, frozen=True):
    """State of one pile as plain JSON-able data."""

    data: dict[str, Any]


class Changed(msgspec.Struct, frozen=True):
    """A row that actors live by was changed by staff: reload it (kind: "pile", "tariff", "station")."""

    kind: str
    key: str
