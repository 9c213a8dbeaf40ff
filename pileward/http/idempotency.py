"""Requests that move money are done once: the key of the client, what it asked and what it was told are kept.

The same key with the same content gets the same answer, whether that was a success or a refusal; with other
content it is refused. Our own troubles (5xx) are never kept: the client repeats with the same key, and the
work is told that it may have been begun before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.http.api import operation_of
from pileward.http.auth import DRIVER
from pileward.http.driver.refusals import RefusedError
from pileward.http.middleware import REQUEST_ID
from pileward.http.node import NODE
from pileward.http.problems import render
from pileward.services.idempotency import Kept, Reused, begin, finish

REPLAYED_HEADER: Final = "Idempotent-Replay"
"""On an answer that was given before."""

Key = Annotated[
    str,
    Meta(
        pattern="^[!-~]{8,80}$",
        description="幂等键，每个新请求一个，重试时不变 / new for each request, the same when it is repeated",
    ),
]
Work = Callable[[bool], Awaitable[Any]]

_HEADER: Final = {"idempotency_key": "Idempotency-Key"}


class Keyed(msgspec.Struct, frozen=True, rename=_HEADER):
    """A request that must bring a key."""

    idempotency_key: Key


class MayBeKeyed(msgspec.Struct, frozen=True, rename=_HEADER):
    """A request that is harmless to repeat; with a key its answer is repeated too."""

    idempotency_key: Key | None = None


class _Refusal(msgspec.Struct, frozen=True):
    """A refusal as it is kept; the request id is that of whoever reads it."""

    code: str
    message: str
    detail: dict[str, Any]


_LOCKS: Final = web.AppKey("idempotency_locks", dict[tuple[int, str], "_Lock"])


class _Lock:
    """One key in use in this process: its requests go one after another."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


def prepare(app: web.Application) -> None:
    """Give the application its memory of keys in use."""
    app[_LOCKS] = {}


async def once(request: web.Request, key: str | None, content: Any, work: Work) -> Any:
    """Do the work of a request, or repeat what was answered to it before.

    `content` is all that makes two requests the same, beside method and path. `work(is_retry)` returns the
    answer's struct or raises; `is_retry`: an attempt before this one may have got anywhere.
    """
    if key is None:
        return await work(False)
    driver_id = request[DRIVER].driver_id
    locks = request.app[_LOCKS]
    held = locks.setdefault((driver_id, key), _Lock())
    held.users += 1
    try:
        async with held.lock:
            return await _once(request, driver_id, key, content, work)
    finally:
        held.users -= 1
        if not held.users:
            locks.pop((driver_id, key), None)


async def _once(
    request: web.Request, driver_id: int, key: str, content: Any, work: Work
) -> web.StreamResponse:
    node = request.app[NODE]
    wanted = _hash(request, content)
    async with node.database.transaction():
        before = await begin(driver_id, key, wanted, node.engine.clock.utc())
    if isinstance(before, Reused):
        raise RefusedError("key_reused")
    if isinstance(before, Kept):
        return _again(request, before)
    operation = operation_of(request)
    assert operation is not None
    try:
        answer = await work(not before.is_first)
    except RefusedError as refusal:
        if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            kept = _Refusal(refusal.code, refusal.message, refusal.detail)
            await _keep(request, driver_id, key, refusal.status, kept)
        raise
    body = await _keep(request, driver_id, key, operation.status, answer)
    return web.Response(body=body, status=operation.status, content_type="application/json")


async def _keep(request: web.Request, driver_id: int, key: str, status: int, answer: Any) -> bytes:
    node = request.app[NODE]
    body = msgspec.json.encode(answer)
    async with node.database.transaction():
        await finish(driver_id, key, status, body.decode())
    return body


def _again(request: web.Request, kept: Kept) -> web.Response:
    """The answer that was given before."""
    headers = {REPLAYED_HEADER: "true"}
    if kept.status < HTTPStatus.BAD_REQUEST:
        body = kept.answer.encode()
        return web.Response(body=body, status=kept.status, content_type="application/json", headers=headers)
    refusal = msgspec.json.decode(kept.answer, type=_Refusal)
    return render(kept.status, refusal.code, refusal.message, refusal.detail, request[REQUEST_ID], headers)


def _hash(request: web.Request, content: Any) -> str:
    """What was asked, as 64 hexadecimal digits; the order of fields in the JSON does not matter."""
    text = msgspec.json.encode([request.method, request.path, content], order="sorted")
    return hashlib.sha256(text).hexdigest()
