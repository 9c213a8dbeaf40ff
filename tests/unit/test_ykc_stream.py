"""Cutting a stream into frames: resynchronisation, giving up, both orders of the checksum, body lengths."""

from __future__ import annotations

import pytest

from pileward.codecs.base import BAD_CHECKSUM, ENCRYPTED, INCOMPLETE, NOISE, FrameError, Garbage
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame, parse
from pileward.codecs.ykc.envelope import GIVE_UP_S, CrcOrder, Stream, is_high_first, is_low_first, wrap
from pileward.codecs.ykc.table import Frame

PILE = "32010600019236"
BEAT = encode_frame(frames.Heartbeat(PILE, 1, 0), 7)
OTHER = encode_frame(frames.Heartbeat(PILE, 2, 1), 8)
DAMAGED = BEAT[:-1] + bytes((BEAT[-1] ^ 0xFF,))
HIGH = encode_frame(frames.Heartbeat(PILE, 1, 0), 7, CrcOrder.HIGH)


def test_the_checksum_of_the_worked_examples() -> None:
    answer = bytes.fromhex("680C000000025503141278230500DA4C")
    assert is_low_first(answer)
    assert not is_high_first(answer)
    beat = bytes.fromhex("680D25D30003202312120000100100D1AC")
    assert is_high_first(beat)
    assert not is_low_first(beat)
    assert wrap(0, 0x02, answer[6:-2]) == answer


def test_a_whole_frame_is_handed_on_without_a_copy() -> None:
    (item,) = Stream().receive(BEAT, 0.0)
    assert item is BEAT


def test_several_frames_in_one_segment() -> None:
    assert Stream().receive(BEAT + OTHER + BEAT, 0.0) == [BEAT, OTHER, BEAT]


def test_the_start_byte_may_stand_inside_a_body() -> None:
    frame = frames.StoreCardsAnswer("68686868686868", 0x68, 0x68)
    raw = encode_frame(frame, 0x6868)
    decoder = Decoder()
    items = decoder.receive(raw[:9], 0.0) + decoder.receive(raw[9:] + raw, 0.0)
    assert [item.frame for item in items if isinstance(item, Packet)] == [frame, frame]


def test_noise_is_one_item_whatever_its_length() -> None:
    assert Stream().receive(b"\x00\x01\x68\x03\x68\x00\xff" + BEAT, 0.0) == [
        Garbage(b"\x00\x01\x68\x03\x68\x00\xff", NOISE),
        BEAT,
    ]


def test_a_damaged_frame_before_another_is_dropped_whole() -> None:
    assert Stream().receive(DAMAGED + OTHER, 0.0) == [Garbage(DAMAGED, BAD_CHECKSUM), OTHER]


def test_a_damaged_frame_at_the_end_is_dropped_whole() -> None:
    stream = Stream()
    assert stream.receive(DAMAGED, 0.0) == [Garbage(DAMAGED, BAD_CHECKSUM)]
    assert stream.buffer == b""


def test_a_wrong_length_costs_no_more_than_its_first_byte() -> None:
    """0x68 in noise seems to announce 20 bytes; the frame inside them is found all the same."""
    noise = b"\x68\x10\x00"
    items = Stream().receive(noise + BEAT + b"\x00\x00", 0.0)
    assert items == [Garbage(noise, BAD_CHECKSUM), BEAT, Garbage(b"\x00\x00", NOISE)]


def test_each_broken_frame_counts() -> None:
    items = Stream().receive(DAMAGED * 10, 0.0)
    assert items == [Garbage(DAMAGED, BAD_CHECKSUM)] * 10


def test_a_partial_frame_waits_and_is_given_up_after_ten_seconds() -> None:
    stream = Stream()
    assert stream.partial_deadline() is None
    assert stream.receive(BEAT[:5], 100.0) == []
    assert stream.partial_deadline() == 100.0 + GIVE_UP_S
    assert stream.receive(b"", 109.9) == []
    assert stream.receive(BEAT[5:7], 109.9) == []
    assert stream.partial_deadline() == 109.9 + GIVE_UP_S, "bytes that come are progress"
    assert stream.receive(b"", 119.9) == [Garbage(BEAT[:7], INCOMPLETE)]
    assert stream.partial_deadline() is None


def test_what_comes_after_the_time_is_a_new_beginning() -> None:
    stream = Stream()
    stream.receive(BEAT[:5], 0.0)
    assert stream.receive(OTHER, 10.0) == [Garbage(BEAT[:5], INCOMPLETE), OTHER]


