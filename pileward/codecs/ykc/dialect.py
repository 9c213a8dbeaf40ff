"""One connection's YKC dialect: bytes from piles to uplinks, downlinks to bytes.

Two frames make up nearly all traffic, the heartbeat (0x03, answered 0x04) and real-time data (0x13). They are
read straight from the bytes when nothing about them is odd; anything odd takes the way of all other frames,
through `decoder` and `reading`, which gives the same messages (a test holds the two ways against each other).
"""

from __future__ import annotations

from typing import Any, Final, cast

from fastcrc.crc16 import modbus

from pileward.codecs.base import FrameError, Garbage, NotSupported, OnFrame
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame, parse
from pileward.codecs.ykc.enums import fault_codes
from pileward.codecs.ykc.envelope import BODY_AT, OVERHEAD, CrcOrder, Stream, is_low_first
from pileward.codecs.ykc.plausible import (
    AMOUNT_MAX_E4_YUAN,
    CURRENT_MAX_E1_A,
    ENERGY_MAX_E4_KWH,
    MINUTES_MAX,
    TEMP_MAX_C,
    VOLTAGE_MAX_E1_V,
    is_gun_no,
)
from pileward.codecs.ykc.reading import HOMED, STATUSES, UNDECODABLE, uplink_of
from pileward.codecs.ykc.table import BY_CLASS
from pileward.codecs.ykc.wire import GUN_READ, TEMP0_READ, TEMP_OFFSET_C
from pileward.codecs.ykc.writing import frame_of
from pileward.messages.downlinks import Downlink, HeartbeatAnswer
from pileward.messages.uplinks import Heartbeat, Malformed, Telemetry, Uplink
from pileward.values import SOC_MAX_PCT

CACHED_MOST: Final = 4096
"""Entries of each cache of one connection; beyond, it starts anew (a concentrator has some hundred piles)."""

_HEARTBEAT_SIZE: Final = BY_CLASS[frames.Heartbeat].size + OVERHEAD
_TELEMETRY_SIZE: Final = BY_CLASS[frames.RealTimeData].size + OVERHEAD
_unpack_telemetry = BY_CLASS[frames.RealTimeData].unpack_from
_GUN_NOS: Final = tuple(number if is_gun_no(number) else 0 for number in GUN_READ)
"""Gun number by wire byte; 0 for what cannot be one."""
_RAW_TEMP_MAX: Final = TEMP_MAX_C + TEMP_OFFSET_C
_NO_TRADE: Final = bytes(16)
_NO_CABLE: Final = bytes(8)
_STATUS_MAX: Final = max(STATUSES)
_PILE_AT: Final = (slice(0, 7), slice(16, 23))
"""Where a body may name its pile: at its start, or behind a transaction number."""


