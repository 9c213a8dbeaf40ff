"""The page `docs/protocols/ykc.md`, printed from the table of frames: `python -m pileward.codecs.docs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pileward.codecs.ykc import enums, plausible
from pileward.codecs.ykc.envelope import GIVE_UP_S
from pileward.codecs.ykc.table import Entries, Layout, all_layouts
from pileward.messages.faults import FAULTS
from pileward.values import GUNS_MAX

INTRODUCTION: Final = f"""\
# YKC 云快充 1.5, 1.6, 1.7

Printed from the table in `pileward/codecs/ykc` by `python -m pileward.codecs.docs`; do not edit by hand.

## Envelope

`68 | L | sequence 2 | encryption 1 | type 1 | body N | checksum 2`; L = N + 4, a frame has L + 4 bytes.

- Odd types come from the pile (up), even ones go to it (down). An answer has the sequence of its question.
- The checksum is CRC-16/MODBUS over the L bytes from the sequence on. It is sent low byte first; both orders
  are taken (setting of the dialect: `both`, `low`, `high`, or `mirror`: the order last seen from the pile).
- The sequence is read low byte first and handed back unread.
- Encryption other than 0 is not defined by the protocol; such frames are counted and dropped.
- The layout is chosen by type and body length, never by the version in the login. A longer body is read as
  far as it is known, a shorter one as far as it goes; but transaction records are read whole or not at all.
- A partial frame is given up {GIVE_UP_S:g} s after its last byte. After a bad checksum the frame is dropped
  whole if nothing or 0x68 follows it, else only its first byte is.

## Types of fields

| type | bytes | meaning |
| --- | --- | --- |
| BCD n | n | digits, high nibble first, padded with zeros on the left; letters of other nibbles are kept |
| BCD1 | 1 | gun number of two digits; binary when a nibble is above 9 |
| HEX n | n | opaque, shown as hexadecimal digits |
| U8, U16, U24, U32 | 1 to 4 | unsigned, low byte first; U8+1 and U8+1985 with that much added |
| D1, D2, D4, D5 | 2, 4, 5 | unsigned, low byte first, with 1, 2, 4 or 5 decimals |
| CUR | 2 | current: (raw - 4000) / 10 A; raw 0 says nothing; the sign is sent either way |
| TEMP, TEMP0 | 1 | raw - 50 °C; TEMP0: raw 0 says nothing |
| ASCII n | n | text of one-byte characters, padded with zeros |
| CP56 | 7 | CP56Time2a, China standard time; all zeros or a date that does not exist is no time |

