"""What drivers have asked for under which key, and what they were told: rows of `idempotency_key`.

A row without a status is a request that is being worked on, or one whose work ended with our own trouble:
whoever comes with the same key goes on from wherever that got to.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pileward.models.drivers import IdempotencyKey
from pileward.services.sql import select, utc

KEPT_FOR: Final = timedelta(days=7)
"""Afterwards a key may be forgotten; an app repeats a request within minutes."""

_TAKE = """
INSERT INTO idempotency_key (driver_id, key, request_hash, answer, created_at) VALUES (?, ?, ?, '', ?)
ON CONFLICT (driver_id, key) DO NOTHING RETURNING id
"""


class Begun(msgspec.Struct, frozen=True):
    """Go ahead. `is_first` False: the same was begun before, and may have got anywhere."""

    is_first: bool


class Kept(msgspec.Struct, frozen=True):
    """It was answered before: HTTP status and body."""

    status: int
    answer: str


class Reused(msgspec.Struct, frozen=True):
    """The key belongs to another request."""


async def begin(driver_id: int, key: str, request_hash: str, at: datetime) -> Begun | Kept | Reused:
    """Take a key for a request; in a transaction of its own, before anything is done."""
    connection = IdempotencyKey._meta.db
    if await select(connection, _TAKE, driver_id, key, request_hash, utc(at)):
        return Begun(is_first=True)
    row = await IdempotencyKey.get(driver_id=driver_id, key=key)
    if row.request_hash != request_hash:
        return Reused()
    if row.status is None:
        return Begun(is_first=False)
    return Kept(row.status, row.answer)


async def finish(driver_id: int, key: str, status: int, answer: str) -> None:
    """Keep what was answered; a first answer is never replaced."""
    rows = IdempotencyKey.filter(driver_id=driver_id, key=key, status=None)
    await rows.update(status=status, answer=answer)


async def forget_keys(now: datetime) -> int:
    """Delete keys that nobody will use again; returns how many."""
    return await IdempotencyKey.filter(created_at__lt=utc(now - KEPT_FOR)).delete()