class YkcDialect:
    """YKC 1.5, 1.6 and 1.7 on one connection, which may carry several piles."""

    def __init__(self, crc_order: CrcOrder = CrcOrder.BOTH, on_frame: OnFrame | None = None) -> None:
        self.stream = Stream(crc_order)
        self.on_frame = on_frame
        self.odd_lengths: dict[int, int] = {}
        """Bodies of unexpected length by frame type, counted."""
        self._own_sequence = 0
        self._codes: dict[bytes, str] = {}
        self._heartbeats: dict[bytes, tuple[str, int, bool]] = {}
        self._answers: dict[tuple[str, int], bytes] = {}
        self._high_first: set[str] = set()

    @property
    def crc_order(self) -> CrcOrder:
        """Which checksum order is taken and sent; may be set when the pile's model is known."""
        return self.stream.order

    @crc_order.setter
    def crc_order(self, order: CrcOrder) -> None:
        self.stream.order = order

    def partial_deadline(self) -> float | None:
        """When a waiting partial frame is given up (monotonic s): call `receive(b"", now)` then."""
        return self.stream.partial_deadline()

    def receive(self, data: bytes, now: float) -> list[Uplink | Garbage]:
        """Take bytes; return uplinks and garbage in the order they came. Never raises."""
        items = cast("list[Any]", self.stream.receive(data, now))
        for at, raw in enumerate(items):
            if raw.__class__ is bytes:
                items[at] = self._uplink(raw)
        return items

    def send(self, downlink: Downlink) -> bytes:
        """Make the frame of a downlink; without `wire_seq` it gets this connection's next own number.

        Raises NotSupported for messages that YKC has no frame for, FrameError for values that do not fit.
        """
        sequence = downlink.wire_seq
        if sequence is None:
            sequence = self._own_sequence
            self._own_sequence = sequence + 1 & 0xFFFF
        order = self.stream.order
        if order is CrcOrder.MIRROR:
            order = CrcOrder.HIGH if downlink.pile_code in self._high_first else CrcOrder.LOW
        if downlink.__class__ is HeartbeatAnswer and order is not CrcOrder.HIGH:
            tail = self._answers.get((downlink.pile_code, downlink.gun_no)) or self._answer_tail(downlink)
            covered = sequence.to_bytes(2, "little") + tail
            return b"\x68\x0d" + covered + modbus(covered).to_bytes(2, "little")
        frame = frame_of(downlink)
        if frame is None:
            raise NotSupported(f"YKC has no frame for {type(downlink).__name__}")
        return encode_frame(frame, sequence, order)

    def _uplink(self, raw: bytes) -> Uplink | Garbage:
        """Read one good frame, the short way if it is one of the two common ones and nothing is odd."""
        if self.stream.order is CrcOrder.MIRROR:
            self._note_order(raw)
        message: Uplink | Garbage | None = None
        if raw[4] == 0:
            if raw[5] == 0x03 and len(raw) == _HEARTBEAT_SIZE:
                message = self._heartbeat(raw)
            elif raw[5] == 0x13 and len(raw) == _TELEMETRY_SIZE:
                message = self._telemetry(raw)
        if message is None:
            message = self._any(raw)
        if self.on_frame is not None:
            self.on_frame(raw, "" if message.__class__ is Garbage else message.pile_code)  # type: ignore[union-attr]
        return message

    def _heartbeat(self, raw: bytes) -> Heartbeat | None:
        body = raw[BODY_AT:-2]
        known = self._heartbeats.get(body)
        if known is None:
            gun_no = _GUN_NOS[body[7]]
            if not gun_no:
                return None
            known = (self._code(body[:7]), gun_no, body[8] == 1)
            if len(self._heartbeats) >= CACHED_MOST:
                self._heartbeats.clear()
            self._heartbeats[body] = known
        return Heartbeat(known[0], raw[2] | raw[3] << 8, known[1], known[2])

    def _telemetry(self, raw: bytes) -> Telemetry | None:
        (
            trade_no,
            pile_no,
            gun,
            status,
            homed,
            plugged,
            e1_v,
            e1_a,
            cable_temp,
            cable_code,
            soc,
            battery_temp,
            minutes,
            minutes_left,
            energy,
            loss_energy,
            amount,
            faults,
        ) = _unpack_telemetry(raw, BODY_AT)
        gun_no = _GUN_NOS[gun]
        if (
            gun_no == 0
            or soc > SOC_MAX_PCT
            or e1_v > VOLTAGE_MAX_E1_V
            or e1_a > CURRENT_MAX_E1_A
            or energy > ENERGY_MAX_E4_KWH
            or loss_energy > ENERGY_MAX_E4_KWH
            or amount > AMOUNT_MAX_E4_YUAN
            or minutes > MINUTES_MAX
            or minutes_left > MINUTES_MAX
            or cable_temp > _RAW_TEMP_MAX
            or battery_temp > _RAW_TEMP_MAX
            or status > _STATUS_MAX
            or homed > 2
            or plugged > 1
        ):
            return None
        return Telemetry(
            self._codes.get(pile_no) or self._code(pile_no),
            raw[2] | raw[3] << 8,
            gun_no,
            STATUSES[status],
            "" if trade_no == _NO_TRADE else trade_no.hex().upper(),
            plugged == 1,
            HOMED[homed],
            e1_v * 100,
            e1_a * 100,
            TEMP0_READ[cable_temp],
            "" if cable_code == _NO_CABLE else cable_code.hex().upper(),
            soc,
            TEMP0_READ[battery_temp],
            minutes * 60,
            minutes_left * 60,
            energy,
            loss_energy,
            amount,
            fault_codes(faults) if faults else (),
        )

    def _any(self, raw: bytes) -> Uplink | Garbage:
        packet = parse(raw)
        if isinstance(packet, Garbage):
            return packet
        if packet.missing or packet.rest:
            self.odd_lengths[packet.frame_type] = self.odd_lengths.get(packet.frame_type, 0) + 1
        try:
            message = uplink_of(packet, self._known_code)
        except Exception:
            code = self._known_code(packet.body)
            return Malformed(code, packet.sequence, packet.frame_type, UNDECODABLE, packet.body)
        self._remember(message.pile_code)
        return message

    def _remember(self, code: str) -> None:
        if len(code) == 14:
            self._code(bytes.fromhex(code))

    def _code(self, raw: bytes) -> str:
        """The pile code of a pile number on the wire; the same text object for the same pile."""
        code = self._codes.get(raw)
        if code is None:
            if len(self._codes) >= CACHED_MOST:
                self._codes.clear()
            code = self._codes[raw] = raw.hex().upper()
        return code

    def _known_code(self, body: bytes) -> str:
        """The pile that a body seems to name: one that spoke on this connection before, or ""."""
        return next((self._codes[body[at]] for at in _PILE_AT if body[at] in self._codes), "")

    def _answer_tail(self, answer: HeartbeatAnswer) -> bytes:
        """Encryption flag, type and body of a heartbeat answer, which never change for a gun."""
        frame = frame_of(answer)
        assert frame is not None
        tail = b"\0\x04" + BY_CLASS[type(frame)].encode(frame)
        if len(self._answers) >= CACHED_MOST:
            self._answers.clear()
        self._answers[answer.pile_code, answer.gun_no] = tail
        return tail

    def _note_order(self, raw: bytes) -> None:
        """Remember which order the pile of this frame uses for its checksum."""
        packet = parse(raw)
        code = "" if isinstance(packet, Garbage) else getattr(packet.frame, "pile_no", "")
        if is_low_first(raw):
            self._high_first.discard(code)
        elif code:
            self._high_first.add(code)


__all__ = ["CrcOrder", "FrameError", "NotSupported", "YkcDialect"]
