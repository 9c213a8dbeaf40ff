"""The billing model inside a pile, and what it makes of energy: all in integers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from pileward.values import CHINA

BLANK_MODEL_NO: Final = "0000"
"""What a pile that never had a tariff sends as its model number (YKC 1.6, 0x05)."""
RATES: Final = 4
SLOT_MS: Final = 30 * 60 * 1000
DAY_MS: Final = 24 * 60 * 60 * 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ZONE_MS: Final = 8 * 60 * 60 * 1000
assert CHINA.utcoffset(None) == timedelta(milliseconds=_ZONE_MS)


class HeldTariff(msgspec.Struct, frozen=True):
    """The billing model in a pile, as it came: prices in 1e-5 yuan/kWh, energy and service by rate."""

    billing_model_no: str
    prices_e5_yuan: tuple[tuple[int, int], ...]
    loss_ratio: int
    slots: bytes
    """48 rate numbers, one for each half hour."""

    def price_e5_yuan(self, rate: int) -> int:
        """What one kWh costs in this rate, 1e-5 yuan; 0 for a rate without a price."""
        return sum(self.prices_e5_yuan[rate]) if rate < len(self.prices_e5_yuan) else 0

    def rate_at(self, day_ms: int) -> int:
        """The rate in force at this time of the day."""
        rate = self.slots[day_ms // SLOT_MS % len(self.slots)] if self.slots else 0
        return min(rate, RATES - 1)


def day_ms(reading: datetime) -> int:
    """Milliseconds since midnight in China for an aware time, to the nearest one."""
    micros = (reading - _EPOCH) // _MICROSECOND
    return ((micros + 500) // 1000 + _ZONE_MS) % DAY_MS


def amount_e4_yuan(price_e5_yuan: int, energy_e4_kwh: int) -> int:
    """Price times energy, rounded half up to 1e-4 yuan as a pile does for each rate (YKC 1.6, 0x3B)."""
    return (price_e5_yuan * energy_e4_kwh + 50_000) // 100_000
