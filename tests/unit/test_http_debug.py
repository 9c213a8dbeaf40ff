"""Looking inside over HTTP: actors, transition tables, frames, live tail, decoding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.actors.supervised import TimerFired
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.http.app import make_app
from tests.nodes import CODES, TOKEN, Street

Client = TestClient[Any, Application]

BOMB = TimerFired("bomb")
"""A message at which the handler of a pile actor raises: there is no such timer."""
HEARTBEAT = encode_frame(frames.Heartbeat(pile_no=CODES[0], gun_no=1, gun_status=0), 7)


@pytest.fixture
async def client(street: Street, aiohttp_client: Callable[..., Awaitable[Client]]) -> Client:
    """A client of the node's application that brings the operator token."""
    return await aiohttp_client(make_app(street.node), headers={"Authorization": f"Bearer {TOKEN}"})


async def look(client: Client, path: str, status: int = 200) -> Any:
    """What `/debug` answers."""
    answer = await client.get(f"/debug{path}")
    assert answer.status == status, await answer.text()
    return await answer.json()


async def hear_frames(socket: ClientWebSocketResponse) -> list[dict[str, Any]]:
    """The frames of the next message that has any."""
    while True:
        message = await socket.receive_json(timeout=10)
        if message["items"]:
            items: list[dict[str, Any]] = message["items"]
            return items


async def test_the_tree_is_walked_from_the_top(client: Client, street: Street) -> None:
    top = await look(client, "/actors")
    assert top["actor"] is None
    assert top["engine"]["piles"] == 3
    assert top["engine"]["handled"] > 0
    fleet = next(row for row in top["children"]["items"] if row["actor_class"] == "FleetActor")
    assert fleet["children"] == 3
    level = await look(client, f"/actors?path={fleet['path']}&limit=2")
    assert level["actor"]["path"] == fleet["path"]
    rows = level["children"]["items"]
    more = await look(client, f"/actors?path={fleet['path']}&limit=2&cursor={level['children']['next']}")
    rows += more["children"]["items"]
    assert more["children"]["next"] is None
    assert [row["label"] for row in rows] == list(CODES)
    assert {row["state"] for row in rows} == {"unknown"}
    one = await look(client, f"/actor?path={rows[1]['path']}")
    assert one["info"]["detail"]["pile_code"] == CODES[1]
    assert one["parent"] == fleet["path"]


