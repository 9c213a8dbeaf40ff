"""Cars: a battery, what it can take, and how it introduces itself to a DC charger (GB/T 27930)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from pileward.simulator.curve import Curve
from pileward.simulator.dice import Dice

_VIN_LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
"""A VIN has no I, O or Q."""
LITHIUM_IRON_PHOSPHATE: Final = 3
TERNARY: Final = 6

_MODELS: Final = (
    # weight  kWh   V empty  V full   A   knee %  AC W    battery                 maker of the VIN
    (14.0,   (13,   118,     148,     40,   75,   3_300,  LITHIUM_IRON_PHOSPHATE, "LSV")),  # a city car
    (22.0,   (42,   300,     390,    120,   70,   6_600,  LITHIUM_IRON_PHOSPHATE, "LGX")),
    (26.0,   (60,   310,     400,    180,   68,   7_000,  LITHIUM_IRON_PHOSPHATE, "LRW")),
    (18.0,   (77,   330,     410,    230,   62,   7_000,  TERNARY,                "LVS")),
    (8.0,    (100,  560,     730,    350,   60,   11_000, TERNARY,                "LNB")),  # 800 V
    (8.0,    (53,   290,     370,    110,   80,   7_000,  LITHIUM_IRON_PHOSPHATE, "LB3")),  # a taxi
    (4.0,    (140,  480,     620,    200,   80,   7_000,  LITHIUM_IRON_PHOSPHATE, "LZY")),  # a van
)  # fmt: skip

TAPER_TO: Final = 0.08
"""What is left of the current when the battery is full."""
AC_KNEE_PCT: Final = 97
AC_TAPER_TO: Final = 0.3


class Car(msgspec.Struct, frozen=True):
    """One car at one gun; energies are as the charger sees them, losses included."""

    vin: str
    capacity_wh: int
    """From empty to full."""
    soc_e1_pct: int
    """When it was plugged in."""
    empty_e1_v: int
    full_e1_v: int
    amps_e1_a: int
    """Highest charging current."""
    knee_pct: int
    """From this state of charge on the current falls."""
    ac_w: int
    """What its own charger takes from an AC pile."""
    battery_type: int
    cycles: int
    made: tuple[int, int, int]
    """Year, month, day of the battery."""
    pack_no: str
    """8 hexadecimal digits."""
    temp_c: int
    """Of the battery, when it was plugged in."""

    @property
    def start_wh(self) -> float:
        """What is in the battery when it is plugged in."""
        return self.capacity_wh * self.soc_e1_pct / 1000

    def volts(self, energy_wh: float) -> float:
        """The voltage of the pack at this filling."""
        share = min(1.0, energy_wh / self.capacity_wh)
        return (self.empty_e1_v + (self.full_e1_v - self.empty_e1_v) * share) / 10

    def soc_pct(self, energy_wh: float) -> int:
        """The state of charge at this filling, whole percent."""
        return min(100, int(100 * energy_wh / self.capacity_wh + 1e-6))


@lru_cache(maxsize=20_000)
def curve_of(car: Car, cap_w: int, is_ac: bool) -> Curve:
    """How this car charges where at most `cap_w` can be had.

    DC: constant current up to the knee, the voltage rising, then a falling current. AC: the car's own
    charger, nearly to the end.
    """
    if is_ac:
        knee = car.capacity_wh * AC_KNEE_PCT / 100
        return Curve([(0.0, car.ac_w), (knee, car.ac_w), (car.capacity_wh, car.ac_w * AC_TAPER_TO)], cap_w)
    amps = car.amps_e1_a / 10
    knee = car.capacity_wh * car.knee_pct / 100
    points = [(energy, amps * car.volts(energy)) for energy in (0.0, knee)]
    return Curve([*points, (float(car.capacity_wh), amps * TAPER_TO * car.full_e1_v / 10)], cap_w)


def draw_car(dice: Dice) -> Car:
    """Draw a car as it comes to a public station: rather empty than full."""
    kwh, empty, full, amps, knee, ac_w, battery_type, maker = dice.weighted(_CHOICES)
    health = dice.between(0.85, 1.0)
    letters = "".join(dice.pick(_VIN_LETTERS) for _ in range(8))
    return Car(
        vin=f"{maker}{letters}{dice.below(10**6):06d}",
        capacity_wh=round(kwh * 1000 * health),
        soc_e1_pct=round(1000 * dice.between(0.06, 0.72)),
        empty_e1_v=empty * 10,
        full_e1_v=full * 10,
        amps_e1_a=round(amps * 10 * dice.between(0.7, 1.0)),
        knee_pct=min(95, knee + dice.below(10)),
        ac_w=ac_w,
        battery_type=battery_type,
        cycles=dice.below(1_500),
        made=(2018 + dice.below(8), 1 + dice.below(12), 1 + dice.below(28)),
        pack_no=dice.data(4).hex().upper(),
        temp_c=8 + dice.below(25),
    )


_CHOICES: Final = tuple((model, weight) for weight, model in _MODELS)
