"""Stations and guns over the driver API: near ones first, what is free, what it costs, codes as scanned."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pileward.http.driver.stations import find_place
from tests.drivers import Market, Rider
from tests.nodes import CODES

HERE = {"latitude_e6": 32_060_000, "longitude_e6": 118_790_000}
AROUND = [("near", 32_061_000, 118_790_000), ("far", 32_300_000, 118_790_000), ("nowhere", None, None)]


async def add_stations(market: Market) -> None:
    """Three more stations around Nanjing, one of them without a position; the first is one kilometre off."""
    await market.staff(
        "PATCH", "/stations/1", {"latitude_e6": 32_069_000, "longitude_e6": 118_790_000, "phone": "025-1"}
    )
    for code, latitude, longitude in AROUND:
        new = {"code": code, "name_zh": code, "latitude_e6": latitude, "longitude_e6": longitude}
        await market.staff("POST", "/stations", new, 201)


async def listed(rider: Rider, **query: Any) -> Any:
    """A page of stations."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return await rider("GET", f"/stations?{text}")


async def test_the_nearest_station_comes_first(market: Market) -> None:
    await add_stations(market)
    rider = await market.rider("anna")
    rows = (await listed(rider, **HERE))["items"]
    assert [row["code"] for row in rows] == ["near", "S1", "far", "nowhere"]
    assert [row["distance_m"] for row in rows] == [111, 1001, 26687, None]
    assert rows[1]["price"] == {
        "total_e5_yuan": 130_000,
        "electricity_e5_yuan": 100_000,
        "service_e5_yuan": 30_000,
        "rate": "peak",
        "rate_zh": "峰",
    }
    assert rows[0]["price"] is None
    assert rows[1]["dc"] == {"free": 0, "total": 6}
    assert rows[1]["ac"] == {"free": 0, "total": 0}


async def test_the_list_goes_on_where_it_ended(market: Market) -> None:
    await add_stations(market)
    rider = await market.rider("anna")
    codes, cursor = [], ""
    while True:
        page = await listed(rider, **HERE, limit=1, **({"cursor": cursor} if cursor else {}))
        codes += [row["code"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert codes == ["near", "S1", "far", "nowhere"]
    assert [row["code"] for row in (await listed(rider, limit=2))["items"]] == ["S1", "near"]
    assert (await rider("GET", "/stations?cursor=zzz", status=400))["code"] == "bad_cursor"
    problem = await rider("GET", "/stations?latitude_e6=1", status=400)
    assert problem["detail"] == {"field": "longitude_e6", "where": "query"}


async def test_a_closed_station_is_not_offered(market: Market) -> None:
    await market.staff("PATCH", "/stations/1", {"is_open": False})
    rider = await market.rider("anna")
    assert (await listed(rider))["items"] == []
    assert (await rider("GET", "/stations/1"))["station"]["is_open"] is False


async def test_one_station_with_its_guns_and_prices(market: Market) -> None:
    await market.plugged(CODES[0])
    own = await market.staff("POST", "/tariffs", {"name": "夜间", "terms": {**TERMS, "slots": "3" * 48}}, 201)
    await market.staff("POST", f"/tariffs/{own['id']}/assign", {"pile_codes": [CODES[1]]})
    rider = await market.rider("anna")
    shown = await rider("GET", "/stations/1")
    periods = [(row["begins"], row["ends"], row["price"]["rate"]) for row in shown["prices"]["periods"]]
    assert periods == [("00:00", "07:00", "valley"), ("07:00", "18:00", "peak"), ("18:00", "24:00", "flat")]
    assert [row["is_now"] for row in shown["prices"]["periods"]] == [False, True, False]
    assert shown["prices"]["next_change_at"] == "2026-03-01T10:00:00Z"
    guns = {gun["gun_code"]: gun for gun in shown["guns"]}
    assert len(guns) == 6
    first = guns[f"{CODES[0]}01"]
    assert (first["state"], first["state_zh"], first["can_order"]) == ("plugged", "已插枪", True)
    assert first["prices"] is None
    assert guns[f"{CODES[0]}02"]["state"] == "idle"
    away = guns[f"{CODES[1]}01"]
    assert (away["can_order"], away["prices"]["now"]["rate"]) == (False, "valley")
    assert shown["station"]["dc"] == {"free": 2, "total": 6}
    assert (await rider("GET", "/stations/77", status=404))["code"] == "station_not_found"


TERMS = {
    rate: {"energy_e5_yuan": price, "service_e5_yuan": 30_000}
    for rate, price in (("sharp", 120_000), ("peak", 100_000), ("flat", 70_000), ("valley", 40_000))
}


SCANNED = [
    (f"{CODES[0]}01", 1),
    (f"  {CODES[0]}02 ", 2),
    (f"https://qr.example/{CODES[0]}02", 2),
    (f"https://qr.example/{CODES[0]}02/", 2),
    (f"https://qr.example/c?no={CODES[0]}01", 1),
    (f"weixin{CODES[0]}01", 1),
    (f"{CODES[0]}01?from=poster", None),
    (f"{CODES[0]}03", None),
    (f"{CODES[0]}00", None),
    (CODES[0], None),
    ("3201060000000999901", None),
    ("01", None),
    ("桩", None),
    ("?", None),
]
"""What a telephone reads, and the gun it means."""


async def test_codes_as_they_are_scanned(market: Market) -> None:
    rider = await market.rider("anna")
    for text, gun_no in SCANNED:
        path = f"/guns/by-code?text={quote(text, safe='')}"
        told = await rider("GET", path, status=200 if gun_no is not None else 404)
        if gun_no is None:
            assert (told["code"], told["detail"]["next"]) == ("gun_not_found", "scan_again"), text
            continue
        assert (told["gun"]["pile_code"], told["gun"]["gun_no"]) == (CODES[0], gun_no), text
        assert told["station"]["code"] == "S1"
        assert told["prices"]["now"]["rate"] == "peak"


async def test_a_pile_with_one_gun_needs_no_gun_number(market: Market) -> None:
    new = {
        "pile_code": "32010600000077",
        "station_id": 1,
        "rated_power_w": 7_000,
        "gun_count": 1,
        "kind": "ac",
    }
    await market.staff("POST", "/piles", new, 201)
    place = await find_place(market.who.operator_id, "https://qr.example/32010600000077")
    assert (place.pile.pile_code, place.gun_no) == ("32010600000077", 1)
