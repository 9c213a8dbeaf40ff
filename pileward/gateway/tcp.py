"""TCP for piles: one `asyncio.Protocol` a socket, one connection actor behind it.

Every limit that concerns sockets is kept here: how many in all and from one address (counted by us, because
at the limit of open files the loop does not do it well), and how much may wait to be sent. Bytes go to the
connection actor in the socket's own callback, so a frame is answered without another turn of the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from pileward.actors.connection import ConnectionActor, ConnectionStart, Limits
from pileward.actors.connection_messages import Closed
from pileward.actors.engine import Engine
from pileward.actors.supervised import Supervised
from pileward.actors.surroundings import Surroundings
from pileward.codecs.base import Dialect, OnFrame
from pileward.logs import logger

log = logger(__name__)

OUTPUT_MAX: Final = 64 * 1024
"""Bytes that may wait for one slow socket; beyond, that connection alone is dropped."""
KEEPALIVE_IDLE_S: Final = 60
"""TCP's own probe, for peers that vanished before they ever spoke the protocol."""


class SocketLimits(msgspec.Struct, frozen=True):
    """How many sockets there may be."""

    max_connections: int = 19_000
    max_per_address: int = 4_000
    backlog: int = 4_096


class GatewayStart(msgspec.Struct, frozen=True):
    """Start argument of a gateway actor."""

    name: str


class Accepted(msgspec.Struct, frozen=True):
    """A new socket wants its connection actor."""

    start: ConnectionStart


