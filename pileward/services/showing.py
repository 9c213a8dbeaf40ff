"""What of stations is shown on the public page."""

from __future__ import annotations

import msgspec

from pileward.models.stations import Station


class ShownStation(msgspec.Struct, frozen=True):
    """What everybody may know of a station."""

    station_id: int
    code: str
    name_zh: str
    name_en: str
    address: str


async def shown_stations() -> dict[int, ShownStation]:
    """Every station by id, in the order of their ids."""
    rows = await Station.all().order_by("id").values_list("id", "code", "name_zh", "name_en", "address")
    return {row[0]: ShownStation(*row) for row in rows}
