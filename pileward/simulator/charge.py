"""One charge inside a pile: who asked for it, the car, the meter by rate, and how it ended.

A `Charge` is plain data and stands in the pile's memory from the accepted start until its record is made, so
neither a power cut nor a kill of the simulator loses one. Between two looks nothing happens: `advance` brings
the meter to a moment and cuts the energy where the half-hour slots of the tariff end (YKC 1.6, 计费模型).
"""

from __future__ import annotations

import enum
import math
from datetime import datetime
from typing import Final

import msgspec

from pileward.simulator.car import Car, curve_of
from pileward.simulator.curve import Curve
from pileward.simulator.device_clock import DeviceClock
from pileward.simulator.quirks import Quirk
from pileward.simulator.tariff import RATES, SLOT_MS, HeldTariff, amount_e4_yuan, day_ms

NO_CARD: Final = "0" * 16
E9_YUAN_A_FEN: Final = 10_000_000
_GRAIN: Final = 1e-6
"""What floats may lose on the way, in 1e-4 kWh or Wh."""
_SHORTEST_STEP_S: Final = 0.02
REMAINING_MAX_MIN: Final = 600


class StartType(enum.IntEnum):
    """How a charge was begun (YKC 1.6, 交易标识)."""

    APP = 1
    CARD = 2
    OFFLINE_CARD = 4
    VIN = 5


class Stage(enum.StrEnum):
    """How far a charge has come."""

    ASKED = "asked"
    """Accepted; charger and vehicle shake hands."""
    CHARGING = "charging"
    ENDED = "ended"
    """Over; the record is not made yet."""


class Charge(msgspec.Struct):
    """One charge; times are by the pile's own clock, `at` is monotonic time."""

    trade_no: str
    gun_no: int
    start_type: StartType
    card_no: str
    balance_fen: int
    tariff: HeldTariff
    """As it was at the start: a newer one is for the next charge."""
    car: Car
    cap_w: int
    is_ac: bool
    meter_start_e4_kwh: int
    asked_at: datetime
    at: float
    """Up to when the meter is right; set anew when the memory is loaded."""
    quirks: list[Quirk] = []
    handshake_s: float = 0.0
    record_after_s: float = 0.0
    surprise_s: float | None = None
    """After so many seconds of charging something ends it; None: nothing does."""
    idle_at: int = 0
    """The periodic report that says "idle", and the next one with it; 0: none."""
    stage: Stage = Stage.ASKED
    given_wh: float = 0.0
    energies_e4_kwh: tuple[int, ...] = (0,) * RATES
    """By rate: sharp, peak, flat, valley."""
    charged_s: float = 0.0
    reports: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stop_code: int = 0

    @property
    def energy_e4_kwh(self) -> int:
        """What the meter counted, 1e-4 kWh."""
        return sum(self.energies_e4_kwh)

    @property
    def amounts_e4_yuan(self) -> tuple[int, ...]:
        """Money by rate, 1e-4 yuan, each rounded for itself."""
        return tuple(
            amount_e4_yuan(self.tariff.price_e5_yuan(rate), energy)
            for rate, energy in enumerate(self.energies_e4_kwh)
        )

    @property
    def amount_e4_yuan(self) -> int:
        """Money so far, 1e-4 yuan."""
        return sum(self.amounts_e4_yuan)

    @property
    def curve(self) -> Curve:
        """How this car charges at this pile."""
        return curve_of(self.car, self.cap_w, self.is_ac)

    @property
    def filled_wh(self) -> float:
        """What is in the battery now."""
        return self.car.start_wh + self.given_wh

    @property
    def is_full(self) -> bool:
        """Whether the battery takes no more."""
        return self.filled_wh >= self.curve.full_wh - _GRAIN

    @property
    def soc_pct(self) -> int:
        """State of charge, whole percent."""
        return 100 if self.is_full else self.car.soc_pct(self.filled_wh)

    @property
    def volts(self) -> float:
        """Output voltage."""
        return 220.0 if self.is_ac else self.car.volts(self.filled_wh)

    @property
    def amps(self) -> float:
        """Output current, 0 when nothing flows."""
        if self.stage is not Stage.CHARGING:
            return 0.0
        return self.curve.power_w(self.filled_wh) / self.volts

    @property
    def minutes(self) -> int:
        """Whole minutes charged."""
        return int(self.charged_s // 60)

    @property
    def minutes_left(self) -> int:
        """Minutes to a full battery."""
        left_s = self.curve.seconds(self.filled_wh, self.curve.full_wh)
        return min(REMAINING_MAX_MIN, math.ceil(left_s / 60))

    @property
    def temp_c(self) -> int:
        """Hottest point of the battery: warmer the longer and the harder it is charged."""
        return self.car.temp_c + min(18, int(self.charged_s / 180)) + min(6, int(self.amps / 60))

    def has(self, quirk: Quirk) -> bool:
        """Whether this charge is odd in this way."""
        return quirk in self.quirks

    def advance(self, now: float, clock: DeviceClock) -> None:
        """Bring the meter to `now`, cut at each slot that ended meanwhile."""
        if self.stage is not Stage.CHARGING:
            self.at = max(self.at, now)
            return
        while self.at < now:
            of_day = day_ms(clock.read(self.at))
            slot_end = self.at + clock.seconds((SLOT_MS - of_day % SLOT_MS) / 1000)
            step_end = min(now, max(slot_end, self.at + 1e-3))
            self._count(step_end - self.at, self.tariff.rate_at(of_day))
            self.at = step_end

    def _count(self, seconds: float, rate: int) -> None:
        before = self.filled_wh
        self.given_wh += self.curve.after(before, seconds) - before
        self.charged_s += seconds
        gained = int(self.given_wh * 10 + _GRAIN) - self.energy_e4_kwh
        self.energies_e4_kwh = tuple(
            energy + (gained if index == rate else 0) for index, energy in enumerate(self.energies_e4_kwh)
        )

    def room_e4_kwh(self, clock: DeviceClock) -> float:
        """What may still be counted in the present rate before the balance is used up; infinite if free."""
        price = self.tariff.price_e5_yuan(self.tariff.rate_at(day_ms(clock.read(self.at))))
        if price == 0:
            return math.inf
        spent = sum(
            self.tariff.price_e5_yuan(rate) * energy for rate, energy in enumerate(self.energies_e4_kwh)
        )
        return (self.balance_fen * E9_YUAN_A_FEN - spent) // price

    def seconds_to_look(self, clock: DeviceClock) -> float:
        """How long nothing decisive can happen: full, spent, the next slot, or a surprise."""
        curve, filled = self.curve, self.filled_wh
        of_day = day_ms(clock.read(self.at))
        waits = [
            curve.seconds(filled, curve.full_wh),
            clock.seconds((SLOT_MS - of_day % SLOT_MS) / 1000),
        ]
        if self.surprise_s is not None:
            waits.append(self.surprise_s - self.charged_s)
        room = self.room_e4_kwh(clock)
        if not self.has(Quirk.OVERSPENDS) and math.isfinite(room):
            waits.append(curve.seconds(filled, filled + max(0.0, room) / 10))
        return max(_SHORTEST_STEP_S, min(waits))
