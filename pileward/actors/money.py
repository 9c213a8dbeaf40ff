"""The part of a node that deals with money: provider, payments and refunds actors, serials, put together.

Made after the store, because all of it writes, and set to work after the piles, because it tells them.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

from pileward.actors import platform_alarms
from pileward.actors.effects import Raise
from pileward.actors.engine import Engine
from pileward.actors.engine_failures import Failure
from pileward.actors.money_rows import MoneyRows
from pileward.actors.payments import PaymentsActor, PaymentsStart, PaymentsWork
from pileward.actors.port_actor import QUARANTINED, BeginWork
from pileward.actors.refunds import RefundsActor, RefundsStart, RefundsWork
from pileward.actors.saving import Saving
from pileward.actors.serials import Serials
from pileward.actors.store_messages import Save
from pileward.actors.surroundings import Surroundings
from pileward.models.database import Database
from pileward.ports import Payments
from pileward.values import Severity

RELEASE_AFTER_S: Final = 60.0
"""Real seconds after which an actor in quarantine is tried again."""


class MoneyPart:
    """Everything about money that lives as long as the node."""

    def __init__(
        self, engine: Engine, around: Surroundings, database: Database, port: Payments | None, node: int
    ) -> None:
        """`port` None: nobody can pay, and refunds stay in the outbox. `node` is the number of this node."""
        self.port = port
        self._engine = engine
        self._around = around
        self._rows = MoneyRows(database)
        self._payments = PaymentsWork()
        self._refunds = RefundsWork()
        self._releases: list[asyncio.TimerHandle] = []
        self._node = node
        self.serials = Serials(node, Saving(engine, around).save)

    async def start(self) -> None:
        """Open the provider's connections, reserve serials, make the actors; they wait for `begin`."""
        around, save = self._around, Saving(self._engine, self._around).save
        if self.port is not None:
            await self.port.start()
        await self.serials.start()
        around.payments = self._engine.create(
            PaymentsActor, PaymentsStart(around, self.port, self._rows, save, self._payments)
        )
        # each node spreads its repetitions in its own way, the same at each start
        spread = Random(self._node)  # noqa: S311 - not a secret
        around.refunds = self._engine.create(
            RefundsActor, RefundsStart(around, self.port, self._rows, save, self._refunds, spread)
        )

    def begin(self) -> None:
        """Take up what is due; piles and their sessions are there to be told."""
        self._engine.tell(self._around.payments, BeginWork())
        self._engine.tell(self._around.refunds, BeginWork())

    def quarantined(self, failure: Failure) -> None:
        """From the engine: an actor failed again and again; one of ours is tried again after a while.

        Money that waits all night for a person is worse than a loop that goes round once a minute.
        """
        address = failure.address
        if address not in (self._around.payments, self._around.refunds):
            return
        zh, en = (
            f"收退款程序连续出错：{failure.error}",
            f"an actor of money fails again and again: {failure.error}",
        )
        alarm = Raise(QUARANTINED, Severity.FAULT, zh, en)
        write = platform_alarms.opened(self._around, alarm, self._engine.clock.utc())
        if write is not None:
            self._engine.tell(self._around.store, Save(0, write))
        loop = asyncio.get_running_loop()
        self._releases.append(loop.call_later(RELEASE_AFTER_S, self._release, address))

    def _release(self, address: Any) -> None:
        self._engine.release(address)
        self._engine.tell(address, BeginWork())

    async def stop(self) -> None:
        """Give up what is under way: it is found again by its rows. May be called twice."""
        for handle in self._releases:
            handle.cancel()
        await self.serials.close()
        await self._payments.close()
        await self._refunds.close()

    async def close(self) -> None:
        """Let go of the provider, once the actors are gone."""
        await self.stop()
        if self.port is not None:
            await self.port.close()
