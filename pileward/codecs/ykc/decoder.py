"""Frames as structs: bytes in, packets out, and back; the level of the simulator and of tools."""

from __future__ import annotations

import msgspec

from pileward.codecs.base import ENCRYPTED, FrameError, Garbage
from pileward.codecs.ykc.envelope import BODY_AT, CrcOrder, Stream, is_low_first, wrap
from pileward.codecs.ykc.table import BY_CLASS, Frame, layout_of


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One good frame."""

    sequence: int
    """The two sequence bytes, low byte first; answers carry them back unread."""
    frame_type: int
    frame: Frame | None
    """None for an unknown type and for a record that is too short; fields in `missing` are None."""
    body: bytes
    missing: tuple[str, ...] = ()
    """Fields that a short body did not hold."""
    rest: bytes = b""
    """What a long body held behind the known fields."""
    is_high_first: bool = False
    """Order of the checksum bytes."""


def parse(raw: bytes) -> Packet | Garbage:
    """Read one frame whose envelope and checksum are known to be good."""
    if raw[4]:
        return Garbage(raw, ENCRYPTED)
    frame_type, body = raw[5], raw[BODY_AT:-2]
    sequence = raw[2] | raw[3] << 8
    is_high_first = not is_low_first(raw)
    layout = layout_of(frame_type, len(body))
    if layout is None:
        return Packet(sequence, frame_type, None, body, is_high_first=is_high_first)
    decoded = layout.decode(body)
    return Packet(sequence, frame_type, decoded.frame, body, decoded.missing, decoded.rest, is_high_first)


class Decoder:
    """Bytes in, packets out; keeps at most one incomplete frame and never raises."""

    def __init__(self, order: CrcOrder = CrcOrder.BOTH) -> None:
        self.stream = Stream(order)

    def receive(self, data: bytes, now: float) -> list[Packet | Garbage]:
        """Take bytes (`now`: monotonic s); empty `data` only lets time pass."""
        return [parse(item) if isinstance(item, bytes) else item for item in self.stream.receive(data, now)]

    def partial_deadline(self) -> float | None:
        """When a waiting partial frame is given up (monotonic s); None when none waits."""
        return self.stream.partial_deadline()


def encode_frame(frame: Frame, sequence: int, order: CrcOrder = CrcOrder.LOW) -> bytes:
    """Write a frame. `order` HIGH sends the checksum high byte first, all others low byte first.

    Raises FrameError that names the field whose value does not fit.
    """
    layout = BY_CLASS.get(type(frame))
    if layout is None:
        raise FrameError(f"{type(frame).__name__} is no frame")
    return wrap(sequence, layout.kind.code, layout.encode(frame), order is CrcOrder.HIGH)
