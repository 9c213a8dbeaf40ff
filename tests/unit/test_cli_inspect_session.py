"""`pileward inspect session SERIAL`: a charge that runs, and one that is over, in a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.drivers import Market
from tests.nodes import CODES, TOKEN


async def typed(market: Market, *words: str) -> tuple[int, str]:
    """What a person reads who types `pileward inspect …`."""
    environ = {"PILEWARD_URL": market.url, "PILEWARD_OPERATOR_TOKEN": TOKEN, "COLUMNS": "220"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pileward", "inspect", *words),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_charge_in_a_terminal(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun)
    await market.pass_time(30)
    code, output = await typed(market, "session", serial)
    assert code == 0, output
    for shown in (serial, "充电中 charging", "FundedBy", "SessionActor~", f"P{serial}-1", "prepaid:"):
        assert shown in output, output
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    done = await rider.reaches(serial, "closed")
    code, output = await typed(market, "session", serial)
    fen = done["bill"]["total_fen"]
    for shown in (
        "已退出 exited",
        f"R{serial}-1",
        "succeeded",
        f"{fen // 100}.{fen % 100:02d}",
        "revenue-service:",
    ):
        assert shown in output, output
    code, output = await typed(market, "session", serial, "--json")
    assert json.loads(output)["charge"]["row"]["state"] == "closed"


async def test_what_is_no_charge(market: Market) -> None:
    code, output = await typed(market, "session", "9" * 20)
    assert code != 0
    assert "session_not_found" in output
    code, output = await typed(market, "session")
    assert code != 0
    assert "inspect [pile code | path | session SERIAL]" in output
    code, output = await typed(market, CODES[0], "x")
    assert code != 0
    code, output = await typed(market, CODES[0])
    assert (code, CODES[0] in output) == (0, True)
