"""Alarms: open ones, or all."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from pileward.http.admin.common import PREFIX, Code, operator_of
from pileward.http.api import Api
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import alarms
from pileward.services.alarms import AlarmView

api = Api(PREFIX, tag="告警 / alarms")


class AlarmQuery(PageQuery, frozen=True, kw_only=True):
    """Which alarms."""

    only_open: Annotated[bool, Meta(description="只看未解除的 / only those that are open")] = True
    pile_code: Code | None = None


@api.get("/alarms", summary="告警列表 / list alarms")
async def list_alarms(request: web.Request, query: AlarmQuery) -> Page[AlarmView]:
    """Alarms of the operator's piles and of the platform itself, newest first."""
    found = await alarms.list_alarms(
        operator_of(request),
        only_open=query.only_open,
        pile_code=query.pile_code,
        with_platform=query.pile_code is None,
        cursor=query.cursor,
        limit=query.limit,
    )
    return page_of(found)
