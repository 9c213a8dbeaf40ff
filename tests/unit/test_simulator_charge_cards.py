"""Cards at a simulated pile: asking, being refused, charging without a line (YKC 1.6, 8.3, 8.4)."""

from __future__ import annotations

import pytest

from pileward.codecs.ykc.frames_charge import (
    RealTimeData,
    RemoteStart,
    StartRequest,
    StartRequestAnswer,
    TransactionRecord,
)
from pileward.codecs.ykc.frames_device import CardPair, StoreCards
from pileward.simulator import cards, hands, stops
from pileward.simulator.profiles import Hazard, Pace, Profile
from tests.unit.simulator_charges import CAR, CARD, NONE, TRADE, back, ready, running, settled
from tests.unit.simulator_street import CODE, Bench


def swiped(bench: Bench, card_no: str = CARD) -> Bench:
    """Hold a card to gun 1."""
    cards.swipe(bench.pile, 1, card_no, bench.now)
    bench.settle()
    return bench


def screen(bench: Bench) -> str:
    """What gun 1 shows."""
    return bench.pile.guns[0].screen


def answer(bench: Bench, auth: int, reason: int) -> None:
    """The platform's word."""
    bench.give(StartRequestAnswer(TRADE, CODE, 1, NONE, 2_000, auth, reason))


def test_a_card_asks_and_charges_and_the_same_card_ends_it() -> None:
    bench = swiped(ready())
    assert bench.only(StartRequest).account_or_card_no == CARD
    assert screen(bench) == cards.ASKING
    answer(bench, 1, 0)
    assert screen(bench) == cards.STARTING
    assert bench.until(RealTimeData, 30.0).trade_no == TRADE
    assert running(bench).balance_fen == 2_000
    swiped(bench, "00000000E14C0A54")
    assert screen(bench) == cards.BUSY
    swiped(bench)
    record = settled(bench, 30.0)
    assert (record.start_type, record.physical_card_no, record.stop_reason) == (2, CARD, 0x45)


@pytest.mark.parametrize(("reason", "words"), [*cards.MESSAGES.items(), (0x55, cards.REFUSED)])
def test_a_refused_card_is_a_message_on_the_screen_and_nothing_else(reason: int, words: str) -> None:
    bench = swiped(ready())
    bench.frames()
    answer(bench, 0, reason)
    assert screen(bench) == words
    assert bench.frames() == [] and bench.pile.is_idle
    assert bench.pile.tally.events["card_refused"] == 1


def test_an_answer_that_nobody_waits_for_starts_nothing() -> None:
    bench = ready()
    answer(bench, 1, 0)
    assert bench.pile.is_idle
    swiped(bench)
    bench.live(31.0)
    assert screen(bench) == cards.NO_ANSWER
    answer(bench, 1, 0)
    assert bench.pile.is_idle


def test_what_a_pile_can_see_itself_it_does_not_ask() -> None:
    bench = ready()
    hands.set_plugged(bench.pile, 1, False, bench.now)
    bench.settle()
    bench.frames()
    assert screen(swiped(bench)) == cards.PLUG_FIRST
    hands.set_plugged(bench.pile, 1, True, bench.now)
    assert screen(swiped(bench, NONE)) == cards.UNREADABLE
    hands.set_faults(bench.pile, bench.now, begin=1)
    assert screen(swiped(bench)) == cards.OUT_OF_ORDER
    assert not [frame for frame in bench.frames() if isinstance(frame, StartRequest)]
    cards.swipe(bench.pile, 9, CARD, bench.now)


def test_a_vin_asks_in_place_of_a_card() -> None:
    bench = ready()
    cards.show_vin(bench.pile, 1, bench.now)
    bench.settle()
    request = bench.only(StartRequest)
    assert (request.start_mode, request.vin, request.account_or_card_no) == (3, CAR.vin, NONE)
    answer(bench, 1, 0)
    bench.until(RealTimeData, 30.0)
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    assert settled(bench, 30.0).start_type == 5


def test_a_card_of_the_offline_list_charges_without_a_line() -> None:
    bench = ready()
    bench.give(StoreCards(CODE, (CardPair("0000001000000573", CARD),)))
    bench.lose()
    bench.wait(0.1)
    assert screen(swiped(bench, "00000000E14C0A54")) == cards.NOT_OFFLINE
    swiped(bench)
    assert screen(bench) == cards.STARTING
    bench.wait(30.0)
    number = running(bench).trade_no
    assert number.startswith(CODE + "01260301120") and len(number) == 32
    swiped(bench)
    back(bench)
    record = bench.until(TransactionRecord, 60.0)
    assert (record.trade_no, record.start_type, record.physical_card_no) == (number, 4, CARD)


def test_a_card_may_end_what_the_app_began_with_it() -> None:
    bench = ready()
    bench.give(RemoteStart(TRADE, CODE, 1, NONE, CARD, 5_000))
    bench.until(RealTimeData, 30.0)
    swiped(bench)
    assert settled(bench, 30.0).start_type == 1


def test_people_with_cards_come_by() -> None:
    profile = Profile(name="cards", hazards={Hazard.CARD: Pace(60.0)}, slips={}, drift_ppm=0)
    bench = ready(profile=profile)
    requests = [frame for _, frame in bench.live(3_600.0) if isinstance(frame, StartRequest)]
    assert len(requests) > 5
    assert {request.gun_no for request in requests} == {1}, "no car, no request"
