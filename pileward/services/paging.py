"""Lists in pages: newest or oldest first by row id, continued by an opaque cursor that stays valid."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Generic, TypeVar

import msgspec
from tortoise.models import Model
from tortoise.queryset import QuerySet

from pileward.errors import InvalidError

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500

T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list; `next_cursor` is None on the last page."""

    items: list[T]
    next_cursor: str | None


def cursor_of(kind: str, row_id: int) -> str:
    """The cursor that continues a list of this kind behind a row."""
    return base64.urlsafe_b64encode(f"{kind}:{row_id}".encode()).decode().rstrip("=")


def row_of(kind: str, cursor: str) -> int:
    """The row id in a cursor of this kind of list; raises InvalidError for any other text."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found, _, number = text.partition(":")
        if found == kind and number.isascii() and number.isdigit() and len(number) <= 18:
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise InvalidError(
        "bad_cursor", "游标无效，请从第一页重新开始", "start again from the first page", field="cursor"
    )


async def page(
    rows: QuerySet[M], kind: str, cursor: str | None, limit: int, *, newest_first: bool = False
) -> tuple[list[M], str | None]:
    """Fetch one page of rows by their ids and the cursor of the next; raises InvalidError."""
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidError("bad_limit", f"每页 1 到 {PAGE_MAX} 条", f"1 to {PAGE_MAX} a page", field="limit")
    if cursor is not None:
        behind: dict[str, Any] = {"id__lt" if newest_first else "id__gt": row_of(kind, cursor)}
        rows = rows.filter(**behind)
    found = await rows.order_by("-id" if newest_first else "id").limit(limit + 1)
    if len(found) <= limit:
        return found, None
    return found[:limit], cursor_of(kind, found[limit - 1].pk)
