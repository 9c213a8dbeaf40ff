"""The reference of the frame path benchmark: the least a uvloop server can do with the same frames.

It answers a heartbeat (17 bytes) with the same 17 bytes and swallows real-time data (68 bytes). It looks at
lengths only, never at content. Run as a process of its own, it prints its port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

HEARTBEAT_BYTES = 17
REAL_TIME_BYTES = 68


class Echo(asyncio.Protocol):
    """One connection: whole frames in, heartbeats out."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no asyncio class, so this cannot be asserted.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            if len(data) == HEARTBEAT_BYTES:
                self._transport.write(data)
                return
            if len(data) == REAL_TIME_BYTES:
                return
        self._buffer += data
        while len(self._buffer) > 1 and len(self._buffer) >= (size := self._buffer[1] + 4):
            if size == HEARTBEAT_BYTES:
                self._transport.write(self._buffer[:size])
            self._buffer = self._buffer[size:]


async def main() -> None:
    """Serve on a free port of 127.0.0.1."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"port {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
