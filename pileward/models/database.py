"""Opening the database: SQLite by default, PostgreSQL in production, one chain of migrations for both.

`open_database` hands out a usable database or raises a DatabaseError that says what to do. An SQLite file
is migrated on the way (`migrate.py`); PostgreSQL is shared by nodes and is migrated by its own command.
One database a process: models find it without being told, in every task.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tortoise.backends.base.client import BaseDBAsyncClient, TransactionContext
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError, OperationalError
from tortoise.transactions import in_transaction

from pileward.errors import DatabaseError

APP: Final = "pileward"
MIGRATIONS: Final = "pileward.models.migrations"
MODEL_MODULES: Final = (
    "pileward.models.operators",
    "pileward.models.tariffs",
    "pileward.models.stations",
    "pileward.models.piles",
    "pileward.models.alarms",
    "pileward.models.records",
    "pileward.models.samples",
    "pileward.models.drivers",
    "pileward.models.sessions",
    "pileward.models.payments",
    "pileward.models.ledger",
    "pileward.models.reviews",
)
SQLITE_PRAGMAS: Final[Mapping[str, str | int]] = {
    "busy_timeout": 10_000,
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "foreign_keys": "ON",
    "journal_size_limit": 64 * 1024 * 1024,
    "cache_size": -64_000,
}
"""In force unless the URL says otherwise; FULL: what is confirmed to a pile must survive a power cut."""

POSTGRES_DEFAULTS: Final[Mapping[str, int]] = {"minsize": 1, "maxsize": 10, "command_timeout": 30}


class Database:
    """An open database. `connection` is for raw statements, `transaction()` for a unit of work."""

    def __init__(self, url: str, context: TortoiseContext) -> None:
        self.url = masked(url)
        self._context = context

    @property
    def connection(self) -> BaseDBAsyncClient:
        """The connection (SQLite) or pool (PostgreSQL); within a transaction of this task, that one."""
        return self._context.db()

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgres"."""
        return self.connection.capabilities.dialect

    def transaction(self) -> TransactionContext:
        """A unit of work: `async with database.transaction() as connection`; models find it by themselves."""
        return in_transaction(self.connection.connection_name)

    async def durability_gaps(self) -> list[str]:
        """Name the settings under which a commit may be lost in a power cut; empty when all is well."""
        wanted = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        if self.dialect == "sqlite":
            _, rows = await self.connection.execute_query("PRAGMA synchronous")
            return [] if rows[0]["synchronous"] >= 2 else ["synchronous"]
        gaps = []
        for name, value in wanted.items():
            _, rows = await self.connection.execute_query(f"SHOW {name}")
            if rows[0][name] not in (value, "remote_apply", "remote_write"):
                gaps.append(name)
        return gaps

    def bound(self) -> TortoiseContext:
        """Make models and transactions of this block use it: `with database.bound(): …`."""
        return self._context

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        await self._context.close_connections()


async def open_database(url: str) -> Database:
    """Open a database for this process, migrating an SQLite file that is behind (a copy is kept beside it).

    Raises DatabaseError when it cannot be reached, read or written, SchemaBehindError when PostgreSQL has to
    be migrated first, DatabaseTooNewError when it was made by a later version.
    """
    from pileward.models import migrate  # noqa: PLC0415 - it opens databases itself

    database = await (migrate.open_file(url) if is_sqlite(url) else connect(url, shared=True))
    try:
        await migrate.check(database)
    except BaseException:
        await database.close()
        raise
    return database


async def connect(url: str, *, shared: bool = False, **credentials: Any) -> Database:
    """Connect without looking at the schema. `shared`: models of the whole process use it from now on.

    `credentials` are Tortoise's settings for the engine, stronger than those of the URL.
    """
    config = tortoise_config(url)
    config["connections"][alias(url)]["credentials"].update(credentials)
    context = TortoiseContext()
    try:
        with context:
            await context.init(config=config, _enable_global_fallback=shared)
            await context.db().execute_query("SELECT 1")
    except ConfigurationError as error:
        await context.close_connections()
        raise DatabaseError(f"数据库配置有误 / database settings: {masked(url)}: {error}") from error
    except Exception as error:
        await context.close_connections()
        raise DatabaseError(_unreachable(url, error)) from error
    return Database(url, context)


def tortoise_config(url: str) -> dict[str, Any]:
    """Settings for Tortoise: our engines with our defaults, one app, UTC."""
    try:
        connection = expand_db_url(_with_scheme(url))
    except ConfigurationError as error:
        raise DatabaseError(
            f"数据库地址有误 / database url {masked(url)}: {error}; "
            "use sqlite:///absolute/path or asyncpg://user@host/name"
        ) from error
    if is_sqlite(url):
        given = dict(parse_qsl(urlsplit(url).query))
        path = connection["credentials"]["file_path"]
        connection = {
            "engine": "pileward.models.sqlite_backend",
            "credentials": {"file_path": path, **SQLITE_PRAGMAS, **given},
        }
    else:
        connection["engine"] = "pileward.models.asyncpg_backend"
        connection["credentials"] = {**POSTGRES_DEFAULTS, **connection["credentials"]}
    app = {"models": list(MODEL_MODULES), "default_connection": alias(url), "migrations": MIGRATIONS}
    return {"connections": {alias(url): connection}, "apps": {APP: app}, "use_tz": True, "timezone": "UTC"}


def is_sqlite(url: str) -> bool:
    """Tell whether a URL names an SQLite file."""
    return url.startswith("sqlite:")


def alias(url: str) -> str:
    """The name of the connection, one for each dialect: Tortoise keeps statements by this name for ever."""
    return "sqlite" if is_sqlite(url) else "postgres"


def sqlite_path(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(expand_db_url(url)["credentials"]["file_path"])


def masked(url: str) -> str:
    """The URL without its password, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def is_outage(error: BaseException) -> bool:
    """Tell whether the database failed (try again later) rather than the statement (never will work).

    An outage: unreachable, shutting down, out of space or connections, locked too long, deadlock.
    """
    cause: BaseException = error
    while isinstance(cause, OperationalError) and cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    if isinstance(cause, sqlite3.OperationalError):
        words = ("locked", "busy", "disk", "full", "unable to open", "readonly")
        return any(word in str(cause) for word in words)
    if isinstance(cause, (OSError, TimeoutError)):
        return True
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("08", "53", "57", "58", "40") or state == "55P03"
    return type(cause).__module__.startswith("asyncpg") and type(cause).__name__ == "InterfaceError"


def _with_scheme(url: str) -> str:
    if url.startswith(("sqlite:", "asyncpg:", "postgres:", "postgresql:")):
        return url
    raise DatabaseError(
        f"数据库地址有误 / database url {masked(url)}: use sqlite:///absolute/path or asyncpg://user@host/name"
    )


def _unreachable(url: str, error: Exception) -> str:
    if is_sqlite(url):
        return f"数据库文件无法使用 / cannot use the database file {sqlite_path(url)}: {error}"
    return f"数据库连不上 / cannot reach the database {masked(url)}: {error or type(error).__name__}"


TORTOISE_ORM: Final = tortoise_config("sqlite://:memory:")
"""For writing migrations: `tortoise -c pileward.models.database.TORTOISE_ORM makemigrations --name add_x`."""
