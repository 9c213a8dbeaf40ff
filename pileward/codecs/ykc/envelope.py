"""The envelope of YKC frames and the cutting of a byte stream into frames.

    68 | L | sequence 2 | encryption 1 | type 1 | body N | checksum 2      L = N + 4, size = L + 4

The checksum is CRC-16/MODBUS over the L bytes from the sequence on. Piles send it low byte first, a few high
byte first; both are taken unless a setting says otherwise. A checksum in low-first order makes the CRC over
the frame and its checksum 0, which is what the fast path asks. 0x68 may stand inside a body, so nothing is
ever split on it.
"""

from __future__ import annotations

import enum
from typing import Final

from fastcrc.crc16 import modbus

from pileward.codecs.base import BAD_CHECKSUM, INCOMPLETE, NOISE, FrameError, Garbage

START: Final = 0x68
LEAST_LENGTH: Final = 4
MOST_LENGTH: Final = 255
OVERHEAD: Final = 8
"""Bytes of a frame beside its body."""
BODY_AT: Final = 6
GIVE_UP_S: Final = 10.0
"""A partial frame that gets no more bytes for this long is given up (YKC reference, stream decoder)."""


class CrcOrder(enum.Enum):
    """Which byte order of the checksum is taken, and which is sent."""

    BOTH = "both"
    """Take both, send low byte first."""
    LOW = "low"
    """Take and send low byte first only."""
    HIGH = "high"
    """Take and send high byte first only."""
    MIRROR = "mirror"
    """Take both, send the order last seen from the pile."""


def is_low_first(raw: bytes) -> bool:
    """Tell whether the last two bytes of a frame are its checksum, low byte first."""
    return modbus(raw[2:]) == 0


def is_high_first(raw: bytes) -> bool:
    """Tell whether the last two bytes of a frame are its checksum, high byte first."""
    return modbus(raw[2:-2]) == raw[-2] << 8 | raw[-1]


def wrap(sequence: int, frame_type: int, body: bytes, is_high_first: bool = False) -> bytes:
    """Put a body into an envelope. Raises FrameError when it is too long for one frame."""
    length = len(body) + LEAST_LENGTH
    if length > MOST_LENGTH:
        raise FrameError(
            f"frame 0x{frame_type:02X}: a body of {len(body)} bytes is longer than a frame can be"
        )
    covered = bytes((sequence & 0xFF, sequence >> 8 & 0xFF, 0, frame_type)) + body
    checksum = modbus(covered).to_bytes(2, "big" if is_high_first else "little")
    return bytes((START, length)) + covered + checksum


class Stream:
    """Cuts a stream into frames with a good checksum; every byte ends up in exactly one item, in order.

    At most one incomplete frame (less than 260 bytes) is kept. Resynchronisation follows the reference: after
    a bad checksum the frame is dropped whole when it is followed by nothing or by 0x68, else only its first
    byte.
    """

    __slots__ = ("_progress_at", "buffer", "order")

    def __init__(self, order: CrcOrder = CrcOrder.BOTH) -> None:
        self.order = order
        self.buffer = b""
        """Bytes that wait for the rest of their frame; only this class changes it."""
        self._progress_at = 0.0

    def partial_deadline(self) -> float | None:
        """When the waiting bytes are given up (monotonic s); None when none wait."""
        return self._progress_at + GIVE_UP_S if self.buffer else None

    def excuse(self, now: float) -> None:
        """Begin the waiting bytes' time anew."""
        self._progress_at = now

    def receive(self, data: bytes, now: float) -> list[bytes | Garbage]:
        """Take bytes; return whole frames and garbage. Empty `data` only lets time pass."""
        if not self.buffer:
            size = len(data)
            if (
                size >= OVERHEAD
                and data[1] + 4 == size
                and data[0] == START
                and self.order is not CrcOrder.HIGH
                and modbus(data[2:]) == 0
            ):
                return [data]
        return self._receive(data, now)

    def _receive(self, data: bytes, now: float) -> list[bytes | Garbage]:
        items: list[bytes | Garbage] = []
        if self.buffer and now - self._progress_at >= GIVE_UP_S:
            self._cut(self.buffer, items, is_last=True)
            self.buffer = b""
        if data:
            buffer = self.buffer + data if self.buffer else bytes(data)
            self.buffer = buffer[self._cut(buffer, items, is_last=False) :]
            self._progress_at = now
        return items

    def _cut(self, buffer: bytes, items: list[bytes | Garbage], is_last: bool) -> int:
        """Cut what can be cut; return where the incomplete rest begins. `is_last`: nothing more will come."""
        at = 0
        skipped_from = -1  # where a run of bytes that belong to no frame begins, or -1
        reason = NOISE
        end = len(buffer)
        while at < end:
            skip = self._not_a_start(buffer, at, end)
            size = 0 if skip or at + 1 == end else buffer[at + 1] + 4
            if not skip and (size == 0 or at + size > end):
                if not is_last:
                    break
                skip, cause = 1, INCOMPLETE
            else:
                cause = NOISE
            if skip:
                if skipped_from < 0:
                    skipped_from, reason = at, cause
                at += skip
                continue
            raw = buffer[at : at + size]
            is_good = self._is_good(raw)
            if skipped_from >= 0:
                items.append(Garbage(buffer[skipped_from:at], reason))
                skipped_from = -1
            if is_good:
                items.append(raw)
                at += size
            elif at + size == end or buffer[at + size] == START:
                items.append(Garbage(raw, BAD_CHECKSUM))
                at += size
            else:
                skipped_from, reason = at, BAD_CHECKSUM
                at += 1
        if skipped_from >= 0:
            items.append(Garbage(buffer[skipped_from:at], reason))
        return at

    @staticmethod
    def _not_a_start(buffer: bytes, at: int, end: int) -> int:
        """How many bytes from `at` on cannot begin a frame."""
        if buffer[at] != START:
            found = buffer.find(START, at)
            return (found if found >= 0 else end) - at
        return 1 if at + 1 < end and buffer[at + 1] < LEAST_LENGTH else 0

    def _is_good(self, raw: bytes) -> bool:
        if self.order is not CrcOrder.HIGH and is_low_first(raw):
            return True
        return self.order is not CrcOrder.LOW and is_high_first(raw)
