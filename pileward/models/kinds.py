"""The closed sets of words that rows hold; stored as these texts."""

from __future__ import annotations

import enum


class PileKind(enum.StrEnum):
    """Direct or alternating current (直流 / 交流)."""

    DC = "dc"
    AC = "ac"


class CrcOrder(enum.StrEnum):
    """Byte order of the checksum that is sent to a pile; both are always accepted (YKC 1.6, 2.4)."""

    MIRROR = "mirror"
    LOW_FIRST = "low_first"
    HIGH_FIRST = "high_first"


class CardCodec(enum.StrEnum):
    """How a maker puts the number printed on a card into the 8 bytes on the wire (YKC 1.6, 4.4)."""

    HEX = "hex"
    """The chip's bytes, left-padded: opaque, compared as 16 hexadecimal digits."""
    BCD = "bcd"
    """Two decimal digits a byte."""
    UINT = "uint"
    """A little endian integer."""
