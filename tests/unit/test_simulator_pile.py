"""The life of one simulated pile, without sockets."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from pileward.codecs.ykc.frames_charge import RealTimeData, TransactionRecord, TransactionRecordAnswer
from pileward.codecs.ykc.frames_link import (
    BillingModelAnswer,
    BillingModelCheck,
    BillingModelCheckAnswer,
    BillingModelRequest,
    Heartbeat,
    HeartbeatAnswer,
    Login,
    LoginAnswer,
    SetTime,
    SetTimeAnswer,
)
from pileward.simulator import hands
from pileward.simulator.habits import Habits
from pileward.simulator.memory import PileMemory
from pileward.simulator.orders import Order, Phase
from pileward.simulator.profiles import LIVELY, ROUGH, STEADY, Hazard, Pace, Profile, Slip
from tests.unit.simulator_street import CODE, EPOCH, Bench, record, tariff


def test_power_on_goes_through_login_tariff_and_first_reports() -> None:
    bench = Bench()
    bench.wait(0.0)
    assert bench.orders == [Order.CONNECT]
    bench.connect()
    login = bench.only(Login)
    assert (login.pile_no, login.gun_count, login.protocol_version) == (CODE, 2, 0x10)

    bench.give(LoginAnswer(CODE, 0))
    kinds = [type(frame) for frame in bench.frames()]
    assert kinds == [BillingModelCheck, RealTimeData, RealTimeData, Heartbeat, Heartbeat]

    bench.give(BillingModelCheckAnswer(CODE, "0000", 1))
    assert bench.only(BillingModelRequest).pile_no == CODE
    bench.give(tariff(BillingModelAnswer))
    held = bench.pile.memory.tariff
    assert held is not None
    assert held.billing_model_no == "0100"
    assert held.prices_e5_yuan[2] == (80_000, 40_000)
    assert bench.pile.is_dirty


def test_the_sequence_counts_own_frames_from_0_on_each_connection() -> None:
    bench = Bench()
    bench.wait(0.0)
    for _ in range(2):
        bench.connect()
        bench.give(LoginAnswer(CODE, 0))
        assert [packet.sequence for packet in bench.packets()] == [0, 1, 2, 3, 4, 5]
        bench.lose()
        bench.wait(2.0)


def test_the_billing_check_is_repeated_every_10_s_until_answered() -> None:
    bench = Bench()
    bench.log_in()
    bench.lose()
    bench.wait(2.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    assert bench.only(BillingModelCheck).billing_model_no == "0100"
    for _ in range(3):
        bench.wait(10.0)
        bench.only(BillingModelCheck)
    bench.give(BillingModelCheckAnswer(CODE, "0100", 0))
    bench.answer_heartbeats()
    bench.wait(30.0)
    assert not [frame for frame in bench.frames() if isinstance(frame, BillingModelCheck)]


def test_the_model_request_is_repeated_every_10_s_until_answered() -> None:
    bench = Bench()
    bench.wait(0.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    bench.give(BillingModelCheckAnswer(CODE, "0000", 1))
    bench.sent.clear()
    bench.wait(10.0)
    bench.only(BillingModelRequest)
    bench.give(tariff(BillingModelAnswer))
    bench.wait(20.0)
    assert not [frame for frame in bench.frames() if isinstance(frame, BillingModelRequest)]


def test_a_pile_without_tariff_asks_even_when_told_that_it_is_current() -> None:
    bench = Bench()
    bench.wait(0.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    bench.sent.clear()
    bench.give(BillingModelCheckAnswer(CODE, "0000", 0))
    bench.only(BillingModelRequest)


def test_heartbeats_per_gun_every_10_s_and_reports_every_5_min() -> None:
    bench = Bench(guns=3)
    bench.log_in()
    reports = beats = 0
    for _ in range(60):
        bench.wait(10.0)
        bench.answer_heartbeats()
        frames = bench.frames()
        beats += sum(isinstance(frame, Heartbeat) for frame in frames)
        reports += sum(isinstance(frame, RealTimeData) for frame in frames)
    assert beats == 3 * 60
    assert reports == 3 * 2


def test_heartbeat_latency_is_measured() -> None:
    bench = Bench()
    bench.log_in()
    bench.wait(10.0)
    bench.now += 0.02
    bench.give(HeartbeatAnswer(CODE, 1, 0))
    assert bench.pile.tally.heartbeat.max_s == pytest.approx(0.02)
    bench.give(HeartbeatAnswer(CODE, 1, 0))
    assert bench.pile.tally.heartbeat.count == 3, "an answer that nobody waits for is not counted"


def test_a_silent_platform_is_given_up_after_65_s() -> None:
    bench = Bench()
    bench.log_in()
    bench.wait(64.9)
    assert bench.orders == []
    bench.wait(0.2)
    assert bench.orders == [Order.CLOSE]
    bench.wait(1.5)
    assert bench.orders == [Order.CLOSE, Order.CONNECT]


def test_a_refused_login_is_tried_again_after_about_60_s() -> None:
    bench = Bench()
    bench.wait(0.0)
    bench.connect()
    bench.orders.clear()
    bench.give(LoginAnswer(CODE, 1))
    bench.lose()
    assert bench.orders == [Order.LEAVE]
    bench.wait(56.0)
    assert bench.orders == [Order.LEAVE]
    bench.wait(11.0)
    assert bench.orders == [Order.LEAVE, Order.CONNECT]


def test_an_unanswered_login_is_tried_again_after_60_s() -> None:
    bench = Bench()
    bench.wait(0.0)
    bench.connect()
    bench.orders.clear()
    bench.wait(60.0)
    assert bench.orders == [Order.LEAVE, Order.CONNECT]


def test_reconnecting_backs_off_to_a_minute_with_jitter() -> None:
    bench = Bench()
    bench.log_in()
    waits: list[float] = []
    for _ in range(12):
        lost_at = bench.now
        bench.lose()
        while bench.orders.count(Order.CONNECT) == len(waits):
            bench.wait(0.01)
        waits.append(bench.now - lost_at)
    assert 0.5 <= waits[0] <= 1.6
    for wait, mean in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], strict=True):
        assert 0.5 * mean <= wait <= 1.5 * mean + 0.1
    assert len({round(wait, 2) for wait in waits[6:]}) > 1, "a fleet would come back as one"


def test_the_clock_is_set_and_drifts() -> None:
    bench = Bench(profile=Profile(name="drifting", hazards={}, slips={}, drift_ppm=1_000_000))
    bench.log_in()
    bench.give(SetTime(CODE, EPOCH), sequence=0xABCD)
    (packet,) = bench.packets()
    assert packet.sequence == 0xABCD
    assert isinstance(packet.frame, SetTimeAnswer)
    assert packet.frame.time == EPOCH
    bench.wait(100.0)
    assert bench.pile.clock.read(bench.now) - EPOCH != timedelta(seconds=100)


def test_plug_and_fault_are_reported_at_once_and_only_on_change() -> None:
    bench = Bench()
    bench.log_in()
    hands.set_plugged(bench.pile, 2, True, bench.now)
    bench.settle()
    report = bench.only(RealTimeData)
    assert (report.gun_no, report.status, report.gun_plugged, report.gun_homed) == (2, 2, 1, 0)
    assert bench.pile.memory.plugged == [2]
    hands.set_plugged(bench.pile, 2, True, bench.now)
    hands.set_plugged(bench.pile, 9, True, bench.now)
    bench.settle()
    assert bench.sent == []

    hands.set_faults(bench.pile, bench.now, begin=0x0001)
    bench.settle()
    reports = [frame for frame in bench.frames() if isinstance(frame, RealTimeData)]
    assert [(each.gun_no, each.status, each.hardware_fault) for each in reports] == [(1, 1, 1), (2, 1, 1)]
    bench.wait(10.0)
    assert {frame.gun_status for frame in bench.frames() if isinstance(frame, Heartbeat)} == {1}
    hands.set_faults(bench.pile, bench.now, end=0xFFFF, gun_no=1)
    bench.settle()
    assert bench.only(RealTimeData).status == 2


def test_records_are_repeated_three_times_then_kept_for_the_next_login() -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.keep_record(record(), bench.now)
    bench.settle()
    bodies = [packet.body for packet in bench.packets()]
    for _ in range(60):
        bench.wait(10.0)
        bench.answer_heartbeats()
        bodies += [packet.body for packet in bench.packets() if packet.frame_type == 0x3B]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1, "a repeat is the same record"

    bench.lose()
    bench.wait(2.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    assert bench.only(TransactionRecord) == record()
    bench.give(TransactionRecordAnswer("9" * 32, 0))
    assert len(bench.pile.memory.records) == 1, "a receipt for another record says nothing"
    bench.give(TransactionRecordAnswer(record().trade_no, 0))
    assert bench.pile.memory.records == []
    bench.wait(60.0)
    assert not [frame for frame in bench.frames() if isinstance(frame, TransactionRecord)]


def test_a_record_made_offline_goes_out_after_the_login() -> None:
    bench = Bench()
    bench.pile.keep_record(record(), bench.now)
    bench.settle()
    assert bench.sent == []
    bench.wait(0.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    frames = bench.frames()
    assert isinstance(frames[1], TransactionRecord), "stored records come before the billing check"
    assert isinstance(frames[2], BillingModelCheck)


def test_a_power_cut_leaves_without_a_word_and_comes_back() -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.qr_prefix = "https://example.org/"
    bench.pile.cut_power(bench.now)
    bench.settle()
    assert bench.orders == [Order.FADE]
    assert bench.pile.phase is Phase.OFF
    assert bench.pile.qr_prefix == "", "the prefix lives until power-off"
    bench.wait(1_000.0)
    bench.give(LoginAnswer(CODE, 0))
    assert bench.sent == [] and bench.orders == [Order.FADE]
    bench.pile.restore_power(bench.now)
    bench.wait(20.0)
    assert bench.orders == [Order.FADE, Order.CONNECT]
    assert bench.pile.memory.tariff is not None, "the tariff survives"


def test_a_hung_pile_neither_speaks_nor_listens_until_it_is_reset() -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.freeze()
    bench.settle()
    bench.wait(1_000.0)
    bench.give(SetTime(CODE, EPOCH))
    bench.lose()
    assert bench.sent == [] and bench.orders == []
    bench.pile.thaw(bench.now)
    bench.settle()
    bench.wait(20.0)
    assert bench.orders == [Order.FADE, Order.CONNECT]


def test_a_vanished_pile_comes_back_on_another_way() -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.vanish(bench.now, for_s=5.0)
    bench.settle()
    bench.wait(4.9)
    assert bench.orders == [Order.ABANDON]
    bench.wait(0.2)
    assert bench.orders == [Order.ABANDON, Order.CONNECT]


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_dropped_line_is_closed_or_reset(is_reset: bool) -> None:
    bench = Bench()
    bench.log_in()
    bench.pile.drop(bench.now, is_reset=is_reset)
    bench.settle()
    assert bench.orders == [Order.RESET if is_reset else Order.CLOSE]
    bench.lose()
    bench.wait(2.0)
    assert bench.orders[1:] == [Order.CONNECT]


def test_nothing_happens_to_a_pile_that_is_not_there() -> None:
    bench = Bench()
    bench.pile.drop(0.0)
    bench.pile.vanish(0.0, 1.0)
    bench.pile.freeze()
    bench.pile.thaw(0.0)
    bench.pile.reboot(0.0)
    bench.pile.send_garbage(b"\x00")
    bench.pile.send(Heartbeat(CODE, 1, 0))
    bench.settle()
    assert bench.sent == [] and bench.orders == []


def _live(profile: Profile, seed: int) -> list[tuple[float, bytes | Order]]:
    """An hour or three with a platform that answers at once and never fails."""
    bench = Bench(profile=profile, seed=seed)
    for _ in range(40_000):
        due = bench.pile.next_due
        if due > 3 * 3600:
            break
        bench.wait(due - bench.now)
        if bench.orders and bench.orders[-1] is Order.CONNECT:
            bench.connect()
            bench.give(LoginAnswer(CODE, 0))
        bench.orders.clear()
        bench.answer_heartbeats()
        bench.sent.clear()
    return bench.history


@pytest.mark.parametrize("profile", [LIVELY, ROUGH])
def test_a_life_is_decided_by_its_seed(profile: Profile) -> None:
    assert _live(profile, 7) == _live(profile, 7)
    assert _live(profile, 7) != _live(profile, 8)


def test_steady_piles_only_do_their_duty() -> None:
    kinds = {type(action) for _, action in _live(STEADY, 1)}
    assert kinds == {bytes, Order}
    assert [
        action for _, action in _live(STEADY, 1) if action is not Order.CONNECT and isinstance(action, Order)
    ] == []


def test_rough_piles_meet_every_hazard_and_every_slip() -> None:
    events: set[str] = set()
    for seed in range(6):
        bench = Bench(profile=ROUGH, seed=seed)
        while bench.pile.next_due < 6 * 3600:
            bench.wait(bench.pile.next_due - bench.now)
            if bench.orders and bench.orders[-1] is Order.CONNECT:
                bench.connect()
                bench.give(LoginAnswer(CODE, 0))
                bench.give(SetTime(CODE, EPOCH))
            bench.orders.clear()
            bench.answer_heartbeats()
            bench.sent.clear()
        events |= set(bench.pile.tally.events)
    assert events >= set(Hazard) | set(Slip)


def test_a_hazard_comes_again_after_it_has_ended() -> None:
    profile = Profile(name="cars", hazards={Hazard.PLUG: Pace(60.0, 10.0, 20.0)}, slips={}, drift_ppm=0)
    bench = Bench(profile=profile, guns=1)
    bench.log_in()
    reports = []
    for _ in range(400):
        bench.wait(10.0)
        bench.answer_heartbeats()
        reports += [
            (bench.now, frame.gun_plugged) for frame in bench.frames() if isinstance(frame, RealTimeData)
        ]
    changes = [plugged for plugged, _ in itertools.groupby(plugged for _, plugged in reports)]
    assert len(changes) > 20
    assert bench.pile.tally.events[Hazard.PLUG] > 20


def test_online_is_counted_up_and_down() -> None:
    bench = Bench()
    bench.log_in()
    assert bench.pile.tally.online == 1
    bench.lose()
    assert bench.pile.tally.online == 0
    bench.wait(2.0)
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    bench.give(LoginAnswer(CODE, 0))
    bench.pile.reboot(bench.now)
    assert bench.pile.tally.online == 0


def test_a_pile_begins_where_its_memory_ends() -> None:
    memory = PileMemory(plugged=[2], is_locked=True)
    bench = Bench(memory=memory)
    assert [gun.is_plugged for gun in bench.pile.guns] == [False, True]


def test_habits_can_be_hurried() -> None:
    bench = Bench(habits=Habits(heartbeat_s=1.0))
    bench.log_in()
    bench.wait(5.0)
    assert sum(isinstance(frame, Heartbeat) for frame in bench.frames()) == 10
