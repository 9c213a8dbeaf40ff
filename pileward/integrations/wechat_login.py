"""Who opened the mini-program: the code of `wx.login` exchanged for the driver's openid.

`GET /sns/jscode2session`; HTTP 200 even for errors, `errcode` tells. The session key of the reply stays here:
nothing of ours needs it. Source: 「小程序登录」.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import httpx
import msgspec

from pileward.integrations.wechat_account import AccountError, check_url
from pileward.logs import logger
from pileward.messages.payments import Config, Failure, Login, RateLimited, Refused, Unknown

API_URL: Final = "https://api.weixin.qq.com"
CONNECT_S: Final = 3.0
READ_S: Final = 5.0
DEADLINE_S: Final = 8.0

_CODE: Final = re.compile(r"[\x21-\x7e]{1,256}")

_ERRORS: Final[dict[int, tuple[type[Refused | RateLimited | Config | Unknown], str]]] = {
    -1: (Unknown, "BUSY"),
    40013: (Config, "APPID_INVALID"),
    40029: (Refused, "CODE_INVALID"),
    40125: (Config, "SECRET_INVALID"),
    40163: (Refused, "CODE_USED"),
    40164: (Config, "ADDRESS_NOT_ALLOWED"),
    40226: (Refused, "USER_BLOCKED"),
    45011: (RateLimited, "TOO_FREQUENT"),
}
"""`errcode` and what it means; any other one is refused."""


class _Reply(msgspec.Struct):
    openid: str = ""
    unionid: str = ""
    errcode: int = 0
    errmsg: str = ""


class WeChatLogins:
    """Logins of one mini-program; implements `pileward.ports.Logins`."""

    def __init__(self, appid: str, app_secret: str, *, api_url: str = "") -> None:
        """Raises AccountError naming a setting that cannot be used."""
        if not app_secret:
            raise AccountError("wechat.app_secret: is missing")
        self._appid = appid
        self._app_secret = app_secret
        self._api_url = check_url("api_url", api_url or API_URL)
        self._client: httpx.AsyncClient | None = None
        self._log = logger(__name__).bind(appid=appid)

    async def start(self) -> None:
        """Open the connection pool; sends nothing."""
        self._client = httpx.AsyncClient(
            base_url=self._api_url,
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            trust_env=self._api_url == API_URL,
        )

    async def close(self) -> None:
        """Close the connection pool; may be called twice."""
        if self._client is not None:
            await self._client.aclose()

    async def login(self, code: str) -> Login | Failure:
        """Exchange a code; an unknown outcome means that the driver logs in again with a new one."""
        assert self._client is not None, "start() comes first"
        if not _CODE.fullmatch(code):
            return Refused("CODE_INVALID", "no code of wx.login")
        parameters = {
            "appid": self._appid,
            "secret": self._app_secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        try:
            async with asyncio.timeout(DEADLINE_S):
                response = await self._client.get("/sns/jscode2session", params=parameters)
            result = _read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            result = Unknown("NO_REPLY", type(error).__name__)
        if not isinstance(result, Login):
            self._log.warning("wechat_login_failed", outcome=type(result).__name__, code=result.code)
        return result


def _read(response: httpx.Response) -> Login | Failure:
    if response.status_code != 200:
        return Unknown(f"HTTP_{response.status_code}", "no answer of the mini-program server")
    try:
        reply = msgspec.json.decode(response.content, type=_Reply)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Unknown("REPLY_UNREADABLE", str(error))
    if reply.errcode:
        kind, code = _ERRORS.get(reply.errcode, (Refused, f"ERRCODE_{reply.errcode}"))
        return kind(code, reply.errmsg)
    if not reply.openid:
        return Unknown("REPLY_UNREADABLE", "a reply without an openid")
    return Login(reply.openid, reply.unionid)
