"""The price table of a day: joined periods, the present one marked, what comes next, versions in between."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pileward.services.day_prices import DayPrices, day_prices, price_now
from pileward.services.tariffs import TariffTerms, TariffView, VersionView
from pileward.values import CHINA, RatePrice

SLOTS = "3" * 14 + "1" * 10 + "2" * 8 + "0" * 4 + "1" * 6 + "3" * 6
"""Valley to 7, peak to 12, flat to 16, sharp to 18, peak to 21, valley."""


def terms(slots: str = SLOTS, dearer_e5: int = 0) -> TariffTerms:
    """Prices in steps of 0.10 yuan."""
    sharp, peak, flat, valley = (
        RatePrice(40_000 + step * 10_000 + dearer_e5, 30_000) for step in (3, 2, 1, 0)
    )
    return TariffTerms(sharp=sharp, peak=peak, flat=flat, valley=valley, slots=slots)


def china(hour: int, minute: int = 0, second: int = 0, day: int = 2) -> datetime:
    """A moment of a day in China, in UTC."""
    return datetime(2026, 3, day, hour, minute, second, tzinfo=CHINA).astimezone(UTC)


def version(number: int, what: TariffTerms, since: datetime) -> VersionView:
    """A version in force from a moment on."""
    return VersionView(number, f"{number:04d}", what, since, since)


def tariff(
    current: TariffTerms | None = None, planned: tuple[TariffTerms, datetime] | None = None
) -> TariffView:
    """A tariff with what is in force and what is to follow."""
    return TariffView(
        1,
        "标准",
        version(1, current or terms(), china(0, day=1)),
        version(2, *planned) if planned is not None else None,
    )


def today(view: TariffView, now: datetime) -> DayPrices:
    """Its table."""
    shown = day_prices(view, now)
    assert shown is not None
    return shown


def rows(shown: DayPrices) -> list[tuple[str, str, str]]:
    """Periods in short."""
    return [(period.begins, period.ends, period.price.rate) for period in shown.periods]


def test_half_hours_of_one_price_are_one_period() -> None:
    assert rows(today(tariff(), china(10))) == [
        ("00:00", "07:00", "valley"),
        ("07:00", "12:00", "peak"),
        ("12:00", "16:00", "flat"),
        ("16:00", "18:00", "sharp"),
        ("18:00", "21:00", "peak"),
        ("21:00", "24:00", "valley"),
    ]


@pytest.mark.parametrize(
    ("now", "begins", "next_at", "next_rate"),
    [
        (china(0), "00:00", china(7), "peak"),
        (china(6, 59, 59), "00:00", china(7), "peak"),
        (china(7), "07:00", china(12), "flat"),
        (china(17, 31), "16:00", china(18), "peak"),
        (china(23, 59), "21:00", china(7, day=3), "peak"),
    ],
)
def test_the_present_period_and_the_next_change(
    now: datetime, begins: str, next_at: datetime, next_rate: str
) -> None:
    shown = today(tariff(), now)
    assert [period.begins for period in shown.periods if period.is_now] == [begins]
    assert shown.next_change_at == next_at
    assert shown.next_price is not None
    assert shown.next_price.rate == next_rate


def test_the_total_is_the_sum_of_its_parts() -> None:
    price = price_now(tariff(), china(17))
    assert price is not None
    assert (price.total_e5_yuan, price.electricity_e5_yuan, price.service_e5_yuan) == (
        100_000,
        70_000,
        30_000,
    )
    assert (price.rate, price.rate_zh) == ("sharp", "尖")


def test_one_price_all_day_never_changes() -> None:
    shown = today(tariff(terms("2" * 48)), china(15))
    assert rows(shown) == [("00:00", "24:00", "flat")]
    assert (shown.next_change_at, shown.next_price) == (None, None)


def test_a_version_that_comes_today_cuts_the_day() -> None:
    shown = today(tariff(terms("2" * 48), (terms("2" * 48, 5_000), china(14, 10))), china(9))
    assert rows(shown) == [("00:00", "14:10", "flat"), ("14:10", "24:00", "flat")]
    assert [period.price.total_e5_yuan for period in shown.periods] == [80_000, 85_000]
    assert shown.next_change_at == china(14, 10)
    assert shown.next_price is not None
    assert shown.next_price.total_e5_yuan == 85_000


def test_a_version_that_comes_later_is_the_next_change() -> None:
    shown = today(tariff(terms("2" * 48), (terms("1" * 48), china(0, day=20))), china(9))
    assert rows(shown) == [("00:00", "24:00", "flat")]
    assert shown.next_change_at == china(0, day=20)


def test_a_version_that_changes_nothing_is_no_change() -> None:
    shown = today(tariff(terms("2" * 48), (terms("2" * 48), china(14))), china(9))
    assert rows(shown) == [("00:00", "24:00", "flat")]
    assert shown.next_change_at is None


def test_before_the_first_version_there_is_no_price() -> None:
    view = TariffView(1, "标准", None, version(1, terms(), china(0, day=9)))
    assert day_prices(view, china(9)) is None
    assert price_now(view, china(9)) is None
