"""The review list: what a person has to look at."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.http.admin.common import PREFIX, IdPath, change, operator_of
from pileward.http.api import Api
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import reviews
from pileward.services.reviews import ReviewView

api = Api(PREFIX, tag="待办 / reviews")


class ReviewsQuery(PageQuery, frozen=True, kw_only=True):
    """Which reviews."""

    only_open: Annotated[bool, Meta(description="只看未处理的 / only those that are open")] = True


class Resolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was done about it."""

    resolution: Annotated[str, Meta(min_length=1, max_length=200)]


@api.get("/reviews", summary="待办列表 / list reviews")
async def list_reviews(request: web.Request, query: ReviewsQuery) -> Page[ReviewView]:
    """Things to look at, newest first: implausible, unknown and different records, stuck refunds, …"""
    found = await reviews.list_reviews(
        operator_of(request), only_open=query.only_open, cursor=query.cursor, limit=query.limit
    )
    return page_of(found)


@api.get("/reviews/{id}", summary="一条待办 / one review")
async def get_review(request: web.Request, path: IdPath) -> ReviewView:
    """One thing to look at."""
    return await reviews.get_review(operator_of(request), path.id)


@api.post("/reviews/{id}/resolve", summary="处理完毕 / resolve a review")
async def resolve_review(request: web.Request, path: IdPath, body: Resolution) -> ReviewView:
    """Somebody has dealt with it. Money is not moved by this: decide the charge, or retry the refund."""
    async with change(request) as person:
        return await reviews.close_review(person, path.id, body.resolution)
