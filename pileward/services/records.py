"""Transaction records as piles sent them: stored before they are confirmed, compared when they come again."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec


class StoreRecord(msgspec.Struct, frozen=True):
    """Keep a record durably; its key is (protocol, pile, wire number), its content is `body`."""

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
