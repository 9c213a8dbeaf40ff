"""Lesson 19, end to end: rows carry our time in UTC; what a device's clock says is checked against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pileward.codecs.ykc import frames
from tests import books
from tests.hand import online_by_hand, record
from tests.nodes import CODES, ORIGIN, Street
from tests.waiting import until

CODE = CODES[0]


async def test_a_record_is_stored_with_the_time_it_came_and_the_times_it_tells(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    night = datetime(2026, 2, 28, 16, 30, tzinfo=UTC)  # half past midnight on the first of March in China
    pile.peer.say(record(CODE, start_time=night, end_time=night + timedelta(hours=1)))
    await pile.peer.hear(frames.TransactionRecordAnswer)
    ((received_at, decoded),) = books.read(street, "SELECT received_at, decoded FROM pile_record")
    assert datetime.fromisoformat(received_at) == ORIGIN
    assert '"started_at":"2026-02-28T16:30:00+00:00"' in decoded


async def test_a_clock_that_is_an_hour_off_is_noticed(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.tell_time(ORIGIN + timedelta(hours=1))
    await until(lambda: street.alarms(CODE) == {"clock_drift"})
    assert street.pile(CODE).clock_drift_ms == 3_600_000


async def test_the_zone_of_the_device_is_not_taken_for_drift(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    await street.eventually(lambda: street.pile(CODE).clock_drift_ms is not None)
    assert abs(street.pile(CODE).clock_drift_ms or 0) < 1_000
    assert control.pile.clock.read(street.clock.monotonic()) - street.clock.utc() < timedelta(seconds=1)
