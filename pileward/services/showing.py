"""What of stations is shown on the public page."""

from __future__ import annotations

from pileward.models.stations import Station


async def shown_stations() -> dict[int, tuple[str, str]]:
    """Name and address of every station, by id."""
    rows = await Station.all().order_by("id").values_list("id", "name_zh", "address")
    return {station_id: (name, address) for station_id, name, address in rows}
