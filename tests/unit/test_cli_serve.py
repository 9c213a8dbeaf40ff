"""Pieces of `pileward serve`: the clock it runs on, open files, the file that says it is ready, refusals."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from pileward.cli import COMMANDS, main, serve
from pileward.config.settings import load


def test_every_command_is_there_and_says_what_it_does() -> None:
    runner = CliRunner()
    for name in COMMANDS:
        told = runner.invoke(main, [name, "--help"])
        assert told.exit_code == 0, f"{name}: {told.output}"
        assert "Usage:" in told.output
    assert runner.invoke(main, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("rate", ["1.0", "60.0"])
def test_the_clock_that_the_settings_ask_for(tmp_path: Path, rate: str) -> None:
    settings = load(environ={"PILEWARD_NODE_STATE_DIR": str(tmp_path), "PILEWARD_CLOCK_RATE": rate})
    assert serve.make_clock(settings).rate == float(rate)
    assert [path.name for path in tmp_path.iterdir()] == ([] if rate == "1.0" else ["clock.json"])


LIMITS = [
    # soft    hard     wanted   asked of the system
    (1_024,   20_000,  1_000,   1_500),
    (1_024,   20_000,  19_000,  19_500),
    (1_024,   20_000,  19_900,  20_000),
    (20_000,  20_000,  1_000,   None),
    (1_024,   -1,      99_000,  99_500),
    (-1,      -1,      99_000,  None),
]  # fmt: skip


@pytest.mark.parametrize(("soft", "hard", "wanted", "asked"), LIMITS)
def test_open_files_are_allowed_as_far_as_they_may(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, asked: int | None
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: calls.append(limits))
    serve.allow_connections(wanted)
    assert calls == ([] if asked is None else [(asked, hard)])


def test_whoever_waits_is_told_the_ports(tmp_path: Path) -> None:
    serve._write_ready(tmp_path / "ready.json", 8080, 9000)
    assert json.loads((tmp_path / "ready.json").read_text()) == {
        "http_port": 8080,
        "ykc_port": 9000,
        "pid": os.getpid(),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]


def test_a_wrong_setting_is_named_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "pileward.toml"
    path.write_text("[http]\nprot = 1\n", encoding="utf-8")
    told = CliRunner().invoke(main, ["serve", "--config", str(path)])
    assert told.exit_code == 1
    assert "did you mean http.port?" in told.output


def test_a_port_that_is_taken_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PILEWARD_NODE_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("PILEWARD_HTTP_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("PILEWARD_LOG_LEVEL", "error")
        told = CliRunner().invoke(main, ["serve"])
    assert told.exit_code == 1
    assert "in use" in told.output
    assert "token" not in told.output
    assert not (tmp_path / "pileward.sqlite3").exists()
