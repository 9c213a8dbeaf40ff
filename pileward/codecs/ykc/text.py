"""Frames as text for people and tools: JSON objects in the words of the protocol page, and back.

The form is that of the test vectors: page names, decimals as strings with all digits, local times,
hexadecimal text in capitals. A body is shown even when its checksum is wrong; what is wrong is said beside
it, Chinese first.
"""

from __future__ import annotations

from typing import Any, Final

from pileward.codecs.base import BAD_CHECKSUM, FrameError, Garbage
from pileward.codecs.ykc import enums
from pileward.codecs.ykc.envelope import (
    BODY_AT,
    GIVE_UP_S,
    LEAST_LENGTH,
    OVERHEAD,
    START,
    Stream,
    is_high_first,
    is_low_first,
    wrap,
)
from pileward.codecs.ykc.table import (
    LAYOUTS,
    Body,
    CountedText,
    Entries,
    Layout,
    fields_from_page,
    layout_of,
)

__all__ = ["decode_text", "describe", "describe_all", "encode", "explain", "fields_of"]

_NO_FRAME: Final[dict[str, Any]] = {
    "ok": False,
    "frame_type": None,
    "name": None,
    "sequence": None,
    "crc_ok": False,
    "fields": {},
    "error": None,
}


def describe(raw: bytes) -> dict[str, Any]:
    """Describe what should be one frame; never raises.

    Keys: ok, frame_type ("0x13"), name, sequence (low byte first), crc_ok (either order), fields, error; and
    `rest`, hexadecimal, when the body is longer than its layout.
    """
    if len(raw) < OVERHEAD or raw[0] != START:
        return {**_NO_FRAME, "error": f"不是报文 / no frame: {_shown(raw)}"}
    layouts = LAYOUTS.get(raw[5])
    result = {
        "ok": False,
        "frame_type": f"0x{raw[5]:02X}",
        "name": layouts[0].kind.name if layouts else None,
        "sequence": raw[2] | raw[3] << 8,
        "crc_ok": is_low_first(raw) or is_high_first(raw),
        "fields": {},
        "error": None,
    }
    length = len(raw) - 4
    if raw[1] != length or length < LEAST_LENGTH:
        result["error"] = f"长度字节错误 / the length byte says {raw[1]}, the frame has {length}"
        return result
    if raw[4]:
        result["error"] = f"加密报文，无法解析 / encrypted (flag 0x{raw[4]:02X}), cannot be read"
        return result
    body = raw[BODY_AT:-2]
    layout = layout_of(raw[5], len(body))
    if layout is None:
        result["fields"] = {"body": body.hex().upper()}
        result["error"] = f"未知帧类型 / unknown frame type 0x{raw[5]:02X}"
        return result
    decoded = layout.decode(body)
    result["fields"] = fields_of(layout, decoded)
    if decoded.rest:
        result["rest"] = decoded.rest.hex().upper()
    if decoded.missing:
        names = ", ".join(decoded.missing)
        result["error"] = f"消息体过短 / the body of {len(body)} bytes is too short, missing: {names}"
    elif not result["crc_ok"]:
        result["error"] = f"校验错误 / wrong checksum {raw[-2:].hex().upper()}"
    result["ok"] = result["error"] is None
    return result


def describe_all(data: bytes) -> list[dict[str, Any]]:
    """Describe every frame in a run of bytes, and what lies between them; never raises."""
    stream = Stream()
    items = stream.receive(data, 0.0) + stream.receive(b"", GIVE_UP_S)
    is_one_bad_frame = data[:1] == bytes((START,)) and not any(_is_shown_alone(item) for item in items)
    return [describe(data)] if is_one_bad_frame else [_describe_item(item) for item in items]


def decode_text(text: str) -> list[dict[str, Any]]:
    """Describe every frame in a line of hexadecimal text (spaces, colons, 0x are ignored); never raises."""
    digits = "".join(text.replace(":", " ").replace("0x", " ").replace("0X", " ").split())
    try:
        return describe_all(bytes.fromhex(digits))
    except ValueError:
        return [{**_NO_FRAME, "error": f"不是十六进制 / not hexadecimal: {text.strip()[:80]}"}]


