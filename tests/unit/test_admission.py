"""Admission: a burst at once, then so many a second, and nobody waits too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileward.actors.surroundings import Admission

GAPS = st.lists(st.floats(min_value=0.0, max_value=3.0), min_size=1, max_size=60)


def waits(admission: Admission, count: int, now: float) -> list[float]:
    return [admission.wait_s(now) for _ in range(count)]


@pytest.mark.parametrize("now", [0.0, 0.3, 1_000_000.0])
def test_a_burst_is_admitted_at_once_and_then_one_after_the_other(now: float) -> None:
    admission = Admission(rate_per_s=10.0, burst=5)
    assert waits(admission, 5, now) == pytest.approx([0.0] * 5, abs=1e-6)
    assert waits(admission, 3, now) == pytest.approx([0.1, 0.2, 0.3], abs=1e-6)


def test_places_that_were_not_used_come_back_up_to_the_burst() -> None:
    admission = Admission(rate_per_s=10.0, burst=5)
    waits(admission, 10, 0.0)
    assert admission.wait_s(0.5) == pytest.approx(0.1)
    assert waits(admission, 5, 100.0) == [0.0] * 5
    assert admission.wait_s(100.0) > 0


def test_nobody_waits_longer_than_a_pile_has_patience() -> None:
    admission = Admission(rate_per_s=1.0, burst=1, longest_wait_s=10.0)
    assert max(waits(admission, 1_000, 0.0)) == 10.0


def test_a_mass_reconnection_is_spread_evenly() -> None:
    admission = Admission(rate_per_s=2_000.0, burst=2_000)
    found = waits(admission, 10_000, 5.0)
    assert found[:2_000] == pytest.approx([0.0] * 2_000, abs=1e-6)
    assert found[-1] == pytest.approx(4.0)
    in_a_second = [sum(second <= wait < second + 1 for wait in found[2_000:]) for second in range(4)]
    assert all(abs(count - 2_000) <= 1 for count in in_a_second)


@given(GAPS, st.integers(min_value=1, max_value=20))
def test_never_more_than_the_rate_allows(gaps: list[float], burst: int) -> None:
    """Over any time from a start on, at most burst + rate x time logins are admitted."""
    rate = 4.0
    admission = Admission(rate, burst, longest_wait_s=1e9)
    now, admitted = 0.0, []
    for gap in gaps:
        now += gap
        admitted.append(now + admission.wait_s(now))
    assert admitted == sorted(admitted)
    for start, first in enumerate(admitted):
        for count, last in enumerate(admitted[start:], start=1):
            assert count <= burst + rate * (last - first) + 1 + 1e-6
