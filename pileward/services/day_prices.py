"""The price table of one day: what a driver pays when, and when it changes next. Pure functions on tariffs.

A day is a China day. Where a planned version comes into force within it, the rest of the day is by that one;
hours that are over are shown by the version that is in force now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from pileward.services.tariffs import TariffTerms, TariffView
from pileward.values import CHINA, RATE_NAMES_ZH, SLOT_MINUTES, SLOTS_A_DAY, Rate, RatePrice

_SLOT = timedelta(minutes=SLOT_MINUTES)
_DAY = timedelta(days=1)


class Price(msgspec.Struct, frozen=True):
    """What one kWh costs, 1e-5 yuan: the total first, then its two parts."""

    total_e5_yuan: int
    electricity_e5_yuan: int
    service_e5_yuan: int
    rate: str
    """sharp, peak, flat or valley."""
    rate_zh: str


class Period(msgspec.Struct, frozen=True):
    """A stretch of the day with one price."""

    begins: str
    """China time, "07:00"."""
    ends: str
    """China time, "24:00" at the end of the day."""
    begins_at: datetime
    ends_at: datetime
    price: Price
    is_now: bool


class DayPrices(msgspec.Struct, frozen=True):
    """The prices of today."""

    now: Price
    periods: list[Period]
    next_change_at: datetime | None
    """When the price changes next; null: never, as far as is planned."""
    next_price: Price | None


class _Terms:
    """The versions of a tariff over time."""

    def __init__(self, tariff: TariffView) -> None:
        assert tariff.current is not None
        self._current = tariff.current.terms
        self._planned = tariff.planned.terms if tariff.planned is not None else None
        self.changes_at = tariff.planned.effective_at if tariff.planned is not None else None

    def price_at(self, moment: datetime) -> Price:
        is_planned = self.changes_at is not None and moment >= self.changes_at
        terms = self._planned if is_planned and self._planned is not None else self._current
        local = moment.astimezone(CHINA)
        rate = Rate(int(terms.slots[(local.hour * 60 + local.minute) // SLOT_MINUTES]))
        return price_of(rate, _rate_price(terms, rate))

    def stretches(self, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, Price]]:
        """From slot to slot, cut where the version changes; not yet joined."""
        at = begin
        while at < end:
            local = at.astimezone(CHINA)
            into = timedelta(minutes=local.minute % SLOT_MINUTES, seconds=local.second)
            following = min(at - into - timedelta(microseconds=local.microsecond) + _SLOT, end)
            if self.changes_at is not None and at < self.changes_at < following:
                following = self.changes_at
            yield at, following, self.price_at(at)
            at = following


def day_prices(tariff: TariffView, now: datetime) -> DayPrices | None:
    """The prices of the China day of `now`; None for a tariff of which no version is in force yet."""
    if tariff.current is None:
        return None
    terms = _Terms(tariff)
    midnight = now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight.astimezone(now.tzinfo)
    periods: list[Period] = []
    for starts, ends, price in terms.stretches(begin, begin + _DAY):
        if periods and periods[-1].price == price:
            starts = periods.pop().begins_at  # noqa: PLW2901 - the stretch before and this one are one
        is_now = starts <= now < ends
        periods.append(Period(_local(starts), _local(ends, begin + _DAY), starts, ends, price, is_now))
    price = terms.price_at(now)
    changes_at = _next_change(terms, now)
    following = terms.price_at(changes_at) if changes_at is not None else None
    return DayPrices(price, periods, changes_at, following)


def price_now(tariff: TariffView, now: datetime) -> Price | None:
    """What one kWh costs `now`; None for a tariff of which no version is in force yet."""
    return _Terms(tariff).price_at(now) if tariff.current is not None else None


def price_of(rate: Rate, price: RatePrice) -> Price:
    """A price as it is shown."""
    return Price(
        total_e5_yuan=price.total_e5_yuan,
        electricity_e5_yuan=price.energy_e5_yuan,
        service_e5_yuan=price.service_e5_yuan,
        rate=rate.name.lower(),
        rate_zh=RATE_NAMES_ZH[rate],
    )


def _next_change(terms: _Terms, now: datetime) -> datetime | None:
    """When another price comes: within a day of slots, or with the planned version."""
    price = terms.price_at(now)
    for starts, _, other in terms.stretches(now, now + SLOTS_A_DAY * _SLOT + _SLOT):
        if other != price:
            return starts
    changes_at = terms.changes_at
    if changes_at is None or changes_at <= now:
        return None
    return next(
        (starts for starts, _, other in terms.stretches(changes_at, changes_at + _DAY) if other != price),
        None,
    )


def _rate_price(terms: TariffTerms, rate: Rate) -> RatePrice:
    return terms.prices[rate]


def _local(moment: datetime, midnight: datetime | None = None) -> str:
    """Hour and minute in China; the end of the day is 24:00."""
    return "24:00" if moment == midnight else moment.astimezone(CHINA).strftime("%H:%M")
