"""Small helpers for statements that both databases understand."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient


@functools.lru_cache(maxsize=256)
def _numbered(statement: str) -> str:
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)


def is_postgres(connection: BaseDBAsyncClient) -> bool:
    """Tell the dialect of a connection."""
    return connection.capabilities.dialect == "postgres"


def placed(connection: BaseDBAsyncClient, statement: str) -> str:
    """A statement written with `?` for each parameter, as the database wants it; no `?` within literals."""
    return _numbered(statement) if is_postgres(connection) else statement


async def select(connection: BaseDBAsyncClient, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Run a query written with `?` and return its rows."""
    return await connection.execute_query_dict(placed(connection, statement), list(values))


async def execute_many(connection: BaseDBAsyncClient, statement: str, rows: list[list[Any]]) -> None:
    """Run a statement written with `?` once for each row of values; nothing for no rows."""
    if rows:
        await connection.execute_many(placed(connection, statement), rows)


def among(connection: BaseDBAsyncClient, column: str) -> str:
    """A condition with one parameter, made by `listed`: the text column is one of a list of any length.

    The statement stays the same for every length, so the database can keep it prepared.
    """
    if is_postgres(connection):
        return f"{column} IN (SELECT unnest(CAST(? AS text[])))"
    return f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608


def listed(connection: BaseDBAsyncClient, values: Sequence[str]) -> Any:
    """The parameter of `among`."""
    return list(values) if is_postgres(connection) else json.dumps(list(values))


def for_update(connection: BaseDBAsyncClient) -> str:
    """Ends a SELECT whose rows are about to be changed; on SQLite the transaction has the file already."""
    return " FOR UPDATE" if is_postgres(connection) else ""


def utc(at: datetime) -> datetime:
    """The same moment in UTC: SQLite compares times as text, so all must be of one zone."""
    assert at.tzinfo is not None, "a time without a zone"
    return at.astimezone(UTC)


def moment(value: Any) -> datetime | None:
    """A time as a raw query returns it (text from SQLite), aware, UTC."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)


def aware(value: Any) -> datetime:
    """The same for a column that is never NULL."""
    found = moment(value)
    assert found is not None
    return found


def clean(text: str, longest: int) -> str:
    """A device's text as a column can hold it: not too long, nothing unprintable (PostgreSQL has no NUL)."""
    return "".join(character for character in text if character.isprintable())[:longest]
