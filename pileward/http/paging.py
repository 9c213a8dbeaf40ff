"""Lists over HTTP: `{"items": […], "next": "…"}`; the cursor is opaque, `next` is null on the last page."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from pileward.services import paging as rows

T = TypeVar("T")

Limit = Annotated[int, Meta(ge=1, le=rows.PAGE_MAX, description="每页条数 / items a page")]
Cursor = Annotated[
    str, Meta(min_length=1, max_length=120, description="上一页的 next / `next` of the page before")
]


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every list takes."""

    limit: Limit = rows.PAGE_DEFAULT
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    items: list[T]
    next: str | None
    """Cursor of the next page; null: there is none."""


def page_of(found: rows.Page[T]) -> Page[T]:
    """A service's page in the words of the API."""
    return Page(found.items, found.next_cursor)
