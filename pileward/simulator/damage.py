"""What a bad line does to a good frame: bytes in, bytes out.

Only the outside of a YKC frame is known here: one start byte, and two check bytes at the end
(YKC 1.6, frame envelope).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pileward.simulator.dice import Dice
from pileward.simulator.profiles import Slip

GARBAGE_MAX: Final = 40
"""Most random bytes put before one frame."""


def _bit_flip(frame: bytes, dice: Dice) -> bytes:
    bit = dice.below(8 * len(frame))
    damaged = bytearray(frame)
    damaged[bit // 8] ^= 1 << (bit % 8)
    return bytes(damaged)


def _wrong_crc(frame: bytes, dice: Dice) -> bytes:
    low, high = frame[-2:]
    # The high byte stays, so the new pair is the old one in neither order.
    return frame[:-2] + bytes((low ^ (1 + dice.below(255)), high))


def _truncated(frame: bytes, dice: Dice) -> bytes:
    return frame[: 1 + dice.below(len(frame) - 1)]


def _garbage(frame: bytes, dice: Dice) -> bytes:
    return dice.data(1 + dice.below(GARBAGE_MAX)) + frame


def _high_first(frame: bytes, dice: Dice) -> bytes:
    return frame[:-2] + frame[:-3:-1]


def _duplicate(frame: bytes, dice: Dice) -> bytes:
    return frame + frame


DAMAGES: Final[dict[Slip, Callable[[bytes, Dice], bytes]]] = {
    Slip.BIT_FLIP: _bit_flip,
    Slip.WRONG_CRC: _wrong_crc,
    Slip.TRUNCATED: _truncated,
    Slip.GARBAGE: _garbage,
    Slip.HIGH_FIRST: _high_first,
    Slip.DUPLICATE: _duplicate,
}


def befall(frame: bytes, slips: tuple[tuple[Slip, float], ...], dice: Dice) -> tuple[bytes, Slip | None]:
    """Let at most one slip befall a frame; says which one it was."""
    mark = dice.fraction()
    for slip, chance in slips:
        mark -= chance
        if mark < 0:
            return DAMAGES[slip](frame, dice), slip
    return frame, None
