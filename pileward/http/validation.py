"""From bytes and strings to structs; what does not fit becomes an `InvalidFieldError` that names the field.

msgspec does the work and describes a mismatch in one English line; here that line is taken apart into the
field and a complaint in both languages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from multidict import MultiMapping

from pileward.http.problems import HttpError, InvalidFieldError

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

TEXT_PATTERN: Final = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"
"""Every text: no control characters but tab and line ends."""
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
"""Every whole number: what 64 bits hold."""

_TEXT: Final = re.compile(TEXT_PATTERN.removesuffix("$"))
_PLACE: Final = re.compile(r"(?P<complaint>.*?)(?: - at `(?P<place>.*)`)?", re.DOTALL)
_NAMED: Final = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)

COMPLAINTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"missing required field"), "缺少"),
    (re.compile(r"contains unknown field"), "没有这个字段"),
    (re.compile(r"Expected `.*`, got"), "类型不对"),
    (re.compile(r"Expected `(int|float)` [<>]"), "超出范围"),
    (re.compile(r"of length"), "长度不符"),
    (re.compile(r"matching regex"), "格式不符"),
    (re.compile(r"Invalid enum value"), "不在允许的取值中"),
    (re.compile(r"Invalid RFC3339|Invalid epoch"), "不是有效的时间"),
)
"""msgspec's complaints in Chinese; the first that matches, else "无效"."""


async def read_body(request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
    """Read the JSON body; raises HttpError (malformed_json, json_required) or InvalidFieldError."""
    if request.content_type != "application/json":
        raise HttpError("json_required", field="Content-Type")
    raw = await request.read()
    try:
        refuse_extremes(msgspec.json.decode(raw), "")
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid(str(error), "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError("malformed_json", problem=str(error)) from None


def read_query(query: MultiMapping[str], kind: type[T]) -> T:
    """Turn a query string into a struct; a name given twice is a mistake, not a choice."""
    plain: dict[str, str] = {}
    for name, value in query.items():
        if name in plain:
            raise InvalidFieldError(name, "重复", "given more than once", "query")
        plain[name] = value
    return read_strings(plain, kind, "query")


def read_headers(headers: Mapping[str, str], kind: type[S]) -> S:
    """Turn those headers that a struct names into it; all others are none of its business."""
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    return read_strings({name: headers[name] for name in names if name in headers}, kind, "header")


def read_strings(values: Mapping[str, str], kind: type[T], where: str) -> T:
    """Turn strings into a struct whose fields may be numbers, flags or enums."""
    for name, value in values.items():
        # Lax conversion reads the words null and none as None, which nobody means in an address.
        if value.lower() in ("null", "none"):
            raise InvalidFieldError(name, "无效", "not a value", where)
        refuse_extremes(value, name, where)
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(str(error), where) from None


def refuse_extremes(value: Any, path: str, where: str = "body") -> None:
    """Refuse what no database column takes, wherever it stands: control characters, numbers beyond 64
    bits.
    """
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise InvalidFieldError(path or where, "含控制字符", "contains control characters", where)
    elif isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise InvalidFieldError(path or where, "超出范围", "out of range", where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_extremes(item, f"{path}[{index}]", where)
    elif isinstance(value, dict):
        for name, item in value.items():
            refuse_extremes(item, f"{path}.{name}" if path else name, where)


def invalid(message: str, where: str) -> InvalidFieldError:
    """Take msgspec's line apart: the field by its dotted name, the complaint in both languages."""
    found = _PLACE.fullmatch(message)
    complaint, place = (found["complaint"], found["place"] or "$") if found else (message, "$")
    path = place.removeprefix("$").removeprefix(".").removeprefix("key ")
    if named := _NAMED.fullmatch(complaint):
        path = f"{path}.{named['name']}" if path else named["name"]
        complaint = "is required" if "missing" in complaint else "is not a field here"
        problem_zh = "缺少" if complaint == "is required" else "没有这个字段"
    else:
        problem_zh = next((zh for pattern, zh in COMPLAINTS if pattern.search(complaint)), "无效")
    return InvalidFieldError(path or where, problem_zh, complaint[:1].lower() + complaint[1:], where)
