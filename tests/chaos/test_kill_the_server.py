"""Real processes, really killed: what was confirmed is there, everybody comes back, nobody is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pileward.cli.demo_seed import FIRST_CODE, PILES
from pileward.codecs.ykc import frames
from tests.chaos.demo import DemoProcess, demo_in, is_alive, until
from tests.hand import HandPile, dial, record, trade_no

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OURS = "32010600990001"
STRANGER = "32010600990002"
BATCH = 40


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoProcess]:
    """A demo in a folder of its own, not started yet."""
    with demo_in(tmp_path / "state") as process:
        yield process


async def pile_of(demo: DemoProcess, code: str = OURS) -> HandPile:
    """A pile of ours, logged in with the demo's server."""
    pile = HandPile(await dial(demo.ports["ykc"]), code)
    await pile.be_accepted()
    return pile


def kept(demo: DemoProcess) -> list[str]:
    """Numbers of our pile's records in the database."""
    rows = demo.rows("SELECT wire_number FROM pile_record WHERE pile_code = ?", OURS)
    return [number for (number,) in rows]


def confirmed_by(pile: HandPile) -> set[str]:
    """Numbers that the server confirmed to a pile."""
    return {answer.trade_no for answer in pile.peer.heard(frames.TransactionRecordAnswer)}


async def test_a_killed_server_is_started_again_and_nothing_is_lost(demo: DemoProcess) -> None:
    await demo.started()
    demo.operate("pile", "add", OURS, "--guns", "2")
    confirmed: set[str] = set()
    sent = 0
    for _ in range(2):
        pile = await pile_of(demo)
        pile.peer.say(*(record(OURS, number) for number in range(sent, sent + BATCH)))
        sent += BATCH
        await pile.peer.hear(frames.TransactionRecordAnswer, 5)  # the rest is on its way
        server = demo.pid_of("serve")
        os.kill(server, signal.SIGKILL)
        await pile.peer.hear_close()
        confirmed |= confirmed_by(pile)
        assert confirmed <= set(kept(demo)), "what was confirmed is there"
        await until(lambda dead=server: demo.pid_of("serve") not in (0, dead), what="another server")  # type: ignore[misc]
        await until(demo.all_online, what="all piles back")
    pile = await pile_of(demo)
    pile.peer.say(*(record(OURS, number) for number in range(sent)))
    await pile.peer.hear(frames.TransactionRecordAnswer, sent)
    assert sorted(kept(demo)) == sorted(trade_no(OURS, number) for number in range(sent))
    assert demo.rows("SELECT count(*) FROM pile_record WHERE variant > 0") == [(0,)]
    assert "starting it again" in (demo.state / "demo.out").read_text()
    pile.peer.hang_up()
    assert await demo.interrupted() == 0


async def test_after_a_kill_of_the_whole_tree_the_demo_goes_on(demo: DemoProcess) -> None:
    await demo.started()
    demo.operate("pile", "add", OURS)
    pile = await pile_of(demo)
    pile.peer.say(*(record(OURS, number) for number in range(BATCH)))
    await pile.peer.hear(frames.TransactionRecordAnswer, 5)
    token, before = demo.token, demo.get("/debug/actors")["engine"]["now"]
    family = demo.family()
    assert len(family) >= 3, family
    demo.kill_all(family)
    await pile.peer.hear_close()
    assert confirmed_by(pile) <= set(kept(demo))
    assert not any(is_alive(pid) for pid in family)

    await demo.started()
    assert demo.token == token
    assert demo.get("/debug/actors")["engine"]["now"] > before, "time never runs backwards"
    await until(lambda: len(demo.piles()) == PILES + 1, what="all piles on the page")
    assert demo.rows("SELECT count(*) FROM station") == [(2,)]
    pile = await pile_of(demo)
    pile.peer.say(*(record(OURS, number) for number in range(BATCH)))
    await pile.peer.hear(frames.TransactionRecordAnswer, BATCH)
    assert sorted(kept(demo)) == sorted(trade_no(OURS, number) for number in range(BATCH))
    pile.peer.hang_up()
    assert await demo.interrupted() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_stops_everything_within_seconds(demo: DemoProcess, number: signal.Signals) -> None:
    await demo.started()
    family = demo.family()
    began = asyncio.get_running_loop().time()
    assert await demo.interrupted(number) == 0
    assert asyncio.get_running_loop().time() - began < 20
    assert not [line for pid, line in family.items() if is_alive(pid)]
    out = (demo.state / "demo.out").read_text()
    assert "Traceback" not in out
    assert str(demo.state) in out.splitlines()[-1]


