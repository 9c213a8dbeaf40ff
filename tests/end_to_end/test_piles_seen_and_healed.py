"""What happens to a pile shows on the page, on the live feed and in /debug, and heals by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.actors.pile_state import PileStatus
from pileward.actors.supervised import TimerFired
from pileward.http.app import make_app
from pileward.ports import PILE_TOPIC, Subscription
from pileward.simulator.control import Control
from tests.nodes import CODES, TOKEN, Street

Client = TestClient[Any, Application]
Trouble = Callable[[Street, Control], None]
CODE = CODES[0]


def lose_the_socket(street: Street, control: Control) -> None:
    control.drop(is_reset=True)


def freeze(street: Street, control: Control) -> None:
    control.freeze()


def send_garbage(street: Street, control: Control) -> None:
    for _ in range(12):  # that many, each of its own, end the connection
        control.send_garbage(b"\x68\x0d\x00\x00\x00\x03" + b"\xee" * 11)


def fail_inside(street: Street, control: Control) -> None:
    street.node.engine.tell(street.node.around.piles[CODE], TimerFired("a timer that nobody knows"))


CASES: list[tuple[Trouble, str, set[str]]] = [
    (lose_the_socket, "offline", {"network_error", "peer_closed"}),
    (freeze, "offline", {"silent"}),
    (send_garbage, "offline", {"damaged_frames"}),
    (fail_inside, "online", {"actor_failed"}),
]
"""Trouble, the state it leads to, and the reason that people are shown."""


@pytest.fixture
async def client(street: Street, aiohttp_client: Callable[..., Awaitable[Client]]) -> Client:
    """Somebody with the operator's token."""
    return await aiohttp_client(make_app(street.node), headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
async def feed(street: Street) -> AsyncIterator[Subscription]:
    """Somebody who watches the page."""
    async with street.node.bus.subscribe(PILE_TOPIC) as events:
        yield events


async def look(client: Client, path: str) -> Any:
    """What a route answers."""
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def shown(client: Client) -> dict[str, Any]:
    """The pile as the page shows it."""
    overview = await look(client, "/api/public/v1/overview")
    (pile,) = [pile for pile in overview["stations"][0]["piles"] if pile["pile_code"] == CODE]
    return dict(pile)


@pytest.mark.parametrize(("trouble", "state", "reasons"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_trouble_is_seen_and_heals(
    street: Street, client: Client, feed: Subscription, trouble: Trouble, state: str, reasons: set[str]
) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    trouble(street, control)

    def is_told() -> bool:
        events = street.node.recent_events()
        return any(getattr(event, "reason", "") in reasons for event in events)

    await street.eventually(is_told, what="the event")
    if state == "offline":
        assert street.pile(CODE).status is PileStatus.OFFLINE
        pile = await shown(client)
        assert (pile["state"], {gun["state"] for gun in pile["guns"]}) == ("offline", {"offline"})
        assert pile["reason"] in reasons
        info = (await look(client, f"/debug/piles/{CODE}"))["info"]
        last = [row for row in info["detail"]["transitions"] if row["machine"] == "pile"][-1]
        assert (last["from"], last["to"]) == ("online", "offline")
    if trouble is send_garbage:
        items = (await look(client, f"/debug/piles/{CODE}/frames"))["items"]
        assert [item["damage"] for item in items].count("bad_checksum") >= 10
    if trouble is fail_inside:
        info = (await look(client, f"/debug/piles/{CODE}"))["info"]
        assert (info["failures"], info["restarts"]) == (1, 1)

    if trouble is freeze:
        control.thaw()
    await street.online(CODE)
    assert (await shown(client))["state"] == "online"
    states = [event["state"] for event in await _all(feed) if event["pile_code"] == CODE]
    assert state in states
    assert states[-1] == "online"


async def _all(feed: Subscription) -> list[Any]:
    """Every event that waits."""
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            _, payload = await asyncio.wait_for(anext(feed), 0.2)
            found.append(json.loads(payload))
    return found
