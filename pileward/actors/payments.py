"""The payments actor: the only one that speaks with the provider about money that comes in.

It queues and bounds the work of its desk, asks by the durable schedule about payments that nobody told of,
and takes notifications. All it knows is durable or in its `PaymentsWork`, which outlives a failed instance,
so a restart of the actor or of the process goes on where it was: what is due is found by `next_query_at`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from pileward.actors import payments_rules as rules
from pileward.actors.effects import Clear
from pileward.actors.jobs import JobDone, Jobs
from pileward.actors.money_rows import MoneyRows
from pileward.actors.payments_desk import PaymentsDesk
from pileward.actors.port_actor import QUARANTINED, BeginWork, Done, PortActor
from pileward.actors.provider_alarms import UNREADABLE
from pileward.actors.supervised import TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.payments import (
    FAILURES,
    Config,
    Failure,
    Notification,
    Payment,
    Refund,
    SignatureInvalid,
)
from pileward.messages.sessions import (
    CheckPayment,
    ClosePayment,
    NotificationReceived,
    NotificationTaken,
    PaymentChecked,
    Prepay,
    PrepayFailed,
)
from pileward.ports import Payments
from pileward.services.money_watch import PaymentsOpen, payments_open
from pileward.services.payments import payments_due

CALLS_AT_ONCE: Final = 16
"""Payments of which the provider is asked at the same time."""
QUEUE_MAX: Final = 2_000
"""Payments that may wait for that; beyond, drivers are told to try again, and the schedule comes back."""
TAKEN_AT_ONCE: Final = 256
"""Notifications on their way into the database at the same time; they need no call."""
TAKEN_QUEUE_MAX: Final = 5_000
"""Notifications that may wait; beyond, they are not confirmed, and the provider repeats them."""
LOOK_AT_MOST_S: Final = 15.0
"""Clock seconds between two looks at what is due; sooner when something is."""
LOOK_LIMIT: Final = 200
"""Payments taken up in one look."""

_REASONS: Final = {
    "STALE": "stale",
    "MERCHANT_MISMATCH": "other_merchant",
    "NOT_JSON": "unreadable",
    "NOTIFICATION_INVALID": "unreadable",
    "DECRYPTION": "cannot_decrypt",
}
"""Why a notification is not taken, in our words; anything else about its signature is `bad_signature`."""

log = logger(__name__)


class PaymentsWork:
    """What outlives a failed instance of the actor."""

    def __init__(self) -> None:
        self.calls = Jobs(CALLS_AT_ONCE, QUEUE_MAX)
        self.notifications = Jobs(TAKEN_AT_ONCE, TAKEN_QUEUE_MAX)
        self.look: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Give everything up, at the end of the process."""
        if self.look is not None:
            self.look.cancel()
            await asyncio.gather(self.look, return_exceptions=True)
        await self.calls.close()
        await self.notifications.close()


class PaymentsStart(msgspec.Struct, frozen=True):
    """Start argument; `port` None: nobody can pay here."""

    around: Any
    port: Any
    rows: Any
    save: Callable[[Any], Awaitable[Any]]
    work: PaymentsWork


class Looked(msgspec.Struct, frozen=True):
    """From the actor's own look: what is due, and what is open. None: the database did not answer."""

    due: tuple[str, ...] | None
    open: PaymentsOpen | None


