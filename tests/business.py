"""A small business in the open database: an operator, a station, a tariff and piles, to test with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pileward.services import operators, piles, stations, tariffs
from pileward.services.audit import Who
from pileward.services.piles import NewPile, PileView
from pileward.services.stations import NewStation, StationView
from pileward.services.tariffs import TariffTerms, TariffView
from pileward.values import RatePrice

NOW = datetime(2026, 3, 1, 4, 5, 6, 789_000, tzinfo=UTC)
PILE_CODE = "32010600019236"
SLOTS = "3" * 14 + "2" * 6 + "1" * 8 + "2" * 8 + "0" * 6 + "1" * 4 + "3" * 2


class Business(NamedTuple):
    """Who acts, and what there is."""

    who: Who
    station: StationView
    tariff: TariffView
    pile: PileView


def later(seconds: float) -> datetime:
    """A moment after NOW."""
    return NOW + timedelta(seconds=seconds)


def terms(energy_e5_yuan: int = 60_000, service_e5_yuan: int = 40_000, slots: str = SLOTS) -> TariffTerms:
    """Prices that fall from sharp to valley by 0.10 yuan of energy price."""
    sharp, peak, flat, valley = (
        RatePrice(energy_e5_yuan + step * 10_000, service_e5_yuan) for step in (3, 2, 1, 0)
    )
    return TariffTerms(sharp=sharp, peak=peak, flat=flat, valley=valley, slots=slots)


async def open_business(*, guns: int = 2) -> Business:
    """Make one of each in the open database."""
    operator = await operators.ensure_operator(NOW)
    who = Who(operator.id, "token:test", NOW)
    tariff = await tariffs.create_tariff(who, "标准", terms())
    station = await stations.add_station(
        who, NewStation(code="S1", name_zh="人民广场站", name_en="People's Square", tariff_id=tariff.id)
    )
    pile = await piles.add_pile(
        who,
        NewPile(
            pile_code=PILE_CODE, station_id=station.id, rated_power_w=120_000, name="1号桩", gun_count=guns
        ),
    )
    return Business(who, station, tariff, pile)


async def add_piles(business: Business, count: int) -> list[str]:
    """More piles at the station; returns their codes."""
    codes = [f"{32010600020000 + number}" for number in range(count)]
    for code in codes:
        await piles.add_pile(
            business.who, NewPile(pile_code=code, station_id=business.station.id, rated_power_w=60_000)
        )
    return codes
