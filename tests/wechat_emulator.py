"""The WeChat Pay emulator for tests, in process or as a process, with the real client and a merchant.

`wechat` is a whole little world on loopback: the emulator, the client behind the ports, built from the
settings file that the emulator writes, and a server that receives notifications as the platform will. Time in
the emulator's books moves on its own and by `advance`; signatures are in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import pytest
from aiohttp import web

from pileward.cli.payments import make_logins, make_payments
from pileward.config.settings import load
from pileward.emulators.wechat.emulator import Options
from pileward.emulators.wechat.keys import Keyring, openid_of
from pileward.emulators.wechat.server import Server
from pileward.integrations.wechat_login import WeChatLogins
from pileward.integrations.wechat_pay import WeChatPay
from pileward.messages.payments import (
    Failure,
    Notification,
    Payment,
    PayParams,
    Prepay,
    PrepayOrder,
    Refund,
    RefundOrder,
)
from tests.waiting import until

READY_WITHIN_S = 30.0
ORIGIN_MS = round(datetime(2026, 1, 5, 2, tzinfo=UTC).timestamp() * 1000)
"""Business time begins at ten in the morning in China, so that no test runs over midnight."""
USER = "driver-1"


@dataclass
class Received:
    """One notification as it arrived, and what the client made of it."""

    path: str
    headers: dict[str, str]
    raw: bytes
    parsed: Notification | Failure


@dataclass
class Merchant:
    """The server that notifications are sent to; `answers` are given first, then 204 for ever."""

    url: str = ""
    pay: WeChatPay | None = None
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Parse with the client; 204 when it is genuine, 401 when it is not, unless told otherwise."""
        assert self.pay is not None
        raw = await request.read()
        parsed = self.pay.parse_notification(request.headers, raw)
        self.received.append(Received(request.path, dict(request.headers), raw, parsed))
        status = 204 if isinstance(parsed, Notification) else 401
        return web.Response(status=self.answers.pop(0) if self.answers else status)

    @property
    def genuine(self) -> list[Notification]:
        """The notifications that the client believed."""
        return [item.parsed for item in self.received if isinstance(item.parsed, Notification)]


class Wechat:
    """The little world; see the module."""

    def __init__(self, server: Server, merchant: Merchant, pay: WeChatPay, logins: WeChatLogins) -> None:
        self.server = server
        self.merchant = merchant
        self.pay = pay
        self.logins = logins
        self.openid = openid_of(server.emulator.identity.appid, USER)
        self._http = httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10.0)

    async def close(self) -> None:
        """Close the control client."""
        await self._http.aclose()

    def order(self, number: str = "P20260101000000000001-1", fen: int = 5_000, **changes: Any) -> PrepayOrder:
        """An order that can be paid for ten minutes of business time."""
        values: dict[str, Any] = {
            "out_trade_no": number,
            "description": "充电预付费, 1 号桩 A 枪",
            "total_fen": fen,
            "openid": self.openid,
            "expires_at": self.now() + timedelta(minutes=10),
            "attach": "gun=3100010001-1",
            "device_id": "32010600100001-1",
        }
        return PrepayOrder(**(values | changes))

    def refund_order(self, number: str, fen: int, of: PrepayOrder) -> RefundOrder:
        """A refund of an order."""
        return RefundOrder(number, of.out_trade_no, fen, of.total_fen, "充电余额退回")

    def now(self) -> datetime:
        """Business time of the emulator."""
        return datetime.fromtimestamp(self.server.emulator.clock.now_ms() / 1000, UTC)

    async def control(self, path: str, method: str = "POST", **body: Any) -> Any:
        """Ask the control API."""
        sent = {} if method == "GET" else {"json": body}
        reply = await self._http.request(method, f"/control/{path}", **sent)  # type: ignore[arg-type] # either none or json
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def get(self, path: str) -> Any:
        """Read from the control API."""
        return await self.control(path, "GET")

    async def fault(self, on: str, kind: str, times: int = 1, seconds: float = 0.0) -> None:
        """Make something go wrong."""
        await self.control("faults", on=on, kind=kind, times=times, seconds=seconds)

    async def advance(self, seconds: float) -> None:
        """Let business time pass."""
        await self.control("time/advance", seconds=seconds)

    async def confirm(self, params: PayParams, **changes: Any) -> str:
        """Pay as the mini-program would; returns what `wx.requestPayment` says."""
        told = await self.control("pay", **(msgspec.to_builtins(params) | changes))
        return str(told["errMsg"])

    async def paid(self, order: PrepayOrder) -> Payment:
        """Prepay and pay an order, and see the notification arrive."""
        prepay = await self.pay.create_prepay(order)
        assert isinstance(prepay, Prepay), prepay
        assert await self.confirm(prepay.pay_params) == "requestPayment:ok"
        return await self.told_of(order)

    async def told_of(self, order: PrepayOrder) -> Payment:
        """Wait for the genuine notification of a payment."""

        def found() -> list[Payment]:
            contents = [item.content for item in self.merchant.genuine]
            return [
                content
                for content in contents
                if isinstance(content, Payment) and content.out_trade_no == order.out_trade_no
            ]

        await until(found, what=f"the notification of {order.out_trade_no}")
        return found()[-1]

    async def refund_told(self, out_refund_no: str) -> Refund:
        """Wait for the genuine notification of a refund."""

        def found() -> list[Refund]:
            contents = [item.content for item in self.merchant.genuine]
            return [
                content
                for content in contents
                if isinstance(content, Refund) and content.out_refund_no == out_refund_no
            ]

        await until(found, what=f"the notification of {out_refund_no}")
        return found()[-1]

    async def settled(self) -> None:
        """Wait until no notification waits to be sent now."""
        sql = "SELECT count(*) FROM notifications WHERE state = 'waiting' AND due_ms <= ?"
        emulator = self.server.emulator
        await until(lambda: not emulator.books.number(sql, emulator.clock.now_ms()), what="an empty queue")


