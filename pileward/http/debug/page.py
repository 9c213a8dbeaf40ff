"""The debug page for people, and the form that asks for the operator token."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from pileward.http import auth, pages
from pileward.http.api import Access, Api
from pileward.http.problems import HttpError

api = Api("/debug", tag="调试 / debug", access=Access.OPERATOR_BROWSER)

_OURS: Final = re.compile(r"/debug(?:[/?][^\\\s]*)?")
"""Where the form may lead: nowhere but to our debug pages."""


@api.get("", summary="调试页面 / debug page", media="text/html", is_hidden=True)
async def debug_page(request: web.Request) -> web.Response:
    """Tree, one actor, its frames, its state machines."""
    return pages.page("debug.html")


@api.post("/login", summary="调试登录 / enter", media="text/html", access=Access.PUBLIC, is_hidden=True)
async def debug_login(request: web.Request) -> web.Response:
    """Take the operator token from the form, keep it in a cookie, and go where the person wanted to."""
    form = await request.post()
    token, target = form.get("token"), form.get("next")
    target = target if isinstance(target, str) and _OURS.fullmatch(target) else auth.COOKIE_PATH
    token = token.strip() if isinstance(token, str) else ""
    try:
        await auth.check_token(request, token)
    except HttpError as problem:
        return auth.login_page(target, problem.code)
    return auth.enter(request, target, token)
