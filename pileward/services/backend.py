"""What the store actor needs of the database: one transaction for a batch, bulk samples, one pile.

It is the only place that opens transactions for actors; service functions never do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from pileward.messages.charging import OpenSession
from pileward.messages.uplinks import Telemetry
from pileward.models.database import Database, is_outage
from pileward.services import alarms, pile_configs, samples, sessions
from pileward.services.pile_configs import PileConfig
from pileward.services.writes import write_all


class LoadedPile(msgspec.Struct, frozen=True):
    """A pile as the database has it, with the alarms open on it; no config: not registered."""

    config: PileConfig | None
    open_alarms: frozenset[tuple[str, int | None]]


class DatabaseBackend:
    """The real database behind the store actor."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        """`now` gives the moment (UTC) at which a tariff has to be in force."""
        self._database = database
        self._now = now

    async def write(self, writes: list[Any]) -> list[Any]:
        """Write all in one transaction; returns one result for each, in order, once committed."""
        async with self._database.transaction() as connection:
            return await write_all(connection, writes)

    async def write_samples(self, taken: list[tuple[Telemetry, int]]) -> None:
        """Write telemetry in bulk (epoch ms each)."""
        async with self._database.transaction() as connection:
            await samples.save_samples(connection, taken)

    async def load_pile(self, pile_code: str) -> LoadedPile:
        """Read one pile."""
        config = await pile_configs.load_pile_config(pile_code, self._now())
        if config is None:
            return LoadedPile(None, frozenset())
        return LoadedPile(config, await alarms.open_of_pile(pile_code))

    async def load_session(self, serial: str) -> OpenSession | None:
        """Read one charge that is not over; None when it is, or never was."""
        return await sessions.open_session(self._database.connection, serial)

    def is_outage(self, error: BaseException) -> bool:
        """Whether the database is away, so that the same write may succeed later."""
        return is_outage(error)
