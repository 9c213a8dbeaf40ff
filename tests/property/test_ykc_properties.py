"""Whatever frames are sent, in whatever pieces and with whatever noise: what holds for the YKC codec."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pileward.codecs.base import GARBAGE_REASONS, Garbage
from pileward.codecs.ykc import text
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import GIVE_UP_S, CrcOrder, Stream, wrap
from pileward.codecs.ykc.reading import uplink_of
from pileward.codecs.ykc.table import Frame, Layout, all_layouts
from pileward.messages.uplinks import Uplink
from tests.property.ykc_frames import any_frame, frame_of, plain_numbers

MOST_KEPT = 258
"""One byte less than the longest frame."""
EVERY_LAYOUT = [pytest.param(layout, id=f"{layout.frame.__name__}") for layout in all_layouts()]
NOISE = st.binary(max_size=40).filter(lambda raw: 0x68 not in raw)
ORDERS = st.sampled_from([CrcOrder.LOW, CrcOrder.HIGH])


def packets(items: list[Packet | Garbage]) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


@pytest.mark.parametrize("layout", EVERY_LAYOUT)
@given(data=st.data(), sequence=plain_numbers, order=ORDERS)
@settings(max_examples=15, deadline=None)
def test_every_frame_comes_back(layout: Layout, data: Any, sequence: int, order: CrcOrder) -> None:
    frame = data.draw(frame_of(layout))
    raw = encode_frame(frame, sequence, order)
    (packet,) = packets(Decoder().receive(raw, 0.0))
    assert packet.frame == frame
    assert (packet.sequence, packet.frame_type, packet.missing, packet.rest) == (
        sequence,
        layout.kind.code,
        (),
        b"",
    )


@pytest.mark.parametrize("layout", EVERY_LAYOUT)
@given(data=st.data(), sequence=plain_numbers)
@settings(max_examples=10, deadline=None)
def test_the_text_of_every_frame_comes_back(layout: Layout, data: Any, sequence: int) -> None:
    raw = encode_frame(data.draw(frame_of(layout)), sequence)
    (shown,) = text.describe_all(raw)
    assert shown["ok"]
    assert text.encode(json.loads(json.dumps(shown))) == raw


@given(st.lists(any_frame(), min_size=1, max_size=3), plain_numbers)
@settings(max_examples=10, deadline=None)
def test_cut_at_every_byte(some: list[Frame], sequence: int) -> None:
    raw = b"".join(encode_frame(frame, sequence) for frame in some)
    for at in range(1, len(raw)):
        decoder = Decoder()
        items = decoder.receive(raw[:at], 0.0) + decoder.receive(raw[at:], 1.0)
        assert [packet.frame for packet in packets(items)] == some
        assert decoder.partial_deadline() is None


@given(any_frame(), plain_numbers)
@settings(max_examples=50, deadline=None)
def test_byte_by_byte(frame: Frame, sequence: int) -> None:
    decoder = Decoder()
    items = [item for byte in encode_frame(frame, sequence) for item in decoder.receive(bytes((byte,)), 0.0)]
    assert [packet.frame for packet in packets(items)] == [frame]


@given(NOISE, any_frame(), NOISE, any_frame(), NOISE)
@settings(max_examples=100, deadline=None)
def test_noise_before_and_behind(
    before: bytes, first: Frame, between: bytes, second: Frame, behind: bytes
) -> None:
    raw = before + encode_frame(first, 1) + between + encode_frame(second, 2) + behind
    items = Decoder().receive(raw, 0.0)
    assert [packet.frame for packet in packets(items)] == [first, second]
    assert [item.raw for item in items if isinstance(item, Garbage)] == [
        noise for noise in (before, between, behind) if noise
    ]


@given(any_frame(), any_frame(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_frame_costs_no_other(first: Frame, second: Frame, data: Any) -> None:
    damaged = bytearray(encode_frame(first, 1))
    at = data.draw(st.integers(2, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    assume(not any(isinstance(item, Packet) for item in Decoder().receive(bytes(damaged), 0.0)))
    items = Decoder().receive(bytes(damaged) + encode_frame(second, 2), 0.0)
    assert [packet.frame for packet in packets(items)] == [second]
    assert Garbage(bytes(damaged), "bad_checksum") in items


CHUNKS = st.lists(
    st.binary(max_size=400) | st.lists(st.sampled_from([0x68, 0x04, 0x0D, 0xFF]), max_size=400).map(bytes),
    max_size=6,
)


@given(CHUNKS, st.sampled_from(CrcOrder))
@settings(max_examples=100, deadline=None)
def test_any_bytes_never_raise_and_none_is_lost(chunks: list[bytes], order: CrcOrder) -> None:
    stream = Stream(order)
    items: list[bytes | Garbage] = []
    for now, chunk in enumerate(chunks):
        items += stream.receive(chunk, float(now))
        assert len(stream.buffer) <= MOST_KEPT
    items += stream.receive(b"", len(chunks) + GIVE_UP_S)
    assert stream.buffer == b""
    assert b"".join(item if isinstance(item, bytes) else item.raw for item in items) == b"".join(chunks)
    assert {item.reason for item in items if isinstance(item, Garbage)} <= set(GARBAGE_REASONS)


@given(st.integers(0, 255), st.binary(max_size=251), plain_numbers)
@settings(max_examples=100, deadline=None)
def test_any_body_becomes_a_message(frame_type: int, body: bytes, sequence: int) -> None:
    raw = wrap(sequence, frame_type, body)
    (message,) = YkcDialect().receive(raw, 0.0)
    assert isinstance(message, Uplink)
    assert message.wire_seq == sequence
    text.describe_all(raw)


@pytest.mark.parametrize("layout", EVERY_LAYOUT)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_body_of_any_length_is_read_as_far_as_it_goes(layout: Layout, data: Any) -> None:
    body = layout.encode(data.draw(frame_of(layout)))
    cut = data.draw(st.integers(0, len(body)))
    decoded = layout.decode(body[:cut])
    if cut < layout.size - layout.optional_tail:
        assert decoded.missing
        assert decoded.frame is None if layout.kind.is_billing else decoded.frame is not None
    whole = layout.decode(body + b"\x01\x02")
    if layout.tail is None:
        assert whole.rest == b"\x01\x02"
        assert not whole.missing


@pytest.mark.parametrize("code", [0x03, 0x13])
@given(data=st.data(), sequence=plain_numbers)
@settings(max_examples=100, deadline=None)
def test_the_short_way_gives_the_same_messages(code: int, data: Any, sequence: int) -> None:
    """Real frames and any bytes: the dialect's short way and the general way agree."""
    (layout,) = (layout for layout in all_layouts() if layout.kind.code == code)
    body = data.draw(st.binary(min_size=layout.size, max_size=layout.size) | plausible_body(layout))
    raw = wrap(sequence, code, body)
    (packet,) = packets(Decoder().receive(raw, 0.0))
    assert YkcDialect().receive(raw, 0.0) == [uplink_of(packet, lambda _: "")]


def plausible_body(layout: Layout) -> st.SearchStrategy[bytes]:
    """Bodies whose bytes are small enough to be plausible."""
    return st.lists(st.integers(0, 9), min_size=layout.size, max_size=layout.size).map(bytes)