async def test_one_pile_tells_its_state_and_how_it_came_there(client: Client, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    info = (await look(client, f"/piles/{CODES[0]}"))["info"]
    detail = info["detail"]
    assert (info["state"], info["failures"], info["is_quarantined"]) == ("online", 0, False)
    assert (detail["tariff_ok"], detail["protocol"]) == (True, "ykc")
    assert {row["machine"] for row in detail["transitions"]} == {"pile", "gun:1", "gun:2"}
    assert len(detail["transitions"]) <= 50
    assert info["handled"] > 3


async def test_a_failure_shows_with_its_error(client: Client, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    engine, address = street.node.engine, street.node.around.piles[CODES[0]]
    engine.tell(address, BOMB)
    await street.settle()
    await street.online(CODES[0])
    info = (await look(client, f"/piles/{CODES[0]}"))["info"]
    assert (info["failures"], info["restarts"]) == (1, 1)
    assert "bomb" in info["last_error"]
    assert (await look(client, "/actors"))["engine"]["failures"] == 1


async def test_a_quarantined_pile_is_seen_and_released(client: Client, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    engine, address = street.node.engine, street.node.around.piles[CODES[0]]
    for _ in range(6):
        engine.tell(address, BOMB)
        await street.settle()
    await street.eventually(lambda: engine.quarantined)
    tree = await look(client, "/actors")
    assert tree["engine"]["quarantined"] == [address.path]
    overview = await (await client.get("/api/public/v1/overview")).json()
    assert overview["stations"][0]["piles"][0]["state"] == "quarantined"
    refused = await client.post(f"/api/admin/v1/piles/{CODES[0]}/commands/sync-clock")
    assert (refused.status, (await refused.json())["code"]) == (503, "actor_quarantined")
    for was_quarantined in (True, False):
        answer = await client.post(f"/api/admin/v1/piles/{CODES[0]}/commands/release")
        assert await answer.json() == {"was_quarantined": was_quarantined}
    await street.online(CODES[0])


async def test_what_is_not_there_is_a_404(client: Client) -> None:
    for path in (
        "/actor?path=/Nobody~99",
        "/actors?path=/Nobody~99",
        "/piles/7",
        "/piles/7/frames",
        "/piles/7/tail",
    ):
        assert (await look(client, path, 404))["code"] in ("unknown_actor", "pile_not_found"), path


async def test_the_last_frames_are_shown_decoded_both_ways(client: Client, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    control.send_garbage(b"\x01\x02\x03 no frame at all")
    await street.pass_time(12)
    items = (await look(client, f"/piles/{CODES[0]}/frames?limit=200"))["items"]
    first = items[0]
    assert (first["direction"], first["decoded"]["name"]) == ("up", "Login")
    assert first["decoded"]["fields"]["pile_no"] == CODES[0]
    assert {"up", "down"} == {item["direction"] for item in items}
    assert any(item["damage"] for item in items)
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)
    assert len((await look(client, f"/piles/{CODES[0]}/frames?limit=3"))["items"]) == 3


async def test_the_tail_follows_a_pile_live(client: Client, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    async with client.ws_connect(f"/debug/piles/{CODES[0]}/tail") as socket:
        started = await socket.receive_json(timeout=5)
        assert (started["type"], started["outcome"]) == ("started", "accepted")
        assert started["items"][0]["decoded"]["name"] == "Login"
        control.plug(1)
        await street.pass_time(2)
        seen = await hear_frames(socket)
        assert "Real-time data" in {item["decoded"]["name"] for item in seen}


async def test_the_tail_of_an_offline_pile_waits_for_it(client: Client) -> None:
    async with client.ws_connect(f"/debug/piles/{CODES[0]}/tail") as socket:
        assert (await socket.receive_json(timeout=5))["outcome"] == "offline"


async def test_frames_are_decoded_on_demand(client: Client) -> None:
    (item,) = (await look(client, f"/decode?hex={HEARTBEAT.hex()}"))["items"]
    assert (item["name"], item["ok"], item["fields"]["gun_no"]) == ("Heartbeat", True, 1)
    body = {"hex": f"0x{HEARTBEAT.hex(' ')} ff:ff {HEARTBEAT.hex()}"}
    answer = await client.post("/debug/decode", json=body)
    names = [item["name"] for item in (await answer.json())["items"]]
    assert names == ["Heartbeat", None, "Heartbeat"]
    one = await (await client.post("/debug/decode", json={"hex": HEARTBEAT.hex()})).json()
    assert {"name": "gun_status", "zh": "枪状态", "value": 0}.items() <= one["explained"][2].items()


async def test_what_cannot_be_decoded_is_refused(client: Client) -> None:
    for body in ({"hex": "xyz"}, {"hex": "abc"}, {"hex": " "}, {"hex": "6" * 200_001}):
        answer = await client.post("/debug/decode", json=body)
        assert (answer.status, (await answer.json())["detail"]["field"]) == (400, "hex")
    answer = await client.post("/debug/decode", json={"hex": "68", "protocol": "ocpp"})
    assert (answer.status, (await answer.json())["detail"]["field"]) == (400, "protocol")


async def test_the_machines_are_shown_as_data(client: Client) -> None:
    pile, gun, session = await look(client, "/machines")
    assert session["name"] == "session"
    assert pile["states"] == ["unknown", "registering", "online", "offline"]
    assert "charging" in gun["states"]
    edges = {(edge["state"], edge["target"]) for edge in gun["edges"]}
    assert ("idle", "plugged") in edges
    for machine in (pile, gun):
        assert {edge["state"] for edge in machine["edges"]} <= set(machine["states"])
        assert {edge["target"] for edge in machine["edges"]} <= set(machine["states"])
