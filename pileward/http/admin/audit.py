"""The audit: every change by a person, with before and after."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from pileward.http.admin.common import PREFIX, operator_of
from pileward.http.api import Api
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import audit
from pileward.services.audit import AuditView

api = Api(PREFIX, tag="审计 / audit")


class AuditQuery(PageQuery, frozen=True, kw_only=True):
    """Which entries."""

    kind: Annotated[str, Meta(min_length=1, max_length=40, description="station, pile, tariff, …")] | None = (
        None
    )
    target: (
        Annotated[str, Meta(min_length=1, max_length=60, description="桩号或编号 / pile code or id")] | None
    ) = None


@api.get("/audit", summary="审计记录 / audit entries")
async def list_audit(request: web.Request, query: AuditQuery) -> Page[AuditView]:
    """Entries, newest first, of everything or of one kind or thing."""
    found = await audit.list_entries(
        operator_of(request), kind=query.kind, target=query.target, cursor=query.cursor, limit=query.limit
    )
    return page_of(found)
