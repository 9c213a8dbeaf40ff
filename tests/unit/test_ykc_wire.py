"""Wire types: what a field looks like on the wire, in the struct and on the page."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pytest

from pileward.codecs.base import FrameError
from pileward.codecs.ykc import cp56, frames, wire
from pileward.codecs.ykc.table import BY_CLASS, Frame, Kind, Layout, Row, all_layouts
from pileward.codecs.ykc.wire import GUN_READ, TEMP0_READ
from pileward.values import CHINA

READ = [
    # wire type            bytes             field                page
    (wire.U8, "FE", 254, 254),
    (wire.U16, "0102", 513, 513),
    (wire.U24, "010203", 0x030201, 0x030201),
    (wire.U32, "FFFFFFFF", 4294967295, 4294967295),
    (wire.U8_FROM_1, "00", 1, 1),
    (wire.U8_FROM_1985, "24", 2021, 2021),
    (wire.D1, "CB08", 2251, "225.1"),
    (wire.D2, "0500", 5, "0.05"),
    (wire.D2_LONG, "A0860100", 100000, "1000.00"),
    (wire.D4, "C0570100", 88000, "8.8000"),
    (wire.D4_METER, "76A91E0800", 136227190, "13622.7190"),
    (wire.D5, "C0D40100", 120000, "1.20000"),
    (wire.CUR, "3802", -3432, "-343.2"),
    (wire.CUR, "0000", -4000, "-400.0"),
    (wire.CUR, "A00F", 0, "0.0"),
    (wire.CUR, "9B0F", -5, "-0.5"),
    (wire.TEMP, "00", -50, -50),
    (wire.TEMP, "54", 34, 34),
    (wire.TEMP0, "00", None, None),
    (wire.TEMP0, "55", 35, 35),
    (wire.GUN, "01", 1, 1),
    (wire.GUN, "10", 10, 10),
    (wire.bcd(7), "32010600019236", "32010600019236", "32010600019236"),
    (wire.hexa(2), "F002", "F002", "F002"),
    (wire.text(8), "56342E312E353000", "V4.1.50", "V4.1.50"),
    (wire.text(4), "00414200", "\0AB", "\0AB"),
    (wire.reversed_text(4), "43424100", "ABC", "ABC"),
    (wire.slots(3), "000103", (0, 1, 3), [0, 1, 3]),
    (wire.CP56, "98B70E11100314", datetime(2020, 3, 16, 17, 14, 47, tzinfo=CHINA), "2020-03-16T17:14:47.000"),
    (
        wire.CP56,
        "204E0E0C120A19",
        datetime(2025, 10, 18, 12, 14, 20, tzinfo=CHINA),
        "2025-10-18T12:14:20.000",
    ),
    (wire.CP56, "00000000000000", None, None),
]


def layout_of_one(kind: wire.Wire) -> Layout:
    """A frame with one field of a wire type, not registered."""
    value = Annotated[Any, kind, "", ""]
    one: Any = msgspec.defstruct("One", [("value", value)], bases=(Frame,), frozen=True, gc=False)
    return Layout(Kind(0xFF, "One", "", True, None, "", "", False), one, 0)


@pytest.mark.parametrize(("kind", "raw", "field", "page"), READ, ids=lambda value: str(value)[:24])
def test_wire_types_go_both_ways(kind: wire.Wire, raw: str, field: Any, page: Any) -> None:
    layout = layout_of_one(kind)
    frame: Any = layout.decode(bytes.fromhex(raw)).frame
    assert frame.value == field
    assert layout.encode(frame).hex().upper() == raw
    assert kind.to_page(field) == page
    assert kind.from_page(page) == field


@pytest.mark.parametrize(
    ("byte", "number"), [(0x00, 0), (0x09, 9), (0x0A, 10), (0x10, 10), (0x77, 77), (0x99, 99), (0xFF, 255)]
)
def test_gun_numbers_with_a_nibble_above_nine_are_binary(byte: int, number: int) -> None:
    assert GUN_READ[byte] == number


def test_temperatures_without_a_sensor() -> None:
    assert len(TEMP0_READ) == 256
    assert TEMP0_READ[0] is None
    assert TEMP0_READ[1] == -49


@pytest.mark.parametrize(
    ("text", "scaled"), [("1.20005", 12001), ("1.20004", 12000), ("0", 0), (7, 70000), ("8.80000000", 88000)]
)
def test_decimals_are_rounded_half_up(text: Any, scaled: int) -> None:
    assert wire.D4.from_page(text) == scaled


@pytest.mark.parametrize("text", ["", "kWh", "NaN", "Infinity", None, True, [], "1e999999999"])
def test_what_is_no_decimal_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a decimal number"):
        wire.D4.from_page(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (wire.U8, "1"),
        (wire.U8, True),
        (wire.bcd(7), 7),
        (wire.text(4), None),
        (wire.CP56, 5),
        (wire.slots(2), "01"),
    ],
)
def test_values_of_another_kind_are_refused(kind: wire.Wire, value: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        kind.from_page(value)


NO_TIMES = {
    "marked invalid": "98B78E11100314",
    "month 13": "98B70E11100D14",
    "31 February": "98B70E111F0214",
    "hour 24": "98B70E18100314",
    "minute 60": "98B73C11100314",
    "60 seconds": "60EA0E11100314",
    "year 2100": "98B70E11100364",
    "all ones": "FFFFFFFFFFFFFF",
    "day 0": "98B70E11000314",
}


@pytest.mark.parametrize("raw", NO_TIMES.values(), ids=NO_TIMES.keys())
def test_a_date_that_does_not_exist_is_no_time(raw: str) -> None:
    assert cp56.read(bytes.fromhex(raw)) is None


def test_day_of_week_and_summer_time_are_ignored() -> None:
    assert cp56.read(bytes.fromhex("98B74E91700314")) == datetime(2020, 3, 16, 17, 14, 47, tzinfo=CHINA)


def test_times_of_any_zone_are_sent_as_china_time_cut_to_milliseconds() -> None:
    moment = datetime(2025, 6, 30, 16, 0, 0, 1999, tzinfo=UTC)
    assert cp56.write(moment).hex() == "01000000010719"
    with pytest.raises(ValueError, match="does not fit"):
        cp56.write(datetime(1999, 12, 31, tzinfo=UTC))


WRONG = [
    (frames.Heartbeat("32010600019236", 100, 0), "gun_no"),
    (frames.Heartbeat("32010600019236", 1, 256), "gun_status"),
    (frames.Heartbeat("3201060001923Z", 1, 0), "pile_no"),
    (frames.Heartbeat("320106000192361", 1, 0), "pile_no"),
    (frames.Heartbeat("3201 600019236", 1, 0), "pile_no"),
    (frames.BillingModelCheck("32010600019236", "12"), "billing_model_no"),
    (frames.SetTime("32010600019236", datetime(1999, 1, 1, tzinfo=UTC)), "time"),
    (frames.QrCodePrefix("32010600019236", 0, "x" * 201), "at most 200"),
    (frames.StoreCards("32010600019236", (frames.CardPair("0" * 16, "0" * 16),) * 16), "at most 15"),
]


@pytest.mark.parametrize(("frame", "named"), WRONG, ids=lambda value: str(value)[:32])
def test_a_value_that_does_not_fit_is_named(frame: Frame, named: str) -> None:
    with pytest.raises(FrameError, match=named):
        BY_CLASS[type(frame)].encode(frame)


def test_short_numbers_of_piles_are_padded() -> None:
    frame = frames.BillingModelRequest("42")
    assert BY_CLASS[type(frame)].encode(frame).hex() == "00000000000042"


def scaled_rows() -> list[tuple[Layout, Row]]:
    return [
        (layout, row) for layout in all_layouts() for row in layout.rows if isinstance(row.wire, wire.Scaled)
    ]


def test_every_scaled_field_says_so_in_its_name() -> None:
    for layout, row in scaled_rows():
        assert isinstance(row.wire, wire.Scaled)
        assert f"_e{row.wire.digits}_" in row.name, f"{layout.frame.__name__}.{row.name}"


def test_the_page_name_is_the_field_name_without_the_scale() -> None:
    scaled = {row.name for _, row in scaled_rows()}
    for layout in all_layouts():
        for row in layout.rows:
            expected = re.sub(r"_e[1245](_yuan)?(?=_|$)", "", row.name) if row.name in scaled else row.name
            assert row.page == expected
