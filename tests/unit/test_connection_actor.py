"""A connection: bytes to the right pile, answers to bytes, and limits for peers that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pileward.actors.connection import (
    INBOX_PAUSE,
    PAUSE_CHECK_S,
    PILES_MAX,
    REFUSED_STAYS_S,
    ConnectionActor,
    ConnectionStart,
    Limits,
)
from pileward.actors.connection_messages import Closed, PileUnlinked, Watch
from pileward.actors.engine import Engine
from pileward.actors.pile_state import LinkLost, LoginAsked, new_pile
from pileward.actors.store_messages import Save
from pileward.actors.supervised import Quarantined
from pileward.actors.surroundings import Admission
from pileward.clock import ManualClock
from pileward.codecs.base import BAD_CHECKSUM, INCOMPLETE, NOISE
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import CrcOrder, is_high_first
from pileward.codecs.ykc.table import Frame
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.events import FrameSeen
from pileward.models.kinds import CrcOrder as CrcSetting
from pileward.ports import tail_topic
from pileward.services.discovered import SaveDiscovered
from pileward.services.pile_configs import PileSettings
from tests.around import noted, speak, stand_in, surroundings
from tests.piles import CODE, MOMENT, config
from tests.unit.engine_actors import Doer, boom, engine_with, inside, settle

OTHER = "32010600019237"
STRANGER = "32010600099999"
PEER = "10.0.0.7:50123"


class FakeSocket:
    """The gateway's end of a socket."""

    def __init__(self) -> None:
        self.remote_address = PEER
        self.written: list[bytes] = []
        self.closed: list[str] = []
        self.pauses: list[bool] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def pause(self) -> None:
        self.pauses.append(True)

    def resume(self) -> None:
        self.pauses.append(False)

    def is_paused(self) -> bool:
        return self.pauses[-1:] == [True]


class Inbox(Doer):
    """In place of a pile actor, with a mailbox of that size."""

    mailbox_limit = 4_096


class Line:
    """A connection actor between a fake socket and stand-ins for piles."""

    def __init__(self, engine: Engine, clock: ManualClock, limits: Limits, admission: Admission) -> None:
        self.engine = engine
        self.clock = clock
        self.around = surroundings(engine, admission)
        self.store = self.around.store = stand_in(engine)
        self.socket = FakeSocket()
        self.sequence = 0
        for code in (CODE, OTHER):
            self.around.piles[code] = engine.create(Inbox)
            self.around.seen[code] = new_pile(config(pile_code=code))
        start = ConnectionStart(
            self.socket,
            "ykc",
            lambda on_frame: YkcDialect(CrcOrder.MIRROR, on_frame),
            self.around,
            limits,
        )
        self.address = engine.create(ConnectionActor, start)

    @property
    def actor(self) -> Any:
        return inside(self.address)

    def pile(self, code: str = CODE) -> Any:
        return self.around.piles[code]

    def frame(self, frame: Frame, order: CrcOrder = CrcOrder.LOW) -> bytes:
        self.sequence += 1
        return encode_frame(frame, self.sequence, order)

    def login(self, code: str = CODE, order: CrcOrder = CrcOrder.LOW) -> bytes:
        return self.frame(frames.Login(code, 0, 2, 16, "v4.1", 0, "0" * 20, 0), order)

    def beat(self, code: str = CODE) -> bytes:
        return self.frame(frames.Heartbeat(code, 1, 0))

    async def receive(self, *chunks: bytes) -> None:
        """Bytes from the socket."""
        for chunk in chunks:
            self.engine.tell(self.address, chunk)
        await settle(self.engine)

    async def tell(self, *messages: Any, pile: str = CODE) -> None:
        """Messages of a pile to the connection."""
        speak(self.engine, self.pile(pile), self.address, *messages)
        await settle(self.engine)

    async def admit(self, *codes: str) -> None:
        """Log piles in, as their actors would."""
        for code in codes or (CODE,):
            await self.receive(self.login(code))
            await self.tell(down.LoginAnswer(code, self.sequence, True), pile=code)
            inside(self.pile(code)).seen.clear()
        self.socket.written.clear()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await settle(self.engine)

    def heard(self, code: str = CODE, *kinds: type) -> list[Any]:
        return noted(self.pile(code), *kinds)

    @property
    def metrics(self) -> Any:
        return self.around.metrics


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
async def line(limits: Limits, admission: Admission) -> AsyncIterator[Line]:
    clock = ManualClock(MOMENT)
    async with engine_with(clock) as engine:
        opened = Line(engine, clock, limits, admission)
        await settle(engine)
        yield opened


