"""A charge at a simulated pile, from the start to the record, without sockets (YKC 1.6, 8.2 to 8.7)."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from pileward.codecs.ykc.frames_bms import (
    BmsAbort,
    BmsChargeEnd,
    BmsDemand,
    BmsError,
    BmsHandshake,
    BmsInformation,
    BmsParameters,
    ChargerAbort,
)
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
    SignedTransactionRecord,
    TransactionRecord,
)
from pileward.codecs.ykc.frames_device import (
    Reboot,
    RebootAnswer,
    Upgrade,
    UpgradeAnswer,
    WorkingParameters,
)
from pileward.codecs.ykc.frames_link import SetBillingModel, SetBillingModelAnswer
from pileward.simulator import hands, stops
from pileward.simulator.charge import Stage
from pileward.simulator.habits import AC, Nameplate, draw_ways
from pileward.simulator.memory import PileMemory
from pileward.simulator.orders import Order, Phase
from pileward.simulator.profiles import LIVELY, ROUGH
from pileward.simulator.quirks import Quirk
from tests.unit.simulator_charges import (
    CAR,
    CARD,
    NONE,
    OTHER_TRADE,
    RICH_FEN,
    TRADE,
    back,
    charging,
    of,
    ready,
    running,
    settled,
    start,
    starts,
)
from tests.unit.simulator_street import CODE, Bench, tariff

AC_PLATE = Nameplate(CODE, 2, AC, gun_power_w=7_000)


# The start.


def test_a_dc_charge_from_the_start_to_the_record() -> None:
    bench = ready()
    start(bench)
    assert bench.frames() == [RemoteStartAnswer(TRADE, CODE, 1, 1, 0)]
    first = bench.until(BmsHandshake, 20.0)
    assert (first.vin, first.rated_voltage_e1_v, first.battery_serial) == (CAR.vin, 3_450, CAR.pack_no)
    parameters = bench.until(BmsParameters, 1.0)
    assert (parameters.soc_e1_pct, parameters.rated_energy_e1_kwh) == (300, 400)
    begun = bench.until(RealTimeData, 20.0)
    assert (begun.status, begun.trade_no, begun.energy_e4_kwh, begun.soc) == (3, TRADE, 0, 30)
    demand = bench.until(BmsDemand, 1.0)
    assert demand.bms_current_demand_e1_a == draw_ways(CODE, 1).current_sign * CAR.amps_e1_a
    assert bench.until(BmsInformation, 1.0).state_flags == 1 << 12

    record = bench.until(TransactionRecord)
    abort = of(BmsAbort, bench.said)
    assert [each.stop_reason_flags for each in abort] == [1], "the vehicle ends it: wanted SOC reached"
    (end,) = of(BmsChargeEnd, bench.said)
    assert (end.end_soc, end.output_energy_e1_kwh) == (100, record.total_energy_e4_kwh // 1000)
    assert record.stop_reason == 0x41
    assert record.total_energy_e4_kwh == pytest.approx(0.7 * 40 * 10_000, abs=2)
    assert record.meter_end_e4_kwh - record.meter_start_e4_kwh == record.total_energy_e4_kwh
    assert (record.vin, record.start_type, record.physical_card_no) == (CAR.vin, 1, NONE)
    assert record.end_time is not None and record.start_time is not None and record.trade_time is not None
    assert record.start_time < record.end_time <= record.trade_time
    assert (record.trade_time - record.end_time).total_seconds() <= 30
    assert running_none(bench)


def running_none(bench: Bench) -> bool:
    """Whether no gun charges."""
    return bench.pile.is_idle and bench.pile.tally.charging == 0


def test_while_it_charges_everything_comes_every_15_s_and_only_rises() -> None:
    bench = charging()
    frames = bench.live(600.0)
    for kind in (RealTimeData, BmsDemand, BmsInformation):
        times = [at for at, frame in frames if type(frame) is kind and frame.gun_no == 1]
        assert len(times) == 40
        assert {round(later - sooner) for sooner, later in itertools.pairwise(times)} == {15}
    reports = [frame for _, frame in frames if isinstance(frame, RealTimeData) and frame.gun_no == 1]
    assert {frame.status for frame in reports} == {3}
    for name in ("soc", "energy_e4_kwh", "amount_e4_yuan", "charge_minutes"):
        values = [getattr(frame, name) for frame in reports]
        assert values == sorted(values) and values[-1] > values[0]
    left = [frame.remaining_minutes for frame in reports]
    assert left == sorted(left, reverse=True)


def test_an_ac_pile_charges_without_a_word_about_the_battery() -> None:
    bench = charging(plate=AC_PLATE)
    report = bench.until(RealTimeData)
    assert (report.soc, report.battery_max_temp_c, report.remaining_minutes) == (0, None, 0)
    assert report.output_voltage_e1_v == 2_200
    record = bench.until(TransactionRecord, 8 * 3600.0)
    assert not [frame for frame in bench.said if type(frame).__name__.startswith(("Bms", "Charger"))]
    assert record.vin == ""


def test_a_pile_of_1_7_signs_its_records() -> None:
    bench = charging(plate=Nameplate(CODE, 2, protocol_version=0x11))
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    record = bench.until(SignedTransactionRecord, 40.0)
    assert (record.trade_no, record.stop_reason) == (TRADE, 0x45)
    assert len(record.meter_ciphertext) == 68


def test_reading_a_charge_does_not_change_it() -> None:
    quiet, asked = charging(), charging()
    for _ in range(200):
        quiet.wait(7.0)
        asked.wait(3.5)
        asked.give(ReadRealTimeData(CODE, 1))
        asked.wait(3.5)
        quiet.answer_heartbeats()
        asked.answer_heartbeats()
    for bench in (quiet, asked):
        bench.give(ReadRealTimeData(CODE, 1))
    assert running(quiet).energy_e4_kwh == pytest.approx(running(asked).energy_e4_kwh, abs=1)
    asked.frames()
    asked.wait(5.0)
    before = running(asked).energy_e4_kwh
    asked.give(ReadRealTimeData(CODE, 1), sequence=77)
    answer = [packet for packet in asked.packets() if packet.sequence == 77][-1].frame
    assert isinstance(answer, RealTimeData)
    assert answer.energy_e4_kwh > before, "an answer tells of this moment, not of the last report"


# Refusals.


def test_a_start_for_a_gun_that_charges_is_refused() -> None:
    bench = charging()
    start(bench, trade_no=OTHER_TRADE)
    assert starts(bench.frames()) == [(0, 2)]
    start(bench, trade_no=TRADE)
    assert starts(bench.frames()) == [(0, 2)], "the same number again is refused too"
    assert running(bench).trade_no == TRADE


@pytest.mark.parametrize(("faults", "reason"), [(0x01, 3), (0x10, 4), (0x100, 4), (0x80, None)])
def test_a_broken_gun_refuses_with_its_reason(faults: int, reason: int | None) -> None:
    bench = ready()
    hands.set_faults(bench.pile, bench.now, begin=faults, gun_no=1)
    bench.settle()
    start(bench)
    assert starts(bench.frames()) == [(1, 0) if reason is None else (0, reason)]


def test_without_a_car_it_waits_60_s_and_then_begins_with_a_second_answer() -> None:
    bench = Bench()
    bench.log_in()
    start(bench)
    assert starts(bench.frames()) == [(0, 5)]
    bench.live(55.0)
    hands.set_plugged(bench.pile, 1, True, bench.now, CAR)
    bench.settle()
    assert starts(bench.frames()) == [(1, 0)]
    assert bench.until(RealTimeData, 30.0).trade_no == TRADE


def test_a_car_that_comes_after_60_s_starts_nothing() -> None:
    bench = Bench()
    bench.log_in()
    start(bench)
    bench.live(61.0)
    hands.set_plugged(bench.pile, 1, True, bench.now, CAR)
    bench.settle()
    assert starts(bench.frames()) == []
    bench.live(120.0)
    assert running_none(bench)


def test_a_gun_that_breaks_while_it_waits_for_a_car_refuses_then() -> None:
    bench = Bench()
    bench.log_in()
    start(bench)
    hands.set_faults(bench.pile, bench.now, begin=1, gun_no=1)
    hands.set_plugged(bench.pile, 1, True, bench.now, CAR)
    bench.settle()
    assert starts(bench.frames()) == [(0, 5), (0, 3)]


def test_a_stop_withdraws_a_start_that_waits_for_a_car() -> None:
    bench = Bench()
    bench.log_in()
    start(bench)
    bench.give(RemoteStop(CODE, 1))
    bench.frames()
    hands.set_plugged(bench.pile, 1, True, bench.now, CAR)
    bench.settle()
    assert starts(bench.frames()) == []


def test_parallel_starts_are_answered_gun_by_gun() -> None:
    bench = ready()
    hands.set_plugged(bench.pile, 2, True, bench.now, CAR)
    bench.settle()
    bench.frames()
    for gun_no, trade_no in ((1, TRADE), (2, OTHER_TRADE)):
        bench.give(RemoteParallelStart(trade_no, CODE, gun_no, NONE, NONE, RICH_FEN, "260301120000"))
    assert bench.frames() == [
        RemoteParallelStartAnswer(TRADE, CODE, 1, 1, 0, 0, "260301120000"),
        RemoteParallelStartAnswer(OTHER_TRADE, CODE, 2, 1, 0, 1, "260301120000"),
    ]


def test_a_start_that_the_vehicle_does_not_take_up_makes_a_record_of_nothing() -> None:
    bench = ready()
    hands.misbehave(bench.pile, 1, [Quirk.START_FAILS])
    start(bench)
    record = bench.until(TransactionRecord, 60.0)
    assert starts(bench.said) == [(1, 0)]
    assert len(of(BmsError, bench.said)) == 1
    assert 0x59 <= record.stop_reason <= 0x5E
    assert (record.total_energy_e4_kwh, record.total_amount_e4_yuan) == (0, 0)


# The end.


def test_a_remote_stop_is_obeyed_and_answered() -> None:
    bench = charging()
    bench.live(100.0)
    bench.give(RemoteStop(CODE, 1), sequence=9)
    (answer, *_), frames = bench.packets(), []
    assert (answer.frame, answer.sequence) == (RemoteStopAnswer(CODE, 1, 1, 0), 9)
    record = bench.until(TransactionRecord, 30.0)
    frames = bench.said
    assert record.stop_reason == 0x40 and record.total_energy_e4_kwh > 0
    assert not [frame for frame in of(RealTimeData, frames) if frame.status == 3]
    bench.give(RemoteStop(CODE, 1))
    assert bench.only(RemoteStopAnswer).fail_reason == 2, "it has ended already"
    bench.give(RemoteStop(CODE, 9))
    assert bench.only(RemoteStopAnswer).fail_reason == 1


def test_a_stop_during_the_handshake_ends_it_with_nothing() -> None:
    bench = ready()
    start(bench)
    bench.give(RemoteStop(CODE, 1))
    record = bench.until(TransactionRecord, 30.0)
    assert (record.stop_reason, record.total_energy_e4_kwh) == (0x40, 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_money_ends_it_and_is_never_exceeded(seed: int) -> None:
    bench = charging(balance_fen=500, seed=seed)
    record = bench.until(TransactionRecord)
    assert record.stop_reason == draw_ways(CODE, seed).money_stop_code
    assert 49_998 <= record.total_amount_e4_yuan <= 50_000


def test_a_topped_up_balance_goes_on_longer() -> None:
    bench = charging(balance_fen=500)
    bench.live(30.0)
    bench.give(BalanceUpdate(CODE, 1, NONE, 1_000))
    assert BalanceUpdateAnswer(CODE, NONE, 0) in bench.frames()
    assert 99_998 <= bench.until(TransactionRecord).total_amount_e4_yuan <= 100_000
    bench.give(BalanceUpdate(CODE, 1, NONE, 2_000))
    assert bench.only(BalanceUpdateAnswer).result == 2, "nothing runs"


def test_a_balance_for_another_card_or_gun_is_refused() -> None:
    bench = charging()
    bench.give(BalanceUpdate(CODE, 1, CARD, 1_000))
    bench.give(BalanceUpdate(CODE, 7, NONE, 1_000))
    assert [frame.result for frame in of(BalanceUpdateAnswer, bench.frames())] == [2, 1]
    assert running(bench).balance_fen == RICH_FEN


def test_a_gun_pulled_out_ends_it_at_once() -> None:
    bench = charging()
    bench.live(100.0)
    hands.set_plugged(bench.pile, 1, False, bench.now)
    bench.settle()
    report = bench.until(RealTimeData, 1.0)
    assert (report.status, report.gun_plugged) == (2, 0)
    assert bench.until(TransactionRecord, 30.0).stop_reason == 0x6B


def test_a_car_that_wants_to_leave_waits_for_its_charge() -> None:
    bench = charging()
    hands.leave(bench.pile, 1, bench.now)
    bench.live(60.0)
    assert running(bench).stage is Stage.CHARGING
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    bench.settle()
    assert not bench.pile.guns[0].is_plugged
    assert bench.until(TransactionRecord, 30.0).stop_reason == 0x45


@pytest.mark.parametrize(
    ("faults", "code", "is_over"),
    [
        (0x0001, 0x72, True),
        (0x0002, 0x71, True),
        (0x0004, 0x74, True),
        (0x0008, 0x73, True),
        (0x0020, 0x70, True),
        (0x0040, 0x6D, True),
        (0x0400, 0x70, True),
        (0x0800, 0x75, True),
        (0x1000, 0x6A, True),
        (0x0080, 0, False),
    ],
)
def test_a_fault_ends_it_with_its_own_reason(faults: int, code: int, is_over: bool) -> None:
    bench = charging()
    bench.live(60.0)
    hands.set_faults(bench.pile, bench.now, begin=faults, gun_no=1)
    bench.settle()
    frames = bench.frames()
    report = of(RealTimeData, frames)[-1]
    assert report.hardware_fault == faults
    assert report.status == (1 if is_over else 3)
    if is_over:
        assert len(of(ChargerAbort, frames)) == 1
        assert bench.until(TransactionRecord, 30.0).stop_reason == code
    else:
        assert running(bench).stage is Stage.CHARGING


def test_a_fault_in_the_handshake_is_a_failed_start() -> None:
    bench = ready()
    start(bench)
    hands.set_faults(bench.pile, bench.now, begin=1, gun_no=1)
    bench.settle()
    assert bench.until(TransactionRecord, 30.0).stop_reason == 0x50


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        *((stop, BmsAbort) for stop in stops.CAR_STOPS),
        *((stop, ChargerAbort) for stop in stops.CHARGER_STOPS),
    ],
)
def test_vehicle_and_charger_end_it_with_their_flags(
    stop: stops.Stop, kind: type[BmsAbort] | type[ChargerAbort]
) -> None:
    bench = charging()
    bench.live(30.0)
    hands.stop_charge(bench.pile, 1, stop, bench.now)
    bench.settle()
    abort = bench.until(kind, 1.0)
    flags = stop.by_car if kind is BmsAbort else stop.by_charger
    assert (abort.stop_reason_flags, abort.fault_flags, abort.error_flags) == flags
    assert bench.until(TransactionRecord, 30.0).stop_reason == stop.code


@pytest.mark.parametrize(
    ("quirk", "codes"),
    [
        (Quirk.BUTTON, {0x45}),
        (Quirk.PULLED, {0x6B}),
        (Quirk.CAR_STOPS, {stop.code for stop in stops.CAR_STOPS}),
        (Quirk.CHARGER_STOPS, {stop.code for stop in stops.CHARGER_STOPS}),
    ],
)
def test_a_surprise_ends_it_at_a_moment_that_was_drawn(quirk: Quirk, codes: set[int]) -> None:
    bench = charging(quirk)
    surprise_s = running(bench).surprise_s
    assert surprise_s is not None and 20 <= surprise_s <= 1_500
    record = bench.until(TransactionRecord)
    assert record.stop_reason in codes
    assert record.start_time is not None and record.end_time is not None
    assert (record.end_time - record.start_time).total_seconds() == pytest.approx(surprise_s, abs=1)


def test_a_locked_pile_ends_its_charges_and_takes_no_new_ones() -> None:
    bench = charging()
    bench.live(30.0)
    bench.give(WorkingParameters(CODE, 1, 100))
    assert bench.until(TransactionRecord, 30.0).stop_reason == 0x6A
    start(bench, trade_no=OTHER_TRADE)
    assert starts(bench.frames()) == [(0, 3)]


def test_less_power_takes_longer() -> None:
    fast, slow = charging(), charging()
    slow.give(WorkingParameters(CODE, 0, 30))
    for bench in (fast, slow):
        bench.live(120.0)
    assert running(slow).energy_e4_kwh == pytest.approx(0.018 * 10_000 * 120 / 3.6, rel=0.01)
    assert running(fast).energy_e4_kwh > 1.5 * running(slow).energy_e4_kwh


def test_two_guns_charge_each_for_itself() -> None:
    bench = charging()
    bench.live(60.0)
    hands.set_plugged(bench.pile, 2, True, bench.now, msgspec.structs.replace(CAR, amps_e1_a=400))
    start(bench, 2, OTHER_TRADE)
    bench.live(120.0)
    assert bench.pile.tally.charging == 2
    bench.give(RemoteStop(CODE, 1))
    first = settled(bench, 30.0)
    assert (first.trade_no, first.gun_no) == (TRADE, 1)
    assert running(bench, 2).stage is Stage.CHARGING
    second = bench.until(TransactionRecord)
    assert (second.trade_no, second.gun_no, second.stop_reason) == (OTHER_TRADE, 2, 0x41)


def test_a_car_that_charges_twice_is_fuller_the_second_time() -> None:
    bench = charging(balance_fen=500)
    settled(bench)
    begun = bench.pile.memory.meters_e4_kwh[1]
    start(bench, trade_no=OTHER_TRADE)
    report = bench.until(RealTimeData, 30.0)
    while report.status != 3:
        report = bench.until(RealTimeData, 30.0)
    assert report.soc > 30
    assert bench.until(TransactionRecord).meter_start_e4_kwh == begun


# What waits for an idle pile.


def test_a_tariff_is_not_taken_while_a_charge_runs_and_the_charge_keeps_its_own() -> None:
    bench = charging()
    bench.give(tariff(SetBillingModel, model_no="0200"))
    assert bench.only(SetBillingModelAnswer).result == 0
    assert bench.pile.memory.tariff is not None
    assert bench.pile.memory.tariff.billing_model_no == "0100"


def test_a_restart_when_idle_waits_for_the_end_of_the_charge() -> None:
    bench = charging()
    bench.give(Reboot(CODE, 2))
    bench.only(RebootAnswer)
    bench.live(60.0)
    assert Order.LEAVE not in bench.orders
    bench.give(RemoteStop(CODE, 1))
    assert Order.LEAVE in bench.orders
    back(bench)
    assert bench.until(TransactionRecord, 5.0).stop_reason == 0x40


def test_a_restart_at_once_breaks_the_charge_off() -> None:
    bench = charging()
    bench.live(60.0)
    bench.give(Reboot(CODE, 1))
    assert Order.LEAVE in bench.orders
    back(bench)
    assert bench.until(TransactionRecord, 5.0).stop_reason == 0x90


def test_an_upgrade_when_idle_waits_for_the_end_of_the_charge() -> None:
    bench = charging()
    bench.give(Upgrade(CODE, 1, 120, "10.0.0.1", 21, "u", "p", "DC/V2.0.1", 2, 60))
    assert not of(UpgradeAnswer, [frame for _, frame in bench.live(300.0)])
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    assert of(UpgradeAnswer, [frame for _, frame in bench.live(95.0)])


# Determinism.


def _life(seed: int, profile: object = ROUGH) -> list[tuple[float, bytes | Order]]:
    """A day at a pile whose platform starts whatever can be started."""
    bench = Bench(profile=profile, seed=seed)  # type: ignore[arg-type]
    number = 0
    while bench.now < 6 * 3600:
        bench.wait(20.0)
        if bench.orders and bench.orders[-1] is Order.CONNECT and bench.pile.phase is Phase.CONNECTING:
            back(bench)
        bench.orders.clear()
        bench.answer_heartbeats()
        for gun in bench.pile.guns:
            if gun.is_plugged and gun.charge is None:
                number += 1
                bench.give(RemoteStart(f"{number:032d}", CODE, gun.no, NONE, NONE, 2_000))
        bench.sent.clear()
    return bench.history


@pytest.mark.parametrize("profile", [LIVELY, ROUGH])
def test_charges_are_decided_by_the_seed(profile: object) -> None:
    assert _life(3, profile) == _life(3, profile)
    assert _life(3, profile) != _life(4, profile)


def test_what_is_drawn_for_a_gun_does_not_depend_on_the_other_gun() -> None:
    alone, busy = ready(profile=ROUGH, seed=5), ready(profile=ROUGH, seed=5)
    hands.set_plugged(busy.pile, 2, True, busy.now)
    start(busy, 2, OTHER_TRADE)
    for bench in (alone, busy):
        start(bench)
    assert alone.pile.memory.charges_begun[1] == busy.pile.memory.charges_begun[1]
    first, second = alone.pile.guns[0], busy.pile.guns[0]
    assert (first.charge is None) == (second.charge is None)
    if first.charge is not None and second.charge is not None:
        assert first.charge.quirks == second.charge.quirks


def test_a_full_car_is_done_at_once() -> None:
    bench = ready(car=msgspec.structs.replace(CAR, soc_e1_pct=1000))
    start(bench)
    record = bench.until(TransactionRecord, 60.0)
    assert (record.stop_reason, record.total_energy_e4_kwh) == (0x41, 0)


def test_a_charge_needs_no_memory_of_before() -> None:
    bench = ready(memory=PileMemory(), car=CAR)
    start(bench)
    assert running(bench).tariff == bench.pile.memory.tariff
