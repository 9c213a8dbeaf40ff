"""Reconciliation: the provider's bill of a day against our books, on demand."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.errors import ConflictError, InvalidError
from pileward.http.admin.common import PREFIX, change, operator_of
from pileward.http.api import Api
from pileward.http.driver.refusals import RefusedError
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery, page_of
from pileward.http.problems import HttpError
from pileward.messages.payments import FAILURES, Bill, BillNotReady, NoBill
from pileward.services.audit import note
from pileward.services.reconciliation import ReconciliationView, list_reconciliations, reconcile
from pileward.services.reconciliation import get_reconciliation as get_comparison
from pileward.values import CHINA

api = Api(PREFIX, tag="对账 / reconciliation")


class DayPath(msgspec.Struct, frozen=True):
    """A day in China."""

    day: Annotated[date, Meta(description="北京时间的一天，2026-03-01 / a day in China")]


@api.get("/reconciliations", summary="对账列表 / list reconciliations")
async def list_comparisons(request: web.Request, query: PageQuery) -> Page[ReconciliationView]:
    """Days that were compared, the last compared first, with every difference found."""
    found = await list_reconciliations(operator_of(request), cursor=query.cursor, limit=query.limit)
    return page_of(found)


@api.get("/reconciliations/{day}", summary="一天的对账 / one day")
async def view_comparison(request: web.Request, path: DayPath) -> ReconciliationView:
    """What the last comparison of a day found."""
    return await get_comparison(operator_of(request), request.app[NODE].merchant.mchid, path.day)


@api.post("/reconciliations/{day}", summary="对账 / compare a day", problems=(409, 502, 503))
async def compare_day(request: web.Request, path: DayPath) -> ReconciliationView:
    """Fetch the provider's bill of a day that is over and hold it against the books.

    Fees, and money that moved without us, are booked once; differences go to the review list. A repetition
    finds what has changed since.
    """
    node = request.app[NODE]
    bill = await _bill(request, path.day)
    merchant = node.merchant
    async with change(request) as person:
        comparison = await reconcile(
            node.database.connection,
            person.operator_id,
            merchant.channel,
            merchant.mchid,
            bill,
            person.at,
        )
        await note(person, "reconciliation.run", "day", str(path.day), None, comparison)
    return await get_comparison(operator_of(request), merchant.mchid, path.day)


async def _bill(request: web.Request, day: date) -> Bill:
    """The bill of a day, empty for one on which nothing moved; raises where there is none to have."""
    node = request.app[NODE]
    today = node.engine.clock.utc().astimezone(CHINA).date()
    if not today - timedelta(days=365) <= day < today:
        zh, en = "只能对已结束且一年内的日期", "only days that are over, within a year, can be compared"
        raise InvalidError("bad_day", zh, en, field="day")
    found = await node.download_bill(day)
    if found is None:
        raise HttpError("payments_off")
    if isinstance(found, NoBill):
        return Bill(day, (), (), b"", hashlib.sha1(b"", usedforsecurity=False).hexdigest())
    if isinstance(found, BillNotReady):
        zh, en = "账单尚未生成，请半小时后再试", "the bill is not made yet: try again in half an hour"
        raise ConflictError("bill_not_ready", zh, en)
    if isinstance(found, FAILURES):
        raise RefusedError(
            "provider_failed",
            status=502,
            message=f"微信支付未给出账单（{found.code}） / WeChat Pay gave no bill ({found.code})",
            next="retry",
        )
    assert isinstance(found, Bill)
    return found
