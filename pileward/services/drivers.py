"""Drivers (外部用户): made at their first login, known by what the provider's app calls them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pileward.errors import NotFoundError
from pileward.models.drivers import Driver, DriverIdentity
from pileward.services.audit import Who, note
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import utc


class DriverView(msgspec.Struct, frozen=True):
    """A driver as shown; who he is to a provider is nobody's business but the payment's."""

    id: int
    operator_id: int
    is_blocked: bool
    created_at: datetime
    last_login_at: datetime


async def login_driver(
    operator_id: int, channel: str, appid: str, openid: str, unionid: str, at: datetime
) -> DriverView:
    """The driver behind an identity that a provider has vouched for; made at the first login.

    In a transaction of its own. Of two first logins at once the slower is an IntegrityError: log in again.
    """
    moment = utc(at)
    identity = await DriverIdentity.get_or_none(
        operator_id=operator_id, channel=channel, appid=appid, openid=openid
    ).select_related("driver")
    if identity is None:
        driver = await Driver.create(operator_id=operator_id, created_at=moment, last_login_at=moment)
        await DriverIdentity.create(
            driver_id=driver.id,
            operator_id=operator_id,
            channel=channel,
            appid=appid,
            openid=openid,
            unionid=unionid,
            created_at=moment,
        )
        return _view(driver)
    if unionid and identity.unionid != unionid:
        await DriverIdentity.filter(id=identity.id).update(unionid=unionid)
    driver = identity.driver
    driver.last_login_at = max(moment, driver.last_login_at)
    await driver.save(update_fields=["last_login_at"])
    return _view(driver)


async def get_driver(driver_id: int, *, operator_id: int | None = None) -> DriverView:
    """One driver, of an operator if one is given; raises NotFoundError."""
    return _view(await _row(driver_id, operator_id))


async def openid_of(driver_id: int, channel: str, appid: str) -> str:
    """What a provider's app calls a driver: who is to pay. Raises NotFoundError."""
    identity = (
        await DriverIdentity.filter(driver_id=driver_id, channel=channel, appid=appid).order_by("id").first()
    )
    if identity is None:
        raise NotFoundError(
            "driver_unknown_to_provider",
            "请先用该应用登录",
            f"driver {driver_id} has never logged in with this app",
        )
    return identity.openid


async def block_driver(who: Who, driver_id: int, is_blocked: bool) -> DriverView:
    """Keep a driver from new orders, or let him again; a charge under way goes on. Raises NotFoundError."""
    row = await _row(driver_id, who.operator_id)
    if row.is_blocked != is_blocked:
        before = _view(row)
        row.is_blocked = is_blocked
        await row.save(update_fields=["is_blocked"])
        await note(
            who, "driver.block" if is_blocked else "driver.unblock", "driver", str(row.id), before, _view(row)
        )
    return _view(row)


async def list_drivers(
    operator_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[DriverView]:
    """An operator's drivers, newest first."""
    rows = Driver.filter(operator_id=operator_id)
    found, following = await page(rows, "driver", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


async def _row(driver_id: int, operator_id: int | None) -> Driver:
    scope: dict[str, Any] = {"id": driver_id}
    if operator_id is not None:
        scope["operator_id"] = operator_id
    row = await Driver.get_or_none(**scope)
    if row is None:
        raise NotFoundError("driver_not_found", "没有这个用户", f"driver {driver_id} does not exist")
    return row


def _view(row: Driver) -> DriverView:
    return DriverView(row.id, row.operator_id, row.is_blocked, row.created_at, row.last_login_at)
