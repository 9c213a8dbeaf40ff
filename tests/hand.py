"""A pile played by hand: it says exactly what a test says, and keeps what it hears.

The simulated piles of the street answer by themselves; where a test needs one that is silent, stubborn or
mad, it knocks with a socket of its own and speaks the protocol word by word.
"""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.table import Frame
from pileward.simulator.gun import Gun
from tests.nodes import Street
from tests.waiting import until

F = TypeVar("F", bound=Frame)

IDLE, FAULTY, CHARGING = 2, 1, 3
"""Status byte of 0x13 (YKC 1.6, 7.1)."""
ENERGY_E4_KWH = 100_000


class Peer(asyncio.Protocol):
    """One socket to the node; keeps every frame it hears, in order."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.is_closed = False
        self.sequence = 0
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for item in self._decoder.receive(data, 0.0):
            assert isinstance(item, Packet), f"the node sent garbage: {item}"
            self.packets.append(item)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True

    @property
    def transport(self) -> asyncio.Transport:
        """The socket's transport."""
        assert self._transport is not None
        return self._transport

    def write(self, data: bytes) -> None:
        """Send bytes of any kind."""
        self.transport.write(data)

    def say(self, *said: Frame) -> int:
        """Send frames, numbered one after the other; returns the number of the last."""
        for frame in said:
            self.sequence = self.sequence + 1 & 0xFFFF
            self.write(encode_frame(frame, self.sequence))
        return self.sequence

    def heard(self, kind: type[F], **fields: Any) -> list[F]:
        """Frames of exactly this kind, with these values, so far."""
        found = [packet.frame for packet in self.packets if type(packet.frame) is kind]
        return [frame for frame in found if all(getattr(frame, name) == fields[name] for name in fields)]

    async def hear(self, kind: type[F], count: int = 1, **fields: Any) -> F:
        """Wait (real seconds, the clock stands still) until so many were heard; gives the last of them."""
        await until(
            lambda: len(self.heard(kind, **fields)) >= count, what=f"{kind.__name__} {fields} × {count}"
        )
        return self.heard(kind, **fields)[count - 1]

    async def hear_close(self) -> None:
        """Wait (real seconds) until the node has closed the socket."""
        await until(lambda: self.is_closed, what="the end of the connection")

    def hang_up(self, *, is_reset: bool = False) -> None:
        """Close the socket at this end."""
        if is_reset:
            self.transport.abort()
        else:
            self.transport.close()


class HandPile:
    """One pile on a peer's line; several may share it."""

    def __init__(self, peer: Peer, code: str, guns: int = 2) -> None:
        self.peer = peer
        self.code = code
        self.guns = guns

    def log_in(self) -> None:
        """0x01."""
        self.peer.say(
            frames.Login(
                pile_no=self.code,
                pile_type=0,
                gun_count=self.guns,
                protocol_version=16,
                software_version="H1.0",
                network_type=1,
                sim_no="0" * 20,
                carrier=4,
            )
        )

    async def be_accepted(self, count: int = 1) -> None:
        """Log in and hear that it is accepted (for the `count`-th time on this line)."""
        self.log_in()
        await self.peer.hear(frames.LoginAnswer, count, pile_no=self.code, result=0)

    async def hold_tariff(self) -> None:
        """Ask for the tariff and take it: 0x05, 0x06, 0x09, 0x0A."""
        known = len(self.peer.heard(frames.BillingModelAnswer, pile_no=self.code))
        self.check_tariff("0000")
        await self.peer.hear(frames.BillingModelCheckAnswer, pile_no=self.code, result=1)
        self.peer.say(frames.BillingModelRequest(pile_no=self.code))
        await self.peer.hear(frames.BillingModelAnswer, known + 1, pile_no=self.code)

    async def come_online(self) -> None:
        """All that a pile does after power-on: login, clock, tariff, both guns idle."""
        await self.be_accepted()
        self.tell_time(None)
        await self.hold_tariff()
        for gun_no in range(1, self.guns + 1):
            self.report(gun_no)
        self.beat()

    def beat(self, *gun_nos: int, gun_status: int = 0) -> None:
        """0x03 of these guns, or of all."""
        for gun_no in gun_nos or range(1, self.guns + 1):
            self.peer.say(frames.Heartbeat(pile_no=self.code, gun_no=gun_no, gun_status=gun_status))

    def report(self, gun_no: int, status: int = IDLE, **values: Any) -> None:
        """0x13 of one gun."""
        self.peer.say(real_time(self.code, gun_no, status=status, **values))

    def check_tariff(self, billing_model_no: str) -> None:
        """0x05."""
        self.peer.say(frames.BillingModelCheck(pile_no=self.code, billing_model_no=billing_model_no))

    def answer_tariff(self, result: int = 1) -> None:
        """0x57."""
        self.peer.say(frames.SetBillingModelAnswer(pile_no=self.code, result=result))

    def tell_time(self, time: datetime | None) -> None:
        """0x55; None: the time that the platform set last."""
        asked = self.peer.heard(frames.SetTime, pile_no=self.code)
        told = time if time is not None else (asked[-1].time if asked else None)
        self.peer.say(frames.SetTimeAnswer(pile_no=self.code, time=told))