# --- login ----------------------------------------------------------------------------------------------


async def test_a_login_is_handed_to_its_pile_with_the_way_back(line: Line) -> None:
    await line.receive(line.login())
    (asked,) = line.heard()
    assert isinstance(asked, LoginAsked)
    assert (asked.link, asked.remote_address, asked.wait_s) == (line.address, PEER, 0.0)
    assert (asked.login.pile_code, asked.login.gun_count, asked.login.wire_seq) == (CODE, 2, 1)
    assert line.socket.written == []
    await line.tell(down.LoginAnswer(CODE, 1, True))
    assert line.socket.written == [encode_frame(frames.LoginAnswer(CODE, 0), 1)]
    assert line.metrics.logins_accepted == 1
    assert line.actor.inspect()["state"] == "serving"


async def test_a_stranger_is_refused_and_listed_and_the_line_closed(line: Line) -> None:
    await line.receive(line.login(STRANGER))
    assert line.socket.written == [encode_frame(frames.LoginAnswer(STRANGER, 1), 1)]
    (save,) = noted(line.store, Save)
    assert save.ticket == 0
    assert isinstance(save.write, SaveDiscovered)
    assert (save.write.pile_code, save.write.protocol, save.write.at) == (STRANGER, "ykc", MOMENT)
    assert (save.write.facts.gun_count, save.write.facts.remote_address) == (2, PEER)
    assert line.metrics.logins_refused == {"unknown_pile": 1}
    assert line.socket.closed == []
    await line.pass_time(REFUSED_STAYS_S)
    assert line.socket.closed == ["login_refused"]


async def test_a_stranger_on_a_line_that_serves_does_not_close_it(line: Line) -> None:
    await line.admit()
    await line.receive(line.login(STRANGER))
    await line.pass_time(REFUSED_STAYS_S)
    assert line.metrics.logins_refused == {"unknown_pile": 1}
    assert line.socket.closed == []


async def test_a_quarantined_pile_is_refused(line: Line) -> None:
    line.around.quarantined[CODE] = "RuntimeError: x"
    await line.receive(line.login())
    assert line.heard() == []
    assert line.metrics.logins_refused == {"quarantined": 1}


async def test_so_many_piles_may_share_a_line(line: Line) -> None:
    line.actor.routes.update({f"{number:014d}": line.pile(OTHER) for number in range(PILES_MAX)})
    await line.receive(line.login())
    assert line.metrics.logins_refused == {"too_many_piles": 1}
    assert line.heard() == []


@pytest.mark.parametrize("admission", [Admission(rate_per_s=1.0, burst=1)])
async def test_a_repeated_login_takes_no_second_place_in_the_queue(line: Line) -> None:
    await line.receive(line.login(CODE), line.login(OTHER), line.login(OTHER))
    assert [asked.wait_s for asked in (*line.heard(), *line.heard(OTHER))] == [0.0, 1.0, 0.0]
    assert line.around.admission.wait_s(0.0) == 2.0