@pytest.fixture(scope="session")
def wechat_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys, made once: two RSA keys a test would be most of its time."""
    folder = tmp_path_factory.mktemp("wechat-keys")
    Keyring(folder)
    return folder


@pytest.fixture
def wechat_state(wechat_keys: Path, tmp_path: Path) -> Path:
    """A state folder with keys and no books."""
    folder = tmp_path / "wechat"
    shutil.copytree(wechat_keys, folder)
    return folder


@contextlib.asynccontextmanager
async def little_world(
    options: Options, *, read_s: float | None = None, unix_time: Callable[[], float] = time.time
) -> AsyncIterator[Wechat]:
    """Emulator, client and merchant's server; the real time is the emulator's, `read_s` the client's."""
    async with contextlib.AsyncExitStack() as stack:
        merchant = await stack.enter_async_context(receiving())
        server = await stack.enter_async_context(
            Server(msgspec.structs.replace(options, notify_base_url=merchant.url), unix_time)
        )
        pay, logins = clients_of(server.settings_path)
        if read_s is not None:
            pay = WeChatPay(pay.account, read_s=read_s)
        merchant.pay = pay
        for client in (pay, logins):
            await client.start()
            stack.push_async_callback(client.close)
        world = Wechat(server, merchant, pay, logins)
        stack.push_async_callback(world.close)
        yield world


def clients_of(path: Path) -> tuple[WeChatPay, WeChatLogins]:
    """Both clients from the settings file that an emulator wrote, by the way the server takes."""
    settings = load(path, environ={}).wechat
    pay, logins = make_payments(settings), make_logins(settings)
    assert pay is not None
    assert logins is not None
    return pay, logins


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Merchant]:
    """A merchant's server that listens; its client comes later."""
    merchant = Merchant()
    app = web.Application()
    app.router.add_post("/{path:.*}", merchant.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        merchant.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield merchant
    finally:
        await runner.cleanup()


@pytest.fixture
async def wechat(wechat_state: Path) -> AsyncIterator[Wechat]:
    """A little world in which refunds arrive at once."""
    async with little_world(Options(state=wechat_state, origin_ms=ORIGIN_MS, refund_after_s=0.0)) as world:
        yield world


class EmulatorProcess:
    """The emulator as a process of its own, which a test may kill and start again on the same port."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        ready = self.state.parent / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["--port", str(self.port), "--state", str(self.state), "--ready-file", str(ready)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pileward.emulators.wechat", *arguments, *self._options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready.exists():
            assert self._process.poll() is None, "the emulator ended"
            assert time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.02)
        self.port = json.loads(ready.read_text())["port"]

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it, as a crash would unless told otherwise; returns its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(timeout=15)


@pytest.fixture
def wechat_process(wechat_state: Path) -> Iterator[EmulatorProcess]:
    """A running process."""
    with running(EmulatorProcess(wechat_state)) as process:
        yield process


@contextlib.contextmanager
def running(process: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """Start a process, and leave none behind."""
    process.start()
    try:
        yield process
    finally:
        process.end()


async def control_of(url: str, path: str, method: str = "POST", **body: Any) -> Any:
    """Ask the control API of a process."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        sent = None if method == "GET" else body
        async with asyncio.timeout(10), session.request(method, f"{url}/control/{path}", json=sent) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()
