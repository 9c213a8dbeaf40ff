"""The work on one payment: make it payable, ask about it, close it, take what a notification says.

Each method goes from the durable row to the next durable row by the rules of `payments_rules`, and returns
what others are to be told, which is only ever what is durable by then. One payment is worked on once at a
time; notifications come in between, and the database decides who was first.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from pileward.actors import payments_rules as rules
from pileward.actors.effects import TellRefunds
from pileward.actors.money_rows import MoneyRows
from pileward.actors.payments_rules import Next, Verdict
from pileward.actors.port_actor import Done, TellPile
from pileward.actors.provider_alarms import about
from pileward.actors.refunds_desk import RefundTaker, outcome
from pileward.clock import Clock
from pileward.logs import logger
from pileward.messages import payments as provider
from pileward.messages.charging import (
    PaymentRow,
    PaymentStep,
    PaymentVerdict,
    ReviewKind,
    SessionState,
)
from pileward.messages.charging_writes import (
    ConfirmPayment,
    MovePayment,
    OpenReview,
    PaymentConfirmed,
    PaymentMoved,
)
from pileward.messages.payments import Notification, Payment, PaymentState, Refund
from pileward.messages.sessions import (
    Funded,
    NotificationTaken,
    PaymentChecked,
    PaymentOver,
    PrepayFailed,
    PrepayReady,
    RefundsWaiting,
)
from pileward.metrics import Money
from pileward.ports import Payments
from pileward.services.money_watch import Whereabouts

PREPAY_TRIES: Final = 3
"""Calls for one prepay while the provider does not answer; all are about the same order."""
PREPAY_WITHIN_S: Final = 8.0
"""Real seconds after which a prepay is not tried again: a driver waits."""

log = logger(__name__)

Save = Callable[[Any], Awaitable[Any]]


class PaymentsDesk:
    """What is done about payments, without the queue."""

    def __init__(self, port: Payments, save: Save, rows: MoneyRows, clock: Clock, money: Money) -> None:
        self._port = port
        self._save = save
        self._rows = rows
        self._clock = clock
        self._money = money
        self._refunds = RefundTaker(save, rows, clock, money)

    # --- asked for by an edge or by a session -----------------------------------------------------------

    async def prepay(self, out_trade_no: str) -> Done:
        """Make a stored payment payable; answers PrepayReady or PrepayFailed."""
        row = await self._rows.payment(out_trade_no)
        if row is None:
            return Done(PrepayFailed(out_trade_no, "unknown_payment"))
        if reason := rules.before_prepay(row, self._clock.utc()):
            return Done(PrepayFailed(out_trade_no, reason))
        where = await self._rows.whereabouts(row.serial)
        if where is None or where.state is not SessionState.CREATED:
            return Done(PrepayFailed(out_trade_no, "closed"))
        if row.prepay_id:
            return Done(self._ready(row.out_trade_no, row.prepay_id))
        answer, verdict = await self._create(row)
        match verdict.next:
            case Next.READY:
                assert isinstance(answer, provider.Prepay)
                moved = await self._move(row, PaymentStep.WAITING, prepay_id=answer.prepay_id)
                if not moved.is_done:
                    return Done(PrepayFailed(out_trade_no, "already_paid"))
                return Done(self._ready(out_trade_no, answer.prepay_id), about(answer))
            case Next.ASK:
                asked = await self.check(out_trade_no)
                return Done(PrepayFailed(out_trade_no, verdict.reason), asked.effects)
            case Next.REPEAT:
                await self._move(row, row.step, error=verdict.reason)
                return Done(PrepayFailed(out_trade_no, "unknown"), about(answer))
            case _:
                await self._move(row, row.step, error=verdict.reason)
                return Done(PrepayFailed(out_trade_no, verdict.reason), about(answer))

    async def check(self, out_trade_no: str) -> Done:
        """Ask the provider about a payment; answers PaymentChecked."""
        row = await self._rows.payment(out_trade_no)
        where = None if row is None else await self._rows.whereabouts(row.serial)
        if row is None or where is None:
            return Done(PaymentChecked(out_trade_no, is_paid=False, session_state=None))
        if row.step in (PaymentStep.PAID, PaymentStep.CLOSED):
            is_paid = row.step is PaymentStep.PAID
            return Done(PaymentChecked(out_trade_no, is_paid, where.state))
        answer = await self._query(row)
        is_wanted = where.state is SessionState.CREATED
        verdict = rules.after_query(answer, row, self._clock.utc(), is_wanted=is_wanted)
        if verdict.next is Next.CLOSE:
            return await self._close(row, where)
        return await self._follow(verdict, answer, row, where)

    async def close(self, out_trade_no: str) -> Done:
        """Close a payment that its order no longer waits for, unless it turns out to be paid."""
        row = await self._rows.payment(out_trade_no)
        where = None if row is None else await self._rows.whereabouts(row.serial)
        if row is None or where is None:
            return Done()
        if row.step is PaymentStep.PAID:
            # who asks has not heard of it yet
            return await self._confirm(_again(row, self._clock.utc()), where)
        if row.step is PaymentStep.CLOSED:
            return Done(effects=(TellPile(where.pile_code, PaymentOver(row.serial, out_trade_no)),))
        return await self._close(row, where)

    # --- told by the provider ---------------------------------------------------------------------------

    async def take(self, notification: Notification) -> Done:
        """Keep what a proven notification says; answers NotificationTaken once that is durable."""
        content = notification.content
        taken = NotificationTaken(is_ok=True)
        if isinstance(content, Payment) and content.state is PaymentState.PAID:
            done = await self._take_payment(content, notification.id)
            return Done(taken, done.effects)
        if isinstance(content, Refund):
            row = await self._rows.refund(content.out_refund_no)
            if row is not None:
                visited = await self._refunds.take(content, row, notification_id=notification.id)
                return Done(taken, visited.effects)
        # a refund made by hand, an event of no concern: the reconciliation of the day finds what it means
        number = getattr(content, "out_refund_no", "")
        log.warning("notification_ignored", kind=notification.event, refund=number)
        return Done(taken)

    async def _take_payment(self, payment: Payment, notification_id: str) -> Done:
        row = await self._rows.payment(payment.out_trade_no)
        where = None if row is None else await self._rows.whereabouts(row.serial)
        found = rules.difference(payment, row) if row is not None else None
        if row is not None and found in rules.NOT_OURS:
            return await self._review(row, found)
        write = _confirmation(payment, self._clock.utc(), notification_id)
        return await self._confirm(write, where)

    # --- steps ------------------------------------------------------------------------------------------

    async def _create(self, row: PaymentRow) -> tuple[Any, Verdict]:
        """Ask for the prepay; what brings no answer is asked for again, the same order under its number."""
        began = time.monotonic()
        for tries_left in reversed(range(PREPAY_TRIES)):
            answer = self._count("prepay", await self._port.create_prepay(rules.order_of(row)))
            verdict = rules.after_prepay(answer)
            is_late = time.monotonic() - began > PREPAY_WITHIN_S
            if verdict.next is not Next.REPEAT or isinstance(answer, provider.RateLimited) or is_late:
                break
            log.info("prepay_unknown", payment=row.out_trade_no, code=verdict.reason, tries_left=tries_left)
        return answer, verdict

    def _ready(self, out_trade_no: str, prepay_id: str) -> PrepayReady:
        return PrepayReady(out_trade_no, msgspec.to_builtins(self._port.pay_params(prepay_id)))

    async def _close(self, row: PaymentRow, where: Whereabouts) -> Done:
        answer = self._count("close", await self._port.close_payment(row.out_trade_no))
        verdict = rules.after_close(answer)
        if verdict.next is not Next.ASK:
            return await self._follow(verdict, answer, row, where)
        found = await self._query(row)
        verdict = rules.after_query(found, row, self._clock.utc(), is_wanted=False, is_closed=True)
        return await self._follow(verdict, found, row, where)

    async def _query(self, row: PaymentRow) -> Any:
        return self._count("query", await self._port.query_payment(row.out_trade_no))

    async def _follow(self, verdict: Verdict, answer: Any, row: PaymentRow, where: Whereabouts) -> Done:
        """Do what the rules say of an answer."""
        now = self._clock.utc()
        checked = PaymentChecked(row.out_trade_no, is_paid=False, session_state=where.state)
        effects: tuple[Any, ...] = about(answer)
        match verdict.next:
            case Next.CONFIRM:
                done = await self._confirm(_confirmation(answer, now), where)
                return Done(done.answer, (*effects, *done.effects))
            case Next.REVIEW:
                done = await self._review(row, verdict.reason)
                return Done(checked, (*effects, *done.effects))
            case Next.OVER:
                moved = await self._move(row, PaymentStep.CLOSED, error=verdict.reason)
                if moved.step is PaymentStep.CLOSED:
                    over = PaymentOver(row.serial, row.out_trade_no)
                    effects += (TellPile(where.pile_code, over),)
                return Done(checked, effects)
            case Next.WAIT:
                await self._move(row, row.step, error=verdict.reason)
            case _:
                again = rules.again(now, verdict.next)
                await self._save(
                    MovePayment(row.out_trade_no, row.step, now, error=verdict.reason, next_query_at=again)
                )
        return Done(checked, effects)

    async def _move(
        self, row: PaymentRow, step: PaymentStep, *, prepay_id: str = "", error: str = ""
    ) -> PaymentMoved:
        """Keep a step short of being paid; what is still open is asked about by the schedule."""
        now = self._clock.utc()
        next_at = None if step is PaymentStep.CLOSED else rules.next_query(row, now)
        if next_at is None and step is not PaymentStep.CLOSED:
            next_at = rules.again(now, Next.AGAIN)
        moved = await self._save(MovePayment(row.out_trade_no, step, now, prepay_id, error, next_at))
        assert isinstance(moved, PaymentMoved)
        return moved

    async def _confirm(self, write: ConfirmPayment, where: Whereabouts | None) -> Done:
        """Book money that arrived; then tell the charge, and the refunds when it goes back."""
        confirmed = await self._save(write)
        assert isinstance(confirmed, PaymentConfirmed)
        if confirmed.is_first or confirmed.verdict is PaymentVerdict.UNKNOWN:
            self._money.confirmed[str(confirmed.verdict)] += 1
            log.info(
                "payment",
                session=confirmed.serial,
                payment=write.out_trade_no,
                verdict=str(confirmed.verdict),
                reason=confirmed.reason,
            )
        checked = PaymentChecked(write.out_trade_no, is_paid=True, session_state=confirmed.session_state)
        effects: tuple[Any, ...] = ()
        if where is not None:
            effects = (TellPile(where.pile_code, Funded(confirmed.serial, confirmed)),)
        if confirmed.out_refund_no is not None:
            effects += (TellRefunds(RefundsWaiting()),)
        return Done(checked, effects)

    async def _review(self, row: PaymentRow, reason: str) -> Done:
        """Money that is not what was ordered: nothing is booked, a person looks, and we go on asking."""
        now = self._clock.utc()
        log.error("payment_differs", session=row.serial, payment=row.out_trade_no, reason=reason)
        self._money.confirmed["differs"] += 1
        await self._save(
            OpenReview(
                ReviewKind.PAYMENT_MISMATCH,
                reason,
                now,
                serial=row.serial,
                operator_id=row.operator_id,
                about=row.out_trade_no,
            )
        )
        again = rules.again(now, Next.ALARM)
        await self._save(MovePayment(row.out_trade_no, row.step, now, error=reason, next_query_at=again))
        return Done()

    def _count(self, call: str, answer: Any) -> Any:
        self._money.calls[f"{call}:{outcome(answer)}"] += 1
        return answer


def _confirmation(payment: Payment, at: Any, notification_id: str | None = None) -> ConfirmPayment:
    assert payment.total_fen is not None
    return ConfirmPayment(
        out_trade_no=payment.out_trade_no,
        transaction_id=payment.transaction_id,
        fen=payment.total_fen,
        openid=payment.openid,
        paid_at=payment.paid_at or at,
        at=at,
        notification_id=notification_id,
    )


def _again(row: PaymentRow, at: Any) -> ConfirmPayment:
    """What was confirmed, once more: it changes nothing and brings the same result."""
    return ConfirmPayment(
        row.out_trade_no, row.transaction_id, row.paid_fen, row.openid, row.paid_at or at, at
    )
