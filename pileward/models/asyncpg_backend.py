"""The asyncpg engine of Tortoise, with one fault of its transactions mended.

When BEGIN fails (the server was restarted and the pooled connection is dead), Tortoise never returns the
connection to the pool; a few outages later the pool is empty and every transaction waits for ever.
"""

from __future__ import annotations

from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import TransactionalDBClient, TransactionContext, TransactionContextPooled
from tortoise.connection import get_connections


class PooledContext(TransactionContextPooled):
    """Borrows one connection of the pool for as long as the transaction lasts, and not longer."""

    async def __aenter__(self) -> TransactionalDBClient:
        await self.ensure_connection()
        pool = self.client._parent._pool
        connection = await pool.acquire()
        token = None
        try:
            self.client._connection = connection
            token = get_connections().set(self.connection_name, self.client)
            await self.client.begin()
        except BaseException:
            get_connections().reset(token)
            await pool.release(connection)
            raise
        self.token = token
        return self.client


class Client(AsyncpgDBClient):
    """A pool of connections to one PostgreSQL database."""

    def _in_transaction(self) -> TransactionContext:
        return PooledContext(TransactionWrapper(self), self._pool_init_lock)


client_class = Client