async def test_ctrl_c_before_it_is_ready_stops_it_as_well(demo: DemoProcess) -> None:
    demo.start()
    await until(lambda: len(demo.family()) > 1, what="a first child")
    family = demo.family()
    assert await demo.interrupted() == 0
    await until(lambda: not any(is_alive(pid) for pid in family), what="the children's end")
    assert "Traceback" not in (demo.state / "demo.out").read_text()


async def test_children_do_not_outlive_a_killed_parent(demo: DemoProcess) -> None:
    await demo.started()
    family = demo.family()
    assert demo.process is not None
    demo.process.kill()
    await demo.ended()
    await until(lambda: not any(is_alive(pid) for pid in family), what="the children's end")
    await demo.started()
    assert await demo.interrupted() == 0


async def test_a_newcomer_adds_adopts_lists_and_looks_inside(demo: DemoProcess) -> None:
    await demo.started()
    assert FIRST_CODE in demo.operate("pile", "list")

    assert OURS in demo.operate("pile", "add", OURS, "--name", "我的桩", "--guns", "2")
    ours = HandPile(await dial(demo.ports["ykc"]), OURS)
    await ours.come_online()
    await until(lambda: _state(demo, OURS) == "online", what="our pile online")
    assert "我的桩" in demo.operate("pile", "list")

    stranger = HandPile(await dial(demo.ports["ykc"]), STRANGER, guns=1)
    stranger.log_in()
    await stranger.peer.hear(frames.LoginAnswer, result=1)
    await until(lambda: STRANGER in demo.operate("pile", "list", "--discovered"), what="the stranger listed")
    assert STRANGER in demo.operate("pile", "adopt", STRANGER)
    await stranger.come_online()
    await until(lambda: _state(demo, STRANGER) == "online", what="the stranger online")
    assert STRANGER not in demo.operate("pile", "list", "--discovered")

    tree = demo.operate("inspect")
    assert "FleetActor" in tree
    shown = json.loads(demo.operate("inspect", OURS, "--json"))
    assert shown["info"]["state"] == "online"
    assert "0x13" in demo.operate("inspect", OURS, "--frames", "20")
    assert OURS in demo.operate("inspect", shown["info"]["path"])

    tail = demo.get(f"/debug/piles/{OURS}/frames?limit=50")["items"]
    login = next(frame["hex"] for frame in tail if frame["decoded"]["frame_type"] == "0x01")
    decoded = json.loads(demo.cli("decode", "--protocol", "ykc", login))
    assert (decoded["ok"], decoded["fields"]["pile_no"]) == (True, OURS)
    again = demo.cli("decode", "--protocol", "ykc", "--encode", stdin=json.dumps(decoded))
    assert login.upper() in again.upper()

    for pile in (ours, stranger):
        pile.peer.hang_up()
    await until(partial(_is_gone, demo, OURS), what="our pile gone")
    assert await demo.interrupted() == 0


def _state(demo: DemoProcess, code: str) -> str:
    return next((str(pile["state"]) for pile in demo.piles() if pile["pile_code"] == code), "")


def _is_gone(demo: DemoProcess, code: str) -> bool:
    return _state(demo, code) == "offline"
