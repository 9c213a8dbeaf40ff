"""The codec against published frames (`ykc_vectors.json`) and against frames built from the reference.

A published sample says for itself whether its length and its checksum hold. Three rules: a good one must
be decoded and encoded back byte by byte; one with a wrong checksum must be refused as it stands and accepted
with the right one; one with a wrong length must be refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pileward.codecs.base import Garbage
from pileward.codecs.ykc import frames, text
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import CrcOrder
from pileward.codecs.ykc.table import LAYOUTS
from pileward.messages.uplinks import Malformed, Uplink, VendorMessage

HERE = Path(__file__).parent
VECTORS: list[dict[str, Any]] = json.loads((HERE / "ykc_vectors.json").read_text())
CONSTRUCTED: list[dict[str, Any]] = json.loads((HERE / "ykc_constructed.json").read_text())

PUBLISHED_ONLY_HERE = frozenset({0x3D, 0x45, 0x47, 0xF0})
"""Frame types that only the published samples cover with a good checksum."""
WITH_DAY_OF_WEEK = frozenset({"jcpp_3B_transaction"})
"""Samples whose times carry day-of-week bits, which are sent as 0."""


def of_kind(is_malformed: bool, crc_ok: bool | None = None) -> list[Any]:
    """Samples as pytest parameters."""
    return [
        pytest.param(vector, id=vector["name"])
        for vector in VECTORS
        if vector.get("malformed", False) is is_malformed and crc_ok in (None, vector["crc_ok"])
    ]


def decode_one(raw: bytes) -> Packet:
    """Decode what must be exactly one good frame."""
    (item,) = Decoder().receive(raw, 0.0)
    assert isinstance(item, Packet)
    return item


def fields_of(raw: bytes) -> dict[str, Any]:
    """The fields as the text form shows them."""
    (shown,) = text.describe_all(raw)
    fields: dict[str, Any] = shown["fields"]
    return fields


def with_right_checksum(vector: dict[str, Any]) -> bytes:
    """The sample with the check bytes it should have."""
    return bytes.fromhex(vector["hex"][:-4] + vector["crc_expected_low_first"])


@pytest.mark.parametrize("vector", of_kind(is_malformed=False, crc_ok=True))
def test_good_samples_decode_and_encode(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    packet = decode_one(raw)
    assert packet.sequence == vector["seq"]
    assert packet.frame_type == int(vector["frame_type"], 16)
    assert packet.is_high_first is (vector["crc_order"] == "high_first")
    assert fields_of(raw) == vector["fields"]
    assert packet.frame is not None
    order = CrcOrder.HIGH if packet.is_high_first else CrcOrder.LOW
    again = encode_frame(packet.frame, packet.sequence, order)
    if vector["name"] in WITH_DAY_OF_WEEK:
        assert fields_of(again) == vector["fields"]
    else:
        assert again == raw


@pytest.mark.parametrize("vector", of_kind(is_malformed=False, crc_ok=False))
def test_samples_with_a_wrong_checksum(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    assert all(isinstance(item, Garbage) for item in Decoder().receive(raw, 0.0))
    assert fields_of(raw) == vector["fields"], "the body is shown all the same"
    packet = decode_one(with_right_checksum(vector))
    assert packet.frame is not None
    assert encode_frame(packet.frame, vector["seq"]) == with_right_checksum(vector)
    assert fields_of(with_right_checksum(vector)) == vector["fields"]


@pytest.mark.parametrize("vector", of_kind(is_malformed=True))
def test_samples_with_a_wrong_length_are_refused(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    decoder = Decoder()
    items = decoder.receive(raw, 0.0) + decoder.receive(b"", 60.0)
    assert items
    assert all(isinstance(item, Garbage) for item in items)
    assert fields_of(raw) == vector["fields"] == {}


@pytest.mark.parametrize("vector", of_kind(is_malformed=False))
def test_the_text_form_goes_both_ways(vector: dict[str, Any]) -> None:
    (shown,) = text.decode_text(vector["hex"])
    assert shown["ok"] is vector["crc_ok"]
    assert shown["crc_ok"] is vector["crc_ok"]
    assert (shown["frame_type"], shown["sequence"]) == (vector["frame_type"], vector["seq"])
    again = text.encode({**shown, "crc_order": vector["crc_order"]})
    if vector["name"] not in WITH_DAY_OF_WEEK:
        assert again[:-2] == bytes.fromhex(vector["hex"])[:-2]


@pytest.mark.parametrize("row", CONSTRUCTED, ids=lambda row: f"{row['frame_type']}-{row['content']}")
def test_constructed_frames(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["hex"])
    packet = decode_one(raw)
    assert (packet.frame_type, packet.sequence) == (int(row["frame_type"], 16), row["sequence"])
    assert not packet.is_high_first
    assert fields_of(raw) == row["fields"]
    assert packet.frame is not None
    assert encode_frame(packet.frame, packet.sequence) == raw
    assert text.encode({key: row[key] for key in ("frame_type", "sequence", "fields")}) == raw


@pytest.mark.parametrize("vector", of_kind(is_malformed=False))
def test_every_sample_of_a_pile_becomes_a_message(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"]) if vector["crc_ok"] else with_right_checksum(vector)
    (message,) = YkcDialect().receive(raw, 0.0)
    assert isinstance(message, Uplink)
    assert message.wire_seq == vector["seq"]
    if vector["direction"] == "up":
        assert not isinstance(message, Malformed | VendorMessage)
        assert message.pile_code == vector["fields"]["pile_no"]
    else:
        assert isinstance(message, Malformed)
        assert message.reason == "wrong_direction"


def test_a_fifth_rate_is_known_by_the_length_alone() -> None:
    (vector,) = (vector for vector in VECTORS if "five_tariffs" in vector["name"])
    frame = decode_one(bytes.fromhex(vector["hex"])).frame
    assert isinstance(frame, frames.FiveRateRecord)
    assert frame.deep_valley_energy_e4_kwh == 12830


def test_every_frame_type_has_a_frame_with_a_good_checksum() -> None:
    """A frame of every type of the reference is decoded and encoded in this module."""
    good = {int(row["frame_type"], 16) for row in CONSTRUCTED}
    good |= {int(vector["frame_type"], 16) for vector in VECTORS if not vector.get("malformed")}
    assert good == set(LAYOUTS)
    assert good >= PUBLISHED_ONLY_HERE