ORDERS = [
    # setting of the model    login comes in   answers go out high first
    (CrcSetting.MIRROR,       CrcOrder.LOW,    False),
    (CrcSetting.MIRROR,       CrcOrder.HIGH,   True),
    (CrcSetting.LOW_FIRST,    CrcOrder.HIGH,   False),
    (CrcSetting.HIGH_FIRST,   CrcOrder.LOW,    True),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "order", "is_high"), ORDERS)
async def test_a_pile_is_answered_in_the_checksum_order_of_its_model(
    line: Line, setting: CrcSetting, order: CrcOrder, is_high: bool
) -> None:
    changed = replace(config(), settings=PileSettings(crc_order=setting))
    line.around.seen[CODE] = new_pile(changed)
    await line.receive(line.login(order=order))
    await line.tell(down.LoginAnswer(CODE, 1, True), down.HeartbeatAnswer(CODE, 2, 1))
    assert [is_high_first(raw) for raw in line.socket.written] == [is_high, is_high]


async def test_a_line_without_a_login_is_closed(line: Line, limits: Limits) -> None:
    await line.pass_time(limits.login_within_s - 0.1)
    assert line.socket.closed == []
    await line.pass_time(0.1)
    assert line.socket.closed == ["no_login"]


async def test_a_line_with_a_login_stays(line: Line, limits: Limits) -> None:
    await line.admit()
    await line.pass_time(limits.login_within_s)
    assert line.socket.closed == []


@pytest.mark.parametrize("limits", [Limits(bytes_before_login=100)])
async def test_only_so_many_bytes_are_looked_at_before_a_login(line: Line) -> None:
    await line.receive(b"\x00" * 99)
    assert line.socket.closed == []
    await line.receive(line.login())
    assert line.socket.closed == ["too_much_before_login"]
    assert line.heard() == []


# --- frames ---------------------------------------------------------------------------------------------


async def test_frames_go_to_their_piles_and_answers_back(line: Line) -> None:
    await line.admit(CODE, OTHER)
    await line.receive(line.beat(OTHER) + line.beat(CODE), line.beat(OTHER))
    assert line.heard(CODE) == [up.Heartbeat(CODE, 4, 1, False)]
    assert line.heard(OTHER) == [up.Heartbeat(OTHER, 3, 1, False), up.Heartbeat(OTHER, 5, 1, False)]
    await line.tell(down.HeartbeatAnswer(CODE, 4, 1), down.ReadTelemetry(CODE, None, 2))
    assert line.socket.written == [
        encode_frame(frames.HeartbeatAnswer(CODE, 1, 0), 4),
        encode_frame(frames.ReadRealTimeData(CODE, 2), 0),
    ]
    assert line.metrics.frames["ykc", "up"][up.Heartbeat] == 3
    assert line.metrics.frames["ykc", "down"][down.HeartbeatAnswer] == 1
    assert line.actor.inspect()["piles"] == [CODE, OTHER]


async def test_frames_before_a_login_and_of_other_piles_are_counted_and_not_answered(line: Line) -> None:
    await line.receive(line.beat())
    await line.admit()
    await line.receive(line.beat(OTHER), line.beat(STRANGER))
    assert line.metrics.misplaced == {"before_login": 1, "other_pile": 2}
    assert (line.heard(CODE), line.heard(OTHER)) == ([], [])
    assert line.socket.written == []


async def test_impossible_values_are_counted_and_the_rest_goes_on(line: Line) -> None:
    await line.admit()
    odd = frames.RealTimeData("0" * 32, CODE, 1, 2, 0, 0, 3732, 0, 34, "0" * 16, 250, 35, 0, 0, 0, 0, 0, 0)
    await line.receive(line.frame(odd), line.frame(frames.Heartbeat(CODE, 77, 0)))
    said, malformed = line.heard()
    assert (said.soc_pct, said.problems) == (None, ("soc_pct=250",))
    assert isinstance(malformed, up.Malformed)
    assert line.metrics.implausible["soc_pct"] == 1
    assert sum(line.metrics.implausible.values()) == 2


