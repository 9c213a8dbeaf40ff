"""Lesson 19: UTC inside, the device's zone at the edge, and device times that cannot be are no times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.messages.downlinks import SetClock
from pileward.messages.uplinks import ClockAnswer
from pileward.values import CHINA

PILE = "32010600019236"


def test_the_clock_is_sent_in_china_time() -> None:
    raw = YkcDialect().send(SetClock(PILE, 1, datetime(2025, 6, 30, 23, 30, tzinfo=UTC)))
    (packet,) = Decoder().receive(raw, 0.0)
    assert isinstance(packet, Packet)
    assert isinstance(packet.frame, frames.SetTime)
    assert packet.frame.time == datetime(2025, 7, 1, 7, 30, tzinfo=CHINA)
    assert raw[13:20].hex() == "0000" + "1e" + "07" + "01" + "07" + "19"


def test_the_clock_of_a_pile_arrives_as_utc() -> None:
    raw = encode_frame(frames.SetTimeAnswer(PILE, datetime(2025, 7, 1, 7, 30, tzinfo=CHINA)), 1)
    (answer,) = YkcDialect().receive(raw, 0.0)
    assert isinstance(answer, ClockAnswer)
    assert answer.device_time == datetime(2025, 6, 30, 23, 30, tzinfo=UTC)
    assert answer.device_time is not None
    assert answer.device_time.tzinfo is UTC


@pytest.mark.parametrize(
    "moment", [None, datetime(2000, 1, 1, tzinfo=CHINA), datetime(2017, 12, 31, 23, 59, tzinfo=CHINA)]
)
def test_a_clock_before_the_protocol_is_no_clock(moment: datetime | None) -> None:
    (answer,) = YkcDialect().receive(encode_frame(frames.SetTimeAnswer(PILE, moment), 1), 0.0)
    assert isinstance(answer, ClockAnswer)
    assert answer.device_time is None
