"""The last frames of every pile, for `/debug`: one bounded ring of bytes for the whole process.

A frame is packed behind a short header at the head of the ring and overwrites the oldest ones. Each record
says how far back the previous record of the same pile lies, so the last n frames of one pile are read by
walking its own chain, however many other piles talk. Offsets are absolute (they never wrap), which makes it
plain whether a record is still there: it is while it lies within one ring's length of the head.

Appending is on the frame path: no object is kept for a frame, and memory does not grow with piles or time. A
pile that somebody watches gets a deeper memory of its own for that time.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Literal

from msgspec import Struct

Direction = Literal["up", "down"]

MIB = 1024 * 1024
PAGE = 4096

HEADER = struct.Struct("<HBBIIQ")
"""Length of the frame, flags, reason (0: a good frame), pile slot, distance to the pile's previous record (0:
none), epoch ms."""
HEADER_SIZE = HEADER.size

SHORT_FRAME = 300
"""Frames up to here are packed together with their header in one call; measured, that halves the cost."""

IS_DOWN = 1
IS_CUT = 2

LONGEST_FRAME = 65_535
"""Longer ones are cut; no pile protocol comes near it."""
MOST_REASONS = 255
"""Reasons for garbage are a handful of words; from here on they are all `other`."""
NEVER = -(1 << 62)
"""The offset of a pile's last record before it has one."""

WATCHED_FRAMES = 10_000
WATCHED_PILES = 32


class TailFrame(Struct, frozen=True):
    """One frame as it was on the wire."""

    pile_code: str
    direction: Direction
    epoch_ms: int
    raw: bytes
    garbage_reason: str | None = None
    """Why the frame was dropped, when it was."""
    is_cut: bool = False
    """The frame was longer than what is kept of it."""


class _Watched:
    """The deeper memory of one pile, until a moment."""

    __slots__ = ("frames", "until_ms")

    def __init__(self, frames: deque[TailFrame], until_ms: int) -> None:
        self.frames = frames
        self.until_ms = until_ms


