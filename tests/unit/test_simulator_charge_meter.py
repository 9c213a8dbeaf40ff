"""The battery's curve, and the cut of its energy by half-hour slots: all that money is made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileward.codecs.ykc.frames_charge import TransactionRecord
from pileward.simulator.car import TERNARY, Car, curve_of, draw_car
from pileward.simulator.charge import Charge, Stage, StartType
from pileward.simulator.curve import Curve
from pileward.simulator.device_clock import DeviceClock
from pileward.simulator.dice import Dice
from pileward.simulator.tariff import HeldTariff, amount_e4_yuan, day_ms
from tests.unit.simulator_charges import CAR, TRADE, charging, settled
from tests.unit.simulator_street import EPOCH

PRICES = ((120_000, 40_000), (100_000, 40_000), (80_000, 40_000), (40_000, 40_000))
ALTERNATING = HeldTariff("0100", PRICES, 0, bytes(slot % 4 for slot in range(48)))
ONE_HOUR_FROM_NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


def a_charge(car: Car = CAR, tariff: HeldTariff = ALTERNATING, balance_fen: int = 10**6) -> Charge:
    """A charge that begins to flow at 0."""
    return Charge(
        trade_no=TRADE,
        gun_no=1,
        start_type=StartType.APP,
        card_no="0" * 16,
        balance_fen=balance_fen,
        tariff=tariff,
        car=car,
        cap_w=60_000,
        is_ac=False,
        meter_start_e4_kwh=0,
        asked_at=ONE_HOUR_FROM_NOON,
        at=0.0,
        stage=Stage.CHARGING,
        started_at=ONE_HOUR_FROM_NOON,
    )


# The curve.

cars = st.builds(lambda seed: draw_car(Dice(seed, "car")), st.integers(0, 10**6))


@given(cars, st.integers(5_000, 240_000), st.booleans())
def test_power_first_holds_then_falls_and_never_exceeds_the_charger(
    car: Car, cap_w: int, is_ac: bool
) -> None:
    curve = curve_of(car, cap_w, is_ac)
    powers = [curve.power_w(car.capacity_wh * share / 100) for share in range(100)]
    assert all(0 < power <= cap_w + 1e-6 for power in powers)
    knee = max(range(100), key=lambda share: powers[share])
    falling = powers[max(knee, 97 if is_ac else car.knee_pct + 1) :]
    assert falling == sorted(falling, reverse=True)
    assert curve.power_w(curve.full_wh) == 0


@given(cars, st.integers(5_000, 240_000), st.floats(0, 20_000), st.floats(0, 20_000))
def test_two_waits_fill_as_much_as_one(car: Car, cap_w: int, first_s: float, second_s: float) -> None:
    curve = curve_of(car, cap_w, False)
    begin = car.start_wh
    at_once = curve.after(begin, first_s + second_s)
    assert curve.after(curve.after(begin, first_s), second_s) == pytest.approx(at_once, rel=1e-9)
    assert begin <= at_once <= curve.full_wh


@given(cars, st.integers(5_000, 240_000), st.floats(0, 1))
def test_how_long_and_how_much_are_inverse(car: Car, cap_w: int, share: float) -> None:
    curve = curve_of(car, cap_w, False)
    begin = car.start_wh
    wanted = begin + share * (curve.full_wh - begin)
    assert curve.after(begin, curve.seconds(begin, wanted)) == pytest.approx(wanted, rel=1e-9)
    assert curve.seconds(begin, curve.full_wh + 1) == float("inf")


def test_a_flat_curve_is_power_times_time() -> None:
    curve = Curve([(0.0, 50_000.0), (10_000.0, 50_000.0)], 20_000)
    assert curve.after(0.0, 360.0) == pytest.approx(2_000.0)
    assert curve.seconds(0.0, 10_000.0) == pytest.approx(1_800.0)


def test_cars_are_as_different_as_they_come() -> None:
    cars = [draw_car(Dice(seed, "car")) for seed in range(300)]
    assert len({car.vin for car in cars}) == 300
    assert {len(car.vin) for car in cars} == {17}
    assert min(car.capacity_wh for car in cars) < 15_000 and max(car.capacity_wh for car in cars) > 100_000
    assert {car.battery_type for car in cars} == {3, TERNARY}
    assert all(60 <= car.soc_e1_pct <= 720 for car in cars)


# The tariff.


def test_energy_is_cut_exactly_where_the_half_hours_end() -> None:
    charge, clock = a_charge(), DeviceClock(ONE_HOUR_FROM_NOON + timedelta(minutes=20), 0.0)
    curve, begin = charge.curve, CAR.start_wh
    charge.advance(3_000.0, clock)
    marks = [curve.after(begin, seconds) - begin for seconds in (600.0, 2_400.0, 3_000.0)]
    parts = [int(mark * 10 + 1e-6) for mark in marks]
    # 12:20 to 12:30 is slot 24 (sharp), to 13:00 slot 25 (peak), to 13:10 slot 26 (flat).
    assert charge.energies_e4_kwh == (parts[0], parts[1] - parts[0], parts[2] - parts[1], 0)


def test_the_cut_follows_the_clock_of_the_pile() -> None:
    charge, fast = a_charge(), DeviceClock(ONE_HOUR_FROM_NOON + timedelta(minutes=20), 0.0, 1_000_000)
    charge.advance(300.0, fast)
    assert charge.energies_e4_kwh[1] == 0, "its clock goes twice as fast: 12:30 comes after 5 minutes"
    charge.advance(310.0, fast)
    assert charge.energies_e4_kwh[1] > 0


@given(
    st.lists(st.floats(0.01, 4_000.0), min_size=1, max_size=30),
    st.integers(-10_000, 10_000),
    st.integers(0, 86_399),
)
def test_however_often_it_is_looked_at_the_sum_is_the_same(
    steps: list[float], drift_ppm: int, begin_s: int
) -> None:
    begun_at = ONE_HOUR_FROM_NOON + timedelta(seconds=begin_s)
    often, once = a_charge(), a_charge()
    now, energies = 0.0, [0]
    for step in steps:
        now += step
        often.advance(now, DeviceClock(begun_at, 0.0, drift_ppm))
        energies.append(often.energy_e4_kwh)
    once.advance(now, DeviceClock(begun_at, 0.0, drift_ppm))
    assert energies == sorted(energies)
    for left, right in zip(often.energies_e4_kwh, once.energies_e4_kwh, strict=True):
        assert left == pytest.approx(right, abs=2)
    assert often.energy_e4_kwh == pytest.approx(once.energy_e4_kwh, abs=1)
    assert often.charged_s == pytest.approx(now)
    assert often.amount_e4_yuan == sum(often.amounts_e4_yuan)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_an_amount_is_rounded_half_up_in_integers(price: int, energy: int) -> None:
    assert abs(amount_e4_yuan(price, energy) * 100_000 - price * energy) <= 50_000
    assert amount_e4_yuan(50_000, 85_630) == 42_815, "8.5630 kWh at 0.50000 (YKC 1.6, 10.2)"


def test_times_of_the_day_are_those_of_china() -> None:
    assert day_ms(datetime(2026, 3, 1, 15, 59, 59, 999_600, tzinfo=UTC)) == 0
    assert day_ms(datetime(2026, 3, 1, 4, 30, tzinfo=UTC)) == (12 * 60 + 30) * 60_000
    assert ALTERNATING.rate_at(day_ms(datetime(2026, 3, 1, 4, 30, tzinfo=UTC))) == 1


@given(st.integers(1, 20_000), st.integers(0, 86_399), cars)
def test_the_room_left_is_what_the_balance_still_buys(balance_fen: int, begin_s: int, car: Car) -> None:
    charge = a_charge(car, balance_fen=balance_fen)
    clock = DeviceClock(ONE_HOUR_FROM_NOON + timedelta(seconds=begin_s), 0.0)
    for _ in range(200):
        if charge.is_full or charge.room_e4_kwh(clock) < 1:
            break
        charge.advance(charge.at + charge.seconds_to_look(clock), clock)
    else:
        raise AssertionError("it never ends")
    spent_e9 = sum(
        charge.tariff.price_e5_yuan(rate) * energy for rate, energy in enumerate(charge.energies_e4_kwh)
    )
    slack_e9 = 160_000 * 20 * 10  # 0.02 s of current at the highest price
    assert spent_e9 <= balance_fen * 10_000_000 + slack_e9
    if not charge.is_full:
        assert spent_e9 >= balance_fen * 10_000_000 - 160_000


def test_a_free_rate_costs_nothing_and_ends_nothing() -> None:
    free = HeldTariff("0100", ((0, 0),) * 4, 0, bytes(48))
    charge, clock = a_charge(tariff=free, balance_fen=1), DeviceClock(EPOCH, 0.0)
    charge.advance(600.0, clock)
    assert charge.energy_e4_kwh > 0 and charge.amount_e4_yuan == 0
    assert charge.room_e4_kwh(clock) == float("inf")


def test_a_record_adds_up() -> None:
    bench = charging()
    record = settled(bench)
    assert isinstance(record, TransactionRecord)
    rates = ("sharp", "peak", "flat", "valley")
    energies = [getattr(record, f"{name}_energy_e4_kwh") for name in rates]
    amounts = [getattr(record, f"{name}_amount_e4_yuan") for name in rates]
    prices = [getattr(record, f"{name}_price_e5_yuan") for name in rates]
    assert sum(energies) == record.total_energy_e4_kwh
    assert sum(amounts) == record.total_amount_e4_yuan
    assert prices == [160_000, 140_000, 120_000, 80_000]
    assert sum(energy > 0 for energy in energies) == 3, "a charge of an hour and a bit over three slots"
    for price, energy, amount in zip(prices, energies, amounts, strict=True):
        assert amount == amount_e4_yuan(price, energy)
