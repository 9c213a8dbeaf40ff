"""What gateways, connections and pile actors say to each other beside uplinks and downlinks."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Socket(Protocol):
    """The one socket of a connection, as the gateway offers it; none of these block or raise."""

    remote_address: str

    def write(self, data: bytes) -> None:
        """Send bytes; dropped silently when the socket is already closing."""
        ...

    def close(self, reason: str) -> None:
        """Close after what was written; the connection actor gets `Closed` once."""
        ...

    def pause(self) -> None:
        """Stop reading."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Closed(msgspec.Struct, frozen=True):
    """The socket is gone; nothing follows."""

    reason: str


class PileUnlinked(msgspec.Struct, frozen=True):
    """A pile no longer speaks through this connection; with the last one the socket closes."""

    pile_code: str
    reason: str


class Watch(msgspec.Struct, frozen=True):
    """Publish each frame of this pile for `for_s` clock seconds."""

    pile_code: str
    for_s: int
