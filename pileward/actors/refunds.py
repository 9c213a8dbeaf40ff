"""The refunds actor: works through the outbox until the provider has confirmed every refund.

Due refunds are claimed with a lease, visited by the desk, and left with the moment of their next visit; all
of that is durable, so a restart of the actor or of the process goes on where it was. Only three things are
kept in memory, in `RefundsWork`: what runs, that the worker is stopped, and that the merchant is short of
money; a restart of the process finds each of them out again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec

from pileward.actors import refunds_rules as rules
from pileward.actors.effects import Clear, Raise
from pileward.actors.jobs import JobDone, Jobs
from pileward.actors.money_rows import MoneyRows
from pileward.actors.port_actor import QUARANTINED, BeginWork, PortActor
from pileward.actors.refunds_desk import LATE, NEEDS_PERSON, SHORT, STOPPED, RefundsDesk, Visited
from pileward.actors.refunds_rules import Do
from pileward.actors.store_messages import Refused, Save, Stored
from pileward.actors.supervised import TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.charging import RefundRow, RefundStep
from pileward.messages.charging_writes import ClaimRefunds
from pileward.messages.sessions import RefundsWaiting
from pileward.ports import Payments
from pileward.services.money_watch import RefundsOpen, refunds_open
from pileward.values import Severity

CALLS_AT_ONCE: Final = 6
"""Refunds visited at the same time. A place whose call failed stays empty for `REST_S`, so there are never
more failing calls a second than WeChat Pay allows: 6."""
CLAIM_AHEAD: Final = 18
"""Refunds claimed beside those that can begin at once, so that one claim serves many."""
REST_S: Final = 1.0
LEASE_S: Final = 60
"""Clock seconds for which a claimed refund is nobody else's; a visit is shorter."""
LOOK_AT_MOST_S: Final = 15.0
"""Clock seconds between two looks at the outbox; sooner when something is due."""
LATE_AFTER_S: Final = 600.0
"""A refund that was not asked for within this time is an alarm."""

log = logger(__name__)


class ResumeRefunds(msgspec.Struct, frozen=True):
    """Staff have mended what stopped the worker: go on. Answered with ResumedRefunds."""


class ResumedRefunds(msgspec.Struct, frozen=True):
    """Whether the worker was stopped."""

    was_stopped: bool


class RefundsWork:
    """What outlives a failed instance of the actor."""

    def __init__(self) -> None:
        self.jobs = Jobs(CALLS_AT_ONCE, queue_max=CALLS_AT_ONCE + CLAIM_AHEAD)
        self.look: asyncio.Task[None] | None = None
        self.stopped = ""
        """Why the worker is stopped; empty: it works."""
        self.short_until: datetime | None = None
        """Until when the merchant is thought to have too little money."""
        self.tickets = itertools.count(1)

    async def close(self) -> None:
        """Give everything up, at the end of the process."""
        if self.look is not None:
            self.look.cancel()
            await asyncio.gather(self.look, return_exceptions=True)
        await self.jobs.close()


class RefundsStart(msgspec.Struct, frozen=True):
    """Start argument; `port` None: the outbox is only watched."""

    around: Any
    port: Any
    rows: Any
    save: Callable[[Any], Awaitable[Any]]
    work: RefundsWork
    random: Random


class Looked(msgspec.Struct, frozen=True):
    """From the actor's own look; None: the database did not answer."""

    open: RefundsOpen | None


