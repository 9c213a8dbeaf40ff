"""Timing a small call: CPU time, the best of several rounds, so that other work counts less."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_us(call: Callable[[int], object], calls: int, rounds: int = 9) -> float:
    """Return microseconds of CPU a call: `call(calls)` makes that many of them."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        call(calls)
        best = min(best, time.process_time() - began)
    return best / calls * 1e6
