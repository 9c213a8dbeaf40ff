"""The bill: exact until the end, one rounding, columns that add up; and what is believed of a record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pileward.messages.charging import Bill, EnergyOfRate, RecordFacts
from pileward.messages.uplinks import PeriodEnergy, TransactionRecord
from pileward.services.billing import (
    CLOCK_SLACK,
    DEFAULT_TOLERANCE,
    Tolerance,
    add_energy,
    excess_bound_fen,
    facts_of,
    implausible,
    make_bill,
    oddities,
    running_e4_yuan,
    shared_out,
)
from pileward.services.record_settlement import facts_of_decoded
from pileward.values import PRICE_MAX_E5_YUAN, Rate, RatePrice, TariffModel, fen_half_up
from tests.business import NOW, later
from tests.charges import TARIFF, by_rates, delivered

R = Rate


def tariff(*prices: tuple[int, int]) -> TariffModel:
    """Prices of the four rates, energy and service, 1e-5 yuan/kWh; hours 0 to 11 valley, then sharp."""
    sharp, peak, flat, valley = (RatePrice(*price) for price in prices)
    return TariffModel("0001", (sharp, peak, flat, valley), (R.VALLEY,) * 24 + (R.SHARP,) * 24)


def energies(*values: int) -> list[EnergyOfRate]:
    return [EnergyOfRate(rate, value) for rate, value in zip(R, values, strict=False)]


def columns(bill: Bill) -> list[tuple[int, int, int]]:
    return [(line.electricity_fen, line.service_fen, line.total_fen) for line in bill.lines]


SAME = tariff(*[(50_000, 43_000)] * 4)
HALF = tariff(*[(50_000, 50_000)] * 4)
FREE = tariff(*[(0, 0)] * 4)

BILLS = [
    # prices  energy by rate, 1e-4 kWh     electricity service total   lines
    (SAME, (85_630, 0, 0, 0),              428, 368, 796,          [(428, 368, 796)]),
    (HALF, (100, 0, 0, 0),                 1, 0, 1,                [(1, 0, 1)]),
    (HALF, (99, 0, 0, 0),                  0, 1, 1,                [(0, 1, 1)]),
    (HALF, (49, 0, 0, 0),                  0, 0, 0,                [(0, 0, 0)]),
    (HALF, (50, 50, 0, 0),                 1, 0, 1,                [(1, 0, 1), (0, 0, 0)]),
    (HALF, (150, 150, 150, 150),           3, 3, 6,        [(1, 1, 2), (1, 1, 2), (1, 1, 2), (0, 0, 0)]),
    (TARIFF, (0, 0, 0, 200_000),           1_200, 800, 2_000,      [(1_200, 800, 2_000)]),
    (TARIFF, (10_000, 10_000, 10_000, 10_000), 300, 160, 460,
     [(90, 40, 130), (80, 40, 120), (70, 40, 110), (60, 40, 100)]),
    (FREE, (10_000, 0, 0, 0),              0, 0, 0,                [(0, 0, 0)]),
    (SAME, (0, 0, 0, 0),                   0, 0, 0,                []),
]  # fmt: skip


@pytest.mark.parametrize(("prices", "energy", "electricity", "service", "total", "lines"), BILLS)
def test_bills(
    prices: TariffModel,
    energy: tuple[int, ...],
    electricity: int,
    service: int,
    total: int,
    lines: list[tuple[int, int, int]],
) -> None:
    bill = make_bill(prices, energies(*energy))
    assert (bill.electricity_fen, bill.service_fen, bill.total_fen) == (electricity, service, total)
    assert columns(bill) == lines


def test_the_bill_does_not_depend_on_the_order_of_the_rates() -> None:
    assert make_bill(TARIFF, energies(1, 2, 3, 4)) == make_bill(TARIFF, energies(1, 2, 3, 4)[::-1])


PRICES = st.integers(0, PRICE_MAX_E5_YUAN)
TARIFFS = st.lists(st.tuples(PRICES, PRICES), min_size=4, max_size=4).map(lambda prices: tariff(*prices))
ENERGIES = st.lists(st.integers(0, 4_294_967_295), min_size=4, max_size=4)


class TestProperties:
    @given(TARIFFS, ENERGIES)
    def test_every_column_and_every_row_adds_up(self, prices: TariffModel, energy: list[int]) -> None:
        bill = make_bill(prices, energies(*energy))
        for name in ("electricity_fen", "service_fen", "total_fen", "energy_e4_kwh"):
            assert sum(getattr(line, name) for line in bill.lines) == getattr(bill, name)
        assert bill.electricity_fen + bill.service_fen == bill.total_fen
        for line in bill.lines:
            assert line.electricity_fen + line.service_fen == line.total_fen

    @given(TARIFFS, ENERGIES)
    def test_nothing_is_negative_and_nothing_is_far_from_exact(
        self, prices: TariffModel, energy: list[int]
    ) -> None:
        bill = make_bill(prices, energies(*energy))
        assert min([bill.electricity_fen, bill.service_fen, bill.total_fen]) >= 0
        for line in bill.lines:
            assert min(line.electricity_fen, line.service_fen) >= 0
            exact = line.energy_e4_kwh * line.energy_e5_yuan
            assert abs(line.electricity_fen * 10**7 - exact) < 10**7
            exact = line.energy_e4_kwh * line.service_e5_yuan
            assert abs(line.service_fen * 10**7 - exact) < 10**7
        exact = sum(value * price.total_e5_yuan for value, price in zip(energy, prices.prices, strict=True))
        assert bill.total_fen == fen_half_up(exact)

    @given(TARIFFS, ENERGIES, st.sampled_from(R), st.integers(0, 1_000_000))
    def test_more_energy_never_costs_less(
        self, prices: TariffModel, energy: list[int], rate: Rate, more: int
    ) -> None:
        raised = [value + (more if index == rate else 0) for index, value in enumerate(energy)]
        less, greater = make_bill(prices, energies(*energy)), make_bill(prices, energies(*raised))
        assert less.total_fen <= greater.total_fen
        assert less.electricity_fen <= greater.electricity_fen

    @given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.data())
    def test_shares_are_whole_parts_or_one_more(self, parts: list[int], data: st.DataObject) -> None:
        floors = [part // 10**7 for part in parts]
        fen = data.draw(st.integers(sum(floors), sum(-(-part // 10**7) for part in parts)))
        shares = shared_out(fen, parts)
        assert sum(shares) == fen
        assert all(0 <= share - floor <= 1 for share, floor in zip(shares, floors, strict=True))


DIFFERENCES = [
    # of the rate, of the total (1e-4 yuan), tolerance, differs
    (0, 0, DEFAULT_TOLERANCE, False),
    (200, 100, DEFAULT_TOLERANCE, False),
    (-200, -100, DEFAULT_TOLERANCE, False),
    (201, 0, DEFAULT_TOLERANCE, True),
    (0, 101, DEFAULT_TOLERANCE, True),
    (0, -101, DEFAULT_TOLERANCE, True),
    (-500, -500, Tolerance(5, 5), False),
    (1, 0, Tolerance(0, 0), True),
]


@pytest.mark.parametrize(("of_rate", "in_all", "tolerance", "differs"), DIFFERENCES)
def test_the_piles_own_amounts(of_rate: int, in_all: int, tolerance: Tolerance, differs: bool) -> None:
    """YKC 1.6, 10.2: piles round and cut in their own ways; ours lead."""
    energy = [EnergyOfRate(R.SHARP, 100_000, 93_000 + of_rate)]  # 10 kWh at 0.93000 yuan
    bill = make_bill(SAME, energy, 93_000 + in_all, tolerance)
    assert bill.total_fen == 930
    assert bill.differs is differs


def test_the_documents_cut_amounts_differ_and_do_not_lead() -> None:
    """A capture: 8.5630 kWh at 0.50 sent as 4.2800, 1.2830 kWh at 0.43 as 0.5400 (YKC 1.6, 10.2)."""
    prices = tariff((50_000, 0), (43_000, 0), (0, 0), (0, 0))
    energy = [EnergyOfRate(R.SHARP, 85_630, 42_800), EnergyOfRate(R.PEAK, 12_830, 5_400)]
    bill = make_bill(prices, energy, 48_200)
    assert (bill.total_fen, bill.differs) == (483, True)
    assert make_bill(prices, energy, 48_200, Tolerance(2, 2)).differs is False


class TestExcess:
    @pytest.mark.parametrize(
        ("paid", "bound"), [(0, 200), (500, 200), (2_000, 200), (2_010, 201), (5_000, 500)]
    )
    def test_the_larger_of_two_yuan_and_a_tenth(self, paid: int, bound: int) -> None:
        assert excess_bound_fen(paid) == bound

    def test_running_money_is_rounded_up(self) -> None:
        assert running_e4_yuan(TARIFF, (0, 0, 0, 1)) == 1
        assert running_e4_yuan(TARIFF, (10_000, 10_000, 10_000, 10_000)) == 46_000
        assert running_e4_yuan(TARIFF, (0, 0, 0, 0)) == 0


def at(hour: int, minute: int = 0) -> datetime:
    """A moment of a day in China time."""
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC) - timedelta(hours=8)


class TestLiveEnergy:
    """A provisional bill needs energy by rate; telemetry has totals only."""

    def test_within_one_rate(self) -> None:
        assert add_energy(SAME, (0, 0, 0, 0), 500, at(9), at(9, 20)) == (0, 0, 0, 500)

    def test_across_a_change_of_rate_by_time(self) -> None:
        assert add_energy(SAME, (0, 0, 0, 0), 400, at(11, 45), at(12, 15)) == (200, 0, 0, 200)
        assert add_energy(SAME, (0, 0, 0, 100), 401, at(11, 50), at(12, 20)) == (201, 0, 0, 200)

    def test_totals_that_fall_or_stand_change_nothing(self) -> None:
        assert add_energy(SAME, (1, 2, 3, 4), 10, at(9), at(10)) == (1, 2, 3, 4)
        assert add_energy(SAME, (1, 2, 3, 4), 3, at(9), at(10)) == (1, 2, 3, 4)

    def test_no_time_at_all_counts_for_the_rate_of_the_end(self) -> None:
        assert add_energy(SAME, (0, 0, 0, 0), 10, at(13), at(13)) == (10, 0, 0, 0)
        assert add_energy(SAME, (0, 0, 0, 0), 10, at(13), at(9)) == (0, 0, 0, 10)

    @given(
        st.lists(st.integers(0, 10_000), min_size=4, max_size=4),
        st.integers(0, 100_000),
        st.integers(0, 90_000),
    )
    def test_rates_always_add_up_to_the_total(self, rates: list[int], rise: int, seconds: int) -> None:
        before = (rates[0], rates[1], rates[2], rates[3])
        total = sum(before) + rise
        after = add_energy(TARIFF, before, total, NOW, NOW + timedelta(seconds=seconds))
        assert sum(after) == total
        assert all(new >= old for new, old in zip(after, before, strict=True))


def judged(facts: RecordFacts, power_w: int = 60_000) -> str | None:
    return implausible(facts, power_w, NOW, later(3_700))


PLAUSIBLE: list[tuple[str | None, RecordFacts]] = [
    (None, delivered()),
    (None, delivered(0, seconds=0)),
    (None, delivered(0, started_at=None, ended_at=None)),
    (None, delivered(0, started_at=NOW - timedelta(days=20_000), ended_at=NOW)),
    (None, delivered(660_000)),
    (None, delivered(660_183)),
    ("energy_beyond_power", delivered(660_184)),
    ("energy_beyond_power", delivered(10_000, seconds=0)),
    ("energy_beyond_power", delivered(energy_e4_kwh=9_100_000)),
    ("end_before_start", delivered(seconds=-1)),
    ("end_before_start", delivered(0, seconds=-1)),
    ("negative_energy", delivered(-1)),
    ("negative_energy", by_rates([(R.FLAT, -1), (R.PEAK, 9)])),
    ("no_time", delivered(started_at=None)),
    ("no_time", delivered(ended_at=None)),
    ("clock_shifted", delivered(started_at=NOW - CLOCK_SLACK - timedelta(seconds=1))),
    ("clock_shifted", delivered(ended_at=later(3_700) + CLOCK_SLACK + timedelta(seconds=1))),
    (None, delivered(started_at=NOW - CLOCK_SLACK)),
    ("rates_missing", replace(delivered(), energies=())),
]


@pytest.mark.parametrize(("code", "facts"), PLAUSIBLE)
def test_lesson_09_what_is_implausible_is_named(code: str | None, facts: RecordFacts) -> None:
    assert judged(facts) == code


ODDITIES: list[tuple[tuple[str, ...], RecordFacts]] = [
    ((), delivered()),
    (("rates_do_not_add_up",), replace(delivered(), energy_e4_kwh=200_011)),
    ((), replace(delivered(), energy_e4_kwh=200_010)),
    ((), delivered(meter_start_e4_kwh=5, meter_end_e4_kwh=200_005)),
    ((), delivered(meter_start_e4_kwh=5, meter_end_e4_kwh=200_105)),
    (("meter_differs",), delivered(meter_start_e4_kwh=5, meter_end_e4_kwh=200_106)),
    (("meter_runs_backwards",), delivered(meter_start_e4_kwh=9, meter_end_e4_kwh=8)),
    (("deep_valley",), delivered(notes=("deep_valley",))),
]


@pytest.mark.parametrize(("codes", "facts"), ODDITIES)
def test_what_is_odd_is_named_and_billed_all_the_same(codes: tuple[str, ...], facts: RecordFacts) -> None:
    always = TariffModel("0001", TARIFF.prices, (R.VALLEY,) * 48)
    assert oddities(facts, always) == codes


def test_a_rate_that_the_span_does_not_hold_is_odd() -> None:
    """NOW is 12:05 in China; with ten minutes of slack for the pile's clock that touches the valley."""
    prices = tariff(*[(1, 1)] * 4)
    assert oddities(delivered(rate=R.SHARP), prices) == ()
    assert oddities(delivered(rate=R.VALLEY), prices) == ()
    assert oddities(delivered(rate=R.FLAT), prices) == ("rate_out_of_time",)
    assert oddities(delivered(rate=R.VALLEY, started_at=later(600)), prices) == ("rate_out_of_time",)
    assert oddities(delivered(rate=R.VALLEY, started_at=later(600), ended_at=later(90_000)), prices) == ()


