"""Transaction records as piles sent them: stored before they are confirmed, compared when they come again."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.models.records import PileRecord
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import among, execute_many, listed, select, utc

VARIANTS_MAX: Final = 8
"""Contents kept under one key; further ones are reported as different but not stored: junk is bounded."""


class StoreRecord(msgspec.Struct, frozen=True):
    """Keep a record durably; its key is (wire number, pile, protocol), its content is `body`."""

    protocol: str
    pile_code: str
    gun_no: int
    wire_number: str
    body: bytes
    """As received, without envelope: what is stored and compared."""
    decoded: dict[str, Any]
    """The same in words, for people and later settlement; JSON types only."""
    received_at: datetime


class RecordState(enum.StrEnum):
    """What became of a record: new, known with this content, known with other content (YKC 1.6, 8.6)."""

    STORED = "stored"
    SAME = "same"
    DIFFERENT = "different"


class RecordResult(msgspec.Struct, frozen=True):
    """Answer to StoreRecord: confirm on the wire in every case."""

    state: RecordState
    record_id: int
    """The row that holds this very content."""
    first_id: int
    """The row that came first under this key: the one that is settled."""


class RecordView(msgspec.Struct, frozen=True):
    """A stored record as shown; variant above 0: it came again with other content."""

    id: int
    protocol: str
    pile_code: str
    gun_no: int
    wire_number: str
    variant: int
    decoded: Any
    body_hex: str
    received_at: datetime
    repeats: int
    last_received_at: datetime


Key = tuple[str, str, str]
"""(wire number, pile, protocol): what the pile calls the record, in the order of the index."""

_KNOWN = """
SELECT id, protocol, wire_number, pile_code, variant, content_hash FROM pile_record WHERE {among}
"""
_INSERT = """
INSERT INTO pile_record (operator_id, protocol, pile_code, wire_number, variant, gun_no, content_hash, body,
  decoded, received_at, repeats, last_received_at)
VALUES ((SELECT operator_id FROM pile WHERE pile_code = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
"""
_REPEAT = "UPDATE pile_record SET repeats = repeats + 1, last_received_at = ? WHERE id = ?"


class _Known:
    """The contents known under one key: hash to variant, and once written to row id."""

    def __init__(self) -> None:
        self.variants: dict[str, int] = {}
        self.ids: dict[int, int] = {}


async def store_records(connection: BaseDBAsyncClient, writes: Sequence[StoreRecord]) -> list[RecordResult]:
    """Bulk form of StoreRecord. A record of a pile that is not registered is an IntegrityError."""
    keys = [(write.wire_number, write.pile_code, write.protocol) for write in writes]
    known = await _known(connection, keys)
    hashes = [hashlib.sha256(write.body).hexdigest() for write in writes]
    states: list[RecordState] = []
    inserted: list[list[Any]] = []
    repeated: list[tuple[Key, int, datetime]] = []
    for write, key, content in zip(writes, keys, hashes, strict=True):
        variants = known.setdefault(key, _Known()).variants
        if content in variants:
            states.append(RecordState.SAME if variants[content] == 0 else RecordState.DIFFERENT)
            repeated.append((key, variants[content], utc(write.received_at)))
            continue
        states.append(RecordState.DIFFERENT if variants else RecordState.STORED)
        if len(variants) < VARIANTS_MAX:
            variants[content] = len(variants)
            inserted.append(_row(write, variants[content], content))
    await execute_many(connection, _INSERT, inserted)
    if inserted:
        known = await _known(connection, keys)
    repeats = [[at, known[key].ids[variant]] for key, variant, at in repeated]
    await execute_many(connection, _REPEAT, repeats)
    results = []
    for key, content, state in zip(keys, hashes, states, strict=True):
        found = known[key]
        results.append(RecordResult(state, found.ids[found.variants.get(content, 0)], found.ids[0]))
    return results


async def _known(connection: BaseDBAsyncClient, keys: Iterable[Key]) -> dict[Key, _Known]:
    query = _KNOWN.format(among=among(connection, "wire_number"))
    numbers = sorted({wire_number for wire_number, _, _ in keys})
    known: dict[Key, _Known] = {}
    for row in await select(connection, query, listed(connection, numbers)):
        found = known.setdefault((row["wire_number"], row["pile_code"], row["protocol"]), _Known())
        found.variants[row["content_hash"]] = row["variant"]
        found.ids[row["variant"]] = row["id"]
    return known


def _row(write: StoreRecord, variant: int, content: str) -> list[Any]:
    at = utc(write.received_at)
    head = [write.pile_code, write.protocol, write.pile_code, write.wire_number, variant, write.gun_no]
    return [*head, content, write.body, _json(write.decoded), at, at]


def _json(value: Any) -> str:
    """JSON without NUL characters, which PostgreSQL cannot keep in texts."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\u0000", r"\1", msgspec.json.encode(value).decode())


async def list_records(
    operator_id: int, *, pile_code: str | None = None, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[RecordView]:
    """Records of an operator's piles, newest first."""
    rows = PileRecord.filter(operator_id=operator_id)
    if pile_code is not None:
        rows = rows.filter(pile_code=pile_code)
    found, following = await page(rows, "record", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


async def get_record(operator_id: int, record_id: int) -> RecordView:
    """One record; raises NotFoundError."""
    row = await PileRecord.get_or_none(id=record_id, operator_id=operator_id)
    if row is None:
        raise NotFoundError("record_not_found", "没有这条交易记录", f"record {record_id} does not exist")
    return _view(row)


def _view(row: PileRecord) -> RecordView:
    return RecordView(
        id=row.id,
        protocol=row.protocol,
        pile_code=row.pile_code,
        gun_no=row.gun_no,
        wire_number=row.wire_number,
        variant=row.variant,
        decoded=row.decoded,
        body_hex=row.body.hex(),
        received_at=row.received_at,
        repeats=row.repeats,
        last_received_at=row.last_received_at,
    )
