"""Records that must not get lost, and every way in which a pile can be wrong about a charge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pileward.codecs.ykc.frames_bms import BmsHandshake
from pileward.codecs.ykc.frames_charge import (
    RealTimeData,
    RemoteStop,
    RemoteStopAnswer,
    TransactionRecord,
    TransactionRecordAnswer,
)
from pileward.simulator import charging as rules
from pileward.simulator import hands, stops
from pileward.simulator.charge import Stage
from pileward.simulator.memory import MemoryFolder, PileMemory
from pileward.simulator.profiles import PROFILES
from pileward.simulator.quirks import SURPRISES, Quirk
from tests.unit.simulator_charges import (
    TRADE,
    back,
    charging,
    log_in,
    of,
    ready,
    reconnect,
    running,
    settled,
    start,
    starts,
)
from tests.unit.simulator_street import CODE, EPOCH, Bench

# Lost lines, lost power, killed simulators.


def test_a_charge_goes_on_without_a_line_and_its_record_comes_after_the_login() -> None:
    bench = charging(balance_fen=500)
    bench.live(60.0)
    bench.lose()
    bench.wait(30.0)
    assert running(bench).stage is Stage.CHARGING
    while not bench.pile.is_idle:
        bench.wait(30.0)
    bench.wait(60.0)
    assert [record.trade_no for record in bench.pile.memory.records] == [TRADE]
    back(bench)
    record = settled(bench, 5.0)
    assert record.total_amount_e4_yuan == pytest.approx(50_000, abs=2)
    assert bench.pile.memory.records == [] and bench.pile.memory.charges == []


def test_after_a_lost_line_the_first_report_says_that_it_still_charges() -> None:
    bench = charging()
    bench.live(60.0)
    reconnect(bench)
    report = bench.until(RealTimeData, 5.0)
    assert (report.status, report.trade_no) == (3, TRADE)


def test_a_power_cut_ends_it_and_the_record_comes_with_the_power() -> None:
    bench = charging()
    bench.live(100.0)
    bench.pile.cut_power(bench.now)
    bench.settle()
    cut_at = bench.pile.clock.read(bench.now)
    bench.wait(600.0)
    assert [charge.stage for charge in bench.pile.memory.charges] == [Stage.ENDED]
    bench.pile.restore_power(bench.now)
    back(bench)
    record = settled(bench, 5.0)
    assert (record.trade_no, record.stop_reason) == (TRADE, 0x83)
    assert record.end_time is not None and abs(record.end_time - cut_at) < timedelta(seconds=1)
    assert record.total_energy_e4_kwh > 0
    assert bench.pile.memory.charges == []


def test_a_pile_that_hung_ends_its_charge_when_it_is_reset() -> None:
    bench = charging()
    bench.pile.freeze()
    bench.settle()
    bench.wait(100.0)
    bench.pile.thaw(bench.now)
    bench.settle()
    back(bench)
    assert settled(bench, 5.0).stop_reason == 0x90


def reborn(bench: Bench, tmp_path: Path) -> Bench:
    """The same pile in a new simulator, with what stood in its file."""
    folder = MemoryFolder(tmp_path)
    folder.save(CODE, bench.pile.memory)
    again = Bench(memory=folder.load(CODE))
    again.wait(0.0)
    log_in(again)
    return again


def test_a_killed_simulator_goes_on_charging_where_it_was(tmp_path: Path) -> None:
    bench = charging()
    bench.live(100.0)
    known = running(bench).energy_e4_kwh
    again = reborn(bench, tmp_path)
    report = again.until(RealTimeData, 5.0)
    assert (report.status, report.trade_no) == (3, TRADE)
    assert report.energy_e4_kwh >= known
    record = settled(again)
    assert record.stop_reason == 0x41
    assert record.total_energy_e4_kwh == pytest.approx(280_000, abs=3)
    assert record.start_time is not None and record.end_time is not None


def test_a_simulator_killed_in_the_handshake_shakes_hands_again(tmp_path: Path) -> None:
    bench = ready()
    start(bench)
    again = reborn(bench, tmp_path)
    again.until(BmsHandshake, 20.0)
    assert settled(again).stop_reason == 0x41


def test_a_simulator_killed_between_the_end_and_the_record_makes_it_at_once(tmp_path: Path) -> None:
    bench = charging()
    bench.live(20.0)
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    assert settled(reborn(bench, tmp_path), 2.0).stop_reason == 0x45


def test_a_simulator_killed_with_an_unconfirmed_record_sends_it_again(tmp_path: Path) -> None:
    bench = charging(balance_fen=100)
    first = bench.until(TransactionRecord)
    again = reborn(bench, tmp_path)
    assert again.until(TransactionRecord, 2.0) == first


def test_what_the_platform_was_told_stands_in_the_memory_before() -> None:
    bench = ready()
    start(bench)
    assert bench.pile.is_dirty and [charge.trade_no for charge in bench.pile.memory.charges] == [TRADE]
    bench.until(RealTimeData, 30.0)
    bench.pile.is_dirty = False
    bench.until(RealTimeData, 20.0)
    assert bench.pile.is_dirty, "each report is remembered"


def test_a_charge_of_a_gun_that_is_no_longer_there_is_over(tmp_path: Path) -> None:
    bench = charging(gun_no=2)
    memory = bench.pile.memory
    again = Bench(memory=memory, guns=1)
    again.wait(0.0)
    log_in(again)
    assert settled(again, 5.0).stop_reason == 0x90


def test_a_record_is_repeated_until_it_is_confirmed() -> None:
    bench = charging(balance_fen=100)
    bench.until(TransactionRecord)
    for _ in range(3):
        bench.until(TransactionRecord, 31.0)
    assert not of(TransactionRecord, [frame for _, frame in bench.live(300.0)])
    reconnect(bench)
    settled(bench, 2.0)
    assert bench.pile.memory.records == []


# Quirks: the start.


def test_a_mute_pile_neither_answers_nor_starts() -> None:
    bench = ready()
    hands.misbehave(bench.pile, 1, [Quirk.START_MUTE])
    start(bench)
    assert bench.live(120.0) == []
    start(bench)
    assert starts(bench.frames()) == [(1, 0)], "a given quirk is for one charge"


def test_a_late_pile_answers_late_and_charges() -> None:
    bench = ready()
    hands.misbehave(bench.pile, 1, [Quirk.START_LATE])
    start(bench)
    assert bench.frames() == []
    said = bench.live(120.0)
    (answered_at,) = [at for at, frame in said if starts([frame]) == [(1, 0)]]
    assert 20 <= answered_at - 0 <= 90
    assert running(bench).stage is Stage.CHARGING


def test_a_lost_answer_is_seen_by_the_charge_alone() -> None:
    bench = charging(Quirk.START_ANSWER_LOST)
    assert running(bench).stage is Stage.CHARGING


@pytest.mark.parametrize(("quirk", "charges"), [(Quirk.START_REFUSED, False), (Quirk.CHARGES_REFUSED, True)])
def test_a_refusal_that_means_it_and_one_that_does_not(quirk: Quirk, charges: bool) -> None:
    bench = ready()
    hands.misbehave(bench.pile, 1, [quirk])
    start(bench)
    assert starts(bench.frames()) == [(0, 3)]
    bench.live(40.0)
    assert bench.pile.is_idle is not charges


def test_an_accepted_start_that_never_comes() -> None:
    bench = ready()
    hands.misbehave(bench.pile, 1, [Quirk.NEVER_CHARGES])
    start(bench)
    assert starts(bench.frames()) == [(1, 0)]
    assert not [frame for _, frame in bench.live(200.0)]
    assert bench.pile.memory.charges == []


# Quirks: the stop.


@pytest.mark.parametrize(
    ("quirk", "answers", "ends"),
    [
        (Quirk.STOP_MUTE, [], True),
        (Quirk.STOP_IGNORED, [(1, 0)], False),
        (Quirk.STOP_REFUSED, [(0, 3)], False),
    ],
)
def test_stops_that_are_not(quirk: Quirk, answers: list[tuple[int, int]], ends: bool) -> None:
    bench = charging(quirk)
    bench.give(RemoteStop(CODE, 1))
    said = of(RemoteStopAnswer, bench.frames())
    assert [(frame.result, frame.fail_reason) for frame in said] == answers
    assert bench.pile.is_idle is ends


def test_a_late_stop_is_answered_and_obeyed_late() -> None:
    bench = charging(Quirk.STOP_LATE)
    bench.give(RemoteStop(CODE, 1))
    assert bench.frames() == [] and not bench.pile.is_idle
    bench.live(80.0)
    assert bench.pile.is_idle


def test_a_pile_that_overspends_goes_on() -> None:
    bench = charging(Quirk.OVERSPENDS, balance_fen=100)
    record = settled(bench)
    assert record.total_amount_e4_yuan > 100_000


# Quirks: meanwhile.


def test_idle_frames_in_the_middle_come_twice_in_a_row() -> None:
    bench = charging(Quirk.IDLE_FRAMES)
    at = running(bench).idle_at
    statuses = [
        frame.status
        for _, frame in bench.live(200.0)
        if isinstance(frame, RealTimeData) and frame.gun_no == 1
    ]
    assert statuses[at - 2 : at] == [2, 2] and statuses.count(3) == len(statuses) - 2


def test_a_silent_charge_reports_only_its_beginning() -> None:
    bench = charging(Quirk.SILENT)
    assert not of(RealTimeData, [frame for _, frame in bench.live(200.0)])
    assert not bench.pile.is_idle


# Quirks: the record.


def ended(*quirks: Quirk) -> Bench:
    """A pile that charged for ten minutes."""
    bench = charging(*quirks)
    bench.live(600.0)
    hands.stop_charge(bench.pile, 1, stops.BUTTON, bench.now)
    bench.settle()
    return bench


def test_a_record_sent_twice_is_the_same_twice() -> None:
    bench = ended(Quirk.RECORD_TWICE)
    first = settled(bench, 30.0)
    assert bench.until(TransactionRecord, 10.0) == first
    bench.give(TransactionRecordAnswer(TRADE, 0))
    assert not of(TransactionRecord, [frame for _, frame in bench.live(120.0)])


def test_a_record_sent_again_with_other_contents() -> None:
    bench = ended(Quirk.RECORD_DIFFERENT)
    first = settled(bench, 30.0)
    second = bench.until(TransactionRecord, 10.0)
    assert second.trade_no == first.trade_no
    assert second.total_energy_e4_kwh == first.total_energy_e4_kwh + 1_234
    assert second.total_amount_e4_yuan > first.total_amount_e4_yuan


def test_an_echo_survives_a_power_cut() -> None:
    bench = ended(Quirk.RECORD_TWICE)
    first = settled(bench, 30.0)
    bench.pile.cut_power(bench.now)
    bench.settle()
    bench.pile.restore_power(bench.now)
    back(bench)
    assert bench.until(TransactionRecord, 5.0) == first


def test_a_late_record_comes_after_minutes_and_a_lost_one_never() -> None:
    late, lost = ended(Quirk.RECORD_LATE), ended(Quirk.RECORD_LOST)
    assert not of(TransactionRecord, [frame for _, frame in late.live(110.0)])
    assert settled(late, 1_800.0).stop_reason == 0x45
    assert not of(TransactionRecord, [frame for _, frame in lost.live(1_800.0)])
    assert lost.pile.memory.charges == []


# The car was plugged in at 0, current flowed within 20 s, and the button was pressed 600 s later.
EXPECTED_END = EPOCH + timedelta(minutes=10)


def is_negative(record: TransactionRecord) -> bool:
    return record.total_energy_e4_kwh > 2**31 and record.meter_end_e4_kwh < record.meter_start_e4_kwh


def is_absurd(record: TransactionRecord) -> bool:
    return record.total_energy_e4_kwh == record.meter_end_e4_kwh > 10**7


def is_backwards(record: TransactionRecord) -> bool:
    assert record.start_time is not None and record.end_time is not None
    return record.end_time < record.start_time


def is_skewed(record: TransactionRecord) -> bool:
    assert record.trade_time is not None
    return (record.trade_time - EXPECTED_END) < timedelta(hours=-2)


def is_cut(record: TransactionRecord) -> bool:
    honest = record.sharp_energy_e4_kwh * record.sharp_price_e5_yuan // 100_000
    return record.sharp_amount_e4_yuan % 100 == 0 and 100 <= honest - record.sharp_amount_e4_yuan <= 200


def is_zero(record: TransactionRecord) -> bool:
    return record.total_amount_e4_yuan == record.sharp_price_e5_yuan == 0 < record.total_energy_e4_kwh


def is_unknown(record: TransactionRecord) -> bool:
    return record.trade_no != TRADE and record.trade_no.startswith(CODE)


@pytest.mark.parametrize(
    ("quirk", "is_so"),
    [
        (Quirk.RECORD_NEGATIVE, is_negative),
        (Quirk.RECORD_ABSURD, is_absurd),
        (Quirk.RECORD_BACKWARDS, is_backwards),
        (Quirk.RECORD_SKEWED, is_skewed),
        (Quirk.AMOUNTS_CUT, is_cut),
        (Quirk.AMOUNTS_ZERO, is_zero),
        (Quirk.RECORD_UNKNOWN, is_unknown),
    ],
)
def test_records_can_be_wrong_in_every_way(quirk: Quirk, is_so: Callable[[TransactionRecord], bool]) -> None:
    assert is_so(settled(ended(quirk), 30.0))
    assert not is_so(settled(ended(), 30.0))


def test_loss_energy_is_zero_at_some_piles_and_the_energy_at_others() -> None:
    kinds = set()
    for seed in range(8):
        bench = charging(seed=seed)
        report = bench.until(RealTimeData, 20.0)
        assert report.loss_energy_e4_kwh in (0, report.energy_e4_kwh)
        kinds.add(report.loss_energy_e4_kwh == 0)
    assert kinds == {True, False}


# Tables.


def test_every_quirk_has_its_chance_in_the_profiles() -> None:
    assert set(PROFILES["rough"].quirks) == set(Quirk)
    assert PROFILES["steady"].quirks == {}
    for profile in PROFILES.values():
        assert all(0 <= chance <= 0.2 for chance in profile.quirks.values())
        assert sum(profile.quirks.values()) < 1
    assert set(SURPRISES) <= set(Quirk)


def test_memories_of_before_charging_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / f"{CODE}.json").write_text('{"tariff":null,"records":[],"plugged":[1]}')
    memory = MemoryFolder(tmp_path).load(CODE)
    assert memory == PileMemory(plugged=[1])
    assert rules.start_refusal(Bench(memory=memory).pile, None) == rules.DEVICE_MISMATCH
