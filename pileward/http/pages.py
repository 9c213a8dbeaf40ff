"""Pages for people: the live page, the API viewer, and the static files of both. Nothing comes from
elsewhere.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
import swagger_ui_bundle
from aiohttp import web

from pileward import __version__
from pileward.http import openapi
from pileward.http.api import Access, Api, Operation

STATIC: Final = Path(str(files("pileward.http") / "static"))
VIEWER: Final = Path(str(swagger_ui_bundle.swagger_ui_path))

VIEWER_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
"""The viewer writes styles into its elements; scripts from elsewhere stay forbidden."""

api = Api("", tag="页面 / pages", access=Access.PUBLIC)

_PAGES: Final = web.AppKey("openapi_pages", dict[str, bytes])


@api.get("/", summary="实时页面 / live page", media="text/html", is_hidden=True)
async def live_page(request: web.Request) -> web.Response:
    """Every gun of every station, live."""
    return page("index.html")


@api.get("/docs", summary="接口文档 / API viewer", media="text/html", is_hidden=True)
async def api_page(request: web.Request) -> web.Response:
    """The OpenAPI page, to read and to try."""
    response = page("docs.html")
    response.headers["Content-Security-Policy"] = VIEWER_POLICY
    return response


@api.get("/openapi.json", summary="OpenAPI 3.1", is_hidden=True)
async def openapi_document(request: web.Request) -> web.Response:
    """The API as a machine reads it."""
    return web.Response(body=request.app[_PAGES]["3.1"], content_type="application/json")


@api.get("/openapi-3.0.json", summary="OpenAPI 3.0", is_hidden=True)
async def openapi_document_3_0(request: web.Request) -> web.Response:
    """The same in the older form, for the bundled viewer."""
    return web.Response(body=request.app[_PAGES]["3.0"], content_type="application/json")


def page(name: str) -> web.Response:
    """One of our HTML files."""
    text = (STATIC / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-cache"})


def prepare(app: web.Application, operations: list[Operation]) -> None:
    """Build the OpenAPI page once and serve the static files."""
    document = openapi.document(operations, __version__)
    app[_PAGES] = {
        "3.1": msgspec.json.encode(document),
        "3.0": msgspec.json.encode(openapi.as_3_0(document)),
    }
    app.router.add_static("/static", STATIC, append_version=False)
    app.router.add_static("/docs/viewer", VIEWER)