class PaymentsActor(PortActor):
    """Takes requests about payments, one at a time for each of them."""

    mailbox_limit = 20_000

    def __init__(self, requirements: PaymentsStart) -> None:
        self.around: Surroundings = requirements.around
        self.port: Payments | None = requirements.port
        self.rows: MoneyRows = requirements.rows
        self.save = requirements.save
        self.work = requirements.work
        self.look_at = math.inf
        """When the next look is due, clock seconds."""

    def started(self, restarted: bool) -> None:
        """Be ready; after a failure, go on with what is due."""
        if self.port is None:
            return
        self.desk = PaymentsDesk(self.port, self.save, self.rows, self.clock, self.around.metrics.money)
        for jobs in (self.work.calls, self.work.notifications):
            jobs.renew()
            self.begin(jobs)
        if restarted:
            self._look()

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        match message:
            case NotificationReceived():
                self._notified(message, sender)
            case JobDone():
                self._finished(message)
            case Prepay(number) | CheckPayment(number) | ClosePayment(number):
                self._request(message, number, sender)
            case Looked():
                self._looked(message)
            case TimerFired("look"):
                self._look()
            case BeginWork():
                self.perform((Clear(QUARANTINED),))
                self._look()

    # --- requests ---------------------------------------------------------------------------------------

    def _request(self, message: Any, number: str, sender: Any) -> None:
        if self.port is None:
            self._answer(sender, _unable(message, "not_configured"))
            return
        work = {Prepay: self.desk.prepay, CheckPayment: self.desk.check, ClosePayment: self.desk.close}
        run = work[type(message)]
        calls = self.work.calls
        waiter = None if isinstance(message, ClosePayment) else (sender, message)
        if not calls.add(number, type(message).__name__, lambda: run(number), waiter):
            log.warning("payments_busy", payment=number, waiting=calls.waiting)
            self._answer(sender, _unable(message, "busy"))
        self.begin(calls)

    def _answer(self, sender: Any, answer: Any) -> None:
        if answer is not None and sender is not None:
            self.send(sender, answer)

    def _finished(self, message: JobDone) -> None:
        job, done = message.job, message.result
        jobs = self.work.notifications if job.kind == "notification" else self.work.calls
        jobs.done(job)
        self.begin(jobs)
        for sender, asked in job.waiters:
            self._answer(sender, done.answer if isinstance(done, Done) else _unable(asked, "unknown"))
        if isinstance(done, Done):
            self.perform(done.effects)
        if job.kind == Prepay.__name__:
            self._look_within(rules.QUERY_AFTER_S[0])  # it is part of the schedule from now on

    # --- notifications ----------------------------------------------------------------------------------

    def _notified(self, message: NotificationReceived, sender: Any) -> None:
        """Prove it here and now; what is proven is made durable before it is confirmed."""
        counts = self.around.metrics.money.notifications
        if self.port is None:
            self.send(sender, NotificationTaken(is_ok=False, reason="not_configured"))
            return
        found = self.port.parse_notification(message.headers, message.body)
        if isinstance(found, FAILURES):
            reason = _reason(found)
            counts[reason] += 1
            log.warning("notification_refused", reason=reason, code=found.code, why=found.message)
            if isinstance(found, Config):
                self.perform((UNREADABLE,))
            self.send(sender, NotificationTaken(is_ok=False, reason=reason))
            return
        counts["proven"] += 1
        desk, waiter = self.desk, (sender, message)
        jobs = self.work.notifications
        # of one kind each: none may be answered by the work of another
        if not jobs.add(_about(found), "notification", lambda: desk.take(found), waiter, share=False):
            log.warning("notifications_busy", waiting=jobs.waiting)
            self.send(sender, NotificationTaken(is_ok=False, reason="busy"))
        self.begin(jobs)

    # --- the schedule -----------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.port is None:
            return
        self.look_at = math.inf
        if self.work.look is None or self.work.look.done():
            now = self.clock.utc()
            self.work.look = asyncio.get_running_loop().create_task(self._look_now(now))

    async def _look_now(self, now: Any) -> None:
        try:
            connection = self.rows.database.connection
            due = await payments_due(connection, now, LOOK_LIMIT)
            looked = Looked(tuple(row.out_trade_no for row in due), await payments_open(connection))
        except Exception as error:
            log.warning("payments_not_read", error=repr(error))
            looked = Looked(None, None)
        self.engine.tell(self.myAddress, looked)

    def _looked(self, looked: Looked) -> None:
        calls, money = self.work.calls, self.around.metrics.money
        for number in looked.due or ():
            if not calls.has(number):
                calls.add(number, CheckPayment.__name__, self._check_of(number))
        self.begin(calls)
        wait_s = LOOK_AT_MOST_S
        if looked.open is not None:
            money.payments.update(looked.open.count)
            if looked.open.next_at is not None:
                wait_s = (looked.open.next_at - self.clock.utc()).total_seconds()
        self._look_within(self.within(wait_s, LOOK_AT_MOST_S))

    def _look_within(self, wait_s: float) -> None:
        """Look in so many clock seconds, unless a look comes sooner."""
        at = self.clock.monotonic() + wait_s
        if at < self.look_at:
            self.look_at = at
            self.arm("look", wait_s)

    def _check_of(self, number: str) -> Callable[[], Awaitable[Done]]:
        return lambda: self.desk.check(number)

    def inspect(self) -> dict[str, Any]:
        """Queues, for people."""
        calls, notifications = self.work.calls, self.work.notifications
        return {
            "state": "working" if self.port is not None else "not_configured",
            "calls": sorted(calls.running),
            "waiting": calls.waiting,
            "refused": calls.refused,
            "notifications": len(notifications.running) + notifications.waiting,
            "open": dict(self.around.metrics.money.payments),
        }


def _unable(message: Any, reason: str) -> Any:
    """The answer when the work could not be done: nothing is known that was not known before."""
    match message:
        case Prepay(number):
            return PrepayFailed(number, reason)
        case CheckPayment(number):
            return PaymentChecked(number, is_paid=False, session_state=None)
        case NotificationReceived():
            return NotificationTaken(is_ok=False, reason="not_stored")
    return None


def _reason(failure: Failure) -> str:
    fallback = "bad_signature" if isinstance(failure, SignatureInvalid) else "refused"
    return _REASONS.get(failure.code, fallback)


def _about(notification: Notification) -> str:
    """What a notification is about: two about one thing are taken one after the other."""
    match notification.content:
        case Payment(out_trade_no=number):
            return number
        case Refund(out_refund_no=number):
            return number
    return notification.id
