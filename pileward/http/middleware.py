"""What happens around every handler: a request id, one access log line, and errors in the one shape.

The table from a domain error to a status stands here and nowhere else.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from tortoise.exceptions import BaseORMException

from pileward.actors.engine import ActorFailed, ActorGone, ActorQuarantined, AskTimeout, MailboxFull
from pileward.errors import ConflictError, DatabaseError, DomainError, InvalidError, NotFoundError
from pileward.http.problems import CODE_OF_STATUS, PROBLEMS, HttpError, render
from pileward.logs import logger
from pileward.models.database import is_outage

log = logger(__name__)

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: Final = web.RequestKey("request_id", str)
REQUEST_ID_HEADER: Final = "X-Request-Id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")

DOMAIN_STATUS: Final[tuple[tuple[type[DomainError], int], ...]] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidError, 400),
    (DomainError, 409),
)
"""Refusals of the business; the first that fits. Code and texts come with the error."""

FAILURE_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (AskTimeout, "no_answer"),
    (ActorQuarantined, "actor_quarantined"),
    (ActorFailed, "actor_failed"),
    (ActorGone, "actor_gone"),
    (MailboxFull, "busy"),
    (DatabaseError, "database_gone"),
)
"""Our own troubles that have a name; anything else is an internal_error."""

QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines every few seconds; logged at debug level while they succeed."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:",
}
"""On every answer that does not set its own. A page loads nothing from elsewhere; an address with a token is
never told to the next site.
"""


@web.middleware
async def identify(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Give each request an id (its own, when it brings a plain one), and log it once when it is over."""
    asked = request.headers.get(REQUEST_ID_HEADER, "")
    request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)
    request[REQUEST_ID] = request_id
    began = time.perf_counter()
    with structlog.contextvars.bound_contextvars(request=request_id):
        try:
            response = await handler(request)
        except BaseException:
            # The client went away, or the server stops: there is no answer to log.
            _log(request, 499, began)
            raise
        if not response.prepared:
            response.headers[REQUEST_ID_HEADER] = request_id
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        _log(request, response.status, began)
    return response


@web.middleware
async def explain(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Turn every error into the one shape; what nobody foresaw is logged with its traceback."""
    request_id = request[REQUEST_ID]
    try:
        return await handler(request)
    except DomainError as error:
        status = next(status for kind, status in DOMAIN_STATUS if isinstance(error, kind))
        detail = {"field": error.field} if error.field else {}
        return render(status, error.code, f"{error.zh} / {error.en}", detail, request_id)
    except HttpError as problem:
        return render(
            problem.status, problem.code, problem.message, problem.detail, request_id, problem.headers
        )
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _from_aiohttp(error, request_id)
    except Exception as error:  # the one place that may catch all: the client must get an answer
        code = _failure_code(error)
        status, message = PROBLEMS[code]
        log.error("request_failed", code=code, method=request.method, path=request.path, exc_info=error)
        return render(status, code, message, {}, request_id)


def _failure_code(error: Exception) -> str:
    """The name of our own trouble."""
    for kind, code in FAILURE_CODES:
        if isinstance(error, kind):
            return code
    is_database = isinstance(error, BaseORMException)
    return "database_gone" if is_database and is_outage(error) else "internal_error"


def _from_aiohttp(error: web.HTTPException, request_id: str) -> web.Response:
    """404, 405 and the like of the router; their own headers (Allow) stay."""
    code = CODE_OF_STATUS.get(HTTPStatus(error.status), f"http_{error.status}")
    _, message = PROBLEMS.get(code, (error.status, f"{error.status} {error.reason}"))
    kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    return render(error.status, code, message, {}, request_id, kept)


def _log(request: web.Request, status: int, began: float) -> None:
    """One line a request. The query is left out on purpose: it may carry a token."""
    route = request.match_info.route.resource
    level = "debug" if request.path in QUIET and status < HTTPStatus.BAD_REQUEST else "info"
    getattr(log, level)(
        "request",
        method=request.method,
        path=request.path,
        route=route.canonical if route is not None else None,
        status=status,
        ms=round((time.perf_counter() - began) * 1000, 1),
        remote=request.remote,
    )
