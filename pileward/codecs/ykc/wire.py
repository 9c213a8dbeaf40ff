"""Wire types of YKC: how one field lies in a body, in a frame struct and on the protocol page.

Each type knows its size, its `struct` code, and the Python expressions that turn the unpacked value into the
field and back; `table` pastes these into one function a frame, so decoding costs no loop over fields. Beside
that each type converts between the field and the form of the protocol page (decimal strings, local times),
which only people see.

All numbers are unsigned and little endian (YKC 1.6, data types); negative values exist only through offsets.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, DecimalException
from typing import Any, Final

from pileward.codecs.ykc import cp56

CURRENT_OFFSET_E1_A: Final = 4000
"""A current of -400.0 A is sent as 0."""
TEMP_OFFSET_C: Final = 50


class Wire:
    """One wire type: `size` bytes of struct code `form`; in `read` and `write`, `{}` is the value."""

    def __init__(
        self, code: str, size: int, form: str, read: str = "{}", write: str = "{}", note: str = ""
    ) -> None:
        self.code = code
        self.size = size
        self.form = form
        self.read = read
        self.write = write
        self.note = note

    def __repr__(self) -> str:
        return self.code

    def to_page(self, value: Any) -> Any:
        """The value as the protocol page writes it."""
        return value

    def from_page(self, value: Any) -> Any:
        """The inverse of `to_page`; raises ValueError for what cannot be meant."""
        return value


class Unsigned(Wire):
    """An unsigned integer, low byte first; `plus` is added to the raw value."""

    FORMS: Final = {1: ("B", "{}", "{}"), 2: ("H", "{}", "{}"), 4: ("I", "{}", "{}")}

    def __init__(self, size: int, code: str = "", plus: int = 0) -> None:
        form, read, write = self.FORMS.get(size, (f"{size}s", "u_read({})", f"u_write({{}}, {size})"))
        if plus:
            read, write = f"{read} + {plus}", f"{write} - {plus}"
        super().__init__(code or f"U{8 * size}", size, form, read, write)
        self.least = plus
        self.most = plus + 256**size - 1

    def from_page(self, value: Any) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is not an integer")
        return value


class Scaled(Unsigned):
    """A decimal sent as an integer, `digits` digits behind the point; the field keeps the integer."""

    def __init__(self, digits: int, size: int) -> None:
        super().__init__(size, f"D{digits}" if size in (2, 4) else f"D{digits} ({size} bytes)")
        self.digits = digits

    def to_page(self, value: int) -> str:
        sign, whole = ("-", -value) if value < 0 else ("", value)
        scale = 10**self.digits
        return f"{sign}{whole // scale}.{whole % scale:0{self.digits}d}"

    def from_page(self, value: Any) -> int:
        try:
            number = Decimal(str(value))
            if isinstance(value, bool) or not number.is_finite():
                raise ValueError(f"{value!r} is not a decimal number")
            return int(number.scaleb(self.digits).quantize(Decimal(1), ROUND_HALF_UP))
        except DecimalException:
            raise ValueError(f"{value!r} is not a decimal number") from None


class Current(Scaled):
    """A current with one decimal and an offset of 400 A; the field is signed (YKC 1.6, GB/T 27930 scale)."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        self.code = "CUR"
        self.read, self.write = f"{{}} - {CURRENT_OFFSET_E1_A}", f"{{}} + {CURRENT_OFFSET_E1_A}"
        self.least = -CURRENT_OFFSET_E1_A
        self.most = 65535 - CURRENT_OFFSET_E1_A


class Temperature(Unsigned):
    """Degrees Celsius plus 50 in one byte; with `or_none` a raw 0 means that there is no sensor."""

    def __init__(self, or_none: bool = False) -> None:
        super().__init__(1, "TEMP0" if or_none else "TEMP")
        self.read, self.write = f"{{}} - {TEMP_OFFSET_C}", f"{{}} + {TEMP_OFFSET_C}"
        self.least, self.most = -TEMP_OFFSET_C, 255 - TEMP_OFFSET_C
        self.is_optional = or_none
        if or_none:
            self.read, self.write = "TEMP0_READ[{}]", "temp0_write({})"

    def from_page(self, value: Any) -> int | None:
        return None if value is None and self.is_optional else super().from_page(value)


