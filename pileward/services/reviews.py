"""The review list (待办): what a person has to look at, opened by whatever found it, closed by a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import ReviewKind
from pileward.messages.charging_writes import OpenReview
from pileward.models.reviews import Review
from pileward.services.audit import Who, note
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import among, clean, execute_many, listed, select, utc


class ReviewView(msgspec.Struct, frozen=True):
    """One thing to look at as shown."""

    id: int
    kind: ReviewKind
    serial: str | None
    record_id: int | None
    about: str
    reason: str
    opened_at: datetime
    is_open: bool
    closed_at: datetime | None
    closed_by: str
    resolution: str


_INSERT = """
INSERT INTO review (key, operator_id, kind, serial, record_id, about, reason, opened_at, is_open, closed_by,
  resolution)
VALUES (?, COALESCE(?, (SELECT operator_id FROM charging_session WHERE serial = ?),
  (SELECT operator_id FROM pile_record WHERE id = ?)), ?, ?, ?, ?, ?, ?, TRUE, '', '')
ON CONFLICT (key) DO NOTHING
"""
_IDS = "SELECT key, id FROM review WHERE {among}"
_CLOSE = """
UPDATE review SET is_open = FALSE, closed_at = ?, closed_by = ?, resolution = ? WHERE serial = ? AND kind = ?
  AND is_open = TRUE
"""


def review_key(write: OpenReview) -> str:
    """Kind and what it is about, as one text."""
    record = "" if write.record_id is None else f"record:{write.record_id}"
    return f"{write.kind}/{write.serial or record or write.about}/{record if write.serial else ''}"[:120]


async def open_reviews(connection: BaseDBAsyncClient, writes: Sequence[OpenReview]) -> list[int]:
    """Bulk form of OpenReview; what a person has closed stays closed."""
    if not writes:
        return []
    rows: dict[str, list[Any]] = {}
    for write in writes:
        owner = [write.operator_id, write.serial, write.record_id]
        what = [str(write.kind), write.serial, write.record_id, clean(write.about, 64)]
        rows.setdefault(
            review_key(write), [review_key(write), *owner, *what, clean(write.reason, 200), utc(write.at)]
        )
    await execute_many(connection, _INSERT, list(rows.values()))
    query = _IDS.format(among=among(connection, "key"))
    ids = {row["key"]: int(row["id"]) for row in await select(connection, query, listed(connection, [*rows]))}
    return [ids[review_key(write)] for write in writes]


async def settle_reviews(
    connection: BaseDBAsyncClient,
    closings: Sequence[tuple[str, ReviewKind]],
    by: str,
    resolution: str,
    at: datetime,
) -> None:
    """Close what has settled: reviews of (serial, kind) that are open."""
    rows = [[utc(at), by[:80], resolution[:200], serial, str(kind)] for serial, kind in closings]
    await execute_many(connection, _CLOSE, rows)


async def close_review(who: Who, review_id: int, resolution: str) -> ReviewView:
    """A person has dealt with it; closing it again changes nothing. Raises NotFoundError."""
    row = await _row(who.operator_id, review_id)
    if row.is_open:
        before = _view(row)
        row.is_open, row.closed_at = False, utc(who.at)
        row.closed_by, row.resolution = who.actor[:80], clean(resolution, 200)
        await row.save(update_fields=["is_open", "closed_at", "closed_by", "resolution"])
        await note(who, "review.close", "review", str(row.id), before, _view(row))
    return _view(row)


async def list_reviews(
    operator_id: int, *, only_open: bool = True, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[ReviewView]:
    """An operator's reviews, newest first."""
    rows = Review.filter(operator_id=operator_id)
    if only_open:
        rows = rows.filter(is_open=True)
    found, following = await page(rows, "review", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


async def reviews_of(serial: str) -> list[ReviewView]:
    """All reviews of one charge, oldest first."""
    return [_view(row) for row in await Review.filter(serial=serial).order_by("id")]


async def get_review(operator_id: int, review_id: int) -> ReviewView:
    """One review; raises NotFoundError."""
    return _view(await _row(operator_id, review_id))


async def _row(operator_id: int, review_id: int) -> Review:
    row = await Review.get_or_none(id=review_id, operator_id=operator_id)
    if row is None:
        raise NotFoundError("review_not_found", "没有这条待办", f"review {review_id} does not exist")
    return row


def _view(row: Review) -> ReviewView:
    return ReviewView(
        id=row.id,
        kind=ReviewKind(row.kind),
        serial=row.serial,
        record_id=row.record_id,
        about=row.about,
        reason=row.reason,
        opened_at=row.opened_at,
        is_open=row.is_open,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        resolution=row.resolution,
    )