class GatewayActor(Supervised):
    """Parent of the connection actors of one listener."""

    mailbox_limit = 100_000

    def __init__(self, requirements: GatewayStart) -> None:
        self.name = requirements.name

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Make a connection actor for each accepted socket; their ends need nothing done."""
        if isinstance(message, Accepted):
            message.start.socket.owned_by(self.createActor(ConnectionActor, message.start))

    def inspect(self) -> dict[str, Any]:
        """The connections are the children."""
        return {"state": "listening", "protocol": self.name}


class PileSocket(asyncio.Protocol):
    """One socket: moves bytes between the transport and its connection actor."""

    __slots__ = (
        "_gateway",
        "_is_held_back",
        "_is_paused",
        "_owner",
        "_reason",
        "_transport",
        "_waiting",
        "remote_address",
    )

    def __init__(self, gateway: TcpGateway) -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport | None = None
        self._owner: Any = None
        self._waiting: list[Any] | None = None
        self._reason = ""
        self._is_held_back = False
        """It is not read for now."""
        self._is_paused = False
        """It is not written to for now: the peer does not read."""
        self.remote_address = ""

    # --- from the loop ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse; an admitted socket gets its actor at once."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        self.remote_address = f"{peer[0]}:{peer[1]}" if peer else "?"
        self._gateway.opened(self, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes go straight to the actor."""
        owner = self._owner
        if owner is not None:
            self._gateway.engine.bring(owner, data)
        elif self._waiting is not None:
            self._waiting.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: its actor is told once."""
        self._hold_back(False)
        self._gateway.closed(self)
        reason = self._reason or ("peer_closed" if exc is None else "network_error")
        if self._owner is not None:
            self._gateway.engine.bring(self._owner, Closed(reason))
        elif self._waiting is not None:
            self._waiting.append(Closed(reason))

    # --- for the connection actor -----------------------------------------------------------------------

    def expect_owner(self) -> None:
        """Keep what arrives until the actor is there."""
        self._waiting = []

    def owned_by(self, owner: Any) -> None:
        """The actor is there; it gets what arrived meanwhile."""
        self._owner = owner
        for message in self._waiting or ():
            self._gateway.engine.tell(owner, message)
        self._waiting = None

    def write(self, data: bytes) -> None:
        """Send bytes; a peer that does not read is dropped when too much waits for it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._is_paused and transport.get_write_buffer_size() > OUTPUT_MAX:
            self._reason = self._reason or "slow_peer"
            transport.abort()

    def close(self, reason: str) -> None:
        """Close after what was written."""
        if self._transport is not None and not self._transport.is_closing():
            self._reason = self._reason or reason
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Drop at once, whatever waits to be written."""
        if self._transport is not None:
            self._reason = self._reason or reason
            self._transport.abort()

    def pause(self) -> None:
        """Stop reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._hold_back(True)

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._hold_back(False)

    def _hold_back(self, is_held_back: bool) -> None:
        self._gateway.around.metrics.paused_sockets += is_held_back - self._is_held_back
        self._is_held_back = is_held_back

    def pause_writing(self) -> None:
        """From the loop: the peer does not read as fast as it is written to."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """From the loop: the peer caught up."""
        self._is_paused = False

    @property
    def reason(self) -> str:
        """Why our side closed it; empty when the peer did."""
        return self._reason


class TcpGateway:
    """One TCP listener for piles of one protocol."""

    def __init__(
        self,
        engine: Engine,
        around: Surroundings,
        protocol: str,
        make_dialect: Callable[[OnFrame], Dialect],
        limits: Limits,
        socket_limits: SocketLimits,
    ) -> None:
        self.engine = engine
        self.around = around
        self.protocol = protocol
        self.limits = limits
        self.socket_limits = socket_limits
        self._make_dialect = make_dialect
        self._sockets: set[PileSocket] = set()
        self._by_address: Counter[str] = Counter()
        self._actor = engine.create(GatewayActor, GatewayStart(protocol))
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address cannot be used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: PileSocket(self), host, port, backlog=self.socket_limits.backlog, start_serving=True
        )
        log.info("listening", protocol=self.protocol, host=host, port=self.port)

    @property
    def port(self) -> int:
        """The port in use; 0 while not listening."""
        if self._server is None or not self._server.sockets:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def is_listening(self) -> bool:
        """Whether new piles can come."""
        return self._server is not None and self._server.is_serving()

    async def close(self) -> None:
        """Stop listening, then close every connection."""
        if self._server is not None:
            self._server.close()
        for sock in list(self._sockets):
            sock.close("shutdown")
        for _ in range(CLOSE_TURNS):
            if not self._sockets:
                break
            await asyncio.sleep(CLOSE_TURN_S)
        for sock in list(self._sockets):
            sock.abort("shutdown")

    def opened(self, sock: PileSocket, transport: asyncio.Transport) -> None:
        """Count a new socket and hand it over, or refuse it."""
        metrics = self.around.metrics
        address = sock.remote_address.rpartition(":")[0]
        refusal = ""
        if len(self._sockets) >= self.socket_limits.max_connections:
            refusal = "full"
        elif self._by_address[address] >= self.socket_limits.max_per_address:
            refusal = "address_full"
        if refusal:
            metrics.connections_refused[refusal] += 1
            if metrics.connections_refused[refusal] % REFUSALS_LOGGED == 1:
                log.warning("connection_refused", reason=refusal, peer=sock.remote_address)
            transport.abort()
            return
        self._sockets.add(sock)
        self._by_address[address] += 1
        metrics.connections_opened += 1
        metrics.connections = len(self._sockets)
        _keep_alive(transport.get_extra_info("socket"))
        sock.expect_owner()
        start = ConnectionStart(sock, self.protocol, self._make_dialect, self.around, self.limits)
        self.engine.deliver(self._actor, Accepted(start))

    def closed(self, sock: PileSocket) -> None:
        """Forget a socket."""
        if sock not in self._sockets:
            return
        self._sockets.discard(sock)
        address = sock.remote_address.rpartition(":")[0]
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        metrics = self.around.metrics
        metrics.connections = len(self._sockets)
        metrics.connections_closed[sock.reason or "peer"] += 1


CLOSE_TURN_S: Final = 0.05
CLOSE_TURNS: Final = 40
REFUSALS_LOGGED: Final = 1_000
"""One refusal in so many is logged."""


def _keep_alive(sock: Any) -> None:
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
