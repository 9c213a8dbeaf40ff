"""Errors as clients see them: one shape, stable codes, Chinese first and English beside it.

`PROBLEMS` is the whole vocabulary of HTTP itself; refusals of the business (`DomainError`) bring their code
and texts along, and `middleware` holds the one table from their code to a status. What nobody foresaw is a
500 that tells the client its request id and the log everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web


class Problem(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    code: str
    """Stable; programs decide by it."""
    message: str
    """For people: Chinese / English."""
    detail: dict[str, Any]
    """What helps to mend it; `field` names the wrong field of the request."""
    request_id: str
    """The same as the header X-Request-Id and the field of the log."""


class Refusal(NamedTuple):
    """One row of the vocabulary."""

    status: int
    message: str


PROBLEMS: Final[Mapping[str, Refusal]] = {
    "malformed_json": Refusal(400, "请求体不是有效的 JSON / the body is not valid JSON"),
    "invalid_field": Refusal(400, "字段无效 / invalid field"),
    "operator_token_required": Refusal(401, "需要运营商令牌 / an operator token is required"),
    "operator_token_wrong": Refusal(401, "运营商令牌不正确 / the operator token is wrong"),
    "driver_token_required": Refusal(401, "请先登录 / log in first"),
    "driver_token_wrong": Refusal(401, "登录无效，请重新登录 / the access token is wrong: log in again"),
    "driver_token_expired": Refusal(401, "登录已过期，请重新登录 / the login has expired: log in again"),
    "foreign_origin": Refusal(403, "不接受其他站点的页面 / pages of other sites may not connect"),
    "not_found": Refusal(404, "没有这个地址 / no such address"),
    "method_not_allowed": Refusal(405, "此地址不支持该方法 / method not allowed here"),
    "body_too_large": Refusal(413, "请求体过大 / the body is too large"),
    "json_required": Refusal(415, "请求体须为 application/json / the body must be application/json"),
    "websocket_required": Refusal(426, "此地址只接受 WebSocket / this address speaks WebSocket only"),
    "too_many_requests": Refusal(429, "请求过于频繁，请稍后再试 / too many requests, try again later"),
    "internal_error": Refusal(500, "内部错误，已记录 / internal error, recorded"),
    "actor_failed": Refusal(
        500, "处理时出错，已记录，执行者已恢复 / the actor failed, recorded, and restarted"
    ),
    "not_ready": Refusal(503, "尚未就绪 / not ready"),
    "actor_gone": Refusal(503, "执行者已停止，请稍后再试 / the actor has stopped, try again later"),
    "database_gone": Refusal(
        503, "数据库暂不可用，请稍后再试 / the database is not available, try again later"
    ),
    "actor_quarantined": Refusal(503, "该桩因反复出错被隔离 / quarantined after repeated failures"),
    "busy": Refusal(503, "系统繁忙，请稍后再试 / too busy, try again soon"),
    "payments_off": Refusal(503, "未开通支付 / payments are switched off here"),
    "no_answer": Refusal(504, "未在期限内答复 / no answer within the deadline"),
}


FIELD_SHOWN: Final = 200
"""Characters of a field's name in an answer."""


class HttpError(Exception):
    """A request that cannot be served, for a reason of HTTP itself; `code` is a key of `PROBLEMS`."""

    def __init__(
        self, code: str, *, message: str = "", headers: Mapping[str, str] | None = None, **detail: Any
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status, default = PROBLEMS[code]
        self.message = message or default
        self.headers = dict(headers or {})
        self.detail = detail


class InvalidFieldError(HttpError):
    """A field of path, query or body is missing, unknown or wrong; `field` is its dotted name."""

    def __init__(self, field: str, problem_zh: str, problem_en: str, where: str = "body") -> None:
        # The name may be one that the client made up; it goes into answers and logs.
        field = "".join(letter if letter.isprintable() else "?" for letter in field[:FIELD_SHOWN])
        message = f"字段 {field}：{problem_zh} / field {field}: {problem_en}"
        super().__init__("invalid_field", message=message, field=field, where=where)


CODE_OF_STATUS: Final = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "json_required",
    HTTPStatus.UPGRADE_REQUIRED: "websocket_required",
}
"""What aiohttp itself raises, in our words; any other keeps its status under the code http_<status>."""


def render(
    status: int,
    code: str,
    message: str,
    detail: dict[str, Any],
    request_id: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Build the answer of the one shape."""
    body = msgspec.json.encode(Problem(code, message, detail, request_id), enc_hook=str)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
