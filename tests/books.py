"""The database of a street as somebody beside the node sees it: what is durable, and a lock for writers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from pileward.models.database import sqlite_path
from tests.nodes import Street


class KeptRecord(NamedTuple):
    """One row of the transaction records."""

    wire_number: str
    variant: int
    repeats: int


def read(street: Street, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows as they are committed now, read by a connection of our own."""
    with contextlib.closing(_connect(street)) as connection:
        return connection.execute(query, values).fetchall()


def records(street: Street) -> list[KeptRecord]:
    """All transaction records, oldest first."""
    rows = read(street, "SELECT wire_number, variant, repeats FROM pile_record ORDER BY id")
    return [KeptRecord(*row) for row in rows]


def open_alarms(street: Street, code: str) -> set[str]:
    """Kinds of the alarms of a pile that are open in the database."""
    return {
        row[0] for row in read(street, "SELECT kind FROM alarm WHERE pile_code = ? AND end_at IS NULL", code)
    }


@contextlib.contextmanager
def locked(street: Street) -> Iterator[None]:
    """Keep every writer out of the database for the length of a block."""
    with contextlib.closing(_connect(street)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.rollback()


def _connect(street: Street) -> sqlite3.Connection:
    path = sqlite_path(street.environ["PILEWARD_DATABASE_URL"])
    return sqlite3.connect(path, isolation_level=None, timeout=10)
