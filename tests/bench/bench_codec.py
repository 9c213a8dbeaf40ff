"""Codec: microseconds a frame, from bytes to message and from struct to bytes, without a socket.

The reference is what no decoder in Python can do without: the checksum by the same compiled library and one
`struct` call with the frame's own layout. Both are measured turn by turn in the same process, in processor
time, and the best of many short runs counts: a codec does not wait for anything, so all else is disturbance.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from datetime import datetime
from struct import Struct
from typing import Any, Final

from fastcrc.crc16 import modbus

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import BODY_AT
from pileward.codecs.ykc.table import BY_CLASS, Frame
from pileward.messages.downlinks import HeartbeatAnswer
from pileward.values import CHINA

PILE: Final = "32010600019236"
TRADE: Final = "32010600019236012507011030150007"
MOMENT: Final = datetime(2025, 7, 1, 10, 30, 15, tzinfo=CHINA)
CALLS: Final = 2_000
"""Calls of one run, a few milliseconds."""
RUNS: Final = 60

HEARTBEAT: Final = frames.Heartbeat(PILE, 1, 0)
REAL_TIME: Final = frames.RealTimeData(
    TRADE, PILE, 1, 3, 0, 1, 3732, 1012, 34, "0" * 16, 78, 35, 16, 32, 88000, 0, 93280, 0
)
_RECORD: Final[tuple[Any, ...]] = (
    *(TRADE, PILE, 1, MOMENT, MOMENT),
    *(150000, 100000, 0, 150000, 130000, 200000, 0, 260000, 110000, 0, 0, 0, 90000, 0, 0, 0),
    *(10_000_000, 10_300_000, 300000, 0, 410000, "LYKC1234567890ABC", 1, MOMENT, 0x41, "00000000D14B0A54"),
)
RECORD: Final = frames.TransactionRecord(*_RECORD)

DECODE_BUDGETS: Final = {0x03: 4.0, 0x13: 6.0}
"""Times the reference; the frames that come all the time. A record comes once a charge and has none."""
ANSWER_BUDGET: Final = 4.0


def run() -> list[dict[str, Any]]:
    """Measure the three frames both ways, and the answer to a heartbeat."""
    rows = []
    for frame in (HEARTBEAT, REAL_TIME, RECORD):
        kind = BY_CLASS[type(frame)].kind
        decoding = compare(bytes_to_message(frame), bare_decoding(frame))
        rows.append(
            row(f"codec: 0x{kind.code:02X} bytes to message", decoding, DECODE_BUDGETS.get(kind.code))
        )
        encoding = compare(struct_to_bytes(frame), bare_encoding(frame))
        rows.append(row(f"codec: 0x{kind.code:02X} struct to bytes", encoding, None))
    answering = compare(answer_to_bytes(), bare_encoding(frames.HeartbeatAnswer(PILE, 1, 0)))
    rows.append(row("codec: 0x04 message to bytes", answering, ANSWER_BUDGET))
    return rows


def bytes_to_message(frame: Frame) -> Callable[[], object]:
    """What a connection does with a frame that has come."""
    dialect, raw = YkcDialect(), encode_frame(frame, 7)
    return lambda: dialect.receive(raw, 0.0)


def struct_to_bytes(frame: Frame) -> Callable[[], object]:
    """What a simulated pile does."""
    return lambda: encode_frame(frame, 7)


def answer_to_bytes() -> Callable[[], object]:
    """What a connection does with the answer to a heartbeat."""
    dialect, answer = YkcDialect(), HeartbeatAnswer(PILE, 7, 1)
    return lambda: dialect.send(answer)


def bare_decoding(frame: Frame) -> Callable[[], object]:
    """Checksum and one unpacking of all fields."""
    raw, unpack = encode_frame(frame, 7), Struct("<" + BY_CLASS[type(frame)].form).unpack_from
    return lambda: modbus(raw[2:]) == 0 and unpack(raw, BODY_AT)


def bare_encoding(frame: Frame) -> Callable[[], object]:
    """One packing of all fields, checksum, one concatenation."""
    whole = Struct("<BBHBB" + BY_CLASS[type(frame)].form)
    values = whole.unpack_from(encode_frame(frame, 7))

    def encode() -> bytes:
        raw = whole.pack(*values)
        return raw + modbus(raw[2:]).to_bytes(2, "little")

    return encode


def compare(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float]:
    """Microseconds a call of both: the best of many short runs, taken in turn."""
    assert ours() and bare()
    timers = [timeit.Timer(call, timer=time.process_time) for call in (ours, bare)]
    runs = [[timer.timeit(CALLS) for timer in timers] for _ in range(RUNS)]
    best_ours, best_bare = (min(times) / CALLS * 1e6 for times in zip(*runs, strict=True))
    return best_ours, best_bare


def row(name: str, measured: tuple[float, float], budget: float | None) -> dict[str, Any]:
    """One line of the report; the budget is a ratio."""
    ours, bare = measured
    ratio = round(ours / bare, 2)
    return {
        "name": name,
        "value": round(ours, 3),
        "unit": "µs",
        "reference": round(bare, 3),
        "ratio": ratio,
        "budget": budget,
        "ok": None if budget is None else ratio <= budget,
    }