async def dial(port: int, receive_buffer: int | None = None, source: str = "127.0.0.1") -> Peer:
    """Connect to a node; `receive_buffer` makes a small one, for a peer that does not read."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.bind((source, 0))
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _, peer = await loop.create_connection(Peer, sock=sock)
    return peer


async def knock(street: Street, receive_buffer: int | None = None, source: str = "127.0.0.1") -> Peer:
    """Connect to the street's node; the socket is closed with the street."""
    peer = await dial(street.node.ykc_port, receive_buffer, source)
    street.at_end.append(peer.transport.abort)
    return peer


async def pile_by_hand(street: Street, code: str, guns: int = 2) -> HandPile:
    """A pile on a line of its own, connected and silent."""
    return HandPile(await knock(street), code, guns)


async def online_by_hand(street: Street, code: str, guns: int = 2) -> HandPile:
    """A pile on a line of its own that has done all that a pile does after power-on."""
    pile = await pile_by_hand(street, code, guns)
    await pile.come_online()
    await until(lambda: street.is_online(code), what=f"{code} online")
    return pile


def real_time(code: str, gun_no: int, **values: Any) -> frames.RealTimeData:
    """0x13 of an idle gun, but for these values."""
    return replace(Gun(gun_no, False).real_time(code), **values)


def trade_no(code: str, number: int = 1, gun_no: int = 1) -> str:
    """A transaction number by the rule of the protocol (YKC 1.6, 4.3)."""
    return f"{code}{gun_no:02d}260301120000{number:04d}"


def record(code: str, number: int = 1, **values: Any) -> frames.TransactionRecord:
    """0x3B of 10 kWh in the flat rate, but for these values."""
    moment = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    told: dict[str, Any] = dict.fromkeys(frames.TransactionRecord.__struct_fields__, 0)
    told |= {
        "trade_no": trade_no(code, number),
        "pile_no": code,
        "gun_no": 1,
        "start_time": moment,
        "end_time": moment.replace(minute=30),
        "flat_price_e5_yuan": 100_000,
        "flat_energy_e4_kwh": ENERGY_E4_KWH,
        "flat_amount_e4_yuan": 100_000,
        "meter_end_e4_kwh": ENERGY_E4_KWH,
        "total_energy_e4_kwh": ENERGY_E4_KWH,
        "total_amount_e4_yuan": 100_000,
        "vin": "",
        "start_type": 1,
        "trade_time": moment.replace(minute=31),
        "stop_reason": 0x41,
        "physical_card_no": "0" * 16,
    }
    return frames.TransactionRecord(**(told | values))
