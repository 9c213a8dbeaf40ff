"""Callbacks of WeChat Pay: taken once durable, refused in the provider's words, never logged whole."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from pileward.http import callbacks
from pileward.messages.payments import PAYMENT_NOTIFY_PATH, REFUND_NOTIFY_PATH
from pileward.messages.sessions import NotificationTaken
from tests.drivers import Market, Rider
from tests.nodes import CODES
from tests.waiting import until


class Post:
    """Whoever posts to the callbacks."""

    def __init__(self, market: Market) -> None:
        self.market = market

    async def __call__(self, body: bytes, headers: dict[str, str], path: str = PAYMENT_NOTIFY_PATH) -> Any:
        """Send; gives status and body."""
        async with self.market.http.post(self.market.url + path, data=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, (await answer.json() if text else None)


class Listening:
    """Keeps the notifications that the emulator sends, so that a test can send them again, changed or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        real = callbacks._body

        async def body(request: Any) -> bytes | None:
            raw = await real(request)
            if raw is not None:
                self.heard.append((dict(request.headers), raw))
            return raw

        monkeypatch.setattr(callbacks, "_body", body)


async def one_notification(market: Market, heard: Listening) -> tuple[Rider, str, dict[str, str], bytes]:
    """A driver pays; the notification of it as it was sent."""
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    [(headers, raw)] = heard.heard
    kept = {name: value for name, value in headers.items() if name.lower().startswith("wechatpay-")}
    return rider, serial, {**kept, "Content-Type": "application/json"}, raw


async def test_a_genuine_one_is_taken_and_its_repetition_too(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Listening(monkeypatch)
    rider, serial, headers, raw = await one_notification(market, heard)
    post = Post(market)
    assert await post(raw, headers) == (204, None)
    assert await post(raw, headers, REFUND_NOTIFY_PATH) == (204, None)
    assert (await rider.look(serial))["paid_fen"] == 5_000
    charge = await market.staff("GET", f"/sessions/{serial}")
    assert [entry["fen"] for entry in charge["entries"]] == [5_000]
    await market.prove_books()


async def test_anything_forged_is_refused_in_the_providers_words(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = Listening(monkeypatch)
    _, serial, headers, raw = await one_notification(market, heard)
    post = Post(market)
    signature = headers["Wechatpay-Signature"]
    old = str(int(time.time()) - 600)
    without = {name: value for name, value in headers.items() if name != "Wechatpay-Signature"}
    cases = [
        (raw.replace(b"TRANSACTION", b"TRANSACTI0N"), headers, 401),
        (raw + b" ", headers, 401),
        (raw, {**headers, "Wechatpay-Signature": "AAAA" + signature[4:]}, 401),
        (raw, {**headers, "Wechatpay-Nonce": "another"}, 401),
        (raw, {**headers, "Wechatpay-Timestamp": old}, 401),
        (raw, {**headers, "Wechatpay-Serial": "PUB_KEY_ID_0000"}, 401),
        (raw, without, 401),
        (raw, {"Content-Type": "application/json"}, 401),
        (b"<xml></xml>", headers, 400),
        (b"", headers, 400),
        (b"\xff\xfe", headers, 400),
        (b"{" + b" " * callbacks.BODY_MAX, headers, 413),
    ]
    for body, sent, status in cases:
        found = await post(body, sent)
        assert found[0] == status, (found, body[:40])
        assert found[1]["code"] == "FAIL"
        assert " / " in found[1]["message"]
    charge = await market.staff("GET", f"/sessions/{serial}")
    assert [entry["fen"] for entry in charge["entries"]] == [5_000]
    told = capsys.readouterr()
    assert "callback_refused" in told.out + told.err
    for secret in (signature, raw.decode()[:200]):
        assert secret not in told.out + told.err


async def test_a_large_body_without_a_length_is_not_read_to_its_end(market: Market) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 4_096
            await asyncio.sleep(0)

    async with market.http.post(market.url + PAYMENT_NOTIFY_PATH, data=endless()) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "FAIL")


async def test_the_provider_gets_an_answer_in_time_whatever_the_actor_does(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "ANSWER_WITHIN_S", 0.2)
    actor = market.node.payments.instance
    monkeypatch.setattr(actor, "receiveMessage", lambda message, sender: None)
    began = time.monotonic()
    status, told = await Post(market)(b"{}", {"Content-Type": "application/json"})
    assert time.monotonic() - began < 3
    assert (status, told["code"]) == (503, "FAIL")


async def test_only_posts_are_taken(market: Market) -> None:
    async with market.http.get(market.url + PAYMENT_NOTIFY_PATH) as answer:
        assert answer.status == 405


async def test_a_lost_notification_comes_again_after_a_refusal(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = callbacks._ask
    refused: list[bytes] = []

    async def ask(request: Any) -> NotificationTaken:
        if not refused:
            refused.append(await request.read())
            return NotificationTaken(is_ok=False, reason="not_stored")
        return await real(request)

    monkeypatch.setattr(callbacks, "_ask", ask)
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun)
    await market.control("pay", **ordered["pay_params"])
    await until(lambda: refused, what="the first notification")
    await rider.reaches(ordered["serial"], "funded", within_s=60)