def test_a_frame_behind_a_false_start_is_found_when_the_time_is_over() -> None:
    """The false start announces 255 + 4 bytes that never come; the frame behind it was whole all the time."""
    stream = Stream()
    assert stream.receive(b"\x68\xff" + BEAT, 0.0) == []
    assert stream.receive(b"", 10.0) == [Garbage(b"\x68\xff", INCOMPLETE), BEAT]


def test_encrypted_frames_are_garbage() -> None:
    covered = bytearray(BEAT[:-2])
    covered[4] = 1
    raw = wrap(7, 0x03, bytes(covered[6:]))
    raw = raw[:4] + b"\x01" + raw[5:]
    assert parse(raw) == Garbage(raw, ENCRYPTED)


@pytest.mark.parametrize(
    ("order", "low", "high"),
    [
        (CrcOrder.BOTH, True, True),
        (CrcOrder.LOW, True, False),
        (CrcOrder.HIGH, False, True),
        (CrcOrder.MIRROR, True, True),
    ],
)
def test_which_order_of_the_checksum_is_taken(order: CrcOrder, low: bool, high: bool) -> None:
    assert (Stream(order).receive(BEAT, 0.0) == [BEAT]) is low
    assert (Stream(order).receive(HIGH, 0.0) == [HIGH]) is high


def test_a_body_longer_than_a_frame_can_be_is_refused() -> None:
    assert len(wrap(0, 0x01, bytes(251))) == 259
    with pytest.raises(FrameError, match="longer than a frame can be"):
        wrap(0, 0x01, bytes(252))


def test_what_is_no_frame_cannot_be_encoded() -> None:
    with pytest.raises(FrameError, match="is no frame"):
        encode_frame(Frame(), 0)


LENGTHS = [
    # type, body length                 frame or None for not decoded, missing, rest
    (0x3B, 157, None, True, 0),
    (0x3B, 158, frames.TransactionRecord, False, 0),
    (0x3B, 160, frames.TransactionRecord, False, 2),
    (0x3B, 174, frames.FiveRateRecord, False, 0),
    (0x3B, 176, frames.TransactionRecord, False, 18),
    (0x3D, 200, None, True, 0),
    (0x3D, 201, frames.SignedTransactionRecord, False, 0),
    (0x61, 16, frames.GroundLockData, False, 0),
    (0x61, 12, frames.GroundLockData, False, 0),
    (0x61, 14, frames.GroundLockData, True, 0),
    (0x62, 13, frames.GroundLockControl, False, 0),
    (0x62, 9, frames.GroundLockControl, False, 0),
    (0x63, 13, frames.GroundLockControlAnswer, False, 0),
    (0x63, 9, frames.GroundLockControlAnswer, False, 0),
    (0x13, 54, frames.RealTimeData, True, 0),
    (0x44, 7, frames.StoreCards, True, 0),
    (0x45, 30, frames.RemoveCardsAnswer, False, 3),
    (0x39, 20, None, False, 0),
    (0x01, 0, frames.Login, True, 0),
]


@pytest.mark.parametrize(("code", "length", "kind", "is_short", "rest"), LENGTHS)
def test_the_layout_is_chosen_by_type_and_length(
    code: int, length: int, kind: type[Frame] | None, is_short: bool, rest: int
) -> None:
    packet = parse(wrap(0, code, bytes(length)))
    assert isinstance(packet, Packet)
    assert type(packet.frame) is (kind or type(None))
    assert bool(packet.missing) is is_short
    assert len(packet.rest) == rest


def test_missing_fields_are_none() -> None:
    packet = parse(wrap(0, 0x13, bytes(54)))
    assert isinstance(packet, Packet)
    assert isinstance(packet.frame, frames.RealTimeData)
    assert packet.missing == ("amount_e4_yuan", "hardware_fault")
    assert packet.frame.loss_energy_e4_kwh == 0
    assert packet.frame.hardware_fault is None


def test_a_ground_lock_frame_of_nine_bytes_comes_back_as_such() -> None:
    raw = wrap(3, 0x62, bytes.fromhex("3201060001923601FF"))
    packet = parse(raw)
    assert isinstance(packet, Packet)
    assert packet.frame == frames.GroundLockControl("32010600019236", 1, 0xFF, None)
    assert packet.frame is not None
    assert encode_frame(packet.frame, 3) == raw
    assert len(encode_frame(frames.GroundLockControl("32010600019236", 1, 0xFF), 3)) == 13 + 8


def test_a_list_that_announces_more_cards_than_it_holds() -> None:
    body = bytes.fromhex("32010600019236") + b"\x03" + bytes(16)
    packet = parse(wrap(0, 0x46, body))
    assert isinstance(packet, Packet)
    assert packet.missing == ("cards",)
    assert packet.frame == frames.RemoveCards("32010600019236", (frames.CardNumber("0" * 16),) * 2)
