"""The public edge on a whole node: overview, live feed, health, metrics, pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.http import feed
from pileward.http.app import make_app
from pileward.ports import GUN_TOPIC
from tests.nodes import CODES, Street

Client = TestClient[Any, Application]


@pytest.fixture
async def client(street: Street, aiohttp_client: Callable[[Application], Awaitable[Client]]) -> Client:
    """A client of the node's application."""
    return await aiohttp_client(make_app(street.node))


async def hear(socket: ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    while True:
        message: dict[str, Any] = await socket.receive_json(timeout=10)
        if message["type"] == kind:
            return message


async def hear_event(socket: ClientWebSocketResponse, **wanted: Any) -> dict[str, Any]:
    """The next event with these values."""
    while True:
        for event in (await hear(socket, "changes"))["events"]:
            found: dict[str, Any] = event
            if all(found.get(name) == value for name, value in wanted.items()):
                return found


def gun_event(pile_code: str, gun_no: int, state: str) -> bytes:
    """A change of one gun as an actor publishes it."""
    text = f'{{"type":"gun","pile_code":"{pile_code}","gun_no":{gun_no},"state":"{state}"}}'
    return text.encode()


async def test_overview_shows_every_gun(client: Client) -> None:
    answer = await client.get("/api/public/v1/overview")
    assert answer.status == 200
    body = await answer.json()
    (station,) = body["stations"]
    assert (station["name_zh"], station["name_en"]) == ("一号站", "Station one")
    assert [pile["pile_code"] for pile in station["piles"]] == list(CODES)
    assert [len(pile["guns"]) for pile in station["piles"]] == [2, 2, 2]
    assert body["pile_counts"] == {"unknown": 3}
    assert body["is_partial"] is False
    assert body["fault_texts"]["emergency_stop"] == ["急停按钮动作", "emergency stop pressed"]


async def test_the_feed_is_a_snapshot_and_then_every_change(client: Client, street: Street) -> None:
    async with client.ws_connect("/ws") as socket:
        snapshot = await hear(socket, "snapshot")
        assert snapshot["pile_counts"] == {"unknown": 3}
        (control,) = street.power_on(CODES[0])
        await street.online(CODES[0])
        await hear_event(socket, type="pile", pile_code=CODES[0], state="online")
        control.plug(2)
        await street.pass_time(1)
        event = await hear_event(socket, type="gun", pile_code=CODES[0], gun_no=2, state="plugged")
        assert event["is_plugged"] is True


async def test_of_one_gun_only_the_newest_change_is_sent(client: Client, street: Street) -> None:
    async with client.ws_connect("/ws") as socket:
        await hear(socket, "snapshot")
        for number in range(50):
            street.node.bus.publish(GUN_TOPIC, gun_event("1", 1, f"state-{number}"))
        street.node.bus.publish(GUN_TOPIC, gun_event("1", 2, "other"))
        events = (await hear(socket, "changes"))["events"]
        assert [(event["gun_no"], event["state"]) for event in events] == [(1, "state-49"), (2, "other")]


async def test_a_listener_that_lags_is_told_and_gets_a_new_snapshot(
    client: Client, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "QUEUE", 10)
    async with client.ws_connect("/ws") as socket:
        await hear(socket, "snapshot")
        for number in range(25):
            street.node.bus.publish(GUN_TOPIC, gun_event("1", number, "idle"))
        assert (await hear(socket, "lagged"))["lost"] == 15
        await hear(socket, "snapshot")


async def test_what_is_gathered_is_bounded(
    client: Client, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "GATHERED_MAX", 10)
    async with client.ws_connect("/ws") as socket:
        await hear(socket, "snapshot")
        for number in range(12):
            street.node.bus.publish(GUN_TOPIC, gun_event("1", number, "idle"))
        assert (await hear(socket, "lagged"))["lost"] >= 11


async def test_too_many_guns_are_counted_and_not_all_sent(
    client: Client, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SHOWN_GUNS", 3)
    async with client.ws_connect("/ws") as socket:
        snapshot = await hear(socket, "snapshot")
        assert [pile["pile_code"] for pile in snapshot["stations"][0]["piles"]] == [CODES[0]]
        assert snapshot["is_partial"] is True
        assert sum(snapshot["gun_counts"].values()) == 6
        street.node.bus.publish(GUN_TOPIC, gun_event(CODES[0], 1, "idle"))
        street.node.bus.publish(GUN_TOPIC, gun_event(CODES[1], 1, "idle"))
        events = (await hear(socket, "changes"))["events"]
        assert [event["pile_code"] for event in events] == [CODES[0]]
        assert sum((await hear(socket, "counts"))["gun_counts"].values()) == 6


async def test_silence_is_broken_so_that_a_dead_connection_shows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TICK_S", 0.05)
    async with client.ws_connect("/ws") as socket:
        await hear(socket, "snapshot")
        assert (await hear(socket, "changes"))["events"] == []


async def test_the_feed_speaks_websocket_only_and_to_our_pages_only(client: Client) -> None:
    answer = await client.get("/ws")
    assert (answer.status, (await answer.json())["code"]) == (426, "websocket_required")
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", origin="https://elsewhere.example")
    assert refused.value.status == 403


async def test_one_address_may_not_look_all_the_time(client: Client) -> None:
    statuses = [(await client.get("/api/public/v1/overview")).status for _ in range(feed.LOOKS_BURST + 5)]
    assert statuses[: feed.LOOKS_BURST] == [200] * feed.LOOKS_BURST
    assert statuses[-1] == 429


async def test_listeners_end_with_the_server(client: Client, street: Street) -> None:
    socket = await client.ws_connect("/ws")
    await hear(socket, "snapshot")
    assert street.node.bus.stats.subscribers == 1
    await client.server.close()
    message = await socket.receive(timeout=5)
    assert message.data == 1001
    assert street.node.bus.stats.subscribers == 0


async def test_machines_that_watch(client: Client, street: Street) -> None:
    assert await (await client.get("/healthz")).json() == {"status": "ok"}
    ready = await client.get("/readyz")
    assert ready.status == 200
    assert await ready.json() == {
        "is_ready": True,
        "checks": {"database": "", "store": "", "listener": ""},
    }
    metrics = await client.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain")
    assert 'pileward_piles{state="unknown"} 3.0' in (await metrics.text()).lower()
    await street.node.gateways[0].close()
    unready = await client.get("/readyz")
    problem = await unready.json()
    assert (unready.status, problem["code"]) == (503, "not_ready")
    assert problem["detail"]["checks"]["listener"] == "not listening"


@pytest.mark.parametrize(
    ("path", "kind", "word"),
    [
        ("/", "text/html", "充电桩实时监管"),
        ("/static/live.js", "text/javascript", "Feed"),
        ("/static/icon.svg", "image/svg+xml", "svg"),
        ("/docs", "text/html", "swagger-ui"),
        ("/docs/viewer/swagger-ui.css", "text/css", "swagger"),
        ("/openapi.json", "application/json", '"openapi":"3.1.0"'),
        ("/openapi-3.0.json", "application/json", '"openapi":"3.0.3"'),
    ],
)
async def test_pages_need_nothing_from_elsewhere(client: Client, path: str, kind: str, word: str) -> None:
    answer = await client.get(path)
    text = await answer.text()
    assert (answer.status, answer.content_type.rpartition("/")[2]) == (200, kind.rpartition("/")[2])
    assert word in text
    if kind == "text/html":
        assert "//" not in text.replace("</", "").replace("<!doctype", "")
