"""The clock: rates, origins, and time that is moved by hand."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pileward.clock import Clock, ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_plain_clock_shows_the_time_of_the_machine() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    assert before <= clock.utc() <= datetime.now(UTC)
    assert abs(clock.epoch_ms() - time.time() * 1000) < 1000
    assert clock.utc().tzinfo is UTC


def test_a_clock_starts_at_its_origin_and_runs_at_its_rate() -> None:
    clock = Clock(rate=1000.0, origin=NOON)
    start = time.monotonic()
    while time.monotonic() - start < 0.01:
        pass
    elapsed_s = (clock.utc() - NOON).total_seconds()
    assert 10 <= elapsed_s <= (time.monotonic() - start + 1) * 1000
    assert clock.monotonic() >= elapsed_s
    assert clock.epoch_ms() >= NOON.timestamp() * 1000 + elapsed_s * 1000 - 1


def test_real_seconds_follow_the_rate() -> None:
    assert Clock(rate=60.0).real_s(90.0) == 1.5
    assert Clock().real_s(90.0) == 90.0


def test_an_origin_in_another_zone_is_shown_in_utc() -> None:
    china = NOON.astimezone(timezone(timedelta(hours=8)))
    assert ManualClock(china).utc() == NOON
    assert ManualClock(china).utc().tzinfo is UTC


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Clock(rate=rate)


def test_an_origin_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Clock(origin=datetime(2026, 1, 1))  # noqa: DTZ001 - the fault that is looked for


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(NOON)
    assert (clock.monotonic(), clock.utc()) == (0.0, NOON)
    clock.advance(1.5)
    assert clock.monotonic() == 1.5
    assert clock.utc() == NOON + timedelta(seconds=1.5)
    assert clock.epoch_ms() == NOON.timestamp() * 1000 + 1500
    assert clock.real_s(1.0) == math.inf


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_time_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="back"):
        ManualClock().advance(seconds)


class _Sleeper:
    """Waits for given moments and notes when it was run."""

    def __init__(self, clock: ManualClock, *due: float) -> None:
        self.clock = clock
        self.due = sorted(due)
        self.ran_at: list[float] = []

    def next_due(self) -> float | None:
        return self.due[0] if self.due else None

    def run_due(self) -> None:
        self.ran_at.append(self.clock.monotonic())
        self.due.pop(0)
        if self.clock.monotonic() == 3.0:
            self.due.append(4.0)  # what a timer does may set another one


def test_advancing_stops_at_each_awaited_moment() -> None:
    clock = ManualClock()
    one, two = _Sleeper(clock, 1.0, 3.0), _Sleeper(clock, 2.0, 9.0)
    clock.attach(one)
    clock.attach(two)
    clock.advance(5.0)
    assert one.ran_at == [1.0, 3.0, 4.0]
    assert two.ran_at == [2.0]
    assert clock.monotonic() == 5.0


def test_what_is_overdue_runs_at_the_present_moment() -> None:
    clock = ManualClock()
    clock.advance(10.0)
    late = _Sleeper(clock, 7.0)
    clock.attach(late)
    clock.advance(0.0)
    assert late.ran_at == [10.0]
