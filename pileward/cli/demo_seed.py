"""What the demo's database begins with: two stations, their tariffs, and piles of several sizes."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pileward.models.kinds import PileKind
from pileward.services import operators, piles, stations, tariffs
from pileward.services.audit import Who
from pileward.services.piles import NewPile
from pileward.services.stations import NewStation
from pileward.services.tariffs import TariffTerms
from pileward.values import RatePrice

FIRST_CODE: Final = "32010600010001"
PILES: Final = 22
GUNS: Final = 2

DAY: Final = TariffTerms(
    sharp=RatePrice(125_000, 40_000),
    peak=RatePrice(98_000, 40_000),
    flat=RatePrice(68_000, 40_000),
    valley=RatePrice(32_000, 35_000),
    slots="3" * 16 + "2" * 4 + "1" * 4 + "2" * 6 + "1" * 6 + "0" * 4 + "1" * 4 + "2" * 2 + "3" * 2,
)
ONE_PRICE: Final = TariffTerms(
    *(RatePrice(80_000, 30_000),) * 4,
    slots="2" * 48,
)
STATIONS: Final = (
    (
        NewStation("S001", "滨江超充站", "Riverside superchargers", "杭州市滨江区江南大道 1 号"),
        "分时电价",
        DAY,
        12,
    ),
    (
        NewStation("S002", "西湖文化广场站", "West Lake plaza", "杭州市拱墅区中山北路 2 号"),
        "一口价",
        ONE_PRICE,
        10,
    ),
)


async def seed(now: datetime) -> None:
    """Fill an empty database; one that has stations already is left as it is."""
    operator = await operators.ensure_operator(now)
    who = Who(operator.id, "system", now)
    if (await stations.list_stations(operator.id, limit=1)).items:
        return
    number = int(FIRST_CODE)
    for new, tariff_name, terms, count in STATIONS:
        tariff = await tariffs.create_tariff(who, tariff_name, terms)
        station = await stations.add_station(who, new)
        await stations.change_station(who, station.id, stations.StationChange(tariff_id=tariff.id))
        for place in range(1, count + 1):
            await piles.add_pile(who, _pile(f"{number:014d}", station.id, place))
            number += 1


def _pile(code: str, station_id: int, place: int) -> NewPile:
    power_w = (240_000, 120_000, 120_000, 60_000)[place % 4]
    return NewPile(
        pile_code=code,
        station_id=station_id,
        rated_power_w=power_w,
        name=f"{place} 号桩",
        kind=PileKind.DC,
        gun_count=GUNS,
    )
