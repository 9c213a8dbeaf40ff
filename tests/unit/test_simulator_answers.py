"""What a simulated pile answers to each frame of the platform, with the question's sequence."""

from __future__ import annotations

import pytest

from pileward.codecs.ykc.frames_charge import (
    BalanceUpdate,
    BalanceUpdateAnswer,
    ReadRealTimeData,
    RealTimeData,
    RemoteParallelStart,
    RemoteParallelStartAnswer,
    RemoteStart,
    RemoteStartAnswer,
    RemoteStop,
    RemoteStopAnswer,
    TransactionRecordAnswer,
)
from pileward.codecs.ykc.frames_device import (
    CardNumber,
    CardPair,
    CardPresence,
    CardRemoval,
    GroundLockControl,
    GroundLockControlAnswer,
    QrCodePrefix,
    QrCodePrefixAnswer,
    QueryCards,
    QueryCardsAnswer,
    Reboot,
    RebootAnswer,
    RemoveCards,
    RemoveCardsAnswer,
    StoreCards,
    StoreCardsAnswer,
    Upgrade,
    UpgradeAnswer,
    WorkingParameters,
    WorkingParametersAnswer,
)
from pileward.codecs.ykc.frames_link import (
    Login,
    SetBillingModel,
    SetBillingModelAnswer,
    SetTime,
    SetTimeAnswer,
)
from pileward.codecs.ykc.table import LAYOUTS, Frame
from pileward.simulator import answers, charging, hands
from pileward.simulator.habits import CARDS_MAX
from pileward.simulator.memory import PileMemory
from pileward.simulator.orders import Order
from pileward.simulator.profiles import Profile, Slip
from tests.unit.simulator_street import CODE, EPOCH, Bench, record, tariff

TRADE = "1" * 32
CARD = "00000000D14B0A54"
NONE = "0" * 16

QUESTIONS: list[tuple[Frame, Frame]] = [
    (SetTime(CODE, EPOCH), SetTimeAnswer(CODE, EPOCH)),
    (tariff(SetBillingModel), SetBillingModelAnswer(CODE, 1)),
    (RemoteStart(TRADE, CODE, 1, NONE, NONE, 5000), RemoteStartAnswer(TRADE, CODE, 1, 0, 5)),
    (RemoteStart(TRADE, CODE, 9, NONE, NONE, 5000), RemoteStartAnswer(TRADE, CODE, 9, 0, 1)),
    (
        RemoteParallelStart(TRADE, CODE, 2, NONE, NONE, 5000, "260301120000"),
        RemoteParallelStartAnswer(TRADE, CODE, 2, 0, 5, 1, "260301120000"),
    ),
    (RemoteStop(CODE, 1), RemoteStopAnswer(CODE, 1, 0, 2)),
    (BalanceUpdate(CODE, 1, CARD, 5000), BalanceUpdateAnswer(CODE, CARD, 2)),
    (StoreCards(CODE, (CardPair(NONE, CARD),)), StoreCardsAnswer(CODE, 1, 0)),
    (StoreCards(CODE, (CardPair(NONE, NONE),)), StoreCardsAnswer(CODE, 0, 1)),
    (QueryCards(CODE, (CardNumber(CARD),)), QueryCardsAnswer(CODE, (CardPresence(CARD, 0),))),
    (
        RemoveCards(CODE, (CardNumber(CARD), CardNumber(NONE))),
        RemoveCardsAnswer(CODE, (CardRemoval(CARD, 1, 0), CardRemoval(NONE, 0, 1))),
    ),
    (WorkingParameters(CODE, 1, 240), WorkingParametersAnswer(CODE, 1)),
    (GroundLockControl(CODE, 1, 0x55), GroundLockControlAnswer(CODE, 1, 0)),
    (QrCodePrefix(CODE, 1, "https://example.org/"), QrCodePrefixAnswer(CODE, 0)),
    (Reboot(CODE, 2), RebootAnswer(CODE, 1)),
]


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=lambda frame: type(frame).__name__)
def test_a_question_is_answered_with_its_sequence(question: Frame, answer: Frame) -> None:
    bench = Bench()
    bench.log_in()
    bench.give(question, sequence=0xA55A)
    (packet,) = bench.packets()
    assert packet.frame == answer
    assert packet.sequence == 0xA55A


def test_every_frame_of_the_platform_is_either_answered_or_about_charges_begun_at_the_pile() -> None:
    down = {layout.frame for layouts in LAYOUTS.values() for layout in layouts if not layout.kind.is_uplink}
    missing = {kind.__name__ for kind in down - set(answers.ANSWERS)}
    assert missing == {"ParallelStartRequestAnswer"}


def test_real_time_data_is_sent_when_asked_for() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(ReadRealTimeData(CODE, 2), sequence=99)
    (packet,) = bench.packets()
    assert isinstance(packet.frame, RealTimeData)
    assert (packet.sequence, packet.frame.gun_no) == (99, 2)
    bench.give(ReadRealTimeData(CODE, 77))
    assert bench.sent == [], "a gun that is not there has nothing to say"


