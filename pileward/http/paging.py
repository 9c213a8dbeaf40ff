"""Lists by cursor: `{"items": […], "next": "…"}`; the cursor is opaque, and `next` is null on the last
page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from pileward.http.problems import InvalidFieldError

T = TypeVar("T")
R = TypeVar("R")

LIMIT: Final = 50
LIMIT_MAX: Final = 500

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="每页条数 / items a page")]
Cursor = Annotated[str, Meta(max_length=120, description="上一页的 next / `next` of the page before")]


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every list takes."""

    limit: Limit = LIMIT
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    items: list[T]
    next: str | None
    """Cursor of the next page; null: there is none."""


def encode(key: int | str) -> str:
    """Make a cursor of the last row's key."""
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def decode_number(cursor: str | None) -> int | None:
    """Read a cursor that was made of a number; raises InvalidFieldError for anything else."""
    text = decode_text(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidFieldError("cursor", "不是本接口给出的", "was not given by this list", "query")
    return int(text)


def decode_text(cursor: str | None) -> str | None:
    """Read a cursor that was made of a text; raises InvalidFieldError for anything else."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidFieldError("cursor", "不是本接口给出的", "was not given by this list", "query") from None


def page_of(rows: Sequence[R], limit: int, show: Callable[[R], T], key: Callable[[R], int | str]) -> Page[T]:
    """Build a page of at most `limit` rows from one row more than that."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([show(row) for row in shown], encode(key(shown[-1])) if more and shown else None)
