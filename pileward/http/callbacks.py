"""Where a payment provider tells of money: no login, no query; the signature over the raw body is the proof.

204 only once what was told is durable; anything else makes the provider tell it again, for a day. The answer
comes within the provider's five seconds even if our own database does not. Bodies and signatures are never
logged: the reason and the sender are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from pileward.actors.engine import AskError
from pileward.http.api import Access, Api
from pileward.http.node import NODE
from pileward.logs import logger
from pileward.messages.payments import NOTIFY_WITHIN_S, PAYMENT_NOTIFY_PATH, REFUND_NOTIFY_PATH
from pileward.messages.sessions import NotificationReceived, NotificationTaken

api = Api("", tag="回调 / callbacks", access=Access.PUBLIC)

BODY_MAX: Final = 64 * 1024
"""Bytes; a notification has about two thousand."""
ANSWER_WITHIN_S: Final = NOTIFY_WITHIN_S - 1.0
SHOWN_HEADERS: Final = ("content-type", "request-id")
"""Beside those of the provider: what is handed on of the headers."""

REFUSALS: Final[Mapping[str, tuple[int, str]]] = {
    "bad_signature": (401, "签名不正确 / the signature is wrong"),
    "stale": (401, "时间戳过期 / the timestamp is too far from now"),
    "cannot_decrypt": (500, "无法解密 / cannot be decrypted"),
    "other_merchant": (400, "非本商户 / about another merchant"),
    "unreadable": (400, "无法识别的通知 / not a notification that is known here"),
    "refused": (400, "不接受 / not accepted"),
    "replayed": (409, "重复的通知 / a replay"),
    "too_large": (413, "通知过大 / too large"),
    "busy": (503, "系统繁忙，请重发 / too busy, send it again"),
    "not_stored": (503, "暂未保存，请重发 / not stored yet, send it again"),
    "not_configured": (503, "未开通支付 / payments are switched off"),
    "no_answer": (503, "处理超时，请重发 / no answer in time, send it again"),
}
"""Reasons of the payments actor: how they are answered. Whatever is not listed is our own mistake: 500."""

_PROBLEMS: Final = (400, 401, 409, 413, 500, 503)

log = logger(__name__)


class Fail(msgspec.Struct, frozen=True):
    """Not taken, in the provider's own words."""

    message: str
    code: str = "FAIL"


@api.post(
    PAYMENT_NOTIFY_PATH,
    summary="微信支付：支付通知 / WeChat Pay: a payment was made",
    status=204,
    problems=_PROBLEMS,
    failure_type=Fail,
)
async def take_payment_notification(request: web.Request) -> web.Response:
    """Signed and encrypted by WeChat Pay; anything else is refused with `{"code": "FAIL"}`."""
    return await _take(request)


@api.post(
    REFUND_NOTIFY_PATH,
    summary="微信支付：退款通知 / WeChat Pay: a refund moved",
    status=204,
    problems=_PROBLEMS,
    failure_type=Fail,
)
async def take_refund_notification(request: web.Request) -> web.Response:
    """Signed and encrypted by WeChat Pay; anything else is refused with `{"code": "FAIL"}`."""
    return await _take(request)


async def _take(request: web.Request) -> web.Response:
    """Hand it on raw, as it came: only the actor knows what proves it."""
    taken = await _ask(request)
    if taken.is_ok:
        return web.Response(status=204)
    status, message = REFUSALS.get(taken.reason, (500, "内部错误 / internal error"))
    log.warning(
        "callback_refused",
        reason=taken.reason,
        remote=request.remote,
        path=request.path,
        notification_request=request.headers.get("Request-ID", "")[:64],
    )
    body = msgspec.json.encode(Fail(message))
    return web.Response(body=body, status=status, content_type="application/json")


async def _ask(request: web.Request) -> NotificationTaken:
    node = request.app[NODE]
    raw = await _body(request)
    if raw is None:
        return NotificationTaken(is_ok=False, reason="too_large")
    message = NotificationReceived(_headers(request.headers), raw)
    try:
        taken: Any = await node.engine.ask_async(node.payments, message, ANSWER_WITHIN_S)
    except AskError as error:
        log.error("callback_not_answered", error=repr(error), remote=request.remote)
        return NotificationTaken(is_ok=False, reason="no_answer")
    assert isinstance(taken, NotificationTaken), taken
    return taken


async def _body(request: web.Request) -> bytes | None:
    """The body as it came; None for one that is too large to be honest."""
    if (request.content_length or 0) > BODY_MAX:
        return None
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > BODY_MAX:
            return None
    return bytes(raw)


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower().startswith("wechatpay-") or name.lower() in SHOWN_HEADERS
    }
