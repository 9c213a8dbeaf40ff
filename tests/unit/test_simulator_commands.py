"""`pileward simulate` and `pileward load` as their users call them."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pileward.cli.load import allow_files
from pileward.cli.load import command as load
from pileward.cli.simulate import command as simulate
from pileward.codecs.ykc.frames_link import BillingModelRequest, Login
from pileward.simulator.plan import Plan
from tests.unit.simulator_street import CODE, Platform


async def call(*arguments: str) -> asyncio.subprocess.Process:
    """Start a command in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pileward",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_load_prints_its_figures_as_json() -> None:
    async with Platform(set(Plan(first_code=CODE, piles=20).codes)) as platform:
        process = await call(
            *("load", "--port", str(platform.port), "--first-code", CODE, "--piles", "20"),
            *("--heartbeat", "1", "--duration", "2.2", "--json"),
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["online"], report["connections"], report["errors"]) == (20, 20, {})
    assert report["heartbeat"]["count"] >= 40
    assert report["frames_up_per_s"] > 0


async def test_load_prints_a_table_and_fails_when_piles_stay_away() -> None:
    async with Platform({CODE}) as platform:
        process = await call(
            *("load", "--port", str(platform.port), "--first-code", CODE, "--piles", "2", "--duration", "60")
        )
        await platform.until(lambda: platform.count(Login) == 2)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 1
    text = out.decode()
    assert "在线桩 piles online" in text and "1 / 2" in text
    assert "login_refused" in text


async def test_simulate_lives_remembers_and_ends_cleanly(tmp_path: Path) -> None:
    async with Platform({CODE}) as platform:
        arguments = (
            *("simulate", "--port", str(platform.port), "--first-code", CODE, "--piles", "1"),
            *(
                "--state",
                str(tmp_path),
                "--rate",
                "50",
                "--origin",
                "2026-03-01T12:00:00+08:00",
                "--ramp",
                "0",
            ),
        )
        process = await call(*arguments)
        await platform.until((tmp_path / f"{CODE}.json").exists)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        asked = platform.count(BillingModelRequest)
        process = await call(*arguments, "--duration", "1")
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert asked == platform.count(BillingModelRequest) == 1, "the second time it knows its tariff"


def test_a_target_that_is_not_this_machine_has_to_be_meant() -> None:
    result = CliRunner().invoke(load, ["--host", "203.0.113.1", "--piles", "1"])
    assert result.exit_code == 1
    assert "--allow-remote" in result.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--first-code", "12"], "14 digits"),
        (["--prefix", "1" * 14], "fewer than 14"),
        (["--prefix", "1", "--first-code", CODE], "not both"),
        (["--origin", "yesterday"], "yesterday"),
        (["--origin", "2026-03-01T12:00:00"], "aware"),
        (["--piles", "0"], "range"),
        (["--profile", "wild"], "wild"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code != 0
    assert complaint in result.output


def test_more_connections_than_files_are_refused() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine has no limit of open files")
    with pytest.raises(click.ClickException, match="open files"):
        allow_files(hard)
