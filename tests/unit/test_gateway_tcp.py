"""The TCP gateway on real sockets: an actor a socket, limits, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pileward.actors.connection import ConnectionActor, Limits
from pileward.actors.connection_messages import PileUnlinked
from pileward.actors.engine import Engine
from pileward.actors.pile_state import LinkLost, LoginAsked, new_pile
from pileward.clock import ManualClock
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import CrcOrder
from pileward.gateway.tcp import OUTPUT_MAX, SocketLimits, TcpGateway
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from tests.around import noted, speak, stand_in, surroundings
from tests.piles import CODE, config
from tests.unit.engine_actors import engine_with, inside, settle
from tests.waiting import until

LOGIN = encode_frame(frames.Login(CODE, 0, 2, 16, "v4.1", 0, "0" * 20, 0), 1)
BEAT = encode_frame(frames.Heartbeat(CODE, 1, 0), 2)
BEAT_ANSWER = encode_frame(frames.HeartbeatAnswer(CODE, 1, 0), 2)

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Port:
    """A gateway with one registered pile, played by a stand-in."""

    def __init__(self, engine: Engine, limits: SocketLimits) -> None:
        self.engine = engine
        self.around = surroundings(engine)
        self.around.store = stand_in(engine)
        self.pile = self.around.piles[CODE] = stand_in(engine)
        self.around.seen[CODE] = new_pile(config())
        self.gateway = TcpGateway(
            engine,
            self.around,
            "ykc",
            lambda on_frame: YkcDialect(CrcOrder.MIRROR, on_frame),
            Limits(),
            limits,
        )
        self.peers: list[Peer] = []

    @property
    def metrics(self) -> Any:
        return self.around.metrics

    async def connect(self) -> Peer:
        peer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        self.peers.append(peer)
        return peer

    async def admitted(self) -> tuple[Peer, Any]:
        """A peer that has logged in, and the address of its connection."""
        peer = await self.connect()
        peer[1].write(LOGIN)
        await until(lambda: noted(self.pile, LoginAsked), what="the login")
        link = noted(self.pile, LoginAsked)[-1].link
        speak(self.engine, self.pile, link, down.LoginAnswer(CODE, 1, True))
        assert await peer[0].readexactly(16) == encode_frame(frames.LoginAnswer(CODE, 0), 1)
        return peer, link

    def connections(self) -> list[Any]:
        (gateway,) = [root for root in self.engine.roots() if root.kind.__name__ == "GatewayActor"]
        return self.engine.children(gateway)


@pytest.fixture
def limits() -> SocketLimits:
    return SocketLimits()


@pytest.fixture
async def port(limits: SocketLimits) -> AsyncIterator[Port]:
    async with engine_with(ManualClock()) as engine:
        opened = Port(engine, limits)
        await opened.gateway.start("127.0.0.1", 0)
        yield opened
        for _, writer in opened.peers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await opened.gateway.close()
        assert opened.metrics.connections == 0
        assert opened.metrics.paused_sockets == 0


async def is_closed(peer: Peer) -> bool:
    """Whether the other side hangs up, orderly or not."""
    with contextlib.suppress(ConnectionError):
        while await peer[0].read(65_536):
            pass
    return True


async def test_bytes_go_both_ways(port: Port) -> None:
    assert port.gateway.is_listening
    (reader, writer), link = await port.admitted()
    writer.write(BEAT)
    await until(lambda: noted(port.pile, up.Heartbeat))
    speak(port.engine, port.pile, link, down.HeartbeatAnswer(CODE, 2, 1))
    assert await reader.readexactly(len(BEAT_ANSWER)) == BEAT_ANSWER
    assert port.metrics.connections == 1
    assert port.metrics.connections_opened == 1
    host, _, local = noted(port.pile, LoginAsked)[0].remote_address.rpartition(":")
    assert (host, int(local)) == writer.get_extra_info("sockname")[:2]


async def test_every_socket_has_an_actor_of_its_own_that_ends_with_it(port: Port) -> None:
    (_, writer), link = await port.admitted()
    await port.connect()
    await until(lambda: len(port.connections()) == 2)
    assert {child.kind for child in port.connections()} == {ConnectionActor}
    writer.close()
    await until(lambda: noted(port.pile, LinkLost))
    assert noted(port.pile, LinkLost) == [LinkLost(link, "peer_closed")]
    await until(lambda: len(port.connections()) == 1)
    assert port.metrics.connections == 1
    assert port.metrics.connections_closed == {"peer": 1}


async def test_a_peer_that_breaks_off_is_told_apart(port: Port) -> None:
    (_, writer), _ = await port.admitted()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER of 0 s: closing resets
    writer.transport.abort()
    await until(lambda: noted(port.pile, LinkLost))
    assert noted(port.pile, LinkLost)[0].reason == "network_error"


async def test_what_our_side_closes_says_why(port: Port) -> None:
    peer, link = await port.admitted()
    speak(port.engine, port.pile, link, PileUnlinked(CODE, "replaced"))
    assert await is_closed(peer)
    await until(lambda: port.metrics.connections_closed)
    assert port.metrics.connections_closed == {"replaced": 1}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(SocketLimits(max_connections=2), "full"), (SocketLimits(max_per_address=2), "address_full")],
)
async def test_connections_beyond_the_limit_are_dropped_at_once(port: Port, reason: str) -> None:
    first, _ = await port.connect(), await port.connect()
    await until(lambda: len(port.connections()) == 2)
    assert await is_closed(await port.connect())
    assert port.metrics.connections_refused == {reason: 1}
    assert port.metrics.connections == 2
    first[1].close()
    await until(lambda: port.metrics.connections == 1)
    await port.connect()
    await until(lambda: port.metrics.connections == 2)
    assert port.metrics.connections_refused == {reason: 1}


async def test_a_peer_that_does_not_read_is_dropped_alone(port: Port) -> None:
    (_, writer), link = await port.admitted()
    other = await port.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined] # the stream's own transport
    answers = [down.HeartbeatAnswer(CODE, number, 1) for number in range(2_000)]
    for _ in range(400):
        if port.metrics.connections_closed:
            break
        speak(port.engine, port.pile, link, *answers)
        await settle(port.engine)
        await asyncio.sleep(0)
    await until(lambda: port.metrics.connections_closed)
    assert port.metrics.connections_closed == {"slow_peer": 1}
    await until(lambda: noted(port.pile, LinkLost))
    assert port.metrics.connections == 1
    assert not other[0].at_eof()
    assert OUTPUT_MAX < 1_000_000


async def test_a_socket_that_is_held_back_is_not_read_and_counted(port: Port) -> None:
    (_, writer), link = await port.admitted()
    socket = inside(link).socket
    socket.pause()
    socket.pause()
    assert port.metrics.paused_sockets == 1
    writer.write(BEAT)
    await writer.drain()
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert not noted(port.pile, up.Heartbeat)
    socket.resume()
    await until(lambda: noted(port.pile, up.Heartbeat))
    assert port.metrics.paused_sockets == 0
    socket.pause()  # and one that ends while it is held back is counted no more


async def test_closing_the_gateway_closes_every_socket(port: Port) -> None:
    peer, link = await port.admitted()
    await port.gateway.close()
    assert await is_closed(peer)
    assert noted(port.pile, LinkLost) == [LinkLost(link, "shutdown")]
    assert not port.gateway.is_listening
    assert port.gateway.port == 0
    with pytest.raises(OSError):
        await port.connect()


async def test_bytes_that_come_before_their_actor_are_kept(port: Port) -> None:
    """Socket and first bytes may become ready in the same turn of the loop."""
    _, writer = await port.connect()
    writer.write(LOGIN[:10])
    writer.write(LOGIN[10:])
    await until(lambda: noted(port.pile, LoginAsked))


async def test_an_address_in_use_is_an_error(port: Port) -> None:
    other = TcpGateway(
        port.engine, port.around, "ykc", lambda on_frame: YkcDialect(), Limits(), SocketLimits()
    )
    with pytest.raises(OSError, match="in use"):
        await other.start("127.0.0.1", port.gateway.port)
    assert not other.is_listening
