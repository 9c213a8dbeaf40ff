"""One connection's YKC dialect: bytes from piles to uplinks, downlinks to bytes.

Two frames make up nearly all traffic, the heartbeat (0x03, answered 0x04) and real-time data (0x13). They are
read straight from the bytes when nothing about them is odd; anything odd takes the way of all other frames,
through `decoder` and `reading`, which gives the same messages (a test holds the two ways against each other).
"""

from __future__ import annotations

import struct
from typing import Final

from fastcrc.crc16 import modbus

from pileward.codecs.base import FrameError, Garbage, NotSupported, OnFrame
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame, parse
from pileward.codecs.ykc.enums import fault_codes
from pileward.codecs.ykc.envelope import BODY_AT, OVERHEAD, START, CrcOrder, Stream, is_low_first
from pileward.codecs.ykc.plausible import (
    AMOUNT_MAX_E4_YUAN,
    CURRENT_MAX_E1_A,
    ENERGY_MAX_E4_KWH,
    MINUTES_MAX,
    TEMP_MAX_C,
    VOLTAGE_MAX_E1_V,
    is_gun_no,
)
from pileward.codecs.ykc.reading import HOMED, PLUGGED, STATUSES, UNDECODABLE, uplink_of
from pileward.codecs.ykc.table import BY_CLASS
from pileward.codecs.ykc.wire import GUN_READ, TEMP0_READ, TEMP_OFFSET_C
from pileward.codecs.ykc.writing import frame_of
from pileward.messages.downlinks import Downlink, HeartbeatAnswer
from pileward.messages.uplinks import Heartbeat, Malformed, Telemetry, Uplink
from pileward.values import SOC_MAX_PCT

CACHED_MOST: Final = 4096
"""Entries of each cache of one connection; beyond, it starts anew (a concentrator has some hundred piles)."""

_BEAT: Final = BY_CLASS[frames.Heartbeat].size + OVERHEAD
_DATA: Final = BY_CLASS[frames.RealTimeData].size + OVERHEAD
_BEAT_LENGTH: Final = _BEAT - 4
_DATA_LENGTH: Final = _DATA - 4
_ANSWER_START: Final = bytes((START, BY_CLASS[frames.HeartbeatAnswer].size + 4))
_unpack_data: Final = struct.Struct("<2xH2x" + BY_CLASS[frames.RealTimeData].form).unpack_from
"""Sequence and fields of 0x13 from the start of its frame."""

# Lookups by raw byte for the short way; what is not in them is odd and raises IndexError.
_GUN_NOS: Final = tuple(number if is_gun_no(number) else 0 for number in GUN_READ)
_TEMPS: Final = TEMP0_READ[: TEMP_MAX_C + TEMP_OFFSET_C + 1]
_STATUSES: Final = tuple(STATUSES[value] for value in range(len(STATUSES)))
_HOMED: Final = tuple(HOMED[value] for value in range(len(HOMED)))
_PLUGGED: Final = tuple(PLUGGED[value] for value in range(len(PLUGGED)))
_NO_TRADE: Final = bytes(16)
_NO_CABLE: Final = bytes(8)
_PILE_DIGITS: Final = 14
_ORDER_NAMES: Final = {"mirror": CrcOrder.MIRROR, "low_first": CrcOrder.LOW, "high_first": CrcOrder.HIGH}
"""The setting of a pile model (models.kinds) and the order it means; both are taken from any pile."""
_PILE_AT: Final = (slice(0, 7), slice(16, 23))
"""Where a body may name its pile: at its start, or behind a transaction number."""