In code a field with decimals is an integer with the scale in its name: `energy_kwh` is `energy_e4_kwh`.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, *_overview(), *_ranges(), "## Frames\n"]
    for layout in all_layouts():
        parts.extend(_frame(layout))
    parts.extend(_enumerations())
    return "\n".join(parts).rstrip() + "\n"


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    heads = list(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def _overview() -> Iterator[str]:
    yield "## All frames\n"
    rows = []
    for layout in all_layouts():
        kind = layout.kind
        answer = f"0x{kind.answered_by:02X}" if kind.answered_by is not None else ""
        direction = "up" if kind.is_uplink else "down"
        rows.append(
            (_link(layout), kind.name, kind.zh, direction, _length(layout), answer, kind.when, kind.since)
        )
    yield from _table(
        ("type", "name", "中文", "direction", "body", "answered by", "sent when", "version"), rows
    )


def _ranges() -> Iterator[str]:
    yield "## What is believed\n"
    yield "A value outside its range becomes null in the platform's message and is named there as a problem;"
    yield "the rest of the frame counts. A frame with an impossible gun number is counted and dropped; a"
    yield "record is kept all the same.\n"
    yield from _table(
        ("quantity", "believed"),
        (
            ("gun number", f"1 to {GUNS_MAX}"),
            ("state of charge", "0 to 100 %"),
            ("voltage", f"up to {plausible.VOLTAGE_MAX_E1_V // 10:,} V"),
            ("current", f"up to {plausible.CURRENT_MAX_E1_A // 10:,} A"),
            ("voltage of a cell", f"up to {plausible.CELL_VOLTAGE_MAX_E2_V // 100} V"),
            ("temperature", f"{plausible.TEMP_MIN_C} to {plausible.TEMP_MAX_C} °C"),
            ("energy of one charge", f"up to {plausible.ENERGY_MAX_E4_KWH // 10_000:,} kWh"),
            ("money of one charge", f"up to {plausible.AMOUNT_MAX_E4_YUAN // 10_000:,} yuan"),
            ("duration", f"up to {plausible.MINUTES_MAX:,} min"),
            ("time", f"from {plausible.EARLIEST:%Y-%m-%d} on"),
        ),
    )


def _link(layout: Layout) -> str:
    return f"[0x{layout.kind.code:02X}](#{layout.frame.__name__.lower()})"


def _length(layout: Layout) -> str:
    tail = layout.tail
    if tail is None:
        short = f" or {layout.size - layout.optional_tail}" if layout.optional_tail else ""
        return f"{layout.size}{short}"
    size = layout.size + (1 if tail.count else 0)
    return f"{size} + {tail.size}n" if isinstance(tail, Entries) else f"{size} + n"


def _frame(layout: Layout) -> Iterator[str]:
    kind = layout.kind
    yield f'<a id="{layout.frame.__name__.lower()}"></a>\n'
    yield f"### 0x{kind.code:02X} {kind.name} {kind.zh}\n"
    words = " ".join((layout.frame.__doc__ or "").split())
    yield f"{words} In code: `{layout.frame.__name__}`.\n"
    rows: list[tuple[object, ...]] = [
        (row.offset, row.wire.size or "", row.page, row.zh, row.wire.code, row.meaning, row.name)
        for row in layout.rows
    ]
    if layout.tail is not None and layout.tail_row is not None:
        tail, offset = layout.tail, layout.size
        if tail.count:
            name, zh, meaning = tail.count
            rows.append((offset, 1, name, zh, "U8", meaning, "(made from the field below)"))
            offset += 1
        row = layout.tail_row
        rows.append((offset, "n", row.page, row.zh, tail.code, row.meaning, row.name))
    heads = ("offset", "bytes", "field", "中文", "type", "meaning", "name in code")
    yield from _table(heads, rows)
    if isinstance(layout.tail, Entries):
        yield f"Each entry of {layout.tail.size} bytes:\n"
        inner = layout.tail.rows
        yield from _table(
            heads, ((r.offset, r.wire.size, r.page, r.zh, r.wire.code, r.meaning, r.name) for r in inner)
        )


def _enumerations() -> Iterator[str]:
    yield "## Enumerations\n"
    yield 'Unknown values break nothing: the number is kept and shown as "未知 (0xNN) / unknown (0xNN)".\n'
    users: dict[int, list[str]] = {}
    words_of = {id(words): words for words in enums.WORDS_OF.values()}
    for (code, name), words in enums.WORDS_OF.items():
        users.setdefault(id(words), []).append(f"0x{code:02X} {name}")
    for key, names in users.items():
        yield f"### {', '.join(names)}\n"
        yield from _table(
            ("value", "中文", "meaning"),
            ((f"0x{word.value:02X}", word.zh, word.en) for word in words_of[key]),
        )
    yield "### 0x0A, 0x58 slots\n"
    yield from _table(("value", "中文", "meaning"), ((word.value, word.zh, word.en) for word in enums.RATES))
    yield "### 0x3B, 0x3D stop_reason\n"
    yield from _table(
        ("value", "中文", "meaning", "phase", "group"),
        ((f"0x{word.value:02X}", word.zh, word.en, word.phase, word.group) for word in enums.STOP_REASONS),
    )
    yield "### 0x13 hardware_fault\n"
    yield from _table(
        ("mask", "code", "中文", "meaning"),
        (
            (f"0x{1 << bit:04X}", code, FAULTS[code].text_zh, FAULTS[code].text_en)
            for bit, code in enumerate(enums.HARDWARE_FAULTS)
        ),
    )
    for title, note, flags in FLAGS:
        yield f"### {title}\n"
        yield note + "\n"
        yield from _table(
            ("bits", "code", "中文", "meaning"),
            ((f"{flag.shift}-{flag.shift + 1}", flag.code, flag.zh, flag.en) for flag in flags),
        )


_ABORT: Final = "States of two bits: 0 no, 1 yes, 2 not trustworthy (the code then ends in `?`)."
_TIMEOUT: Final = (
    "States of two bits: 0 no, 1 time-out, 2 not trustworthy; anything from bit 26 on is `other`."
)

FLAGS: Final = (
    ("0x1B timeout_flags, bytes 0 to 3: what the vehicle missed", _TIMEOUT, enums.BMS_TIMEOUTS),
    ("0x1B timeout_flags, bytes 4 to 7: what the charger missed", _TIMEOUT, enums.CHARGER_TIMEOUTS),
    ("0x1D stop_reason_flags", _ABORT, enums.BMS_ABORT_REASONS),
    ("0x1D fault_flags", _ABORT, enums.BMS_ABORT_FAULTS),
    ("0x21 stop_reason_flags", _ABORT, enums.CHARGER_ABORT_REASONS),
    ("0x21 fault_flags", _ABORT, enums.CHARGER_ABORT_FAULTS),
    ("0x1D, 0x21 error_flags", _ABORT, enums.ABORT_ERRORS),
    (
        "0x25 state_flags",
        "States of two bits, 0 normal. Bits 12-13: charging 0 forbidden, 1 allowed, against the Chinese name "
        "(充电禁止).",
        enums.BMS_STATES,
    ),
)
