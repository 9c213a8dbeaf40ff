"""The SQLite engine of Tortoise, with faults mended that a long-running service meets.

Tortoise begins with a plain BEGIN. In WAL mode such a transaction that reads first and then writes fails at
once, without waiting, when another process (the command line beside the server) has written in between.
BEGIN IMMEDIATE waits for its turn instead, up to `busy_timeout`. And when beginning fails, Tortoise keeps the
lock of its one connection for ever; here it is given back. The thread behind the connection is a daemon, so
that a process which fails without closing the database ends all the same.
"""

from __future__ import annotations

import sqlite3

import aiosqlite
from tortoise.backends.base.client import TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import OperationalError


class ImmediateTransaction(SqliteTransactionWrapper):
    """One transaction; begins as a writer."""

    async def begin(self) -> None:
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error


class ImmediateContext(SqliteTransactionContext):
    """Holds the connection's lock for as long as the transaction lasts, and not longer."""

    async def __aenter__(self) -> TransactionalDBClient:
        await self._trxlock.acquire()
        token = None
        try:
            await self.ensure_connection()
            token = get_connections().set(self.connection_name, self.connection)
            await self.connection.begin()
        except BaseException:
            get_connections().reset(token)
            self._trxlock.release()
            raise
        self.token = token
        client: TransactionalDBClient = self.connection
        return client


class Client(SqliteClient):
    """One SQLite file, one connection, one writer at a time."""

    async def create_connection(self, with_db: bool) -> None:
        if self._connection:
            return
        connection = aiosqlite.connect(self.filename, isolation_level=None)
        connection._thread.daemon = True
        await connection
        try:
            connection.row_factory = sqlite3.Row
            for pragma, value in self.pragmas.items():
                await connection.execute_fetchall(f"PRAGMA {pragma}={value}")
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        await self._post_connect()

    def _in_transaction(self) -> TransactionContext:
        return ImmediateContext(ImmediateTransaction(self), self._lock)


client_class = Client
