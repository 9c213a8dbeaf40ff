"""A street on which drivers charge and pay: node, piles, HTTP server and the WeChat Pay emulator, all real.

Drivers speak HTTP as the app does; money goes through the real client to the emulator, whose notifications
come back to the server. Piles, node and the emulator's books share the street's clock.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pileward.cli.payments import make_logins, make_payments
from pileward.clock import ManualClock
from pileward.config.settings import load
from pileward.emulators.wechat.emulator import Options
from pileward.emulators.wechat.server import Server
from pileward.http.app import make_app
from pileward.livefeed.memory import MemoryBus
from pileward.node import Node
from pileward.services.ledger import check_books
from tests.nodes import ORIGIN, TOKEN, Street

DRIVER_API = "/api/driver/v1"
ADMIN_API = "/api/admin/v1"

_keys = itertools.count(1)


class Rider:
    """One driver's telephone: the app, and WeChat."""

    def __init__(self, market: Market, name: str) -> None:
        self.market = market
        self.name = name
        self.id = 0
        self.token = ""
        self.headers: Mapping[str, str] = {}
        """Headers of the last answer."""

    async def __call__(
        self, method: str, path: str, body: Any = None, status: int = 200, key: str | None = None
    ) -> Any:
        """Ask the driver API; checks the status, gives back the body."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = self.market.url + DRIVER_API + path
        async with self.market.http.request(method, url, json=body, headers=headers) as answer:
            self.headers = answer.headers
            text = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status} {text}"
            return await answer.json() if text else None

    async def log_in(self) -> Rider:
        """What the app does when it is opened."""
        code = (await self.market.control("login", user=self.name))["code"]
        told = await self("POST", "/login", {"code": code})
        self.token, self.id = told["access_token"], told["driver_id"]
        return self

    async def order(self, gun_code: str, fen: int = 5_000, *, status: int = 201, **more: Any) -> Any:
        """Order a gun, under a key of its own unless one is given."""
        key = more.pop("key", None) or f"order-{next(_keys)}-{self.name}"
        return await self("POST", "/prepays", {"gun_code": gun_code, "amount_fen": fen, **more}, status, key)

    async def pay(self, ordered: Any) -> None:
        """Confirm in WeChat, and wait until the platform knows."""
        told = await self.market.control("pay", **ordered["pay_params"])
        assert told["errMsg"] == "requestPayment:ok", told
        await self.reaches(ordered["serial"], "funded")

    async def paid(self, gun_code: str, fen: int = 5_000, **more: Any) -> str:
        """Order and pay; the serial."""
        ordered = await self.order(gun_code, fen, **more)
        await self.pay(ordered)
        return str(ordered["serial"])

    async def charging(self, gun_code: str, fen: int = 5_000, **more: Any) -> str:
        """Order, pay and start; the serial of the charge that runs."""
        serial = await self.paid(gun_code, fen, **more)
        await self("POST", f"/sessions/{serial}/start", status=202)
        await self.reaches(serial, "charging")
        return serial

    async def look(self, serial: str) -> Any:
        """One order, as the app shows it."""
        return await self("GET", f"/sessions/{serial}")

    async def reaches(self, serial: str, state: str, within_s: float = 600.0) -> Any:
        """Let time pass until an order is in a state; gives back its picture."""
        deadline = self.market.clock.monotonic() + within_s
        while (shown := await self.look(serial))["state"] != state:
            assert self.market.clock.monotonic() < deadline, f"{serial} is {shown['state']}, never {state}"
            await self.market.pass_time(1.0)
        return shown


class Market(Street):
    """The street; see the module."""

    http: aiohttp.ClientSession
    url: str
    wechat: Server

    def __init__(self, environ: dict[str, str], clock: ManualClock, state: Path) -> None:
        super().__init__(environ, clock)
        self._state = state
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def open(self) -> None:
        """Start the emulator, then all the rest."""
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        origin_ms = round(ORIGIN.timestamp() * 1000)
        options = Options(
            state=self._state, origin_ms=origin_ms, refund_after_s=1.0, notify_base_url=self.url
        )
        self.wechat = await Server(options).__aenter__()
        self.http = aiohttp.ClientSession(trust_env=False)
        await super().open()

    async def _start(self) -> None:
        settings = load(self.wechat.settings_path, environ=self.environ)
        payments, logins = make_payments(settings.wechat), make_logins(settings.wechat)
        self.node = Node(settings, self.database, MemoryBus(), self.clock, payments, logins)
        await self.node.start()
        self._runner = web.AppRunner(make_app(self.node), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._is_up = True

    async def stop(self) -> None:
        """End the server and the node in good order."""
        await self._stop_serving()
        await super().stop()

    async def crash(self) -> None:
        """End the node as a kill does."""
        await self._stop_serving()
        money = self.node.money
        await money.stop()
        await super().crash()
        await money.close()
        if self.node.logins is not None:
            await self.node.logins.close()

    async def _stop_serving(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        """End everything."""
        await super().close()
        await self.http.close()
        await self.wechat.__aexit__()

    async def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Move all clocks together."""
        left = seconds
        while left > 0:
            moved = min(step, left)
            left -= moved
            await self.control("time/advance", seconds=moved)
            await super().pass_time(moved, step)

    async def control(self, path: str, **body: Any) -> Any:
        """Ask the emulator's control API."""
        async with self.http.post(f"{self.wechat.url}/control/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def rider(self, name: str) -> Rider:
        """A driver with the app open."""
        return await Rider(self, name).log_in()

    async def staff(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Ask the admin API, or `/debug`."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = self.url + (path if path.startswith("/debug") else ADMIN_API + path)
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status} {text}"
            return await answer.json() if text else None

    async def plugged(self, code: str, gun_no: int = 1) -> str:
        """Power a pile on, plug a car in, wait until both are seen; gives the gun's code."""
        [control] = self.power_on(code)
        await self.online(code)
        control.plug(gun_no)
        await self.pass_time(2)
        return f"{code}{gun_no:02d}"

    async def prove_books(self) -> None:
        """The ledger adds up, whatever has happened so far."""
        async with self.database.transaction() as connection:
            assert await check_books(connection) == []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def market(
    sqlite_url: str, tmp_path: Path, wechat_state: Path, node_settings: dict[str, str]
) -> AsyncIterator[Market]:
    """A running market with three registered piles, none powered yet."""
    environ = {
        "PILEWARD_NODE_STATE_DIR": str(tmp_path / "state"),
        "PILEWARD_DATABASE_URL": sqlite_url,
        "PILEWARD_YKC_HOST": "127.0.0.1",
        "PILEWARD_YKC_PORT": "0",
        "PILEWARD_OPERATOR_TOKEN": TOKEN,
        "PILEWARD_TAIL_SIZE_MIB": "4",
        **node_settings,
    }
    opened = Market(environ, ManualClock(ORIGIN), wechat_state)
    await opened.open()
    yield opened
    await opened.close()
