"""The clock of a state folder: it goes on after a restart, at its rate, and never goes back."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pileward.config import clock_state

START = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


class Machine:
    """The machine's own clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(time, "time_ns", lambda: round(self.now.timestamp() * 1000) * 1_000_000)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_the_first_start_begins_now(tmp_path: Path, machine: Machine) -> None:
    clock = clock_state.resume(tmp_path / "state", 60.0)
    assert (clock.origin, clock.rate) == (START, 60.0)
    assert (tmp_path / "state" / clock_state.FILE).is_file()


def test_a_later_start_goes_on_as_if_it_had_never_stopped(tmp_path: Path, machine: Machine) -> None:
    clock_state.resume(tmp_path, 60.0)
    machine.pass_time(10.0)
    assert clock_state.resume(tmp_path, 60.0).origin == START + timedelta(minutes=10)
    machine.pass_time(10.0)
    assert clock_state.resume(tmp_path, 60.0).origin == START + timedelta(minutes=20)


def test_server_and_simulator_agree(tmp_path: Path, machine: Machine) -> None:
    server = clock_state.resume(tmp_path, 60.0)
    stored = (tmp_path / clock_state.FILE).read_bytes()
    simulator = clock_state.resume(tmp_path, 60.0)
    assert simulator.origin == server.origin
    assert (tmp_path / clock_state.FILE).read_bytes() == stored


def test_a_changed_rate_begins_where_the_old_one_has_got_to(tmp_path: Path, machine: Machine) -> None:
    clock_state.resume(tmp_path, 60.0)
    machine.pass_time(60.0)
    assert clock_state.resume(tmp_path, 10.0).origin == START + timedelta(hours=1)
    machine.pass_time(60.0)
    assert clock_state.resume(tmp_path, 10.0).origin == START + timedelta(hours=1, minutes=10)


def test_a_machine_whose_clock_went_back_takes_no_time_back(tmp_path: Path, machine: Machine) -> None:
    clock_state.resume(tmp_path, 60.0)
    machine.pass_time(60.0)
    begun = clock_state.resume(tmp_path, 10.0).origin
    machine.pass_time(-3_600.0)
    assert clock_state.resume(tmp_path, 10.0).origin == begun
    assert clock_state.resume(tmp_path, 20.0).origin == begun


def test_the_point_is_written_whole_or_not_at_all(tmp_path: Path, machine: Machine) -> None:
    clock_state.resume(tmp_path, 60.0)
    assert [path.name for path in tmp_path.iterdir()] == [clock_state.FILE]
    assert json.loads((tmp_path / clock_state.FILE).read_text()) == {
        "real_ms": round(START.timestamp() * 1000),
        "clock_ms": round(START.timestamp() * 1000),
        "rate": 60.0,
    }
