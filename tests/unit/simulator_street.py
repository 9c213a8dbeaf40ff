"""A street for tests: one simulated pile driven by hand, and a platform of a few lines that answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.frames_charge import TransactionRecord
from pileward.codecs.ykc.frames_link import (
    BillingModelAnswer,
    BillingModelCheck,
    BillingModelCheckAnswer,
    BillingModelRequest,
    Heartbeat,
    HeartbeatAnswer,
    Login,
    LoginAnswer,
    SetTime,
)
from pileward.codecs.ykc.table import Frame
from pileward.simulator.habits import Habits, Nameplate
from pileward.simulator.memory import PileMemory
from pileward.simulator.orders import Order
from pileward.simulator.pile import SimPile
from pileward.simulator.profiles import STEADY, Profile

CODE = "32010600019236"
MODEL_NO = "0100"
EPOCH = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
F = TypeVar("F", bound=Frame)


def tariff(kind: type[F], code: str = CODE, model_no: str = MODEL_NO) -> F:
    """A billing model as 0x0A or 0x58."""
    prices = (120_000, 40_000, 100_000, 40_000, 80_000, 40_000, 40_000, 40_000)
    return kind(code, model_no, *prices, 0, tuple(slot % 4 for slot in range(48)))


def record(trade_no: str = CODE + "01" + "260301120000" + "0001", code: str = CODE) -> TransactionRecord:
    """A record of 10 kWh in the flat period."""
    values: dict[str, Any] = dict.fromkeys(TransactionRecord.__struct_fields__, 0)
    values |= {
        "trade_no": trade_no,
        "pile_no": code,
        "gun_no": 1,
        "start_time": EPOCH,
        "end_time": EPOCH,
        "flat_price_e5_yuan": 120_000,
        "flat_energy_e4_kwh": 100_000,
        "flat_amount_e4_yuan": 120_000,
        "meter_end_e4_kwh": 100_000,
        "total_energy_e4_kwh": 100_000,
        "total_amount_e4_yuan": 120_000,
        "vin": "",
        "start_type": 1,
        "trade_time": EPOCH,
        "stop_reason": 0x41,
        "physical_card_no": "0" * 16,
    }
    return TransactionRecord(**values)


class Bench:
    """One pile on a bench: time is a number, the line a list."""

    def __init__(
        self,
        *,
        profile: Profile = STEADY,
        seed: int = 1,
        guns: int = 2,
        memory: PileMemory | None = None,
        habits: Habits | None = None,
        plate: Nameplate | None = None,
    ) -> None:
        self.now = 0.0
        self.pile = SimPile(
            plate or Nameplate(CODE, guns),
            seed=seed,
            profile=profile,
            memory=memory,
            habits=habits,
            time=EPOCH,
            now=0.0,
        )
        self.sent: list[bytes] = []
        """Bytes written and not yet looked at."""
        self.orders: list[Order] = []
        self.history: list[tuple[float, bytes | Order]] = []
        self._unread: list[Frame] = []
        self.said: list[Frame] = []
        """What the pile said before the frame that `until` found."""
        self.pile.start(0.0)
        self.settle()

    def settle(self) -> None:
        """Take what the pile wants done."""
        for action in self.pile.take():
            self.history.append((round(self.now, 6), action))
            if isinstance(action, bytes):
                self.sent.append(action)
            else:
                self.orders.append(action)

    def wait(self, seconds: float) -> None:
        """Let time pass, from one deadline to the next."""
        end = self.now + seconds
        while self.pile.next_due <= end:
            self.now = self.pile.next_due
            self.pile.due(self.now)
            self.settle()
        self.now = end

    def connect(self) -> None:
        """Let the line come up."""
        self.pile.connected(self.now)
        self.settle()

    def lose(self) -> None:
        """Let the line be lost."""
        self.pile.lost(self.now)
        self.settle()

    def give(self, frame: Frame, sequence: int = 0x1234) -> None:
        """Let the pile receive a frame."""
        self.pile.receive(frame, sequence, self.now)
        self.settle()

    def packets(self) -> list[Packet]:
        """The frames sent since the last look; damage is an error here."""
        items = Decoder().receive(b"".join(self.sent), self.now)
        self.sent.clear()
        assert all(isinstance(item, Packet) for item in items), items
        return [item for item in items if isinstance(item, Packet)]

    def frames(self) -> list[Frame]:
        """The bodies of these frames."""
        return [packet.frame for packet in self.packets() if packet.frame is not None]

    def only(self, kind: type[F]) -> F:
        """The one frame of this kind among those sent since the last look."""
        found = [frame for frame in self.frames() if isinstance(frame, kind)]
        assert len(found) == 1, found
        return found[0]

    def log_in(self) -> None:
        """From power-on to a quiet online pile with a current tariff."""
        self.wait(0.0)
        assert self.orders.pop() is Order.CONNECT
        self.connect()
        self.give(LoginAnswer(CODE, 0))
        self.give(BillingModelCheckAnswer(CODE, "0000", 1))
        self.give(tariff(BillingModelAnswer))
        self.answer_heartbeats()
        self.sent.clear()
        self.orders.clear()

    def answer_heartbeats(self) -> None:
        """Let the platform answer both guns."""
        for gun in self.pile.guns:
            self.give(HeartbeatAnswer(CODE, gun.no, 0))

    def live(self, seconds: float) -> list[tuple[float, Frame]]:
        """Let time pass with a platform that answers heartbeats; what was said, and when."""
        said: list[tuple[float, Frame]] = []
        end = self.now + seconds
        while self.now < end:
            self.wait(min(1.0, end - self.now))
            self.answer_heartbeats()
            said += [(self.now, frame) for frame in self.frames() if not isinstance(frame, Heartbeat)]
        return said

    def until(self, kind: type[F], within_s: float = 4 * 3600.0) -> F:
        """Let time pass until the pile says a frame of this kind; what it said before is in `said`."""
        end = self.now + within_s
        self.said = []
        while self.now < end:
            self._unread += self.frames()
            while self._unread:
                frame = self._unread.pop(0)
                if isinstance(frame, kind):
                    return frame
                if not isinstance(frame, Heartbeat):
                    self.said.append(frame)
            self.wait(1.0)
            self.answer_heartbeats()
        raise AssertionError(f"no {kind.__name__} in {within_s:g} s")


class Platform:
    """A tiny scripted YKC platform on a real socket: accepts registered piles, answers what piles begin."""

    def __init__(self, codes: set[str], port: int = 0) -> None:
        self.codes = codes
        self.received: list[Frame] = []
        self.garbage = 0
        self.wires: list[asyncio.Transport] = []
        self.by_code: dict[str, asyncio.Transport] = {}
        self.is_mute = False
        self.news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.port = port

    async def __aenter__(self) -> Platform:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: PlatformWire(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for wire in self.wires:
            wire.abort()
        await self._server.wait_closed()

    def send(self, code: str, frame: Frame, sequence: int = 7) -> None:
        """Send a frame to a pile on its newest connection."""
        self.by_code[code].write(encode_frame(frame, sequence))

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is so; looked at whenever a frame or a connection comes or goes."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def count(self, kind: type[Frame]) -> int:
        """How many frames of a kind came."""
        return sum(1 for frame in self.received if type(frame) is kind)

    def answers(self, frame: Frame) -> list[Frame]:
        """What the platform says to a frame."""
        match frame:
            case Login(pile_no=code):
                if code not in self.codes:
                    return [LoginAnswer(code, 1)]
                return [LoginAnswer(code, 0), SetTime(code, EPOCH)]
            case BillingModelCheck(pile_no=code, billing_model_no=held):
                return [BillingModelCheckAnswer(code, held, 0 if held == MODEL_NO else 1)]
            case BillingModelRequest(pile_no=code):
                return [tariff(BillingModelAnswer, code)]
            case Heartbeat(pile_no=code, gun_no=gun_no):
                return [HeartbeatAnswer(code, gun_no, 0)]
            case _:
                return []


class PlatformWire(asyncio.Protocol):
    """One connection of the scripted platform."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.decoder = Decoder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.platform.wires.append(self.transport)
        self.platform.news.set()

    def data_received(self, data: bytes) -> None:
        platform = self.platform
        for item in self.decoder.receive(data, 0.0):
            if not isinstance(item, Packet) or item.frame is None:
                platform.garbage += 1
                continue
            platform.received.append(item.frame)
            if isinstance(item.frame, Login):
                platform.by_code[item.frame.pile_no] = self.transport
            if platform.is_mute:
                continue
            for answer in platform.answers(item.frame):
                self.transport.write(encode_frame(answer, item.sequence))
        platform.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.platform.wires.remove(self.transport)
        self.platform.news.set()
