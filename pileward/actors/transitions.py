"""The last transitions of one actor, packed to eight bytes each, for people who look inside."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pileward.actors import pile_machine, session_machine
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.messages.charging import SessionState

KEPT: Final = 50
"""Transitions kept for each actor."""

_BASE_MS: Final = 1_735_689_600_000
"""2025-01-01 UTC; tenths of a second since then fit 32 bits until 2038."""

_OTHER: Final = 255


class Transitions:
    """A ring of at most `KEPT` packed transitions; grows only as far as it is used.

    A subclass names the events of its machine and the states behind each part of it.
    """

    __slots__ = ("_next", "_packed")

    events: tuple[type, ...] = ()
    numbers: Mapping[type, int] = {}

    def __init__(self) -> None:
        self._packed: array[int] | None = None
        self._next = 0

    def add(self, now_ms: int, part: int, event: type, before: enum.IntEnum, after: enum.IntEnum) -> None:
        """Remember one transition of one part of the machine (0 to 255)."""
        tenths = max((now_ms - _BASE_MS) // 100, 0) & 0xFFFFFFFF
        number = self.numbers.get(event, _OTHER)
        word = tenths << 32 | (part & 0xFF) << 24 | number << 16 | before << 8 | after
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
        return [self._row(word) for word in (*packed[self._next :], *packed[: self._next])]

    def _row(self, word: int) -> dict[str, Any]:
        name, states = self.part(word >> 24 & 0xFF)
        event = word >> 16 & 0xFF
        at = datetime.fromtimestamp(((word >> 32) * 100 + _BASE_MS) / 1000, UTC)
        return {
            "at": at.isoformat(),
            "machine": name,
            "event": self.events[event].__name__ if event < len(self.events) else "other",
            "from": states(word >> 8 & 0xFF).name.lower(),
            "to": states(word & 0xFF).name.lower(),
        }

    def part(self, number: int) -> tuple[str, type[enum.IntEnum]]:
        """Name and states of one part of the machine."""
        raise NotImplementedError(f"{type(self).__name__} names no parts")


class PileTransitions(Transitions):
    """Part 0 is the pile, the others its guns."""

    __slots__ = ()
    events = pile_machine.EVENTS
    numbers: Mapping[type, int] = {event: number for number, event in enumerate(pile_machine.EVENTS)}

    def part(self, number: int) -> tuple[str, type[enum.IntEnum]]:
        """The pile, or one of its guns."""
        return (f"gun:{number}", GunState) if number else ("pile", PileStatus)


class SessionTransitions(Transitions):
    """One part: the charge."""

    __slots__ = ()
    events = session_machine.EVENTS
    numbers: Mapping[type, int] = {event: number for number, event in enumerate(session_machine.EVENTS)}

    def part(self, number: int) -> tuple[str, type[enum.IntEnum]]:
        """The charge."""
        return "session", SessionState
