"""A typed route registry: the handler's signature is the contract, the OpenAPI page and the validation alike.

    api = Api("/api/admin/v1", tag="stations")

    @api.post("/stations", summary="新建站点 / create a station", status=201)
    async def create_station(request: web.Request, body: NewStation) -> Station: ...

Parameters named `path`, `query`, `headers` and `body` are msgspec structs; the return type is the answer
(None: 204). A handler that returns a `StreamResponse` of its own (a page, a WebSocket) names its content type
with `media`. A route wants the operator token unless it says otherwise.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from pileward.http.validation import read_body, read_headers, read_query, read_strings

Handler = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=Handler)


class Access(enum.StrEnum):
    """Who may call a route."""

    PUBLIC = "public"
    OPERATOR = "operator"
    """The operator token in the header Authorization."""
    OPERATOR_BROWSER = "operator_browser"
    """The same, or its cookie, or `?token=`: for WebSocket and pages, where a browser cannot set a header."""
    DRIVER = "driver"
    """A driver's access token in the header Authorization; of a WebSocket also in `?access_token=`."""


class Operation(msgspec.Struct, frozen=True):
    """One route as declared; what the OpenAPI page and the middleware know of it."""

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    access: Access
    status: int
    path_type: Any = None
    query_type: Any = None
    headers_type: Any = None
    body_type: Any = None
    answer_type: Any = None
    media: str = "application/json"
    problems: tuple[int, ...] = ()
    """Statuses of refusals by the business, beside the usual ones."""
    failure_type: Any = None
    """What those refusals look like, where another's rules forbid the one shape."""
    is_hidden: bool = False

    @property
    def name(self) -> str:
        """Name of the operation, unique in the application."""
        return self.handler.__name__

    @property
    def description(self) -> str:
        """What the handler's docstring says."""
        return inspect.getdoc(self.handler) or ""


OPERATION: Final = "pileward_operation"
"""Attribute of a served handler that leads back to its `Operation`."""

_INPUTS: Final = ("path", "query", "headers", "body")


class Api:
    """A group of routes under one prefix and tag, collected by decorators and added to an application."""

    def __init__(self, prefix: str, tag: str, access: Access = Access.OPERATOR) -> None:
        self.prefix = prefix
        self.tag = tag
        self.access = access
        self.operations: list[Operation] = []

    def get(self, path: str, *, summary: str, **options: Any) -> Callable[[F], F]:
        """Declare a read; it changes nothing."""
        return self._route("GET", path, summary, options)

    def post(self, path: str, *, summary: str, **options: Any) -> Callable[[F], F]:
        """Declare a creation or a command."""
        return self._route("POST", path, summary, options)

    def patch(self, path: str, *, summary: str, **options: Any) -> Callable[[F], F]:
        """Declare a change of the fields that are given."""
        return self._route("PATCH", path, summary, options)

    def put(self, path: str, *, summary: str, **options: Any) -> Callable[[F], F]:
        """Declare a replacement; repeating it changes nothing more."""
        return self._route("PUT", path, summary, options)

    def _route(self, method: str, path: str, summary: str, options: dict[str, Any]) -> Callable[[F], F]:
        def declare(handler: F) -> F:
            # Types stand as text in the modules; resolved here, at import, a mistake is seen at once.
            signature = inspect.signature(handler, eval_str=True)
            types = {
                f"{name}_type": signature.parameters[name].annotation
                for name in _INPUTS
                if name in signature.parameters
            }
            answer = signature.return_annotation
            is_raw = inspect.isclass(answer) and issubclass(answer, web.StreamResponse)
            self.operations.append(
                Operation(
                    method=method,
                    path=self.prefix + path,
                    handler=handler,
                    tag=self.tag,
                    summary=summary,
                    access=options.pop("access", self.access),
                    status=options.pop("status", 204 if answer is None else 200),
                    answer_type=None if is_raw else answer,
                    **types,
                    **options,
                )
            )
            return handler

        return declare


def mount(app: web.Application, groups: Iterable[Api]) -> list[Operation]:
    """Add all routes to an application; returns the operations in order."""
    operations = [operation for group in groups for operation in group.operations]
    for operation in operations:
        app.router.add_route(operation.method, operation.path, _served(operation))
    return operations


def operation_of(request: web.Request) -> Operation | None:
    """The declared operation that a request was routed to; None for 404s."""
    return getattr(request.match_info.handler, OPERATION, None)


def _served(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap a handler: structs in, struct out."""
    decoder = msgspec.json.Decoder(operation.body_type) if operation.body_type is not None else None
    encoder = msgspec.json.Encoder()
    handler = operation.handler

    async def serve(request: web.Request) -> web.StreamResponse:
        inputs: dict[str, Any] = {}
        if operation.path_type is not None:
            inputs["path"] = read_strings(request.match_info, operation.path_type, "path")
        if operation.query_type is not None:
            inputs["query"] = read_query(request.query, operation.query_type)
        if operation.headers_type is not None:
            inputs["headers"] = read_headers(request.headers, operation.headers_type)
        if decoder is not None:
            inputs["body"] = await read_body(request, decoder)
        answer = await handler(request, **inputs)
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return web.Response(status=operation.status)
        return web.Response(
            body=encoder.encode(answer), status=operation.status, content_type="application/json"
        )

    setattr(serve, OPERATION, operation)
    return serve
