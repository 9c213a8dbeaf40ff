"""What every protocol offers to a connection: bytes in, messages out; messages in, bytes out.

A dialect is pure: no socket, no clock, no logging. Damage is a value (`Garbage`), never an exception, and
every length that a peer can announce has an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from pileward.messages.downlinks import Downlink
from pileward.messages.uplinks import Uplink

NOISE: Final = "noise"
"""Bytes that belong to no frame."""
BAD_CHECKSUM: Final = "bad_checksum"
"""A frame whose checksum does not match; one of these is one broken frame."""
INCOMPLETE: Final = "incomplete"
"""The beginning of a frame whose rest did not come in time."""
ENCRYPTED: Final = "encrypted"
"""A good frame with an encryption that nobody agreed on."""

GARBAGE_REASONS: Final = (NOISE, BAD_CHECKSUM, INCOMPLETE, ENCRYPTED)
"""All reasons there are, for counters."""


class Garbage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no usable frame; `reason` is one of `GARBAGE_REASONS`."""

    raw: bytes
    reason: str


class FrameError(ValueError):
    """Values that do not fit a frame of the protocol; the message names frame and field."""


class NotSupported(Exception):  # noqa: N818 - an outcome of the union, not a failure
    """The protocol has no frame for this message."""


OnFrame = Callable[[bytes, str], None]
"""Called with each good frame received and the pile code it names ("" when unknown), for the frame tail."""


class Dialect(Protocol):
    """One connection's translator between a protocol and the platform's messages."""

    def receive(self, data: bytes, now: float) -> list[Uplink | Garbage]:
        """Take bytes in the order they came (`now`: monotonic s); never raises.

        Empty `data` only lets time pass: a partial frame that has waited too long is given up.
        """
        ...

    def send(self, downlink: Downlink) -> bytes:
        """Make the frame of a message; raises NotSupported, or FrameError for values that do not fit."""
        ...

    def adapt(self, pile_code: str, crc_order: str) -> None:
        """Speak to a pile as its model wants it: `crc_order` is "mirror", "low_first" or "high_first".

        A protocol without such a choice passes over it.
        """
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether the beginning of a frame waits for its rest."""
        ...

    def excuse(self, now: float) -> None:
        """Give a waiting partial frame its time anew: its rest was not read, by no fault of the peer."""
        ...

    def partial_deadline(self) -> float | None:
        """The monotonic time at which a waiting partial frame is given up; None when nothing waits."""
        ...
