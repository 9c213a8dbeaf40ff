"""What the database itself refuses of money, whoever writes to it: natural keys are unique."""

from __future__ import annotations

from typing import Any

import pytest
from tortoise.exceptions import IntegrityError
from tortoise.models import Model

from pileward.messages.charging import RefundStep
from pileward.messages.charging_writes import KeepFact, ReserveSerials
from pileward.models.database import Database
from pileward.models.drivers import Driver, DriverIdentity
from pileward.models.ledger import Debt, LedgerBalance, LedgerEntry, Settlement
from pileward.models.payments import Payment, PaymentNotification, Refund
from pileward.models.reviews import Review
from pileward.models.sessions import (
    ChargingSession,
    OpenOrder,
    SerialCounter,
    SessionFact,
    WireNumber,
)
from pileward.models.stations import Station
from pileward.services.drivers import login_driver
from tests.business import NOW
from tests.charges import Till, delivered

UNIQUE: list[tuple[type[Model], dict[str, Any]]] = [
    # what is stored once   what a second row differs in
    (ChargingSession, {"pile_code": "other"}),
    (OpenOrder, {"serial": "other"}),
    (WireNumber, {"serial": "other"}),
    (SerialCounter, {"next_number": 9}),
    (SessionFact, {"data": "{}"}),
    (Payment, {"transaction_id": "other"}),
    (Payment, {"out_trade_no": "other"}),
    (Refund, {"number": 9}),
    (Refund, {"out_refund_no": "other"}),
    (PaymentNotification, {"about": "other"}),
    (LedgerEntry, {"fen": 9}),
    (LedgerBalance, {"fen": 9}),
    (Settlement, {"record_id": 9}),
    (Debt, {"fen": 9}),
    (Review, {"reason": "other"}),
    (DriverIdentity, {"unionid": "other"}),
]


async def one_of_each(database: Database) -> Till:
    """A charge with a refund, another with a debt, a third under way."""
    till = await Till.open(database)
    serial = await till.charging(5_000)
    await till.settle(serial, delivered())
    await till.refund(f"R{serial}-1", RefundStep.PROCESSING, notification_id="N1")
    indebted = await till.charging(1_900)
    await till.settle(indebted, delivered(), 2)
    await till.settle(indebted, delivered(1), 3)
    await till.write(ReserveSerials(1, 10), KeepFact(await till.ordered(), "bms", {}, NOW))
    return till


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


@pytest.mark.parametrize("model", [Driver, Station])
async def test_what_charges_point_at_cannot_be_deleted(database: Database, model: type[Model]) -> None:
    await one_of_each(database)
    with pytest.raises(IntegrityError):
        await model.all().delete()


async def test_the_same_identity_is_the_same_driver(database: Database) -> None:
    till = await Till.open(database)
    operator_id = till.business.who.operator_id
    again = await login_driver(operator_id, "wechat", "wx1", "openid-1", "union-1", NOW)
    assert again.id == till.driver_id
    other_app = await login_driver(operator_id, "wechat", "wx2", "openid-1", "", NOW)
    assert other_app.id != till.driver_id
    assert (await DriverIdentity.get(driver_id=till.driver_id)).unionid == "union-1"
