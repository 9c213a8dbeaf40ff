"""The parts that simulated piles are made of."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileward.codecs.base import Garbage
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.frames_link import Heartbeat
from pileward.simulator.damage import DAMAGES, befall
from pileward.simulator.device_clock import EMPTY_BATTERY, DeviceClock
from pileward.simulator.dice import Dice
from pileward.simulator.fate import Fate
from pileward.simulator.habits import make_nameplate
from pileward.simulator.histogram import Histogram
from pileward.simulator.memory import MemoryFolder, PileMemory, StoredRecord
from pileward.simulator.plan import PER_SOURCE, Plan, first_code_of, is_loopback, source_of
from pileward.simulator.profiles import CALM, FAULTS, PROFILES, ROUGH, STEADY, Hazard, Slip
from pileward.simulator.summary import summary_line
from pileward.simulator.tally import Tally
from pileward.simulator.tariff import HeldTariff
from pileward.simulator.timers import NEVER, Timers
from tests.unit.simulator_street import CODE

FRAME = encode_frame(Heartbeat(CODE, 1, 0), 7)
NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


# Dice.


def test_streams_of_equal_names_are_equal_and_others_differ() -> None:
    assert [Dice(1, "a").bits() for _ in range(2)] == [Dice(1, "a").bits() for _ in range(2)]
    assert len({Dice(*name).bits() for name in [(1, "a"), (2, "a"), (1, "b"), (1, "a", "")]}) == 4


def test_dice_are_even_enough() -> None:
    dice = Dice(1)
    assert sum(dice.fraction() for _ in range(20_000)) / 20_000 == pytest.approx(0.5, abs=0.01)
    assert sum(dice.wait(60.0) for _ in range(20_000)) / 20_000 == pytest.approx(60.0, rel=0.05)
    faces = Counter(dice.below(6) for _ in range(12_000))
    assert set(faces) == set(range(6)) and min(faces.values()) > 1_800
    picks = Counter(dice.weighted([("rare", 1.0), ("often", 9.0)]) for _ in range(10_000))
    assert picks["rare"] == pytest.approx(1_000, rel=0.15)
    assert not any(dice.happens(0.0) for _ in range(100)) and all(dice.happens(1.0) for _ in range(100))
    assert [len(dice.data(size)) for size in (0, 1, 8, 9)] == [0, 1, 8, 9]


# Timers.


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 50)))))
def test_timers_fire_once_each_in_the_order_of_their_last_deadlines(
    steps: list[tuple[str, int | None]],
) -> None:
    timers, model = Timers(), dict[str, float]()
    for name, deadline in steps:
        if deadline is None:
            timers.disarm(name)
            model.pop(name, None)
        else:
            timers.arm(name, deadline)
            model[name] = deadline
        assert timers.next == min(model.values(), default=NEVER)
        assert all(timers.deadline(each) == model.get(each, NEVER) for each in "abcdef")
    fired = []
    while (name := timers.pop(25.0)) is not None:  # type: ignore[assignment]
        fired.append(name)
    assert sorted(fired) == sorted(each for each, deadline in model.items() if deadline <= 25)
    assert [model[each] for each in fired] == sorted(model[each] for each in fired)


# Histogram.


def test_quantiles_are_right_within_their_buckets() -> None:
    values = [random.Random(4).lognormvariate(-6, 1.5) for _ in range(20_000)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    values.sort()
    for share in (0.5, 0.9, 0.99, 0.999):
        true = values[int(share * len(values)) - 1]
        assert true <= histogram.quantile_s(share) <= true * 1.04
    assert histogram.max_s == values[-1]
    assert histogram.quantile_s(1.0) == values[-1]


def test_histograms_of_odd_values_and_of_nothing() -> None:
    histogram = Histogram()
    assert histogram.summary_ms() == {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0, "mean_ms": 0.0}
    for value in (-1.0, 0.0, 1e-9, 1e9):
        histogram.add(value)
    other = Histogram()
    other.add(0.5)
    histogram.merge(other)
    assert histogram.count == 5
    assert histogram.max_s == 1e9
    assert histogram.quantile_s(0.0) <= 1e-6


# Damage.


@pytest.mark.parametrize(
    ("slip", "good", "bad"),
    [
        # what               good frames  garbage
        (Slip.BIT_FLIP,       0,          1),
        (Slip.WRONG_CRC,      0,          1),
        (Slip.TRUNCATED,      0,          1),
        (Slip.GARBAGE,        1,          1),
        (Slip.HIGH_FIRST,     1,          0),
        (Slip.DUPLICATE,      2,          0),
    ],
)  # fmt: skip
def test_each_damage_is_what_its_name_says(slip: Slip, good: int, bad: int) -> None:
    dice = Dice(3, slip)
    for _ in range(200):
        damaged = DAMAGES[slip](FRAME, dice)
        decoder = Decoder()
        items = decoder.receive(damaged, 0.0) + decoder.receive(b"", 100.0)
        assert sum(isinstance(item, Packet) for item in items) == good
        assert (sum(isinstance(item, Garbage) for item in items) > 0) == (bad > 0)


def test_at_most_one_slip_befalls_a_frame_as_often_as_the_profile_says() -> None:
    dice = Dice(5)
    seen = Counter(befall(FRAME, ROUGH.frame_slips, dice)[1] for _ in range(100_000))
    for slip, chance in ROUGH.frame_slips:
        assert seen[slip] == pytest.approx(100_000 * chance, rel=0.35)
    assert befall(FRAME, (), dice) == (FRAME, None)


# Profiles and fates.


def test_every_profile_knows_every_hazard_but_the_steady_one() -> None:
    for profile in PROFILES.values():
        assert set(profile.hazards) == (set() if profile is STEADY else set(Hazard))
    assert all(0 <= chance < 1 for profile in PROFILES.values() for chance in profile.slips.values())
    assert len({bits for bits, _, _ in FAULTS}) == len(FAULTS)


def test_a_fate_depends_on_seed_and_number_only() -> None:
    first = list(Fate(1, CODE, 2, CALM).first())
    assert first == list(Fate(1, CODE, 2, CALM).first())
    assert [name for name, _ in first][:2] == ["begin:plug:1", "begin:plug:2"]
    assert first != list(Fate(2, CODE, 2, CALM).first())
    assert list(Fate(1, CODE, 2, STEADY).first()) == []


def test_plates_differ_and_are_reproducible() -> None:
    plates = [make_nameplate(code, 2, seed=1) for code in Plan(first_code=CODE, piles=40).codes]
    assert plates == [make_nameplate(code, 2, seed=1) for code in Plan(first_code=CODE, piles=40).codes]
    assert {plate.network_type for plate in plates} == {0, 1}
    assert all(len(plate.sim_no) == 20 for plate in plates)


# Clock and memory.


def test_a_device_clock_drifts_and_can_lose_its_time() -> None:
    clock = DeviceClock(NOON, 100.0, drift_ppm=-500_000)
    assert clock.read(160.0) == NOON + timedelta(seconds=30)
    clock.set(NOON, 160.0)
    assert clock.read(160.0) == NOON
    clock.lose(200.0)
    assert clock.read(200.0) == EMPTY_BATTERY


def test_a_memory_survives_as_a_file(tmp_path: Path) -> None:
    folder = MemoryFolder(tmp_path / "piles")
    assert folder.load(CODE) == PileMemory()
    memory = PileMemory(
        tariff=HeldTariff("0100", ((1, 2),) * 4, 0, bytes(48)),
        records=[StoredRecord("1" * 32, 0x3B, b"\x00\xff" * 79)],
        cards={"A" * 16: "0" * 16},
        is_locked=True,
        plugged=[1],
    )
    folder.save(CODE, memory)
    assert folder.load(CODE) == memory
    assert [path.name for path in (tmp_path / "piles").iterdir()] == [f"{CODE}.json"]


@pytest.mark.parametrize("text", ["", "{", '{"plugged":[99]}', '{"records":7}'])
def test_a_broken_memory_is_said_to_be_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{CODE}.json").write_text(text)
    with pytest.raises(ValueError, match="remove the file"):
        MemoryFolder(tmp_path).load(CODE)


def test_a_code_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        MemoryFolder(tmp_path).load("../etc/passwd")


# Plans.


def test_a_plan_numbers_its_piles_and_counts_its_connections() -> None:
    plan = Plan(first_code=first_code_of("3201060010"), piles=5, piles_per_connection=2)
    assert plan.codes[0] == "32010600100001" and plan.codes[-1] == "32010600100005"
    assert plan.connections == 3


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"first_code": "123"}, "14 digits"),
        ({"first_code": "3201060001923a"}, "14 digits"),
        ({"first_code": "0" * 14}, "do not fit"),
        ({"first_code": "9" * 14, "piles": 2}, "do not fit"),
        ({"piles": 0}, "piles must be"),
        ({"guns": 33}, "guns must be"),
        ({"piles_per_connection": 0}, "1 or more"),
    ],
)
def test_an_impossible_plan_is_refused(changes: dict[str, object], complaint: str) -> None:
    values: dict[str, object] = {"first_code": CODE, "piles": 1} | changes
    with pytest.raises(ValueError, match=complaint):
        Plan(**values)  # type: ignore[arg-type]


def test_many_loopback_connections_come_from_many_addresses() -> None:
    assert source_of("127.0.0.1", PER_SOURCE - 1) is None
    assert source_of("127.0.0.1", PER_SOURCE) == "127.0.0.2"
    assert source_of("127.0.0.1", 9 * PER_SOURCE) == "127.0.0.10"
    assert source_of("10.0.0.1", 9 * PER_SOURCE) is None
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "10.0.0.1", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]


# The line of words.


def test_the_summary_line_tells_rates_and_news() -> None:
    tally = Tally()
    before = tally.snapshot()
    tally.online = 19
    tally.frames_up += 50
    tally.events[Hazard.PLUG] += 3
    tally.events["lost"] += 1
    line = summary_line(before, tally.snapshot(), 20, 10.0)
    assert (
        line
        == "在线 online 19/20 · 充电 charging 0 · 上行 up 5/s · 下行 down 0/s · 插枪 plug 3 · 连接丢失 lost 1"
    )
