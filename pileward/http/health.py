"""For machines that watch: alive, ready, metrics."""

from __future__ import annotations

import msgspec
from aiohttp import web

from pileward.http.api import Access, Api
from pileward.http.node import NODE
from pileward.http.problems import HttpError
from pileward.metrics import CONTENT_TYPE

api = Api("", tag="运行 / operation", access=Access.PUBLIC)


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether traffic may come; `checks` maps each part to ""."""

    is_ready: bool
    checks: dict[str, str]


@api.get("/healthz", summary="存活 / alive")
async def healthz(request: web.Request) -> Health:
    """Answers as long as the event loop turns; asks nobody else."""
    return Health("ok")


@api.get("/readyz", summary="就绪 / ready", problems=(503,))
async def readyz(request: web.Request) -> Readiness:
    """Database reachable, store moving, listeners open; 503 with what is wrong when one of them is not."""
    checks = dict(await request.app[NODE].readiness())
    if any(checks.values()):
        raise HttpError("not_ready", checks=checks)
    return Readiness(is_ready=True, checks=checks)


@api.get("/metrics", summary="Prometheus 指标 / metrics", media="text/plain")
async def metrics(request: web.Request) -> web.Response:
    """All metrics in the Prometheus text format."""
    return web.Response(body=request.app[NODE].metrics.render(), headers={"Content-Type": CONTENT_TYPE})
