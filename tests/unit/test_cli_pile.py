"""`pileward pile` and `pileward inspect` against a whole node: what a newcomer types, and what he reads."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from pileward.http.app import make_app
from pileward.messages.commands import WatchFrames
from tests.nodes import CODES, TOKEN, Street
from tests.unit.engine_actors import boom, inside

pytestmark = pytest.mark.slow  # each test starts processes of its own

Terminal = Callable[..., Awaitable[tuple[int, str]]]
STRANGER = "32010600000077"


@pytest.fixture
async def terminal(street: Street) -> AsyncIterator[Terminal]:
    """Runs `pileward …` as a person would, against the street's node."""
    server = TestServer(make_app(street.node))
    await server.start_server()
    environ = {
        **os.environ,
        "PILEWARD_URL": str(server.make_url("/")),
        "PILEWARD_OPERATOR_TOKEN": TOKEN,
        "COLUMNS": "200",
    }

    async def run(*words: str, **more: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pileward", *words),
            env={**environ, **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    yield run
    await server.close()


async def discover(street: Street) -> None:
    """Let a pile that nobody has registered try to log in."""
    street.power_on(STRANGER, guns=3)
    await street.eventually(lambda: street.node.metrics.logins_refused["unknown_pile"])
    await street.settle()


async def test_a_newcomer_puts_a_pile_on_the_line_in_one_command(street: Street, terminal: Terminal) -> None:
    code, output = await terminal("pile", "add", STRANGER, "--guns", "1", "--kind", "ac", "--name", "门口")
    assert (code, output) == (0, f"已登记 / registered: {STRANGER}\n")
    config = street.pile(STRANGER).config
    assert (config.name, config.kind, config.gun_count, config.rated_power_w) == ("门口", "ac", 1, 7_000)
    street.power_on(STRANGER, guns=1)
    await street.online(STRANGER)
    code, output = await terminal("pile", "list")
    (row,) = [line for line in output.splitlines() if STRANGER in line]
    assert (code, "门口" in row, "online" in row, "1:idle" in row, "✓" in row) == (0, True, True, True, True)
    code, output = await terminal("pile", "add", STRANGER)
    assert code == 1
    assert output.startswith("Error: pile_exists:")


async def test_a_discovered_pile_is_adopted_as_it_described_itself(
    street: Street, terminal: Terminal
) -> None:
    await discover(street)
    code, output = await terminal("pile", "list", "--discovered")
    assert (code, STRANGER in output, CODES[0] in output) == (0, True, False)
    assert f"pileward pile adopt {STRANGER}" in output
    code, output = await terminal("pile", "adopt", STRANGER, "--station", "S1")
    assert (code, output) == (0, f"已接纳 / adopted: {STRANGER}\n")
    assert street.pile(STRANGER).config.gun_count == 3
    code, output = await terminal("pile", "adopt", STRANGER, "--station", "nowhere")
    assert (code, "没有场站 nowhere" in output) == (1, True)


async def test_without_a_token_the_terminal_says_what_to_do(terminal: Terminal) -> None:
    code, output = await terminal(
        "pile", "list", PILEWARD_OPERATOR_TOKEN="", PILEWARD_NODE_STATE_DIR="/nowhere"
    )
    assert (code, "PILEWARD_OPERATOR_TOKEN" in output) == (1, True)
    code, output = await terminal("pile", "list", PILEWARD_OPERATOR_TOKEN="wrong-token-0123456789")
    assert (code, "Traceback" in output) == (1, False)


async def test_inspect_shows_the_tree_and_one_actor(street: Street, terminal: Terminal) -> None:
    code, output = await terminal("inspect")
    assert code == 0
    for name in ("StoreActor~", "FleetActor~", "GatewayActor~", "PileActor~", CODES[2]):
        assert name in output
    fleet = street.node.around.fleet.path
    code, output = await terminal("inspect", fleet)
    assert code == 0
    assert json.loads(output)["info"]["detail"]["piles"] == 3
    code, output = await terminal("inspect", "/Nobody~99")
    assert (code, "unknown_actor" in output) == (1, True)


async def test_inspect_shows_what_happened_to_a_pile_that_failed(street: Street, terminal: Terminal) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    address = street.node.around.piles[CODES[0]]
    inside(address)._watch = boom
    street.node.engine.tell(address, WatchFrames())
    await street.online(CODES[0])
    code, output = await terminal("inspect", CODES[0], "--frames", "5")
    assert code == 0
    for words in ("Boom: on purpose", "restarts", "Resumed", "gun:1", "online", "0x13", "↑"):
        assert words in output
    code, output = await terminal("inspect", CODES[0], "--json")
    told: dict[str, Any] = json.loads(output)
    assert (told["info"]["failures"], told["info"]["restarts"], told["info"]["state"]) == (1, 1, "online")