async def test_a_downlink_that_does_not_fit_the_protocol_is_counted(line: Line) -> None:
    await line.admit()
    await line.tell(down.SetQrPrefix(CODE, None, "x" * 300, True), down.ReadTelemetry(CODE, None, 1))
    assert len(line.socket.written) == 1
    assert line.metrics.misplaced == {"unsendable:SetQrPrefix": 1}


# --- limits ---------------------------------------------------------------------------------------------


async def test_damaged_frames_in_a_row_close_the_line(line: Line, limits: Limits) -> None:
    await line.admit()
    bad = bytearray(line.beat())
    bad[-1] ^= 0xFF
    for _ in range(limits.damaged_in_a_row - 1):
        await line.receive(bytes(bad))
    await line.receive(line.beat())  # a good one in between
    for _ in range(limits.damaged_in_a_row - 1):
        await line.receive(bytes(bad))
    assert line.socket.closed == []
    await line.receive(bytes(bad))
    assert line.socket.closed == ["damaged_frames"]
    assert line.metrics.garbage == {BAD_CHECKSUM: 2 * limits.damaged_in_a_row - 1}
    assert len(line.heard()) == 1


async def test_a_flood_of_garbage_is_not_decoded_to_its_end(line: Line, limits: Limits) -> None:
    await line.admit()
    await line.receive(b"\x68\x00" * 100_000)
    assert line.socket.closed == ["damaged_frames"] * len(line.socket.closed)
    assert sum(line.metrics.garbage.values()) < 100 * limits.damaged_in_a_row


async def test_a_partial_frame_is_given_up_after_its_time(line: Line) -> None:
    await line.admit()
    raw = line.beat()
    await line.receive(raw[:5])
    await line.pass_time(6.0)
    await line.receive(raw[5:10])  # there is progress: it gets its time anew
    await line.pass_time(6.0)
    assert line.metrics.garbage == {}
    await line.pass_time(4.0)
    assert line.metrics.garbage == {INCOMPLETE: 1}
    await line.receive(line.beat())
    assert len(line.heard()) == 1


async def test_noise_between_frames_hurts_nobody(line: Line) -> None:
    await line.admit()
    await line.receive(b"\x00\xff" + line.beat() + b"\xaa" + line.beat())
    assert len(line.heard()) == 2
    assert line.metrics.garbage == {NOISE: 2}


@pytest.mark.parametrize("limits", [Limits(frames_per_s=10.0, frames_burst=20)])
async def test_too_many_frames_are_paused_until_they_are_allowed(line: Line) -> None:
    await line.admit()
    for _ in range(20):
        await line.receive(line.beat())
    assert line.socket.is_paused()  # with the login it was one more than the burst
    assert line.metrics.misplaced == {"too_many_frames": 1}
    await line.pass_time(0.09)
    assert line.socket.is_paused()
    await line.pass_time(0.011)
    assert not line.socket.is_paused()
    await line.pass_time(1.0)
    for _ in range(10):
        await line.receive(line.beat())
    assert not line.socket.is_paused()
    assert len(line.heard()) == 30


async def test_a_pile_that_lags_has_its_socket_paused(line: Line) -> None:
    await line.admit()
    line.engine.tell(line.pile(), lambda actor, sender: actor.only(int))  # it takes nothing for now
    await settle(line.engine)
    await line.receive(b"".join(line.beat() for _ in range(INBOX_PAUSE)))
    assert not line.socket.is_paused()
    await line.receive(line.beat())
    assert line.socket.is_paused()
    await line.pass_time(PAUSE_CHECK_S)
    assert line.socket.is_paused()
    line.pile().instance.only()
    await settle(line.engine)
    await line.pass_time(PAUSE_CHECK_S)
    assert not line.socket.is_paused()
    assert len(line.heard()) == INBOX_PAUSE + 1


# --- the end --------------------------------------------------------------------------------------------


