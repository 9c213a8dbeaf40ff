"""Ranges for what piles say: a value outside becomes None and is named as a problem, the rest counts.

The limits are wide: they are there to stop nonsense, not to judge a charge (that is the business of
settlement).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pileward.values import CHINA, GUNS_MAX, SOC_MAX_PCT

VOLTAGE_MAX_E1_V: Final = 15_000
"""1,500 V: the most of GB/T 20234 and GB/T 27930."""
CURRENT_MAX_E1_A: Final = 15_000
CELL_VOLTAGE_MAX_E2_V: Final = 2_400
"""24 V: range of the field in GB/T 27930."""
ENERGY_MAX_E4_KWH: Final = 5_000_0000
"""5,000 kWh in one charge."""
AMOUNT_MAX_E4_YUAN: Final = 100_000_0000
MINUTES_MAX: Final = 7 * 24 * 60
TEMP_MIN_C: Final = -50
TEMP_MAX_C: Final = 200
SOC_MAX_E1_PCT: Final = 10 * SOC_MAX_PCT
NO_CURRENT_E1_A: Final = -4000
"""What a raw 0 becomes in fields with an offset: nothing was sent (YKC 1.6, AC piles and idle frames)."""
EARLIEST: Final = datetime(2018, 1, 1, tzinfo=CHINA)
"""Before the first version of the protocol no pile can have recorded anything."""


def is_gun_no(number: int | None) -> bool:
    """Tell whether a pile can have a gun with this number."""
    return number is not None and 1 <= number <= GUNS_MAX


class Checked:
    """Values of one frame on their way into a message; collects what was implausible."""

    __slots__ = ("_problems",)

    def __init__(self) -> None:
        self._problems: list[str] = []

    @property
    def problems(self) -> tuple[str, ...]:
        """Name and value as sent of everything that was left out."""
        return tuple(self._problems)

    def refuse(self, name: str, value: object) -> None:
        """Note that a value was left out."""
        self._problems.append(f"{name}={value}")

    def upto(self, name: str, value: int | None, most: int, factor: int = 1) -> int | None:
        """A value from 0 to `most`, times `factor`."""
        if value is None or 0 <= value <= most:
            return None if value is None else value * factor
        self.refuse(name, value)
        return None

    def voltage_mv(self, name: str, e1_v: int | None) -> int | None:
        """A voltage in 0.1 V as mV."""
        return self.upto(name, e1_v, VOLTAGE_MAX_E1_V, 100)

    def current_ma(self, name: str, e1_a: int) -> int | None:
        """A signed current in 0.1 A as mA into the vehicle; the sign is dropped, piles send it either way."""
        if e1_a == NO_CURRENT_E1_A:
            return None
        return self.upto(name, abs(e1_a), CURRENT_MAX_E1_A, 100)

    def temp_c(self, name: str, value: int | None) -> int | None:
        """A temperature in °C."""
        if value is None or TEMP_MIN_C <= value <= TEMP_MAX_C:
            return value
        self.refuse(name, value)
        return None

    def time(self, name: str, moment: datetime | None) -> datetime | None:
        """A time as UTC; what the wire calls no time, or what is no date, is a problem as well."""
        if moment is not None and moment >= EARLIEST:
            return moment.astimezone(UTC)
        self.refuse(name, None if moment is None else moment.isoformat())
        return None
