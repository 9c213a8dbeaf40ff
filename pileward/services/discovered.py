"""Pile codes that knocked without being registered: a short, bounded list to adopt from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.models.piles import DiscoveredPile
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.pile_facts import LoginFacts, cleaned
from pileward.services.sql import execute_many, select, utc

DISCOVERED_MAX: Final = 1_000
"""Most rows kept; beyond, those heard longest ago go (junk never swells a table)."""


class SaveDiscovered(msgspec.Struct, frozen=True):
    """An unknown pile tried to log in `attempts` times since this was last written."""

    pile_code: str
    protocol: str
    facts: LoginFacts
    at: datetime
    attempts: int = 1


class DiscoveredView(msgspec.Struct, frozen=True):
    """A discovered pile as shown, with what it said of itself at the last attempt."""

    id: int
    pile_code: str
    protocol: str
    facts: LoginFacts
    attempts: int
    first_seen_at: datetime
    last_seen_at: datetime


_UPSERT = """
INSERT INTO discovered_pile (pile_code, protocol, remote_address, facts, attempts, first_seen_at,
  last_seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pile_code) DO UPDATE SET protocol = excluded.protocol, remote_address = excluded.remote_address,
  facts = excluded.facts, attempts = discovered_pile.attempts + excluded.attempts,
  last_seen_at = excluded.last_seen_at
"""
_FORGET_REGISTERED = """
DELETE FROM discovered_pile
WHERE EXISTS (SELECT 1 FROM pile WHERE pile.pile_code = discovered_pile.pile_code)
"""
_FORGET_OLDEST = """
DELETE FROM discovered_pile
WHERE id NOT IN (SELECT id FROM discovered_pile ORDER BY last_seen_at DESC, id DESC LIMIT ?)
"""


async def save_discovered(connection: BaseDBAsyncClient, writes: Sequence[SaveDiscovered]) -> list[None]:
    """Bulk form of SaveDiscovered; keeps at most `DISCOVERED_MAX` rows, and none of a registered pile."""
    last: dict[str, SaveDiscovered] = {}
    attempts: dict[str, int] = {}
    first_at: dict[str, datetime] = {}
    for write in writes:
        last[write.pile_code] = write
        attempts[write.pile_code] = attempts.get(write.pile_code, 0) + write.attempts
        first_at.setdefault(write.pile_code, write.at)
    rows = []
    for code, write in last.items():
        facts = cleaned(write.facts)
        said = [
            write.protocol[:16],
            facts.remote_address,
            msgspec.json.encode(facts).decode(),
            attempts[code],
        ]
        rows.append([code, *said, utc(first_at[code]), utc(write.at)])
    await execute_many(connection, _UPSERT, rows)
    await connection.execute_query(_FORGET_REGISTERED)
    count = (await select(connection, "SELECT count(*) AS rows FROM discovered_pile"))[0]["rows"]
    if count > DISCOVERED_MAX:
        await execute_many(connection, _FORGET_OLDEST, [[DISCOVERED_MAX]])
    return [None] * len(writes)


async def list_discovered(*, cursor: str | None = None, limit: int = PAGE_DEFAULT) -> Page[DiscoveredView]:
    """Discovered piles, the last discovered first. They belong to nobody yet, so every operator sees them."""
    found, following = await page(DiscoveredPile.all(), "discovered", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


async def get_discovered(pile_code: str) -> DiscoveredView:
    """One discovered pile; raises NotFoundError."""
    row = await DiscoveredPile.get_or_none(pile_code=pile_code)
    if row is None:
        raise NotFoundError(
            "discovered_not_found", f"没有发现过桩 {pile_code}", f"pile {pile_code} has not been discovered"
        )
    return _view(row)


async def forget_discovered(pile_code: str) -> None:
    """Take a pile off the list; nothing happens when it is not on it."""
    await DiscoveredPile.filter(pile_code=pile_code).delete()


def _view(row: DiscoveredPile) -> DiscoveredView:
    return DiscoveredView(
        id=row.id,
        pile_code=row.pile_code,
        protocol=row.protocol,
        facts=msgspec.convert(row.facts, LoginFacts),
        attempts=row.attempts,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
    )
