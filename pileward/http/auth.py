"""Who calls: staff by the operator token, in a header, or for pages and WebSockets in a cookie; drivers by
the access token of their login. The two share no route.

A browser cannot set a header when it follows a link or opens a WebSocket. There, and only there, `?token=` is
taken: a page changes it for an HttpOnly cookie and redirects, so that the token leaves the address bar at
once. The cookie is sent to `/debug` alone and never by pages of other sites, and it opens no route that
changes anything.

Wrong tokens are counted by address. Past the limit, every token from there is refused for a while without
being looked at, so that guessing gets no answers.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from html import escape
from typing import Final

import msgspec
from aiohttp import web

from pileward.http.api import Access, operation_of
from pileward.http.driver.tokens import DriverCaller, DriverTokens
from pileward.http.middleware import Serve
from pileward.http.node import NODE
from pileward.http.pages import STATIC
from pileward.http.problems import PROBLEMS, HttpError
from pileward.logs import logger
from pileward.services.audit import Who
from pileward.services.operators import TokenView, verify_token

log = logger(__name__)

COOKIE: Final = "pileward_operator"
COOKIE_PATH: Final = "/debug"
COOKIE_LASTS_S: Final = 12 * 3600
LOGIN_PATH: Final = "/debug/login"

TOKEN_MAX: Final = 200
WRONG_PER_S: Final = 0.5
WRONG_BURST: Final = 20
PENALTY_S: Final = 10.0
PENALTIES_MAX: Final = 10_000
"""Addresses under a penalty at once; the oldest is let off first."""


class Caller(msgspec.Struct, frozen=True):
    """On whose behalf a request acts."""

    operator_id: int
    actor: str
    """As the audit names it: `token:<name>`."""


CALLER: Final = web.RequestKey("caller", Caller)
DRIVER: Final = web.RequestKey("driver", DriverCaller)
TOKENS: Final = web.AppKey("driver_tokens", DriverTokens)
_PENALTIES: Final = web.AppKey("token_penalties", OrderedDict[str, float])


def prepare(app: web.Application) -> None:
    """Give the application its memory of addresses that guessed too often."""
    app[_PENALTIES] = OrderedDict()


def who(request: web.Request) -> Who:
    """The caller and the moment, for services that change something."""
    caller = request[CALLER]
    return Who(caller.operator_id, caller.actor, request.app[NODE].engine.clock.utc())


@web.middleware
async def authenticate(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Let a request through if its route is public or it brings a valid token."""
    operation = operation_of(request)
    if operation is None:
        # No declared operation: static files and what the router refuses. Anything else was forgotten.
        resource = request.match_info.route.resource
        assert resource is None or isinstance(resource, web.StaticResource), resource
        return await handler(request)
    if operation.access is Access.PUBLIC:
        return await handler(request)
    if operation.access is Access.DRIVER:
        request[DRIVER] = request.app[TOKENS].read(_offered_by_driver(request))
        return await handler(request)
    is_browser = operation.access is Access.OPERATOR_BROWSER
    is_page = is_browser and request.method == "GET" and "text/html" in request.headers.get("Accept", "")
    try:
        token, source = _offered(request, is_browser, is_page)
        found = await check_token(request, token)
    except HttpError as problem:
        if is_page and problem.status == 401:
            return login_page(request.path_qs if "token" not in request.query else request.path, problem.code)
        raise
    request[CALLER] = Caller(found.operator_id, f"token:{found.name}")
    if source == "query" and is_page:
        return enter(request, str(request.rel_url.without_query_params("token")), token)
    return await handler(request)


async def check_token(request: web.Request, token: str) -> TokenView:
    """Whose token it is; raises HttpError for none, a wrong one, or after too many wrong ones."""
    remote = request.remote or ""
    penalties = request.app[_PENALTIES]
    until = penalties.get(remote)
    if until is not None:
        left = until - time.monotonic()
        if left > 0:
            raise HttpError("too_many_requests", headers={"Retry-After": str(int(left) + 1)})
        del penalties[remote]
    if not token:
        raise HttpError("operator_token_required", headers={"WWW-Authenticate": "Bearer"})
    found = await verify_token(token) if len(token) <= TOKEN_MAX else None
    if found is not None:
        return found
    log.warning("wrong_operator_token", remote=remote, path=request.path)
    if not await request.app[NODE].bus.allow(f"wrong-token:{remote}", WRONG_PER_S, WRONG_BURST):
        penalties[remote] = time.monotonic() + PENALTY_S
        if len(penalties) > PENALTIES_MAX:
            penalties.popitem(last=False)
    raise HttpError("operator_token_wrong", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def enter(request: web.Request, target: str, token: str) -> web.Response:
    """Redirect to a page with the token in a cookie."""
    response = web.Response(status=303, headers={"Location": target})
    response.set_cookie(
        COOKIE,
        token,
        path=COOKIE_PATH,
        max_age=COOKIE_LASTS_S,
        httponly=True,
        samesite="Strict",
        secure=request.secure,
    )
    return response


def login_page(target: str, code: str) -> web.Response:
    """The page that asks for the token; `code` says why."""
    text = (STATIC / "login.html").read_text(encoding="utf-8")
    text = text.replace('name="next" value=""', f'name="next" value="{escape(target, quote=True)}"')
    if code != "operator_token_required":
        problem = f'<p class="error" role="alert">{escape(PROBLEMS[code].message)}</p>'
        text = text.replace("<!-- problem -->", problem)
    return web.Response(text=text, status=PROBLEMS[code].status, content_type="text/html")


def _offered_by_driver(request: web.Request) -> str:
    """The access token of a driver's request; raises HttpError for none."""
    token = _bearer(request)
    if not token and request.headers.get("Upgrade", "").lower() == "websocket":
        token = request.query.get("access_token", "")
    if not token:
        raise HttpError("driver_token_required", headers={"WWW-Authenticate": "Bearer"})
    return token


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _offered(request: web.Request, is_browser: bool, is_page: bool) -> tuple[str, str]:
    """The token that a request brings, and where; an empty one for none."""
    if token := _bearer(request):
        return token, "header"
    if is_browser:
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if (is_page or is_socket) and (token := request.query.get("token", "")):
            return token, "query"
        return request.cookies.get(COOKIE, ""), "cookie"
    return "", "none"
