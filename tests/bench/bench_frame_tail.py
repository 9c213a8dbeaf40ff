"""Frame tail: what remembering one frame costs, and reading back the last ones of a pile."""

from __future__ import annotations

from typing import Any

from pileward.actors.frame_tail import FrameTail
from tests.bench.timing import best_us

PILES = 1_000
RAW = bytes(68)
EPOCH_MS = 1_795_000_000_000


def run() -> list[dict[str, Any]]:
    """Append real-time frames of a thousand piles to a full ring, then read one pile's last fifty."""
    tail = FrameTail(64)
    tail.touch()
    codes = [f"{32010200000000 + number}" for number in range(PILES)]

    def append(calls: int) -> None:
        add = tail.append
        for _ in range(calls // PILES):
            for code in codes:
                add(code, "up", RAW, EPOCH_MS)

    def read(calls: int) -> None:
        for _ in range(calls):
            tail.last(codes[0], 50)

    append(1_000_000)  # the ring wraps: what is measured is its steady state
    cost_us = best_us(append, 200_000)
    return [
        row("frame tail: append", cost_us, 1.0),
        row("frame tail: last 50 frames of a pile", best_us(read, 1_000), None),
    ]


def row(name: str, value: float, budget: float | None) -> dict[str, Any]:
    """One figure in microseconds against an absolute budget."""
    return {
        "name": name,
        "value": round(value, 3),
        "unit": "µs",
        "reference": None,
        "ratio": None,
        "budget": budget,
        "ok": budget is None or value <= budget,
    }
