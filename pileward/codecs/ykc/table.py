"""The table of frames and the functions made from it.

A frame is a struct whose annotations are the rows of its table: field name, Python type, wire type, Chinese
name, meaning. `frame` registers the struct and builds its `Layout`: one precompiled `struct.Struct`, and an
encoder and a decoder compiled from the rows at import. Documents, the text form and the tests walk the same
rows, so nothing about a frame is said twice.

A field is called as on the protocol page with the scale added (`energy_e4_kwh`); the page's own name is got
back by leaving the scale out (`energy_kwh`, `amount` for `amount_e4_yuan`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pileward.codecs.base import FrameError
from pileward.codecs.ykc.wire import HELPERS, Wire

_SCALE: Final = re.compile(r"_e\d(_yuan)?(?=_|$)")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Base of all frame structs."""


class Row(NamedTuple):
    """One field of a frame: where it lies and what it means."""

    name: str
    """Name of the field in the struct."""
    page: str
    """Name on the protocol page and in test vectors."""
    wire: Wire
    zh: str
    meaning: str
    offset: int
    """Offset in the body."""


class Entries:
    """The end of a list frame: structs of equal size, either counted by the byte before or up to the end."""

    def __init__(self, entry: type[Frame], count: tuple[str, str, str] | None, most: int) -> None:
        self.entry = entry
        self.count = count
        """Page name, Chinese name and meaning of the count byte; None when there is none."""
        self.most = most
        self.rows = tuple(_rows_of(entry))
        self.size = sum(row.wire.size for row in self.rows)
        self.read, self.write = _compile(entry, self.rows)
        self.code = "list"

    def decode(self, data: bytes) -> tuple[tuple[Frame, ...], int, bool]:
        """Read the entries: they, the number of bytes used, and whether all announced ones were there."""
        start, announced = (1, data[0]) if self.count else (0, len(data) // self.size)
        there = min(announced, (len(data) - start) // self.size)
        ends = range(start, start + there * self.size, self.size)
        return tuple(self.read(data, at) for at in ends), start + there * self.size, there == announced

    def encode(self, values: tuple[Frame, ...]) -> bytes:
        """Write the entries; raises ValueError when there are more than a frame may carry."""
        if len(values) > self.most:
            raise ValueError(f"{len(values)} entries, at most {self.most} fit")
        return (bytes((len(values),)) if self.count else b"") + b"".join(map(self.write, values))

    def to_page(self, values: tuple[Frame, ...]) -> list[dict[str, Any]]:
        """Entries as objects."""
        return [
            {row.page: row.wire.to_page(getattr(value, row.name)) for row in self.rows} for value in values
        ]

    def from_page(self, value: Any) -> tuple[Frame, ...]:
        """The inverse of `to_page`; raises ValueError."""
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError("is not a list of objects")
        return tuple(self.entry(**fields_from_page(self.rows, item)) for item in value)


class CountedText:
    """The end of a frame: a length byte and that many one-byte characters."""

    def __init__(self, count: tuple[str, str, str], most: int) -> None:
        self.count = count
        self.most = most
        self.rows: tuple[Row, ...] = ()
        self.code = "ASCII"

    def decode(self, data: bytes) -> tuple[str, int, bool]:
        """Read the text, the number of bytes used, and whether it was all there."""
        end = 1 + data[0]
        return data[1:end].decode("latin-1"), min(end, len(data)), end <= len(data)

    def encode(self, value: str) -> bytes:
        """Write the text; raises ValueError when it is too long."""
        raw = value.encode("latin-1")
        if len(raw) > self.most:
            raise ValueError(f"{len(raw)} characters, at most {self.most} fit")
        return bytes((len(raw),)) + raw

    def to_page(self, value: str) -> str:
        """The text itself."""
        return value

    def from_page(self, value: Any) -> str:
        """The inverse of `to_page`; raises ValueError."""
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text")
        return value


Tail = Entries | CountedText


class Kind(NamedTuple):
    """What is known of a frame type beside its layout."""

    code: int
    name: str
    zh: str
    is_uplink: bool
    answered_by: int | None
    when: str
    since: str
    is_billing: bool
    """A record that is decoded whole or not at all."""


class Body(NamedTuple):
    """A decoded body."""

    frame: Frame | None
    """None when nothing of it may be used; fields in `missing` are None, whatever their type says."""
    missing: tuple[str, ...] = ()
    rest: bytes = b""
    """Bytes behind the known layout."""


class Layout:
    """How one frame struct lies in a body."""

    def __init__(self, kind: Kind, struct_class: type[Frame], optional_tail: int) -> None:
        self.kind = kind
        self.frame = struct_class
        rows = tuple(_rows_of(struct_class))
        self.tail_row: Row | None = None
        self.tail: Tail | None = None
        if rows and isinstance(rows[-1].wire, Entries | CountedText):
            self.tail_row, self.tail = rows[-1], rows[-1].wire
            rows = rows[:-1]
        self.rows = rows
        """The rows of fixed size."""
        self.size = sum(row.wire.size for row in rows)
        """Bytes of the fixed part."""
        self.optional_tail = optional_tail
        self.form = "".join(row.wire.form for row in rows)
        """Codes of the fixed part for `struct`, low byte first."""
        self._read, self._write = _compile(struct_class, rows, self.tail)
        self.decode_exact: Callable[[bytes, int], Frame] | None = self._read if self.tail is None else None
        """Reads a body of exactly `size` bytes at an offset of a buffer; None for layouts with a tail."""

    def decode(self, body: bytes) -> Body:
        """Read a body of any length (YKC 1.6 piles send longer and shorter ones than documented)."""
        if self.tail is not None:
            return self._decode_tail(body)
        if len(body) >= self.size:
            return Body(self._read(body, 0), rest=body[self.size :])
        if self.kind.is_billing:
            return Body(None, missing=self._missing(len(body)))
        return self._decode_short(body)

    def encode(self, frame: Frame) -> bytes:
        """Write a body; raises FrameError that names the field whose value does not fit."""
        cut = None
        if self.optional_tail and getattr(frame, self.rows[-1].name) is None:
            last = self.rows[-1]
            frame, cut = msgspec.structs.replace(frame, **{last.name: "00" * last.wire.size}), -last.wire.size
        try:
            return self._write(frame)[:cut]
        except (struct.error, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise FrameError(self._complaint(frame) or f"{self.kind.name}: {error}") from None

    def _decode_tail(self, body: bytes) -> Body:
        assert self.tail is not None and self.tail_row is not None
        least = self.size + (1 if self.tail.count else 0)
        if len(body) < least:
            return self._decode_short(body)
        value, used, is_whole = self.tail.decode(body[self.size :])
        missing = () if is_whole else (self.tail_row.name,)
        return Body(self._read(body, 0, value), missing, body[self.size + used :])

    def _decode_short(self, body: bytes) -> Body:
        """Read what is there of a body that ends early; the rest of the fields become None."""
        missing = self._missing(len(body))
        padded = body + bytes(self.size - len(body))
        full = self._read(padded, 0) if self.tail is None else self._read(padded, 0, ())
        values = [None if name in missing else getattr(full, name) for name in self.frame.__struct_fields__]
        is_tolerated = 0 < self.optional_tail == self.size - len(body)
        return Body(self.frame(*values), () if is_tolerated else missing)

    def _missing(self, length: int) -> tuple[str, ...]:
        names = [row.name for row in self.rows if row.offset + row.wire.size > length]
        if self.tail_row is not None:
            names.append(self.tail_row.name)
        return tuple(names)

    def _complaint(self, frame: Frame) -> str:
        """Find the field that cannot be written, by writing each alone."""
        for row in self.rows:
            value = getattr(frame, row.name)
            if row.wire.size == 0:
                continue
            namespace = dict(HELPERS, value=value)
            source = row.wire.write.replace("{next}", "0").replace("{}", "value")
            try:
                struct.pack(f"<{row.wire.form}", eval(source, namespace))  # noqa: S307 - our own text
            except (struct.error, ValueError, TypeError, AttributeError, OverflowError):
                return f"{self.kind.name}: {row.name} = {value!r} does not fit {row.wire.code}"
        return ""


F = TypeVar("F", bound=Frame)

LAYOUTS: Final[dict[int, list[Layout]]] = {}
"""Layouts by frame type; the first of a type is the documented one, others are known by their length."""
BY_CLASS: Final[dict[type[Frame], Layout]] = {}


def frame(
    code: int,
    name: str,
    zh: str,
    *,
    answered_by: int | None = None,
    when: str,
    since: str = "1.5",
    is_billing: bool = False,
    optional_tail: int = 0,
) -> Callable[[type[F]], type[F]]:
    """Register a frame struct: odd codes come from the pile, even ones go to it.

    `optional_tail`: size of the last field when some peers leave it out; such a body counts as whole, the
    field is None.
    """
    kind = Kind(code, name, zh, code % 2 == 1, answered_by, when, since, is_billing)

    def register(struct_class: type[F]) -> type[F]:
        layout = Layout(kind, struct_class, optional_tail)
        LAYOUTS.setdefault(code, []).append(layout)
        BY_CLASS[struct_class] = layout
        return struct_class

    return register


def layout_of(code: int, length: int) -> Layout | None:
    """Choose by frame type and body length, never by the version a pile claims; None: unknown type."""
    layouts = LAYOUTS.get(code)
    if layouts is None:
        return None
    for layout in layouts:
        if layout.size == length:
            return layout
    return layouts[0]


def all_layouts() -> Iterator[Layout]:
    """Every layout in the order of frame types."""
    for code in sorted(LAYOUTS):
        yield from LAYOUTS[code]


def fields_from_page(rows: tuple[Row, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Turn names and values of the page into those of the struct.

    Raises FrameError that names a missing, unknown or wrong field.
    """
    values: dict[str, Any] = {}
    for row in rows:
        if row.page == "reserved" and fields.get("reserved", "") is None:
            values[row.name] = None
        elif row.page in fields:
            try:
                values[row.name] = row.wire.from_page(fields[row.page])
            except ValueError as error:
                raise FrameError(f"{row.page}: {error}") from None
        elif row.page != "reserved":
            raise FrameError(f"{row.page}: is missing")
        else:
            values[row.name] = _BLANK_RESERVED[row.wire.code]
    unknown = set(fields) - {row.page for row in rows}
    if unknown:
        raise FrameError(f"{', '.join(sorted(unknown))}: no such field")
    return values


_BLANK_RESERVED: Final[dict[str, Any]] = {"U8": 0, "HEX 4": "00000000"}


def _rows_of(struct_class: type[Frame]) -> Iterator[Row]:
    """Read the rows out of the annotations of a struct."""
    offset = 0
    hints = get_type_hints(struct_class, include_extras=True)
    for name in struct_class.__struct_fields__:
        hint = hints[name]
        assert get_origin(hint) is Annotated, f"{struct_class.__name__}.{name} has no row"
        _, wire, zh, meaning = get_args(hint)
        yield Row(name, _SCALE.sub("", name), wire, zh, meaning, offset)
        if isinstance(wire, Wire):
            offset += wire.size


def _compile(
    struct_class: type[Frame], rows: tuple[Row, ...], tail: Tail | None = None
) -> tuple[Callable[..., Any], Callable[..., bytes]]:
    """Make decoder and encoder of a frame from its rows, one expression each."""
    packer = struct.Struct("<" + "".join(row.wire.form for row in rows))
    variables = [f"v{number}" for number, row in enumerate(rows) if row.wire.form]
    reads, writes = [], []
    for number, row in enumerate(rows):
        reads.append(row.wire.read.replace("{before}", f"v{number - 1}").replace("{}", f"v{number}"))
        if row.wire.write:
            following = f"frame.{rows[number + 1].name}" if "{next}" in row.wire.write else ""
            writes.append(row.wire.write.replace("{next}", following).replace("{}", f"frame.{row.name}"))
    extra_argument, tail_write = "", ""
    if tail is not None:
        name = struct_class.__struct_fields__[-1]
        reads.append("tail")
        extra_argument, tail_write = ", tail", f" + tail_encode(frame.{name})"
    source = (
        f"def read(data, at{extra_argument}):\n"
        f"    {', '.join(variables)}, = unpack_from(data, at)\n"
        f"    return Struct({', '.join(reads)})\n"
        f"def write(frame):\n"
        f"    return pack({', '.join(writes)}){tail_write}\n"
    )
    namespace: dict[str, Any] = dict(
        HELPERS,
        Struct=struct_class,
        unpack_from=packer.unpack_from,
        pack=packer.pack,
        tail_encode=tail.encode if tail is not None else None,
    )
    exec(compile(source, f"<frame {struct_class.__name__}>", "exec"), namespace)  # noqa: S102 - our own text
    return namespace["read"], namespace["write"]
