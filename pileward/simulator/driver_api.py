"""The driver's telephone: the platform's HTTP API as the mini-program uses it, and WeChat's payment window.

Requests go over real sockets and know nothing of the platform's inside. A refusal is a `RefusedError` with
the stable code of the answer; a platform that is not there, or in trouble (5xx), is an `UnreachableError`,
after which the app repeats the same request, with the same Idempotency-Key.
"""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import msgspec

DRIVER: Final = "/api/driver/v1"
TIMEOUT_S: Final = 30.0
"""Real seconds for one request."""
TOKEN_CODES: Final = ("driver_token_required", "driver_token_wrong", "driver_token_expired")

Json = dict[str, Any]


class RefusedError(Exception):
    """The platform said no."""

    def __init__(self, status: int, code: str, detail: Json) -> None:
        super().__init__(f"{status} {code} {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class UnreachableError(Exception):
    """The platform did not answer, or is in trouble itself."""


class Phone:
    """One driver's app: logged in or not."""

    def __init__(self, http: aiohttp.ClientSession, api_url: str) -> None:
        self._http = http
        self._url = api_url.rstrip("/") + DRIVER
        self._token = ""

    @property
    def is_logged_in(self) -> bool:
        """Whether there is an access token, good or not."""
        return bool(self._token)

    async def log_in(self, code: str) -> None:
        """Exchange the code of `wx.login` for an access token."""
        self._token = ""
        self._token = (await self.post("/login", {"code": code}))["access_token"]

    def log_out(self) -> None:
        """Forget the access token."""
        self._token = ""

    async def get(self, path: str, **query: str) -> Json:
        """Read something."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Json | None = None, key: str = "") -> Json:
        """Ask for something to be done; `key` is the Idempotency-Key."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self._call("POST", path, json=body, headers=headers)

    def watch(self, serial: str) -> Any:
        """The WebSocket of one order, as an asynchronous context manager."""
        return self._http.ws_connect(f"{self._url}/sessions/{serial}/live", headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        data = None if json is None else msgspec.json.encode(json)
        sent = {**self._headers(), **(headers or {})}
        if data is not None:
            sent["Content-Type"] = "application/json"
        status, told = await _ask(
            self._http, method, self._url + path, params=params, data=data, headers=sent
        )
        if status < 400:
            return told
        code = str(told.get("code", f"http_{status}"))
        if status in (429, 500, 502, 503, 504) and code != "payment_refused":
            raise UnreachableError(f"{status} {code}")
        raise RefusedError(status, code, told.get("detail") or {})


class Wallet:
    """WeChat in the driver's hand: `wx.login` and `wx.requestPayment`, by the emulator's control API."""

    def __init__(self, http: aiohttp.ClientSession, pay_url: str) -> None:
        self._http = http
        self._url = pay_url.rstrip("/") + "/control"

    async def code(self, user: str) -> str:
        """What `wx.login` gives to this user; good once."""
        return str((await self._control("login", {"user": user}))["code"])

    async def pay(self, params: dict[str, str]) -> bool:
        """Confirm the payment; False when WeChat says why not."""
        return (await self._control("pay", params)).get("errMsg") == "requestPayment:ok"

    async def cancel(self, params: dict[str, str]) -> None:
        """Close the payment window without paying."""
        await self._control("cancel", params)

    async def _control(self, what: str, body: Json) -> Json:
        data = msgspec.json.encode(body)
        status, told = await _ask(self._http, "POST", f"{self._url}/{what}", data=data)
        if status >= 400:
            raise UnreachableError(f"{what}: {status} {told}")
        return told


async def _ask(http: aiohttp.ClientSession, method: str, url: str, **options: Any) -> tuple[int, Json]:
    try:
        async with http.request(
            method, url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), **options
        ) as answer:
            raw = await answer.read()
            return answer.status, msgspec.json.decode(raw) if raw else {}
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, OSError) as error:
        raise UnreachableError(f"{method} {url}: {type(error).__name__}") from error
