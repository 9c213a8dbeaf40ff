"""The last transitions of one actor, packed to eight bytes each, for people who look inside."""

from __future__ import annotations

import enum
from array import array
from datetime import UTC, datetime
from typing import Any, Final

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_machine import EVENTS
from pileward.actors.pile_state import PileStatus

KEPT: Final = 50
"""Transitions kept for each actor."""

_BASE_MS: Final = 1_735_689_600_000
"""2025-01-01 UTC; tenths of a second since then fit 32 bits until 2038."""

_NUMBERS: Final = {event: number for number, event in enumerate(EVENTS)}
_OTHER: Final = 255


class Transitions:
    """A ring of at most `KEPT` packed transitions; grows only as far as it is used."""

    __slots__ = ("_next", "_packed")

    def __init__(self) -> None:
        self._packed: array[int] | None = None
        self._next = 0

    def add(self, now_ms: int, gun_no: int, event: type, before: enum.IntEnum, after: enum.IntEnum) -> None:
        """Remember one transition; `gun_no` 0 is the pile itself."""
        tenths = max((now_ms - _BASE_MS) // 100, 0) & 0xFFFFFFFF
        word = tenths << 32 | (gun_no & 0xFF) << 24 | _NUMBERS.get(event, _OTHER) << 16 | before << 8 | after
        packed = self._packed
        if packed is None:
            packed = self._packed = array("Q")
        if len(packed) < KEPT:
            packed.append(word)
        else:
            packed[self._next] = word
            self._next = (self._next + 1) % KEPT

    def rows(self) -> list[dict[str, Any]]:
        """All kept transitions in words, oldest first."""
        packed = self._packed
        if packed is None:
            return []
        ordered = [*packed[self._next :], *packed[: self._next]]
        return [_row(word) for word in ordered]


def _row(word: int) -> dict[str, Any]:
    gun_no = word >> 24 & 0xFF
    states: type[enum.IntEnum] = GunState if gun_no else PileStatus
    event = word >> 16 & 0xFF
    at = datetime.fromtimestamp(((word >> 32) * 100 + _BASE_MS) / 1000, UTC)
    return {
        "at": at.isoformat(),
        "machine": f"gun:{gun_no}" if gun_no else "pile",
        "event": EVENTS[event].__name__ if event < len(EVENTS) else "other",
        "from": states(word >> 8 & 0xFF).name.lower(),
        "to": states(word & 0xFF).name.lower(),
    }