class FrameTail:
    """A ring of `size_mib` MiB; used from the event loop's thread only."""

    def __init__(self, size_mib: float = 64) -> None:
        size = int(size_mib * MIB)
        assert HEADER_SIZE < size < 1 << 32
        self._ring = bytearray(size)
        self._size = size
        self._head = 0
        self._slots: dict[str, int] = {}
        self._last: list[int] = []
        self._free: list[int] = []
        self._sweep_at = 1024
        self._reasons: dict[str, int] = {}
        self._watched: dict[str, _Watched] = {}
        self._longest = min(LONGEST_FRAME, size - HEADER_SIZE)
        self._packers = [
            struct.Struct(f"{HEADER.format}{length}s").pack_into for length in range(SHORT_FRAME)
        ]

    def append(
        self,
        pile_code: str,
        direction: Direction,
        raw: bytes,
        epoch_ms: int,
        garbage_reason: str | None = None,
    ) -> None:
        """Remember one frame; `epoch_ms` is UTC and at least 0."""
        flags = IS_DOWN if direction == "down" else 0
        length = len(raw)
        if length > self._longest:
            raw, length, flags = raw[: self._longest], self._longest, flags | IS_CUT
        slot = self._slots.get(pile_code)
        if slot is None:
            slot = self._new_slot(pile_code)
        head, size = self._head, self._size
        position = head % size
        if position + HEADER_SIZE + length > size:  # a record is never split: skip what is left of the ring
            head += size - position
            position = 0
        back = head - self._last[slot]
        if back > size:
            back = 0
        reason = 0 if garbage_reason is None else self._reason(garbage_reason)
        if length < SHORT_FRAME:
            self._packers[length](self._ring, position, length, flags, reason, slot, back, epoch_ms, raw)
        else:
            HEADER.pack_into(self._ring, position, length, flags, reason, slot, back, epoch_ms)
            start = position + HEADER_SIZE
            self._ring[start : start + length] = raw
        self._last[slot] = head
        self._head = head + HEADER_SIZE + length
        if self._watched and (watched := self._watched.get(pile_code)) is not None:
            if epoch_ms < watched.until_ms:
                watched.frames.append(self._read(pile_code, head)[0])
            else:
                del self._watched[pile_code]

    def last(self, pile_code: str, count: int) -> list[TailFrame]:
        """Return the last `count` frames of one pile that are still there, newest last."""
        if count <= 0:
            return []
        if (watched := self._watched.get(pile_code)) is not None:
            return list(watched.frames)[-count:]
        slot = self._slots.get(pile_code)
        offset = NEVER if slot is None else self._last[slot]
        frames: list[TailFrame] = []
        while len(frames) < count and offset >= self._head - self._size:
            frame, back = self._read(pile_code, offset)
            frames.append(frame)
            offset = offset - back if back else NEVER
        frames.reverse()
        return frames

    def watch(self, pile_code: str, until_ms: int, now_ms: int) -> bool:
        """Keep the last 10,000 frames of one pile until then, whatever the ring forgets; both are epoch ms,
        UTC.

        Asking again prolongs. It ends by itself, so that nobody has to clean up after a watcher or a
        connection that is gone. False when too many piles are watched already.
        """
        if (watched := self._watched.get(pile_code)) is not None:
            watched.until_ms = max(watched.until_ms, until_ms)
            return True
        self._watched = {code: one for code, one in self._watched.items() if now_ms < one.until_ms}
        if len(self._watched) >= WATCHED_PILES:
            return False
        frames = deque(self.last(pile_code, WATCHED_FRAMES), maxlen=WATCHED_FRAMES)
        self._watched[pile_code] = _Watched(frames, until_ms)
        return True

    def touch(self) -> None:
        """Make all pages of the ring resident, so that memory measured later is not the ring's."""
        self._ring[::PAGE] = self._ring[::PAGE]

    @property
    def size(self) -> int:
        """Bytes of the ring."""
        return self._size

    @property
    def piles(self) -> int:
        """Piles that have or had frames in the ring."""
        return len(self._slots)

    def _read(self, pile_code: str, offset: int) -> tuple[TailFrame, int]:
        """Read the record at an absolute offset, and how far back the pile's previous one lies."""
        position = offset % self._size
        length, flags, reason, slot, back, epoch_ms = HEADER.unpack_from(self._ring, position)
        assert slot == self._slots[pile_code]
        start = position + HEADER_SIZE
        frame = TailFrame(
            pile_code,
            "down" if flags & IS_DOWN else "up",
            epoch_ms,
            bytes(self._ring[start : start + length]),
            list(self._reasons)[reason - 1] if reason else None,
            bool(flags & IS_CUT),
        )
        return frame, back

    def _reason(self, text: str) -> int:
        """Number a reason from 1; the last number stands for all that come too late for one of their own."""
        number = self._reasons.get(text)
        if number is None:
            if len(self._reasons) >= MOST_REASONS - 1:
                text = "other"
            number = self._reasons.setdefault(text, len(self._reasons) + 1)
        return number

    def _new_slot(self, pile_code: str) -> int:
        """Give a pile a slot; slots of piles that have no frame left are used again."""
        if not self._free and len(self._slots) >= self._sweep_at:
            self._sweep()
        if self._free:
            slot = self._free.pop()
            self._last[slot] = NEVER
        else:
            slot = len(self._last)
            self._last.append(NEVER)
        self._slots[pile_code] = slot
        return slot

    def _sweep(self) -> None:
        """Forget piles without a frame in the ring; done when slots have doubled, so it costs O(1) a new
        pile.
        """
        oldest = self._head - self._size
        gone = [code for code, slot in self._slots.items() if self._last[slot] < oldest]
        self._free = [self._slots.pop(code) for code in gone]
        self._sweep_at = max(1024, 2 * len(self._slots))
