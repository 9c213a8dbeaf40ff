"""Lesson 16: a garbage number of a device (a billion connectors) must not become memory, rows or truth."""

from __future__ import annotations

import pytest

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.codecs.ykc.envelope import wrap
from pileward.codecs.ykc.table import BY_CLASS
from pileward.messages.uplinks import Login, Malformed, Telemetry
from pileward.values import GUNS_MAX

PILE = "32010600019236"


@pytest.mark.parametrize("count", [0, GUNS_MAX + 1, 255])
def test_an_impossible_number_of_guns_is_none(count: int) -> None:
    raw = encode_frame(frames.Login(PILE, 0, count, 16, "V1", 0, "0" * 20, 0), 1)
    (login,) = YkcDialect().receive(raw, 0.0)
    assert isinstance(login, Login)
    assert login.gun_count == 0


@pytest.mark.parametrize("byte", [0x00, 0x33, 0x77, 0xFF])
def test_a_gun_that_no_pile_has_is_malformed(byte: int) -> None:
    raw = wrap(1, 0x03, bytes.fromhex(PILE) + bytes((byte, 0)))
    (message,) = YkcDialect().receive(raw, 0.0)
    assert isinstance(message, Malformed)
    assert (message.pile_code, message.reason) == (PILE, "bad_gun_no")


def test_measurements_of_all_ones_are_left_out() -> None:
    body = bytearray(b"\xff" * BY_CLASS[frames.RealTimeData].size)
    body[16:25] = bytes.fromhex(PILE) + b"\x01\x03"
    (message,) = YkcDialect().receive(wrap(1, 0x13, bytes(body)), 0.0)
    assert isinstance(message, Telemetry)
    measured = (
        message.voltage_mv,
        message.current_ma,
        message.soc_pct,
        message.cable_temp_c,
        message.battery_max_temp_c,
        message.charged_s,
        message.remaining_s,
        message.energy_e4_kwh,
        message.loss_energy_e4_kwh,
        message.amount_e4_yuan,
    )
    assert measured == (None,) * 10
    assert len(message.problems) == 12
