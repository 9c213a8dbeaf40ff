"""The servers of the mini-program: login codes and access tokens. HTTP 200 always, `errcode` tells.

A code has the form `sim.<user>.<anything>` and is good once; the same user always has the same openid. The
control API hands such codes out as `wx.login` would, or a client makes them up. Sources: 「小程序登录」
「获取稳定版接口调用凭据」.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

import msgspec
from aiohttp import web

from pileward.emulators.wechat.emulator import Emulator
from pileward.emulators.wechat.errors import ApiError
from pileward.emulators.wechat.keys import openid_of
from pileward.emulators.wechat.protocol import EMULATOR, Cut, after, before, cut, note, ok, refusal

TOKEN_LIVES_S: Final = 7_200
TOKEN_RENEWED_S: Final = 300
"""The same token is given until so many seconds before its end."""

_ERRORS: Final = {
    "busy": (-1, "system error"),
    "code_invalid": (40029, "invalid code"),
    "user_blocked": (40226, "code blocked"),
    "too_frequent": (45011, "api minute-quota reach limit"),
}


class TokenBody(msgspec.Struct):
    """Body of a stable_token call."""

    grant_type: str
    appid: str
    secret: str
    force_refresh: bool = False


def make_code(user: str) -> str:
    """A code as `wx.login` gives it."""
    return f"sim.{user}.{secrets.token_hex(8)}"


async def jscode2session(request: web.Request) -> web.StreamResponse:
    """`GET /sns/jscode2session`."""
    return await _answer(request, "login", b"", _session)


async def stable_token(request: web.Request) -> web.StreamResponse:
    """`POST /cgi-bin/stable_token`."""
    return await _answer(request, "token", await request.read(), _token)


def add_routes(app: web.Application) -> None:
    """Put the mini-program's calls on their paths."""
    app.router.add_get("/sns/jscode2session", jscode2session)
    app.router.add_post("/cgi-bin/stable_token", stable_token)


async def _answer(request: web.Request, name: str, raw: bytes, rule: Any) -> web.StreamResponse:
    emulator = request.app[EMULATOR]
    fault = emulator.faults.take(name)
    try:
        await before(fault)
        if fault is not None and fault.kind in _ERRORS:
            code, text = _ERRORS[fault.kind]
            told = _error(code, text)
        else:
            told = rule(emulator, request, raw)
        response = await after(emulator, request, ok(told)._replace(is_signed=False), fault)
    except ApiError as error:
        response = refusal(error)
    except Cut:
        return cut(emulator, request, name, raw, fault)
    note(emulator, request, name, raw, fault, response)
    return response


def _session(emulator: Emulator, request: web.Request, raw: bytes) -> dict[str, Any]:
    ask, identity = request.query, emulator.identity
    if problem := _wrong_app(emulator, ask.get("appid", ""), ask.get("secret", "")):
        return problem
    code = ask.get("js_code", "")
    _, _, rest = code.partition("sim.")
    user, _, nonce = rest.rpartition(".")
    if not code.startswith("sim.") or not user or not nonce:
        return _error(40029, "invalid code")
    with emulator.books.transaction():
        if not emulator.books.run("INSERT INTO codes VALUES (?) ON CONFLICT DO NOTHING", code):
            return _error(40163, "code been used")
    return {
        "openid": openid_of(identity.appid, user),
        "session_key": base64.b64encode(secrets.token_bytes(16)).decode(),
    }


def _token(emulator: Emulator, request: web.Request, raw: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw, type=TokenBody)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _error(47001, "data format error")
    if body.grant_type != "client_credential":
        return _error(40002, "invalid grant_type")
    if problem := _wrong_app(emulator, body.appid, body.secret):
        return problem
    now_s = emulator.unix_time()
    known = emulator.token
    if known is None or body.force_refresh or known[1] - now_s <= TOKEN_RENEWED_S:
        known = emulator.token = (secrets.token_urlsafe(96), now_s + TOKEN_LIVES_S)
    return {"access_token": known[0], "expires_in": int(known[1] - now_s)}


def _wrong_app(emulator: Emulator, appid: str, secret: str) -> dict[str, Any] | None:
    if appid != emulator.identity.appid:
        return _error(40013, "invalid appid")
    if secret != emulator.identity.app_secret:
        return _error(40125, "invalid appsecret")
    return None


def _error(code: int, text: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": f"{text}, rid: {secrets.token_hex(8)}"}
