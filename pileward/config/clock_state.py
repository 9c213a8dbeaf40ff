"""The clock of a demonstration, kept in the state folder so that time goes on after a restart.

A clock that runs faster than the world is a straight line through one stored point; server and simulator read
the same point, so they agree, and a later start never finds an earlier time.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pileward.clock import Clock

FILE: Final = "clock.json"


def resume(state: Path, rate: float) -> Clock:
    """The clock of this state folder at `rate`; the first call makes it begin now.

    A changed rate begins a new line where the old one has got to.
    """
    real_ms = time.time_ns() // 1_000_000
    file = state / FILE
    stored = json.loads(file.read_text()) if file.exists() else None
    if stored is None:
        stored = {"real_ms": real_ms, "clock_ms": real_ms, "rate": rate}
    now_ms = stored["clock_ms"] + round((max(real_ms - stored["real_ms"], 0)) * stored["rate"])
    if stored["rate"] != rate or not file.exists():
        stored = {"real_ms": real_ms, "clock_ms": now_ms, "rate": rate}
        state.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(stored))
        part.replace(file)
    return Clock(rate=rate, origin=datetime.fromtimestamp(now_ms / 1000, UTC))