def record(**more: Any) -> TransactionRecord:
    periods = (
        PeriodEnergy(R.SHARP, 93_000, 85_630, 0, 79_636),
        PeriodEnergy(R.VALLEY, 93_000, 10, 0, 9),
        PeriodEnergy(None, 93_000, 100, 0, 93),
    )
    values: dict[str, Any] = {
        "pile_code": "p", "wire_seq": 1, "gun_no": 1, "wire_number": "n", "started_at": NOW,
        "ended_at": later(60), "made_at": None, "periods": periods, "meter_start_e4_kwh": 1,
        "meter_end_e4_kwh": 85_741, "energy_e4_kwh": 85_740, "loss_energy_e4_kwh": 0,
        "amount_e4_yuan": 79_738, "vin": "", "start_type": 1, "stop_reason": 0x40, "card_no": "", "body": b"",
    }  # fmt: skip
    return TransactionRecord(**{**values, **more})


def test_facts_of_a_record_and_of_what_was_stored_of_it_are_the_same() -> None:
    facts = facts_of(record())
    assert facts.energies == (EnergyOfRate(R.SHARP, 85_630, 79_636), EnergyOfRate(R.VALLEY, 110, 102))
    assert facts.notes == ("deep_valley",)
    stored = {
        "started_at": NOW.isoformat(), "ended_at": later(60).isoformat(), "energy_e4_kwh": 85_740,
        "amount_e4_yuan": 79_738, "meter_start_e4_kwh": 1, "meter_end_e4_kwh": 85_741, "stop_reason": 0x40,
        "periods": [
            {"rate": "sharp", "energy_e4_kwh": 85_630, "amount_e4_yuan": 79_636},
            {"rate": "valley", "energy_e4_kwh": 10, "amount_e4_yuan": 9},
            {"rate": None, "energy_e4_kwh": 100, "amount_e4_yuan": 93},
        ],
    }  # fmt: skip
    assert facts_of_decoded(stored) == facts


def test_an_empty_deep_valley_is_no_note() -> None:
    empty = (PeriodEnergy(None, 0, 0, 0, 0), PeriodEnergy(R.FLAT, 1, 5, 0, 0))
    facts = facts_of(record(periods=empty), "full")
    assert facts.energies == (EnergyOfRate(R.FLAT, 5, 0),)
    assert (facts.notes, facts.stop_reason) == ((), "full")
