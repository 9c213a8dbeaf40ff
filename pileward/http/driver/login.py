"""Login: the code of `wx.login` for an access token of ours. The provider's session key stays with it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta
from tortoise.exceptions import IntegrityError

from pileward.http.api import Access, Api
from pileward.http.auth import TOKENS
from pileward.http.driver.common import PREFIX, now_of
from pileward.http.driver.refusals import RefusedError
from pileward.http.driver.tokens import LASTS_S, DriverCaller
from pileward.http.node import NODE
from pileward.http.problems import HttpError
from pileward.http.schemas.driver import LoggedIn
from pileward.logs import logger
from pileward.messages.payments import Login, NotFound, Refused
from pileward.services.drivers import DriverView, login_driver
from pileward.services.operators import ensure_operator

api = Api(PREFIX, tag="司机：登录 / drivers: login", access=Access.PUBLIC)

LOGINS_PER_S: Final = 2.0
LOGINS_BURST: Final = 120
"""Logins from one address; carriers put many phones behind one."""

log = logger(__name__)


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the app got from `wx.login`; good once and for five minutes."""

    code: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[!-~]+$")]


@api.post("/login", summary="登录 / log in", problems=(401, 403, 429, 503))
async def log_in(request: web.Request, body: LoginBody) -> LoggedIn:
    """Exchange the code for an access token; the driver is made at the first login."""
    node = request.app[NODE]
    if node.logins is None:
        raise HttpError("payments_off")
    if not await node.bus.allow(f"login:{request.remote}", LOGINS_PER_S, LOGINS_BURST):
        raise HttpError("too_many_requests", headers={"Retry-After": "1"})
    found = await node.logins.login(body.code)
    if not isinstance(found, Login):
        log.info("login_failed", remote=request.remote, kind=type(found).__name__, code=found.code)
        raise RefusedError("login_refused" if isinstance(found, Refused | NotFound) else "login_unavailable")
    driver = await _driver(request, found)
    if driver.is_blocked:
        raise RefusedError("driver_blocked")
    token = request.app[TOKENS].issue(DriverCaller(driver.operator_id, driver.id))
    return LoggedIn(token, LASTS_S, driver.id)


async def _driver(request: web.Request, found: Login) -> DriverView:
    """The driver behind an identity. Of two first logins at once the slower one finds what the other made."""
    node = request.app[NODE]
    merchant, now = node.merchant, now_of(request)
    operator = await ensure_operator(now)
    for attempt in (1, 2):
        try:
            async with node.database.transaction():
                return await login_driver(
                    operator.id, merchant.channel, merchant.appid, found.openid, found.unionid, now
                )
        except IntegrityError:
            if attempt == 2:
                raise
    raise AssertionError("unreachable")