class YkcDialect:
    """YKC 1.5, 1.6 and 1.7 on one connection, which may carry several piles."""

    __slots__ = (
        "_answers",
        "_beats",
        "_codes",
        "_high_first",
        "_is_plain",
        "_orders",
        "_own_sequence",
        "_to_high",
        "odd_lengths",
        "on_frame",
        "stream",
    )

    def __init__(self, crc_order: CrcOrder = CrcOrder.BOTH, on_frame: OnFrame | None = None) -> None:
        self.stream = Stream(crc_order)
        self.on_frame = on_frame
        self.odd_lengths: dict[int, int] = {}
        """Bodies of unexpected length by frame type, counted."""
        self._is_plain = crc_order is not CrcOrder.HIGH
        self._own_sequence = 0
        self._codes: dict[bytes, str] = {}
        self._beats: dict[bytes, tuple[str, int, bool]] = {}
        self._answers: dict[tuple[str, int], bytes] = {}
        self._high_first: frozenset[str] = frozenset()
        """Piles whose last frame had its checksum high byte first."""
        self._to_high: frozenset[str] = frozenset()
        """Piles that are answered so."""
        self._orders: dict[str, CrcOrder] | None = None

    @property
    def crc_order(self) -> CrcOrder:
        """Which checksum order is taken, and sent to piles of which `adapt` has not said otherwise."""
        return self.stream.order

    @crc_order.setter
    def crc_order(self, order: CrcOrder) -> None:
        self.stream.order = order
        self._to_high = frozenset()
        self._note_plain(*self._high_first, *(self._orders or ()))

    def adapt(self, pile_code: str, crc_order: str) -> None:
        """Send this pile its checksums in the order that its model wants (YKC 1.6, 2.4)."""
        order = _ORDER_NAMES[crc_order]
        if order is not self.stream.order:
            if self._orders is None:
                self._orders = {}
            self._orders[pile_code] = order
        elif self._orders is not None:
            self._orders.pop(pile_code, None)
        self._note_plain(pile_code)

    @property
    def is_waiting(self) -> bool:
        """Whether the beginning of a frame waits for its rest."""
        return bool(self.stream.buffer)

    def excuse(self, now: float) -> None:
        """Give a waiting partial frame its time anew: its rest was not read, by no fault of the pile."""
        self.stream.excuse(now)

    def partial_deadline(self) -> float | None:
        """When a waiting partial frame is given up (monotonic s): call `receive(b"", now)` then."""
        return self.stream.partial_deadline()

    def receive(self, data: bytes, now: float) -> list[Uplink | Garbage]:
        """Take bytes; return uplinks and garbage in the order they came. Never raises."""
        if self._is_plain and not self.stream.buffer:
            message = self._common(data)
            if message is not None:
                if self.on_frame is not None:
                    self.on_frame(data, message.pile_code)
                return [message]
        return [
            self._uplink(item) if item.__class__ is bytes else item  # type: ignore[misc]
            for item in self.stream.receive(data, now)
        ]

    def send(self, downlink: Downlink) -> bytes:
        """Make the frame of a downlink; without `wire_seq` it gets this connection's next own number.

        Raises NotSupported for messages that YKC has no frame for, FrameError for values that do not fit.
        """
        sequence = downlink.wire_seq
        if downlink.__class__ is HeartbeatAnswer and sequence is not None and self._is_plain:
            key = (downlink.pile_code, downlink.gun_no)
            tail = self._answers.get(key) or self._answer_tail(downlink, key)
            covered = sequence.to_bytes(2, "little") + tail
            return _ANSWER_START + covered + modbus(covered).to_bytes(2, "little")
        frame = frame_of(downlink)
        if frame is None:
            raise NotSupported(f"YKC has no frame for {type(downlink).__name__}")
        if sequence is None:
            sequence = self._own_sequence
            self._own_sequence = sequence + 1 & 0xFFFF
        return encode_frame(frame, sequence, self._order_to(downlink.pile_code))

    def _common(self, data: bytes) -> Uplink | None:
        """Read what is exactly one heartbeat of a gun seen before, or one plausible 0x13; else None."""
        size = len(data)
        if size == _BEAT:
            known = self._beats.get(data[4:15])
            if known and data[1] == _BEAT_LENGTH and data[0] == START and modbus(data[2:]) == 0:
                return Heartbeat(known[0], data[2] | data[3] << 8, known[1], known[2])
        elif (
            size == _DATA
            and data[5] == 0x13
            and data[4] == 0
            and data[1] == _DATA_LENGTH
            and data[0] == START
            and modbus(data[2:]) == 0
        ):
            return self._telemetry(data)
        return None

    def _telemetry(self, raw: bytes) -> Telemetry | None:
        """Read a good frame of 0x13 in which everything is plausible; None: take the long way."""
        (
            sequence,
            trade_no,
            pile_no,
            gun,
            status,
            homed,
            plugged,
            voltage,
            current,
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
        ) = _unpack_data(raw)
        gun_no = _GUN_NOS[gun]
        if (
            gun_no == 0
            or soc > SOC_MAX_PCT
            or voltage > VOLTAGE_MAX_E1_V
            or current > CURRENT_MAX_E1_A
            or energy > ENERGY_MAX_E4_KWH
            or loss_energy > ENERGY_MAX_E4_KWH
            or amount > AMOUNT_MAX_E4_YUAN
            or minutes > MINUTES_MAX
            or minutes_left > MINUTES_MAX
        ):
            return None
        try:
            return Telemetry(
                self._codes.get(pile_no) or self._code(pile_no),
                sequence,
                gun_no,
                _STATUSES[status],
                "" if trade_no == _NO_TRADE else trade_no.hex().upper(),
                _PLUGGED[plugged],
                _HOMED[homed],
                voltage * 100,
                current * 100,
                _TEMPS[cable_temp],
                "" if cable_code == _NO_CABLE else cable_code.hex().upper(),
                soc,
                _TEMPS[battery_temp],
                minutes * 60,
                minutes_left * 60,
                energy,
                loss_energy,
                amount,
                fault_codes(faults) if faults else (),
            )
        except IndexError:
            return None

    def _uplink(self, raw: bytes) -> Uplink | Garbage:
        """Read one good frame."""
        message: Uplink | Garbage | None = None
        if raw[5] == 0x13 and len(raw) == _DATA and raw[4] == 0:
            message = self._telemetry(raw)
        if message is None:
            message = self._any(raw)
        code = "" if isinstance(message, Garbage) else message.pile_code
        if code:
            self._note_order(raw, code)
        if self.on_frame is not None:
            self.on_frame(raw, code)
        return message

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
        if isinstance(message, Heartbeat):
            self._remember(raw, message)
        elif len(message.pile_code) == _PILE_DIGITS:
            self._code(bytes.fromhex(message.pile_code))
        return message

    def _remember(self, raw: bytes, beat: Heartbeat) -> None:
        """Let the next heartbeat of this gun, with the same state, take the short way."""
        if len(self._beats) >= CACHED_MOST:
            self._beats.clear()
        if len(raw) == _BEAT:
            code = self._code(raw[BODY_AT : BODY_AT + 7])
            self._beats[raw[4:15]] = (code, beat.gun_no, beat.is_faulty)

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

    def _answer_tail(self, answer: Downlink, key: tuple[str, int]) -> bytes:
        """Encryption flag, type and body of a heartbeat answer, which never change for a gun."""
        frame = frame_of(answer)
        assert frame is not None
        layout = BY_CLASS[type(frame)]
        tail = bytes((0, layout.kind.code)) + layout.encode(frame)
        if len(self._answers) >= CACHED_MOST:
            self._answers.clear()
        self._answers[key] = tail
        return tail

    def _order_to(self, code: str) -> CrcOrder:
        """The checksum order for a pile."""
        order = self.stream.order
        if self._orders is not None:
            order = self._orders.get(code, order)
        if order is not CrcOrder.MIRROR:
            return order
        return CrcOrder.HIGH if code in self._high_first else CrcOrder.LOW

    def _note_order(self, raw: bytes, code: str) -> None:
        """Remember which order this pile used last."""
        if is_low_first(raw) == (code in self._high_first) and len(self._high_first) < CACHED_MOST:
            self._high_first ^= {code}
            self._note_plain(code)

    def _note_plain(self, *codes: str) -> None:
        """The short ways take and make low byte first only: right unless some pile here wants the other."""
        for code in codes:
            if (self._order_to(code) is CrcOrder.HIGH) is not (code in self._to_high):
                self._to_high ^= {code}
        self._is_plain = self.stream.order is not CrcOrder.HIGH and not self._to_high


__all__ = ["CrcOrder", "FrameError", "NotSupported", "YkcDialect"]