class Digits(Wire):
    """Bytes kept as upper-case hexadecimal text: packed decimals (BCD) and opaque numbers (HEX) alike."""

    def __init__(self, size: int, is_bcd: bool) -> None:
        code = f"{'BCD' if is_bcd else 'HEX'} {size}"
        write = f"digits_write({{}}, {size})" if is_bcd else f"hex_write({{}}, {size})"
        super().__init__(code, size, f"{size}s", "{}.hex().upper()", write)

    def from_page(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text of digits")
        return value.upper()


class Text(Wire):
    """Text of one-byte characters without the zeros on the right; reversed for VINs of start requests."""

    def __init__(self, size: int, is_reversed: bool = False) -> None:
        read, write = "text_read({})", f"text_write({{}}, {size})"
        if is_reversed:
            read, write = "reversed_read({})", f"reversed_write({{}}, {size})"
        super().__init__(f"ASCII {size}{' (reversed)' if is_reversed else ''}", size, f"{size}s", read, write)

    def from_page(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text")
        return value


class Time(Wire):
    """CP56Time2a; the field is an aware datetime or None."""

    def __init__(self) -> None:
        super().__init__("CP56", cp56.SIZE, f"{cp56.SIZE}s", "cp56_read({})", "cp56_write({})")

    def to_page(self, value: Any) -> str | None:
        return cp56.to_text(value)

    def from_page(self, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a time")
        return cp56.from_text(value)


class Slots(Wire):
    """48 bytes, one rate number for each half hour."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} x U8", count, f"{count}s", "tuple({})", f"slots_write({{}}, {count})")

    def to_page(self, value: Any) -> list[int] | None:
        return None if value is None else list(value)

    def from_page(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise ValueError(f"{value!r} is not a list of integers")
        return tuple(value)


class LowBits(Scaled):
    """The low 12 bits of a word that carries two values; `HighBits` must be the next field."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.code = "U16 bits 0-11"
        self.read, self.write = "{} & 0xFFF", "join_bits({}, {next})"
        self.most = 0xFFF


class HighBits(Unsigned):
    """The high 4 bits of the word of the field before; takes no bytes of its own."""

    def __init__(self) -> None:
        super().__init__(1, "U16 bits 12-15")
        self.size = 0
        self.form = ""
        self.read, self.write = "{before} >> 12", ""
        self.most = 15


class Gun(Unsigned):
    """A gun number: two decimal digits; with a nibble above 9 it is plain binary (YKC 1.6, 枪号)."""

    def __init__(self) -> None:
        super().__init__(1, "BCD1")
        self.read, self.write = "GUN_READ[{}]", "gun_write({})"
        self.least, self.most = 0, 99


U8: Final = Unsigned(1)
U16: Final = Unsigned(2)
U24: Final = Unsigned(3)
U32: Final = Unsigned(4)
U8_FROM_1: Final = Unsigned(1, "U8+1", plus=1)
U8_FROM_1985: Final = Unsigned(1, "U8+1985", plus=1985)
D1: Final = Scaled(1, 2)
D2: Final = Scaled(2, 2)
D2_LONG: Final = Scaled(2, 4)
D4: Final = Scaled(4, 4)
D4_METER: Final = Scaled(4, 5)
D5: Final = Scaled(5, 4)
CUR: Final = Current()
TEMP: Final = Temperature()
TEMP0: Final = Temperature(or_none=True)
GUN: Final = Gun()
CP56: Final = Time()
LOW_12_BITS: Final = LowBits()
HIGH_4_BITS: Final = HighBits()


def bcd(size: int) -> Digits:
    """Packed decimal digits, shorter text is padded with zeros on the left."""
    return Digits(size, is_bcd=True)


def hexa(size: int) -> Digits:
    """Opaque bytes as hexadecimal text of exactly this size."""
    return Digits(size, is_bcd=False)


def text(size: int) -> Text:
    """Text padded with zeros."""
    return Text(size)


def reversed_text(size: int) -> Text:
    """Text sent last character first."""
    return Text(size, is_reversed=True)


def slots(count: int) -> Slots:
    """Rate numbers of half hours."""
    return Slots(count)


# What the generated functions call; names as pasted by the types above.


def _digits_write(value: str, size: int) -> bytes:
    return _hex_write(value.rjust(2 * size, "0"), size)


def _hex_write(value: str, size: int) -> bytes:
    raw = bytes.fromhex(value)
    if len(raw) != size or len(value) != 2 * size:
        raise ValueError(f"{value!r} is not {2 * size} hexadecimal digits")
    return raw


def _text_read(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("latin-1")


def _text_write(value: str, size: int) -> bytes:
    raw = value.encode("latin-1")
    if len(raw) > size:
        raise ValueError(f"{value!r} is longer than {size} characters")
    return raw


def _reversed_read(raw: bytes) -> str:
    return raw.strip(b"\0").decode("latin-1")[::-1]


def _reversed_write(value: str, size: int) -> bytes:
    return _text_write(value, size)[::-1]


def _slots_write(value: tuple[int, ...], size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{len(value)} slots, not {size}")
    return bytes(value)


def _gun_read(byte: int) -> int:
    high, low = byte >> 4, byte & 0xF
    return byte if high > 9 or low > 9 else 10 * high + low


def _gun_write(number: int) -> int:
    if not 0 <= number <= 99:
        raise ValueError(f"gun number {number} is not two digits")
    return number // 10 << 4 | number % 10


def _temp0_write(value: int | None) -> int:
    return 0 if value is None else value + TEMP_OFFSET_C


def _join_bits(low: int, high: int) -> int:
    if not (0 <= low <= 0xFFF and 0 <= high <= 0xF):
        raise ValueError(f"{low} and {high} do not fit 12 and 4 bits")
    return low | high << 12


def _u_read(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _u_write(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


GUN_READ: Final = tuple(_gun_read(byte) for byte in range(256))
TEMP0_READ: Final = (None, *(byte - TEMP_OFFSET_C for byte in range(1, 256)))

HELPERS: Final[dict[str, Any]] = {
    "GUN_READ": GUN_READ,
    "TEMP0_READ": TEMP0_READ,
    "cp56_read": cp56.read,
    "cp56_write": cp56.write,
    "digits_write": _digits_write,
    "gun_write": _gun_write,
    "hex_write": _hex_write,
    "join_bits": _join_bits,
    "reversed_read": _reversed_read,
    "reversed_write": _reversed_write,
    "slots_write": _slots_write,
    "temp0_write": _temp0_write,
    "text_read": _text_read,
    "text_write": _text_write,
    "u_read": _u_read,
    "u_write": _u_write,
}
"""Names that generated functions see."""
