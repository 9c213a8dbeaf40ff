"""What the driver API asks of the database, on both: keys of requests, stations nearby, balances."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from pileward.errors import InvalidError
from pileward.models.database import Database
from pileward.services import idempotency, nearby, stations
from pileward.services.balance_sheet import balance_sheet
from pileward.services.drivers import login_driver
from pileward.services.idempotency import Begun, Kept, Reused, begin, finish, forget_keys
from pileward.services.ledger import Movement, post, prepaid_account, revenue_account
from pileward.services.stations import NewStation
from tests.business import NOW, PILE_CODE, open_business

ONE, OTHER = "a" * 64, "b" * 64


async def test_a_key_is_begun_finished_and_kept(database: Database) -> None:
    assert await begin(1, "key-1", ONE, NOW) == Begun(is_first=True)
    assert await begin(1, "key-1", ONE, NOW) == Begun(is_first=False)
    assert await begin(1, "key-1", OTHER, NOW) == Reused()
    await finish(1, "key-1", 201, '{"a":1}')
    await finish(1, "key-1", 409, "never this")
    assert await begin(1, "key-1", ONE, NOW) == Kept(201, '{"a":1}')
    assert await begin(1, "key-1", OTHER, NOW) == Reused()
    assert await begin(2, "key-1", OTHER, NOW) == Begun(is_first=True)


async def test_of_many_at_once_one_is_first(database: Database) -> None:
    async def take() -> bool:
        async with database.transaction():
            found = await begin(1, "key-1", ONE, NOW)
        assert isinstance(found, Begun)
        return found.is_first

    firsts = await asyncio.gather(*(take() for _ in range(8)))
    assert sorted(firsts) == [False] * 7 + [True]


async def test_old_keys_are_forgotten(database: Database) -> None:
    await begin(1, "old", ONE, NOW - idempotency.KEPT_FOR - timedelta(seconds=1))
    await begin(1, "new", ONE, NOW)
    assert await forget_keys(NOW) == 1
    assert await begin(1, "old", OTHER, NOW) == Begun(is_first=True)
    assert await begin(1, "new", ONE, NOW) == Begun(is_first=False)


async def test_stations_by_distance(database: Database) -> None:
    business = await open_business()
    places = {
        "north": (32_100_000, 118_790_000),
        "here": (32_060_000, 118_790_000),
        "far": (-10, 179_999_999),
    }
    for code, (latitude, longitude) in places.items():
        new = NewStation(code=code, name_zh=code, latitude_e6=latitude, longitude_e6=longitude)
        await stations.add_station(business.who, new)
    here = (32_060_000, 118_790_000)
    found = await nearby.stations_near(business.who.operator_id, here, limit=2)
    assert [(item.station.code, item.distance_m) for item in found.items] == [("here", 0), ("north", 4_448)]
    more = await nearby.stations_near(business.who.operator_id, here, cursor=found.next_cursor, limit=2)
    assert [item.station.code for item in more.items] == ["far", "S1"]
    assert more.next_cursor is None
    assert (await nearby.stations_near(business.who.operator_id + 1, here)).items == []
    with pytest.raises(InvalidError):
        await nearby.stations_near(business.who.operator_id, here, cursor="no")
    piles = await nearby.piles_of_stations([business.station.id, 99])
    assert [(pile.pile_code, pile.gun_count) for pile in piles[business.station.id]] == [(PILE_CODE, 2)]
    names = await nearby.station_names([business.station.id, 99])
    assert {number: name.zh for number, name in names.items()} == {business.station.id: "人民广场站"}
    assert await nearby.station_names([]) == {}


async def test_the_books_of_one_operator(database: Database) -> None:
    business = await open_business()
    operator_id = business.who.operator_id
    driver = await login_driver(operator_id, "wechat", "wx1", "o1", "", NOW)
    prepaid = prepaid_account(driver.id)
    movements = [
        Movement("pay:1:1:prepaid", "channel:wechat:m", prepaid, 5_000, NOW),
        Movement("settle:1:1:service", prepaid, revenue_account("service", operator_id), 1_200, NOW),
        Movement("pay:2:1:prepaid", "channel:wechat:m", prepaid_account(driver.id + 77), 700, NOW),
    ]
    async with database.transaction() as connection:
        await post(connection, movements)
    sheet = await balance_sheet(database.connection, operator_id)
    assert (sheet.sum_fen, sheet.prepaid_fen, sheet.debt_fen) == (0, -3_800, 0)
    assert {account.account: account.fen for account in sheet.accounts} == {
        "channel:wechat:m": 5_700,
        revenue_account("service", operator_id): -1_200,
    }
    other = await balance_sheet(database.connection, operator_id + 1)
    assert other.prepaid_fen == 0
    assert [account.account for account in other.accounts] == ["channel:wechat:m"]