async def test_when_the_socket_closes_its_piles_are_told_and_the_actor_exits(line: Line) -> None:
    await line.admit(CODE, OTHER)
    await line.receive(line.login(OTHER))
    inside(line.pile(OTHER)).seen.clear()
    line.engine.tell(line.address, Closed("peer_closed"))
    await settle(line.engine)
    assert line.heard(CODE) == [LinkLost(line.address, "peer_closed")]
    assert line.heard(OTHER) == [LinkLost(line.address, "peer_closed")]
    assert line.engine.info(line.address) is None


async def test_with_its_last_pile_the_line_closes(line: Line) -> None:
    await line.admit(CODE, OTHER)
    await line.tell(PileUnlinked(CODE, "replaced"))
    assert line.socket.closed == []
    await line.receive(line.beat(CODE))
    assert line.metrics.misplaced == {"other_pile": 1}
    await line.tell(PileUnlinked(CODE, "replaced"), PileUnlinked(OTHER, "silent"))
    assert line.socket.closed == ["silent"]


async def test_a_pile_whose_actor_is_in_quarantine_is_turned_away(line: Line) -> None:
    await line.admit()
    await line.tell(Quarantined("RuntimeError: x"))
    assert line.socket.written == [encode_frame(frames.LoginAnswer(CODE, 1), 0)]
    await line.pass_time(REFUSED_STAYS_S)
    assert line.socket.closed == ["login_refused"]


async def test_a_connection_that_fails_closes_its_socket_and_tells_its_piles(line: Line) -> None:
    await line.admit(CODE, OTHER)
    before = line.actor
    before._take = boom
    await line.receive(line.beat())
    assert line.actor is not before
    assert line.socket.closed == ["failed"]
    await line.tell(down.HeartbeatAnswer(CODE, 1, 1))  # one that was on its way
    assert len(line.socket.written) == 1
    line.engine.tell(line.address, Closed("failed"))
    await settle(line.engine)
    assert line.heard(CODE)[-1] == LinkLost(line.address, "failed")
    assert line.heard(OTHER) == [LinkLost(line.address, "failed")]
    assert line.engine.info(line.address) is None


# --- looking inside -------------------------------------------------------------------------------------


async def test_every_frame_is_in_the_tail(line: Line) -> None:
    await line.admit()
    raw = line.beat()
    await line.receive(raw, b"\x00\x01")
    await line.tell(down.HeartbeatAnswer(CODE, 3, 1))
    kept = line.around.tail.last(CODE, 10)
    directions = [(frame.direction, frame.garbage_reason) for frame in kept]
    assert directions == [("up", None), ("down", None), ("up", None), ("up", NOISE), ("down", None)]
    assert kept[2].raw == raw
    assert kept[2].epoch_ms == line.clock.epoch_ms()


async def test_a_watched_pile_is_shown_frame_by_frame_until_its_time_is_over(line: Line) -> None:
    await line.admit(CODE, OTHER)
    async with line.around.bus.subscribe(tail_topic(CODE)) as feed:
        await line.receive(line.beat())
        await line.tell(Watch(CODE, 60))
        raw = line.beat()
        await line.receive(raw, line.beat(OTHER), b"\x00")
        await line.tell(down.HeartbeatAnswer(CODE, 4, 1), down.ReadTelemetry(CODE, None, 1))
        assert line.actor.inspect()["watched"] == [CODE]
        await line.pass_time(60.1)
        await line.receive(line.beat())
        assert line.actor.inspect()["watched"] == []
        count = line.around.bus.stats.published
        seen = [msgspec.json.decode((await anext(feed))[1], type=FrameSeen) for _ in range(count)]
    assert [(frame.direction, frame.damage) for frame in seen] == [
        ("up", ""),
        ("up", NOISE),
        ("down", ""),
        ("down", ""),
    ]
    assert (seen[0].hex, seen[0].at) == (raw.hex().upper(), MOMENT)