class RefundsActor(PortActor):
    """Claims what is due and has it visited."""

    def __init__(self, requirements: RefundsStart) -> None:
        self.around: Surroundings = requirements.around
        self.port: Payments | None = requirements.port
        self.rows: MoneyRows = requirements.rows
        self.save = requirements.save
        self.work = requirements.work
        self.random = requirements.random
        self.claiming = 0
        """Ticket of the claim that is on its way; 0: none."""
        self.is_more = False
        """The outbox may hold more that is due."""

    def started(self, restarted: bool) -> None:
        """Be ready; after a failure, go on with what is due."""
        self.work.jobs.renew()
        if self.port is not None:
            money = self.around.metrics.money
            self.desk = RefundsDesk(self.port, self.save, self.rows, self.clock, money, self.random)
        self.begin(self.work.jobs)
        if restarted:
            self._look()

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        match message:
            case RefundsWaiting():
                self.is_more = True
                self._claim()
            case JobDone():
                self._visited(message)
            case Stored(ticket, claimed):
                self._claimed(ticket, claimed)
            case Refused(ticket, reason):
                log.warning("refunds_not_claimed", reason=reason)
                self._claimed(ticket, [])
            case Looked():
                self._looked(message.open)
            case TimerFired("look"):
                self._look()
            case BeginWork():
                self.perform((Clear(QUARANTINED),))
                self._look()
            case TimerFired(name) if name.startswith("rest:"):
                self.work.jobs.resting -= 1
                self._go_on()
            case ResumeRefunds():
                self._resume(sender)

    # --- claiming ---------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Take as many due refunds as there are free places."""
        jobs = self.work.jobs
        if self.port is None or self.work.stopped or self.claiming or not jobs.room:
            return
        self.is_more = False
        self.claiming = next(self.work.tickets)
        # while calls fail none is taken ahead: their places rest, and a lease does not last for ever
        limit = jobs.room + (0 if jobs.resting else CLAIM_AHEAD)
        claim = ClaimRefunds(self.clock.utc(), LEASE_S, limit)
        self.send(self.around.store, Save(self.claiming, claim))

    def _claimed(self, ticket: int, claimed: list[RefundRow]) -> None:
        if ticket == self.claiming:
            self.claiming = 0
        self.is_more = self.is_more or len(claimed) > 0
        for row in claimed:
            # one that is still being visited, longer than its lease, will say itself when to come again
            if not self.work.jobs.has(row.out_refund_no):
                self.work.jobs.add(row.out_refund_no, "refund", self._visit_of(row))
        self._go_on()

    def _visit_of(self, row: RefundRow) -> Callable[[], Awaitable[Visited]]:
        work, desk, clock = self.work, self.desk, self.clock
        until = clock.utc() + timedelta(seconds=LEASE_S / 2)

        async def visit() -> Visited:
            if work.stopped or clock.utc() > until:
                return Visited(Do.LATER, "not_begun")  # it is due again when its lease ends
            return await desk.visit(row, work.short_until)

        return visit

    def _go_on(self) -> None:
        self.begin(self.work.jobs)
        if self.is_more:
            self._claim()

    # --- what came of it --------------------------------------------------------------------------------

    def _visited(self, message: JobDone) -> None:
        jobs, visited = self.work.jobs, message.result
        jobs.done(message.job)
        if isinstance(visited, Visited):
            self._learn(visited)
            self.perform(visited.effects)
        if not isinstance(visited, Visited) or visited.is_failing:
            jobs.resting += 1
            self.arm(f"rest:{next(self.work.tickets)}", REST_S)
        self._go_on()

    def _learn(self, visited: Visited) -> None:
        """What one answer means for all other refunds."""
        if visited.do is Do.STOP and not self.work.stopped:
            log.error("refunds_stopped", code=visited.code)
            self.work.stopped = visited.code
        elif visited.do is Do.SHORT:
            self.work.short_until = rules.short_until(self.clock.utc())
        elif visited.is_accepted:
            self.work.short_until = None

    def _resume(self, sender: Any) -> None:
        was_stopped = bool(self.work.stopped)
        self.work.stopped = ""
        self.perform((Clear(STOPPED),))
        self.send(sender, ResumedRefunds(was_stopped))
        self.is_more = True
        self._claim()

    # --- watching the outbox ----------------------------------------------------------------------------

    def _look(self) -> None:
        if self.work.look is None or self.work.look.done():
            self.work.look = asyncio.get_running_loop().create_task(self._look_now())

    async def _look_now(self) -> None:
        looked = Looked(None)
        try:
            looked = Looked(await refunds_open(self.rows.database.connection))
        except Exception as error:
            log.warning("outbox_not_read", error=repr(error))
        self.engine.tell(self.myAddress, looked)

    def _looked(self, seen: RefundsOpen | None) -> None:
        wait_s = LOOK_AT_MOST_S
        if seen is not None:
            now = self.clock.utc()
            self._show(seen, now)
            if seen.next_at is not None:
                wait_s = (seen.next_at - now).total_seconds()
            if wait_s <= 0:
                self._claim()
        self.arm("look", self.within(wait_s, LOOK_AT_MOST_S))

    def _show(self, seen: RefundsOpen, now: datetime) -> None:
        """Figures, and the alarms that belong to them."""
        money = self.around.metrics.money
        money.refunds.update(seen.count)
        money.transit_fen = seen.fen
        age_s = (now - seen.oldest_at).total_seconds() if seen.oldest_at is not None else 0.0
        money.outbox_age_s = max(age_s, 0.0)
        if age_s > LATE_AFTER_S:
            self.perform((_LATE,))
        else:
            self.perform((Clear(LATE),))
        if not seen.count[RefundStep.MANUAL] + seen.count[RefundStep.ABNORMAL]:
            self.perform((Clear(NEEDS_PERSON),))
        if self.port is not None and not self.work.stopped:
            self.perform((Clear(STOPPED),))  # of an earlier process: this one has found nothing wrong yet
        if self.work.short_until is None and not seen.count[RefundStep.NEW]:
            self.perform((Clear(SHORT),))

    def inspect(self) -> dict[str, Any]:
        """Outbox and worker, for people."""
        work, money = self.work, self.around.metrics.money
        state = "working" if self.port is not None else "not_configured"
        return {
            "state": "stopped" if work.stopped else state,
            "stopped": work.stopped,
            "calls": sorted(work.jobs.running),
            "resting": work.jobs.resting,
            "short_until": work.short_until.isoformat() if work.short_until is not None else None,
            "open": dict(money.refunds),
            "transit_fen": money.transit_fen,
            "outbox_age_s": round(money.outbox_age_s, 1),
        }


_LATE: Final = Raise(
    LATE,
    Severity.FAULT,
    "有退款超过十分钟仍未提交",
    "a refund has waited for more than ten minutes to be asked for",
)