def encode(value: dict[str, Any]) -> bytes:
    """Make the frame of an object as `describe` returns it; sequence defaults to 0, the checksum is made
    anew.

    `frame_type` is "0x13" or a number; `crc_order` may be "high_first". Raises FrameError that names the
    field.
    """
    code = _frame_type(value.get("frame_type"))
    fields, sequence = value.get("fields"), value.get("sequence", 0)
    if not isinstance(fields, dict):
        raise FrameError("fields: is not an object")
    if type(sequence) is not int or not 0 <= sequence <= 0xFFFF:
        raise FrameError(f"sequence: {sequence!r} is not 0 to 65535")
    layout = _layout_for(code, fields)
    fixed = {name: value for name, value in fields.items() if not _is_tail(layout, name)}
    values = fields_from_page(layout.rows, fixed)
    if layout.tail is not None and layout.tail_row is not None:
        row = layout.tail_row
        if row.page not in fields:
            raise FrameError(f"{row.page}: is missing")
        try:
            values[row.name] = layout.tail.from_page(fields[row.page])
        except ValueError as error:
            raise FrameError(f"{row.page}: {error}") from None
    try:
        rest = bytes.fromhex(value.get("rest") or "")
    except (TypeError, ValueError):
        raise FrameError("rest: is not hexadecimal") from None
    body = layout.encode(layout.frame(**values)) + rest
    return wrap(sequence, code, body, value.get("crc_order") == "high_first")


def fields_of(layout: Layout, decoded: Body) -> dict[str, Any]:
    """The fields of a decoded body in the form of the page; missing ones are null, none for an unusable
    record.
    """
    frame = decoded.frame
    if frame is None:
        return {}
    fields: dict[str, Any] = {}
    for row in layout.rows:
        value = getattr(frame, row.name)
        is_missing = value is None and (row.name in decoded.missing or row.page == "reserved")
        fields[row.page] = None if is_missing else row.wire.to_page(value)
    if layout.tail is not None and layout.tail_row is not None:
        value = getattr(frame, layout.tail_row.name)
        if layout.tail.count:
            fields[layout.tail.count[0]] = None if value is None else len(value)
        fields[layout.tail_row.page] = None if value is None else layout.tail.to_page(value)
    return fields


def explain(raw: bytes) -> list[dict[str, Any]]:
    """The fields of one frame with their Chinese names and, for enumerations, the words of their values."""
    fields = describe(raw)["fields"]
    layout = layout_of(raw[5], len(raw) - OVERHEAD) if fields else None
    if layout is None:
        return []
    zh = {row.page: row.zh for row in layout.rows}
    if layout.tail is not None and layout.tail_row is not None:
        zh[layout.tail_row.page] = layout.tail_row.zh
        if layout.tail.count:
            zh[layout.tail.count[0]] = layout.tail.count[1]
    return [
        {"name": name, "zh": zh[name], "value": value, "text": _words(raw[5], name, value)}
        for name, value in fields.items()
    ]


def _words(frame_type: int, name: str, value: Any) -> str:
    if name == "hardware_fault" and isinstance(value, int):
        return ", ".join(enums.fault_codes(value))
    word = enums.text_of(frame_type, name, value) if type(value) is int else None
    return f"{word.zh} / {word.en}" if word else ""


def _is_shown_alone(item: bytes | Garbage) -> bool:
    """Tell whether an item is a frame of the right length, good or damaged."""
    if isinstance(item, bytes):
        return True
    raw = item.raw
    return item.reason == BAD_CHECKSUM and len(raw) >= OVERHEAD and raw[1] + 4 == len(raw)


def _describe_item(item: bytes | Garbage) -> dict[str, Any]:
    if _is_shown_alone(item):
        return describe(item if isinstance(item, bytes) else item.raw)
    assert isinstance(item, Garbage)
    return {**_NO_FRAME, "error": f"不是报文 / no frame ({item.reason}): {_shown(item.raw)}"}


def _shown(raw: bytes) -> str:
    return raw[:40].hex().upper() + ("…" if len(raw) > 40 else "")


def _frame_type(value: Any) -> int:
    try:
        code = value if type(value) is int else int(str(value), 16)
    except ValueError:
        raise FrameError(f"frame_type: {value!r} is not a number like 0x13") from None
    if code not in LAYOUTS:
        raise FrameError(f"frame_type: {value!r} is not known")
    return code


def _layout_for(code: int, fields: dict[str, Any]) -> Layout:
    """Choose the variant that has all the fields given; the documented one when none has."""
    for layout in LAYOUTS[code]:
        names = {row.page for row in layout.rows}
        if all(name in names or _is_tail(layout, name) for name in fields):
            return layout
    return LAYOUTS[code][0]


def _is_tail(layout: Layout, name: str) -> bool:
    """Tell whether a name belongs to the end of variable length; its count is made anew."""
    tail, row = layout.tail, layout.tail_row
    if tail is None or row is None:
        return False
    assert isinstance(tail, Entries | CountedText)
    return name == row.page or bool(tail.count and name == tail.count[0])