@pytest.mark.parametrize(
    ("is_plugged", "faults", "is_locked", "has_tariff", "reason"),
    [
        # plugged  faults  locked  tariff  reason
        (False,    0,      False,  True,   charging.NOT_PLUGGED),
        (False,    1,      True,   False,  charging.NOT_PLUGGED),
        (True,     0x40,   False,  True,   charging.DEVICE_FAULT),
        (True,     0x10,   False,  True,   charging.DEVICE_OFFLINE),
        (True,     0x80,   False,  True,   0),
        (True,     0,      True,   True,   charging.DEVICE_FAULT),
        (True,     0,      False,  False,  charging.DEVICE_FAULT),
        (True,     0,      False,  True,   0),
    ],
)  # fmt: skip
def test_why_a_charge_cannot_start(
    is_plugged: bool, faults: int, is_locked: bool, has_tariff: bool, reason: int
) -> None:
    bench = Bench()
    bench.log_in()
    pile = bench.pile
    hands.set_plugged(pile, 1, is_plugged, bench.now)
    hands.set_faults(pile, bench.now, begin=faults, gun_no=1)
    pile.memory.is_locked = is_locked
    if not has_tariff:
        pile.memory.tariff = None
    assert charging.start_refusal(pile, pile.gun(1)) == reason


def test_cards_are_stored_found_and_removed() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(StoreCards(CODE, (CardPair("0000001000000573", CARD),)))
    bench.give(QueryCards(CODE, (CardNumber(CARD),)))
    bench.give(RemoveCards(CODE, (CardNumber(CARD),)))
    bench.give(QueryCards(CODE, (CardNumber(CARD),)))
    assert bench.frames() == [
        StoreCardsAnswer(CODE, 1, 0),
        QueryCardsAnswer(CODE, (CardPresence(CARD, 1),)),
        RemoveCardsAnswer(CODE, (CardRemoval(CARD, 1, 0),)),
        QueryCardsAnswer(CODE, (CardPresence(CARD, 0),)),
    ]


def test_a_full_pile_takes_no_more_cards() -> None:
    bench = Bench(memory=PileMemory(cards={f"{number:016X}": NONE for number in range(1, CARDS_MAX + 1)}))
    bench.log_in()
    bench.give(StoreCards(CODE, (CardPair(NONE, CARD),)))
    assert bench.frames() == [StoreCardsAnswer(CODE, 0, 2)]
    bench.give(StoreCards(CODE, (CardPair("2" * 16, f"{1:016X}"),)))
    assert bench.frames() == [StoreCardsAnswer(CODE, 1, 0)], "a card that is there is overwritten"


def test_working_parameters_are_kept_within_what_a_pile_can() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(WorkingParameters(CODE, 1, 240))
    assert (bench.pile.memory.is_locked, bench.pile.memory.max_power_pct) == (True, 100)
    bench.give(WorkingParameters(CODE, 0, 5))
    assert (bench.pile.memory.is_locked, bench.pile.memory.max_power_pct) == (False, 30)


def test_a_reboot_is_answered_then_the_line_is_left_then_the_pile_is_back() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(Reboot(CODE, 1))
    assert bench.orders == [Order.LEAVE]
    bench.wait(20.0)
    assert bench.orders == [Order.LEAVE, Order.CONNECT]


def test_an_upgrade_ends_with_a_report_a_restart_and_the_new_version() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(Upgrade(CODE, 1, 120, "10.0.0.1", 21, "u", "p", "DC-120KW/V2.0.1", 1, 60))
    bench.wait(60.0)
    bench.answer_heartbeats()
    bench.sent.clear()
    bench.wait(31.0)
    assert bench.only(UpgradeAnswer).result == 0
    bench.wait(20.0)
    bench.connect()
    assert bench.only(Login).software_version == "V2.0.1"


def test_an_upgrade_for_another_kind_of_pile_is_refused() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(Upgrade(CODE, 2, 7, "10.0.0.1", 21, "u", "p", "AC-7KW/V2", 1, 60))
    assert bench.frames() == [UpgradeAnswer(CODE, 2)]


def test_a_record_refused_as_illegal_is_given_up() -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.keep_record(record(), bench.now)
    bench.give(TransactionRecordAnswer(record().trade_no, 1))
    assert bench.pile.memory.records == []
    assert bench.pile.tally.events["record_refused"] == 1


def test_careless_piles_do_not_repeat_the_sequence() -> None:
    careless = Profile(name="careless", hazards={}, slips={Slip.WRONG_SEQUENCE: 1.0}, drift_ppm=0)
    bench = Bench(profile=careless)
    bench.log_in()
    bench.give(RemoteStop(CODE, 1), sequence=0xA55A)
    (packet,) = bench.packets()
    assert packet.sequence != 0xA55A


def test_a_frame_that_no_pile_should_get_is_counted() -> None:
    bench = Bench()
    bench.log_in()
    bench.give(RebootAnswer(CODE, 1))
    assert bench.sent == []
    assert bench.pile.tally.events["not_understood"] == 1
