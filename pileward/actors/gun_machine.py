"""The reported state of one gun, as a transition table: what the pile's own words make of it.

Only uplinks and their absence move it; whatever the platform intends for a gun (an order that is starting, a
lock for maintenance) is laid over it by `shown`. The rule to keep: every pair of state and event has exactly
one row, or stands in `IGNORED` with its reason.

Sources: YKC 1.6, 0x13 and its table of derived states; pages of drivers' expectations for the words.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from pileward.messages.charging import SessionState
from pileward.messages.uplinks import Telemetry
from pileward.values import ReportedStatus


class GunState(enum.IntEnum):
    """Every state a gun is shown in; a pile reports the first eight."""

    UNKNOWN = 0
    OFFLINE = 1
    IDLE = 2
    PLUGGED = 3
    CHARGING = 4
    STOPPING = 5
    FINISHED = 6
    FAULT = 7
    STARTING = 8
    DISCHARGING = 9
    SUSPENDED = 10
    RESERVED = 11
    MAINTENANCE = 12


REPORTED: Final = (
    GunState.UNKNOWN,
    GunState.OFFLINE,
    GunState.IDLE,
    GunState.PLUGGED,
    GunState.CHARGING,
    GunState.STOPPING,
    GunState.FINISHED,
    GunState.FAULT,
)
"""The states that the table below moves between."""


class GunEvent(enum.IntEnum):
    """What was heard, or not heard, of a gun."""

    SAID_IDLE = 1
    SAID_PLUGGED = 2
    SAID_CHARGING = 3
    SAID_FINISHED = 4
    SAID_FAULT = 5
    SAID_OFFLINE = 6
    RECORD_KEPT = 7
    RECORD_OVERDUE_IDLE = 8
    RECORD_OVERDUE_PLUGGED = 9
    FELL_SILENT = 10
    HEARD_AGAIN = 11
    LINK_LOST = 12


S = GunState
E = GunEvent

RULES: Final[dict[tuple[GunState, GunEvent], GunState]] = {
    # what the pile says of an idle or unknown gun holds at once
    (S.UNKNOWN, E.SAID_IDLE): S.IDLE,
    (S.UNKNOWN, E.SAID_PLUGGED): S.PLUGGED,
    (S.UNKNOWN, E.SAID_CHARGING): S.CHARGING,
    (S.UNKNOWN, E.SAID_FINISHED): S.FINISHED,
    (S.UNKNOWN, E.SAID_FAULT): S.FAULT,
    (S.OFFLINE, E.SAID_IDLE): S.IDLE,
    (S.OFFLINE, E.SAID_PLUGGED): S.PLUGGED,
    (S.OFFLINE, E.SAID_CHARGING): S.CHARGING,
    (S.OFFLINE, E.SAID_FINISHED): S.FINISHED,
    (S.OFFLINE, E.SAID_FAULT): S.FAULT,
    (S.IDLE, E.SAID_IDLE): S.IDLE,
    (S.IDLE, E.SAID_PLUGGED): S.PLUGGED,
    (S.IDLE, E.SAID_CHARGING): S.CHARGING,
    (S.IDLE, E.SAID_FINISHED): S.FINISHED,
    (S.IDLE, E.SAID_FAULT): S.FAULT,
    (S.PLUGGED, E.SAID_IDLE): S.IDLE,
    (S.PLUGGED, E.SAID_PLUGGED): S.PLUGGED,
    (S.PLUGGED, E.SAID_CHARGING): S.CHARGING,
    (S.PLUGGED, E.SAID_FINISHED): S.FINISHED,
    (S.PLUGGED, E.SAID_FAULT): S.FAULT,
    # a charge that ends waits for its record before the gun is free in our eyes
    (S.CHARGING, E.SAID_IDLE): S.STOPPING,
    (S.CHARGING, E.SAID_PLUGGED): S.STOPPING,
    (S.CHARGING, E.SAID_CHARGING): S.CHARGING,
    (S.CHARGING, E.SAID_FINISHED): S.FINISHED,
    (S.CHARGING, E.SAID_FAULT): S.FAULT,
    (S.CHARGING, E.RECORD_KEPT): S.FINISHED,
    (S.STOPPING, E.SAID_IDLE): S.STOPPING,
    (S.STOPPING, E.SAID_PLUGGED): S.STOPPING,
    (S.STOPPING, E.SAID_CHARGING): S.CHARGING,
    (S.STOPPING, E.SAID_FINISHED): S.FINISHED,
    (S.STOPPING, E.SAID_FAULT): S.FAULT,
    (S.STOPPING, E.RECORD_KEPT): S.FINISHED,
    (S.STOPPING, E.RECORD_OVERDUE_IDLE): S.IDLE,
    (S.STOPPING, E.RECORD_OVERDUE_PLUGGED): S.PLUGGED,
    # finished: the vehicle still stands there until the gun is out
    (S.FINISHED, E.SAID_IDLE): S.IDLE,
    (S.FINISHED, E.SAID_PLUGGED): S.FINISHED,
    (S.FINISHED, E.SAID_CHARGING): S.CHARGING,
    (S.FINISHED, E.SAID_FINISHED): S.FINISHED,
    (S.FINISHED, E.SAID_FAULT): S.FAULT,
    (S.FAULT, E.SAID_IDLE): S.IDLE,
    (S.FAULT, E.SAID_PLUGGED): S.PLUGGED,
    (S.FAULT, E.SAID_CHARGING): S.CHARGING,
    (S.FAULT, E.SAID_FINISHED): S.FINISHED,
    (S.FAULT, E.SAID_FAULT): S.FAULT,
    # silence, and its end: what the gun did meanwhile is not known until the pile says so
    (S.UNKNOWN, E.FELL_SILENT): S.OFFLINE,
    (S.IDLE, E.FELL_SILENT): S.OFFLINE,
    (S.PLUGGED, E.FELL_SILENT): S.OFFLINE,
    (S.CHARGING, E.FELL_SILENT): S.OFFLINE,
    (S.STOPPING, E.FELL_SILENT): S.OFFLINE,
    (S.FINISHED, E.FELL_SILENT): S.OFFLINE,
    (S.FAULT, E.FELL_SILENT): S.OFFLINE,
    (S.OFFLINE, E.HEARD_AGAIN): S.UNKNOWN,
    (S.UNKNOWN, E.LINK_LOST): S.OFFLINE,
    (S.IDLE, E.LINK_LOST): S.OFFLINE,
    (S.PLUGGED, E.LINK_LOST): S.OFFLINE,
    (S.CHARGING, E.LINK_LOST): S.OFFLINE,
    (S.STOPPING, E.LINK_LOST): S.OFFLINE,
    (S.FINISHED, E.LINK_LOST): S.OFFLINE,
    (S.FAULT, E.LINK_LOST): S.OFFLINE,
}

_OFFLINE_WORD = "0x00 on a live connection is hardly meaningful and not a fault (YKC 1.6, 7.1)"
_LATE_RECORD = "a record of an earlier charge says nothing about the gun now"
_NOT_STOPPING = "the missing record is an alarm; only STOPPING has to be left for it"
_NOT_SILENT = "it was not silent"

IGNORED: Final[dict[tuple[GunState, GunEvent], str]] = {
    **{(state, E.SAID_OFFLINE): _OFFLINE_WORD for state in REPORTED},
    **{(state, E.RECORD_KEPT): _LATE_RECORD for state in REPORTED if state not in (S.CHARGING, S.STOPPING)},
    **{
        (state, event): _NOT_STOPPING
        for state in REPORTED
        if state is not S.STOPPING
        for event in (E.RECORD_OVERDUE_IDLE, E.RECORD_OVERDUE_PLUGGED)
    },
    **{(state, E.HEARD_AGAIN): _NOT_SILENT for state in REPORTED if state is not S.OFFLINE},
    (S.OFFLINE, E.FELL_SILENT): "already offline",
    (S.OFFLINE, E.LINK_LOST): "already offline",
}

BUSY: Final = frozenset((S.CHARGING, S.STOPPING, S.STARTING, S.DISCHARGING, S.SUSPENDED))
"""A pile with a gun in one of these takes no new tariff (YKC 1.6, 8.9)."""

LIVE: Final = frozenset((S.CHARGING, S.STOPPING, S.DISCHARGING, S.SUSPENDED))
"""States in which the last measurements are worth showing."""

GONE: Final = frozenset((S.OFFLINE, S.UNKNOWN))
"""States in which the pile has not told us what the gun does."""


class Gun(msgspec.Struct, frozen=True):
    """One gun as its pile reports it. Times are epoch milliseconds, UTC; 0 for never."""

    gun_no: int
    state: GunState = GunState.UNKNOWN
    since_ms: int = 0
    telemetry: Telemetry | None = None
    """The last one; kept when the gun falls silent, so that "last data n seconds ago" can be shown."""
    telemetry_ms: int = 0
    sampled_ms: int = 0
    """When a telemetry was last kept for charts."""


def heard(telemetry: Telemetry) -> GunEvent:
    """Name what a telemetry says. Status and plug are told apart as in YKC 1.6, 7.1."""
    status = telemetry.status
    if status is ReportedStatus.IDLE:
        return GunEvent.SAID_PLUGGED if telemetry.is_plugged else GunEvent.SAID_IDLE
    return _SAID.get(status, GunEvent.SAID_OFFLINE)


_SAID: Final = {
    ReportedStatus.CHARGING: GunEvent.SAID_CHARGING,
    ReportedStatus.FAULT: GunEvent.SAID_FAULT,
    ReportedStatus.PLUGGED: GunEvent.SAID_PLUGGED,
    ReportedStatus.FINISHED: GunEvent.SAID_FINISHED,
}


def next_state(state: GunState, event: GunEvent) -> GunState:
    """The state after an event; ignored events leave it as it is. Raises KeyError for a hole in the table."""
    target = RULES.get((state, event))
    if target is not None:
        return target
    assert (state, event) in IGNORED, f"no rule for {event.name} in {state.name}"
    return state


ORDERED: Final = {
    SessionState.CREATED: GunState.RESERVED,
    SessionState.FUNDED: GunState.RESERVED,
    SessionState.STARTING: GunState.STARTING,
    SessionState.STOPPING: GunState.STOPPING,
}
"""How an order makes its gun look while the pile itself sees nothing of it."""


def shown(
    state: GunState, order: SessionState | None = None, *, is_online: bool, is_in_maintenance: bool
) -> GunState:
    """How a gun is shown to people: the reported state under what the platform knows of pile and order."""
    if not is_online:
        return GunState.OFFLINE
    if order is not None and state is not GunState.FAULT and (laid := ORDERED.get(order)) is not None:
        return laid
    if is_in_maintenance and state not in BUSY:
        return GunState.MAINTENANCE
    return state
