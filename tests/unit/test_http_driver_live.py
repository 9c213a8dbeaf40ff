"""One order live over a WebSocket: the same picture as the GET, at once and at each change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from pileward.http.driver import live
from tests.drivers import DRIVER_API, Market, Rider
from tests.nodes import CODES


def opened(rider: Rider, serial: str, **options: Any) -> Any:
    """Open the socket of an order as an app does."""
    headers = {"Authorization": f"Bearer {rider.token}"}
    url = f"{rider.market.url}{DRIVER_API}/sessions/{serial}/live"
    return rider.market.http.ws_connect(url, headers=headers, **options)


async def hear(socket: ClientWebSocketResponse, state: str) -> Any:
    """Wait for the picture of a state."""
    async with asyncio.timeout(10):
        while (picture := await socket.receive_json())["state"] != state:
            assert picture["type"] == "session"
    return picture


async def test_the_app_sees_every_step(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST_S", 0.02)
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun)
    async with opened(rider, ordered["serial"]) as socket:
        first = await hear(socket, "created")
        assert first["next"] == "pay"
        assert first == {"type": "session", **(await rider.look(ordered["serial"]))}
        await rider.pay(ordered)
        assert (await hear(socket, "funded"))["next"] == "start"
        await rider("POST", f"/sessions/{ordered['serial']}/start", status=202)
        assert (await hear(socket, "starting"))["live"] is None
        await rider.reaches(ordered["serial"], "charging")
        await hear(socket, "charging")
        await market.pass_time(60)
        await rider("POST", f"/sessions/{ordered['serial']}/stop", status=202)
        await rider.reaches(ordered["serial"], "closed")
        last = await hear(socket, "closed")
        assert last["bill"]["total_fen"] + last["refund_fen"] == 5_000
        assert (await socket.receive()).type.name in ("CLOSE", "CLOSING", "CLOSED")


async def test_old_values_keep_their_age_while_the_pile_is_away(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun)
    await market.pass_time(60)
    before = (await rider.look(serial))["live"]
    market.fleet.controls[CODES[0]].vanish(3_600)
    await rider.reaches(serial, "interrupted")
    await market.pass_time(30)
    away = await rider.look(serial)
    assert away["live"]["energy_e4_kwh"] >= before["energy_e4_kwh"] > 0
    assert away["live"]["is_pile_online"] is False
    assert away["live"]["age_s"] >= 30
    assert away["state_zh"] == "充电桩失联，充电仍在继续"


async def test_who_may_not_watch(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    anna, bert = await market.rider("anna"), await market.rider("bert")
    serial = (await anna.order(gun))["serial"]
    for rider, token, status in ((bert, bert.token, 404), (anna, "", 401), (anna, "x.y.z", 401)):
        kept, rider.token = rider.token, token
        with pytest.raises(WSServerHandshakeError) as refused:
            await opened(rider, serial)
        assert refused.value.status == status
        rider.token = kept
    with pytest.raises(WSServerHandshakeError) as refused:
        await opened(anna, serial, origin="https://elsewhere.example")
    assert refused.value.status == 403
    assert (await anna("GET", f"/sessions/{serial}/live", status=426))["code"] == "websocket_required"


async def test_a_browser_puts_the_token_into_the_address(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = (await rider.order(gun))["serial"]
    url = f"{market.url}{DRIVER_API}/sessions/{serial}/live?access_token={rider.token}"
    async with market.http.ws_connect(url) as socket:
        assert (await socket.receive_json(timeout=5))["serial"] == serial
    token, rider.token = rider.token, ""
    await rider("GET", f"/sessions/{serial}?access_token={token}", status=401)
