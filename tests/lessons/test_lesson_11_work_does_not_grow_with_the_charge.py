"""Lesson 11: the work for a message never grows with the length of the charge.

Elsewhere acknowledgements became slower with every meter value of a transaction.
"""

from __future__ import annotations

import time

import msgspec
import pytest

from pileward.actors.pile_machine import step
from pileward.actors.pile_state import Pile
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.dialect import YkcDialect
from pileward.messages.uplinks import Telemetry
from tests.hand import CHARGING, online_by_hand, real_time, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]
EVERY_MS = 15_000


def charging(energy_e4_kwh: int) -> Telemetry:
    """What a pile says every 15 s of a charge."""
    frame = real_time(
        CODE, 1, status=CHARGING, trade_no=trade_no(CODE), gun_plugged=1, energy_e4_kwh=energy_e4_kwh
    )
    (message,) = YkcDialect().receive(encode_frame(frame, 1), 0.0)
    assert isinstance(message, Telemetry)
    return message


def charge_on(pile: Pile, number: int, first: int) -> tuple[Pile, float]:
    """So many messages of a charge; returns the seconds of processor time they took."""
    messages = [charging(first + each) for each in range(number)]
    began = time.process_time()
    for each, message in enumerate(messages):
        pile, _ = step(pile, message, (first + each) * EVERY_MS)
    return pile, time.process_time() - began


async def test_the_last_hour_of_a_month_costs_what_the_first_does(street: Street) -> None:
    await online_by_hand(street, CODE)
    pile = street.pile(CODE)
    pile, _ = charge_on(pile, 1_000, 0)
    first = min(charge_on(pile, 1_000, 1_000)[1] for _ in range(5))
    for thousand in range(2, 172):  # 30 days of 15 s
        pile, _ = charge_on(pile, 1_000, thousand * 1_000)
    last = min(charge_on(pile, 1_000, 172_000)[1] for _ in range(5))
    assert last < 3 * first


@pytest.mark.parametrize("messages", [2_000])
async def test_what_is_kept_of_a_charge_does_not_grow(street: Street, messages: int) -> None:
    pile = await online_by_hand(street, CODE)
    actor = street.node.around.piles[CODE].instance

    def weight() -> int:
        return len(msgspec.json.encode(actor.inspect(), enc_hook=repr))

    pile.report(1, CHARGING, trade_no=trade_no(CODE), gun_plugged=1, energy_e4_kwh=100_000)
    await until(lambda: street.pile(CODE).is_busy)
    before = weight()
    for number in range(messages // 100):
        for each in range(100):
            energy = 100_000 + 100 * number + each
            pile.report(1, CHARGING, trade_no=trade_no(CODE), gun_plugged=1, energy_e4_kwh=energy)
        await street.pass_time(1)
    await until(lambda: street.pile(CODE).guns[0].telemetry.energy_e4_kwh == 100_000 + messages - 1)  # type: ignore[union-attr]
    assert weight() < before + 200
