"""The OpenAPI 3.1 page, made from the same structs that validate, and its 3.0 form for the bundled viewer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pileward.http.api import Access, Operation
from pileward.http.problems import PROBLEMS, Problem
from pileward.http.validation import INTEGER_MAX, INTEGER_MIN, TEXT_PATTERN

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = ("internal_error",)
_AUTHORISED: Final = ("operator_token_required", "operator_token_wrong", "too_many_requests")
_DRIVER: Final = ("driver_token_required", "driver_token_wrong", "driver_token_expired")

REFUSALS: Final = {
    400: "值不可接受 / a value that cannot be accepted",
    401: "身份无法确认 / who it is cannot be proven",
    403: "不允许 / not allowed",
    404: "所指之物不存在 / what was named does not exist",
    409: "与当前状态冲突 / in conflict with the present state",
    413: "过大 / too large",
    426: "websocket_required",
    429: "too_many_requests",
    500: "内部错误，已记录 / internal error, recorded",
    502: "支付方未接受 / the payment provider refused",
    503: "actor_quarantined, actor_gone, not_ready",
    504: "no_answer",
}
"""What a refusal by the business means, by status; its code tells more."""


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """Describe all operations that are not hidden."""
    shown = [operation for operation in operations if not operation.is_hidden]
    types = [Problem, *_types(shown)]
    # One call for all, so that two structs of one name are told apart.
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for component in components.values():
        _bound(component)
    found = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        entry = _operation(operation, found, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pileward",
            "version": version,
            "description": "充电桩实时监管平台 / real-time supervisor for EV charging piles. "
            "金额、电量为整数，单位写在字段名中；时间为 UTC。"
            "/ Money and energy are integers with the unit in the field name; times are UTC.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "operatorToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "运营商令牌 / operator token",
                },
                "operatorCookie": {"type": "apiKey", "in": "cookie", "name": "pileward_operator"},
                "driverToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "司机令牌，由登录取得 / driver's access token, from the login",
                },
            },
        },
    }


def _bound(schema: Any) -> None:
    """Tell what holds for every text and number that nothing narrower bounds; see `validation`."""
    if isinstance(schema, list):
        for item in schema:
            _bound(item)
    elif isinstance(schema, dict):
        if schema.get("type") == "string" and not schema.keys() & {"pattern", "format", "enum", "const"}:
            schema["pattern"] = TEXT_PATTERN
        elif schema.get("type") == "integer" and "enum" not in schema:
            schema.setdefault("minimum", INTEGER_MIN)
            schema.setdefault("maximum", INTEGER_MAX)
        for name, content in schema.items():
            if name not in ("default", "enum", "examples"):
                _bound(content)


def _types(operations: Iterable[Operation]) -> list[Any]:
    kinds = ("path_type", "query_type", "headers_type", "body_type", "answer_type", "failure_type")
    wanted = [getattr(operation, kind) for operation in operations for kind in kinds]
    unique = {id(kind): kind for kind in wanted if kind is not None}
    return list(unique.values())


def _operation(operation: Operation, found: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": _security(operation.access),
        "parameters": [
            *_parameters("path", operation.path_type, found, components),
            *_parameters("query", operation.query_type, found, components),
            *_parameters("header", operation.headers_type, found, components),
        ],
        "responses": _responses(operation, found),
    }
    if operation.body_type is not None:
        content = {"application/json": {"schema": found[id(operation.body_type)]}}
        entry["requestBody"] = {"required": True, "content": content}
    return entry


def _security(access: Access) -> list[dict[str, list[str]]]:
    if access is Access.PUBLIC:
        return []
    if access is Access.DRIVER:
        return [{"driverToken": []}]
    header: dict[str, list[str]] = {"operatorToken": []}
    return [header, {"operatorCookie": []}] if access is Access.OPERATOR_BROWSER else [header]


def _parameters(
    where: str, kind: Any, found: dict[int, Any], components: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    """One parameter for each field of a struct; the struct itself is no component of the page."""
    if kind is None:
        return
    struct = _resolve(found[id(kind)], components)
    for name, schema in struct["properties"].items():
        plain = _without_null(schema)
        yield {
            "name": name,
            "in": where,
            "required": name in struct.get("required", ()),
            "description": plain.pop("description", ""),
            "schema": plain,
        }


def _resolve(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return components[reference.rpartition("/")[2]] if reference else schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out: its absence is the null."""
    plain = dict(schema)
    options = [option for option in plain.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        del plain["anyOf"]
        if plain.get("default", ...) is None:
            del plain["default"]
        plain = {**(options[0] if len(options) == 1 else {"anyOf": options}), **plain}
    return plain


def _responses(operation: Operation, found: dict[int, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "成功 / done"}
    if operation.answer_type is not None:
        success["content"] = {operation.media: {"schema": found[id(operation.answer_type)]}}
    elif operation.media != "application/json":
        success["content"] = {operation.media: {"schema": {"type": "string"}}}
    codes_of: dict[int, list[str]] = {}
    for code in _usual_problems(operation):
        codes_of.setdefault(PROBLEMS[code].status, []).append(code)
    for status in operation.problems:
        codes_of.setdefault(status, []).append(REFUSALS[status])
    problem = {"$ref": _REF.format(name="Problem")}
    failure = found[id(operation.failure_type)] if operation.failure_type is not None else problem
    responses = {str(operation.status): success}
    for status, codes in sorted(codes_of.items()):
        shape = failure if status in operation.problems else problem
        responses[str(status)] = {
            "description": ", ".join(codes),
            "content": {"application/json": {"schema": shape}},
        }
    return responses


def _usual_problems(operation: Operation) -> Iterable[str]:
    kinds = (operation.path_type, operation.query_type, operation.headers_type, operation.body_type)
    if any(kind is not None for kind in kinds):
        yield "invalid_field"
    if operation.path_type is not None:
        yield "not_found"
    if operation.body_type is not None:
        yield from ("malformed_json", "body_too_large", "json_required")
    if operation.access is Access.DRIVER:
        yield from _DRIVER
    elif operation.access is not Access.PUBLIC:
        yield from _AUTHORISED
    yield from _ALWAYS


def as_3_0(value: Any) -> Any:
    """Rewrite a 3.1 page for viewers that only know 3.0: null becomes `nullable`, `const` a list of one.

    The bundled viewer is such a one; programs should read the 3.1 page.
    """
    if isinstance(value, list):
        return [as_3_0(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: as_3_0(content) for name, content in value.items()}
    if plain.get("openapi") == "3.1.0":
        plain["openapi"] = "3.0.3"
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if isinstance(plain.get("anyOf"), list) and {"type": "null"} in plain["anyOf"]:
        plain["anyOf"] = [option for option in plain["anyOf"] if option != {"type": "null"}]
        plain["nullable"] = True
    if "prefixItems" in plain:
        plain["items"] = {"anyOf": plain.pop("prefixItems")}
    return plain


assert set(_ALWAYS + _AUTHORISED + _DRIVER) <= set(PROBLEMS)
