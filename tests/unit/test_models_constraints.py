"""What the database itself refuses, whoever writes to it."""

from __future__ import annotations

from typing import Any

import pytest
from tortoise.exceptions import IntegrityError
from tortoise.models import Model

from pileward.models.alarms import Alarm
from pileward.models.database import Database
from pileward.models.operators import Operator, OperatorToken
from pileward.models.piles import DiscoveredPile, Gun, Pile, PileModel
from pileward.models.records import PileRecord
from pileward.models.stations import Station
from pileward.models.tariffs import Tariff, TariffVersion
from pileward.services import operators
from pileward.services.writes import LoginFacts, OpenAlarm, SaveDiscovered, StoreRecord, write_all
from pileward.values import Severity
from tests.business import NOW, PILE_CODE, open_business

UNIQUE: list[tuple[type[Model], dict[str, Any]]] = [
    # what is stored once        what a second row differs in
    (Operator, {}),
    (OperatorToken, {"name": "other"}),
    (Station, {"name_zh": "另"}),
    (Pile, {"name": "另"}),
    (PileModel, {"offline_after_s": 60}),
    (Gun, {"name": "另"}),
    (Tariff, {}),
    (TariffVersion, {"billing_model_no": "0099"}),
    (TariffVersion, {"version": 99}),
    (DiscoveredPile, {"attempts": 99}),
    (Alarm, {"begin_at": NOW.replace(year=2027)}),
    (PileRecord, {"content_hash": "other"}),
    (PileRecord, {"variant": 99}),
]


async def one_of_each(database: Database) -> None:
    business = await open_business()
    await operators.issue_token(business.who, "console")
    async with database.transaction() as connection:
        await write_all(
            connection,
            [
                SaveDiscovered("00000000000042", "ykc", LoginFacts(), NOW),
                OpenAlarm(PILE_CODE, 1, "fault", Severity.FAULT, "故障", "fault", NOW),
                StoreRecord("ykc", PILE_CODE, 1, "n", b"body", {}, NOW),
            ],
        )


@pytest.mark.parametrize(("model", "change"), UNIQUE)
async def test_no_two_of_what_is_unique(
    database: Database, model: type[Model], change: dict[str, Any]
) -> None:
    await one_of_each(database)
    row = await model.all().first()
    assert row is not None
    columns = {name: getattr(row, name) for name in model._meta.db_fields if name != "id"}
    with pytest.raises(IntegrityError):
        await model.create(**{**columns, **change})


@pytest.mark.parametrize("model", [Operator, Station, PileModel, Pile, Tariff])
async def test_what_others_point_at_cannot_be_deleted(database: Database, model: type[Model]) -> None:
    await one_of_each(database)
    with pytest.raises(IntegrityError):
        await model.all().delete()
    assert await model.all().count() == 1


async def test_a_closed_alarm_makes_room_for_the_next(database: Database) -> None:
    await one_of_each(database)
    await Alarm.all().update(open_key=None, end_at=NOW)
    async with database.transaction() as connection:
        alarm = OpenAlarm(PILE_CODE, 1, "fault", Severity.FAULT, "故障", "fault", NOW.replace(year=2027))
        await write_all(connection, [alarm])
    assert await Alarm.all().count() == 2
