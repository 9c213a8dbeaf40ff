"""Bringing a schema up to date, all or nothing.

PostgreSQL: the whole chain runs in one transaction under an advisory lock, so that nodes that start together
wait for each other. SQLite cannot run scripts within a transaction, so a copy is migrated and then put in the
place of the file; the file as it was stays beside it as `*.bak-<last migration>`. A crash at any moment
leaves either the old schema or the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.loader import MigrationLoader
from tortoise.migrations.recorder import MigrationRecorder

from pileward.errors import DatabaseError, DatabaseTooNewError, SchemaBehindError
from pileward.models.database import APP, MIGRATIONS, Database, connect, is_sqlite, sqlite_path

ADVISORY_LOCK: Final = 0x50494C45_57415244
"""Key of the PostgreSQL lock around migrations: "PILEWARD" in ASCII."""


async def migrate(url: str) -> list[str]:
    """Apply what is missing; returns the names of the migrations applied, oldest first.

    Raises DatabaseError: unreachable, unwritable, in use by another process (SQLite), or too new.
    """
    if is_sqlite(url):
        async with _alone_with(url) as path:
            return await _migrate_file(path)
    database = await connect(url, command_timeout=None)
    try:
        with database.bound():
            async with database.transaction() as connection:
                await connection.execute_query("SELECT pg_advisory_xact_lock($1)", [ADVISORY_LOCK])
                return await _apply(connection)
    finally:
        await database.close()


async def open_file(url: str) -> Database:
    """Migrate an SQLite file if it is behind, and open it before any other process may migrate it."""
    async with _alone_with(url) as path:
        await _migrate_file(path)
        return await connect(url, shared=True)


async def pending(database: Database) -> list[str]:
    """Names of the migrations that the open database still lacks; raises DatabaseTooNewError."""
    return await _pending(database.connection)


async def check(database: Database) -> None:
    """Raise SchemaBehindError or DatabaseTooNewError unless the schema is that of this version."""
    if missing := await pending(database):
        raise SchemaBehindError(
            f"数据库结构需要升级 / the schema of {database.url} lacks {', '.join(missing)}: "
            "run `pileward migrate`"
        )


async def _pending(connection: BaseDBAsyncClient) -> list[str]:
    known = names_on_disk()
    applied = await _applied(connection)
    if unknown := [name for name in applied if name not in known]:
        raise DatabaseTooNewError(
            f"数据库比程序新 / the database was made by a later version ({', '.join(unknown)}): "
            "install that version, or restore the copy kept beside an SQLite file"
        )
    return [name for name in known if name not in applied]


def names_on_disk() -> list[str]:
    """Names of all migrations of this version, oldest first."""
    loader = MigrationLoader(_apps(), MigrationRecorder(None))
    loader.load_disk()
    return sorted(key.name for key in loader.disk_migrations)


async def _applied(connection: BaseDBAsyncClient) -> list[str]:
    """Names of the migrations in a database, oldest first; asks for the table first, as a failed query would
    spoil a PostgreSQL transaction."""
    is_there = {
        "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'tortoise_migrations'",
        "postgres": "SELECT 1 WHERE to_regclass('tortoise_migrations') IS NOT NULL",
    }[connection.capabilities.dialect]
    if not await connection.execute_query_dict(is_there):
        return []
    rows = await connection.execute_query_dict("SELECT name FROM tortoise_migrations ORDER BY name")
    return [row["name"] for row in rows]


async def _apply(connection: BaseDBAsyncClient) -> list[str]:
    names = await _pending(connection)
    if names:
        executor = MigrationExecutor(connection, _apps(connection.connection_name))
        # First, because the executor asks for the applied migrations and takes the failure for "none"; on
        # PostgreSQL that failure would end our transaction.
        await executor.recorder.ensure_schema(executor._schema_editor(atomic=False))
        await executor.migrate(direction="forward")
    return names


def _apps(connection_name: str = "") -> dict[str, dict[str, Any]]:
    return {APP: {"models": [], "default_connection": connection_name, "migrations": MIGRATIONS}}


@contextlib.asynccontextmanager
async def _alone_with(url: str) -> AsyncIterator[Path]:
    """The file of an SQLite URL, its folder made and locked: one process at a time migrates or opens it."""
    path = sqlite_path(url)
    if str(path) == ":memory:":
        raise DatabaseError("内存数据库不支持 / a database in memory cannot be used: name a file")
    try:
        folder = await asyncio.to_thread(_lock_folder, path.parent)
    except OSError as error:
        raise DatabaseError(_unwritable(path, error.strerror)) from error
    try:
        if not os.access(path if await asyncio.to_thread(path.exists) else path.parent, os.W_OK):
            raise DatabaseError(_unwritable(path, "permission denied"))
        yield path
    except OSError as error:
        raise DatabaseError(_unwritable(path, error.strerror)) from error
    finally:
        os.close(folder)


def _lock_folder(folder: Path) -> int:
    """Lock the folder itself, which leaves nothing behind; closing the returned descriptor unlocks it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _unwritable(path: Path, reason: str | None) -> str:
    return f"数据库文件无法写入 / cannot write the database file {path}: {reason}"


async def _migrate_file(path: Path) -> list[str]:
    is_new = not await asyncio.to_thread(path.exists)
    version = "empty"
    if not is_new:
        database = await connect(f"sqlite://{path}")
        try:
            if not await pending(database):
                return []
            version = max(await _applied(database.connection), default=version)
        finally:
            await database.close()
    work = path.with_name(path.name + ".migrating")
    _remove(work)
    if not is_new:
        await asyncio.to_thread(_settle, path)
        await asyncio.to_thread(shutil.copy2, path, work)
    try:
        database = await connect(f"sqlite://{work}", synchronous="OFF", journal_mode="DELETE")
        try:
            with database.bound():
                names = await _apply(database.connection)
        finally:
            await database.close()
        await asyncio.to_thread(_swap, path, work, version)
    finally:
        _remove(work)
    return names


def _settle(path: Path) -> None:
    """Bring all of the file's journal into the file; fails while another process has it open."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.OperationalError as error:
        raise DatabaseError(
            f"数据库正被占用 / {path} must be migrated, but another process has it open: stop it first"
        ) from error


def _swap(path: Path, work: Path, version: str) -> None:
    """Put the migrated copy in the file's place, flushed to disk; the old file becomes the backup."""
    with work.open("rb+") as file:
        os.fsync(file.fileno())
    if path.exists():
        backup = path.with_name(f"{path.name}.bak-{version}")
        _remove(backup)
        os.link(path, backup)
    work.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
