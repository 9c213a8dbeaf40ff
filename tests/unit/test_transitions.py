"""Packed transitions: a bounded ring that reads back in words."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_machine import EVENTS
from pileward.actors.pile_state import LinkLost, LoginAsked, PileStatus
from pileward.actors.transitions import KEPT, PileTransitions
from pileward.messages.uplinks import Telemetry

AT = round(datetime(2026, 3, 1, 4, 5, 6, 700_000, UTC).timestamp() * 1000)


def test_nothing_is_kept_before_something_happens() -> None:
    assert PileTransitions().rows() == []


def test_transitions_read_back_in_words_oldest_first() -> None:
    kept = PileTransitions()
    kept.add(AT, 0, LoginAsked, PileStatus.UNKNOWN, PileStatus.ONLINE)
    kept.add(AT + 1_234, 2, Telemetry, GunState.IDLE, GunState.CHARGING)
    kept.add(AT + 2_000, 0, LinkLost, PileStatus.ONLINE, PileStatus.OFFLINE)
    assert kept.rows() == [
        {
            "at": "2026-03-01T04:05:06.700000+00:00",
            "machine": "pile",
            "event": "LoginAsked",
            "from": "unknown",
            "to": "online",
        },
        {
            "at": "2026-03-01T04:05:07.900000+00:00",  # tenths of a second are kept
            "machine": "gun:2",
            "event": "Telemetry",
            "from": "idle",
            "to": "charging",
        },
        {
            "at": "2026-03-01T04:05:08.700000+00:00",
            "machine": "pile",
            "event": "LinkLost",
            "from": "online",
            "to": "offline",
        },
    ]


def test_the_last_fifty_are_kept_in_order() -> None:
    kept = PileTransitions()
    for number in range(3 * KEPT + 7):
        kept.add(AT + number * 1_000, 1, Telemetry, GunState.IDLE, GunState.PLUGGED)
    rows = kept.rows()
    assert len(rows) == KEPT
    expected = [AT + number * 1_000 for number in range(2 * KEPT + 7, 3 * KEPT + 7)]
    assert [round(datetime.fromisoformat(row["at"]).timestamp() * 1000) for row in rows] == expected


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_has_its_name(event: type) -> None:
    kept = PileTransitions()
    kept.add(AT, 0, event, PileStatus.OFFLINE, PileStatus.ONLINE)
    assert kept.rows()[0]["event"] == event.__name__


def test_an_event_of_no_machine_is_called_other() -> None:
    kept = PileTransitions()
    kept.add(AT, 0, int, PileStatus.OFFLINE, PileStatus.ONLINE)
    assert kept.rows()[0]["event"] == "other"


@pytest.mark.parametrize("moment", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2038, 7, 1, tzinfo=UTC)])
def test_a_clock_that_is_far_off_hurts_nothing(moment: datetime) -> None:
    kept = PileTransitions()
    kept.add(round(moment.timestamp() * 1000), 1, Telemetry, GunState.IDLE, GunState.FAULT)
    assert kept.rows()[0]["to"] == "fault"


def test_a_transition_takes_eight_bytes() -> None:
    kept = PileTransitions()
    for _ in range(10 * KEPT):
        kept.add(AT, 1, Telemetry, GunState.IDLE, GunState.PLUGGED)
    packed = kept._packed
    assert packed is not None
    assert packed.itemsize == 8
    assert sys.getsizeof(packed) <= 8 * KEPT + 200
