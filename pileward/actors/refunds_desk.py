"""The work on one refund: ask, query, keep what is known; and what the provider tells of one by itself.

Each method is one visit at a refund, from its durable row to its next durable row, by the tables of
`refunds_rules`. That a refund is about to be asked for is stored before the provider hears of it, so whoever
finds the row after a crash queries first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pileward.actors import refunds_rules as rules
from pileward.actors.effects import Clear, Raise, TellRefunds
from pileward.actors.money_rows import MoneyRows
from pileward.actors.port_actor import TellPile
from pileward.actors.provider_alarms import WORKS, about
from pileward.actors.refunds_rules import Do
from pileward.clock import Clock
from pileward.logs import logger
from pileward.messages.charging import RefundRow, RefundStep, ReviewKind
from pileward.messages.charging_writes import MoveRefund, OpenReview, RefundMoved
from pileward.messages.payments import FAILURES, Config, Failure, Refund
from pileward.messages.sessions import RefundChanged, RefundsWaiting
from pileward.metrics import Money
from pileward.ports import Payments
from pileward.values import Severity

NEEDS_PERSON: Final = "refunds_need_person"
STOPPED: Final = "refunds_stopped"
SHORT: Final = "merchant_funds_short"
LATE: Final = "refunds_late"

SHOWN: Final = frozenset(RefundStep) - {RefundStep.NEW, RefundStep.SUBMITTED}
"""Steps that a driver is told about."""

log = logger(__name__)

Save = Callable[[Any], Awaitable[Any]]


class Visited(msgspec.Struct, frozen=True):
    """What one visit came to; `do` is what the line of the table said with which it ended."""

    do: Do
    code: str = ""
    effects: tuple[Any, ...] = ()
    is_accepted: bool = False
    """The provider has just taken this refund: it has the money for it."""
    is_failing: bool = False
    """The provider's last answer was a failure."""


class RefundTaker:
    """Keeps what a provider tells of a refund, in an answer or in a notification."""

    def __init__(self, save: Save, rows: MoneyRows, clock: Clock, money: Money) -> None:
        self._save = save
        self._rows = rows
        self._clock = clock
        self._money = money

    async def take(
        self, told: Refund, row: RefundRow, *, is_new: bool = False, notification_id: str | None = None
    ) -> Visited:
        """Keep how a refund stands; `is_new`: it was accepted by this answer."""
        if rules.on_taken(told, row) is Do.REUSED:
            return await self.hand_over(row, Do.REUSED, "other_content", notification_id=notification_id)
        now = self._clock.utc()
        step = rules.TAKEN[told.state]
        write = MoveRefund(
            out_refund_no=row.out_refund_no,
            step=step,
            at=now,
            refund_id=told.refund_id,
            error="closed_by_provider" if step is RefundStep.CLOSED else "",
            next_attempt_at=rules.next_look(row, step, now, is_new=is_new),
            notification_id=notification_id,
        )
        effects = await self.move(write)
        if step is RefundStep.ABNORMAL:
            effects += (_needs_person(row, "abnormal"),)
        if step is RefundStep.PROCESSING and rules.is_stuck(row, now):
            await self._save(
                OpenReview(
                    ReviewKind.REFUND_STUCK,
                    "too_long_on_its_way",
                    now,
                    serial=row.serial,
                    operator_id=row.operator_id,
                    about=row.out_refund_no,
                )
            )
        return Visited(Do.TAKE, str(told.state), effects)

    async def hand_over(
        self, row: RefundRow, do: Do, code: str, notification_id: str | None = None
    ) -> Visited:
        """Leave a refund to a person: no automatic step is left."""
        write = MoveRefund(
            out_refund_no=row.out_refund_no,
            step=RefundStep.MANUAL,
            at=self._clock.utc(),
            error=code,
            notification_id=notification_id,
        )
        return Visited(do, code, (*await self.move(write), _needs_person(row, code)))

    async def move(self, write: MoveRefund) -> tuple[Any, ...]:
        """Write a step, and tell whoever has to know of it."""
        moved: RefundMoved = await self._save(write)
        if moved.step is None or not moved.is_first:
            return ()
        log.info("refund", session=moved.serial, refund=write.out_refund_no, step=str(moved.step))
        effects: tuple[Any, ...] = ()
        if moved.step in SHOWN:
            pile_code = await self._rows.pile_of(moved.serial)
            changed = RefundChanged(moved.serial, write.out_refund_no, moved.step, moved)
            effects = (TellPile(pile_code, changed),)
        if moved.step in (RefundStep.SUCCEEDED, RefundStep.CLOSED):
            self._money.refunds_ended[str(moved.step)] += 1
        if moved.successor is not None:
            effects += (TellRefunds(RefundsWaiting()),)
        elif moved.step is RefundStep.MANUAL and write.step is RefundStep.CLOSED:
            effects += (_needs_person_no(write.out_refund_no, "closed_twice"),)
        return effects


class RefundsDesk:
    """The refund worker, without its queue."""

    def __init__(
        self, port: Payments, save: Save, rows: MoneyRows, clock: Clock, money: Money, random: Random
    ) -> None:
        """`random` spreads repetitions out; its seed makes them repeatable."""
        self.taker = RefundTaker(save, rows, clock, money)
        self._port = port
        self._clock = clock
        self._money = money
        self._random = random

    async def visit(self, row: RefundRow, short: datetime | None = None) -> Visited:
        """Do the next thing for a refund that was claimed; `short`: until when money is thought to lack."""
        now = self._clock.utc()
        if short is not None and rules.is_paused(row, short, now):
            return await self._put_off(row, row.step, short, Do.LATER, "merchant_short_of_funds")
        if rules.first(row) is Do.ASK:
            return await self._ask(row)
        answer = self._count("query_refund", await self._port.query_refund(row.out_refund_no))
        do = rules.find(rules.on_query(row), answer)
        if do is Do.ASK:
            return await self._ask(row)
        return await self._follow(row, answer, do)

    async def _ask(self, row: RefundRow) -> Visited:
        now = self._clock.utc()
        may_at = rules.may_ask_at(row)
        if may_at is not None and now < may_at:
            # not with the provider, as a query has just told: as good as never asked for
            return await self._put_off(row, RefundStep.NEW, may_at, Do.LATER, "too_soon")
        # durable before the provider hears of it: after a crash it is queried when it is due again
        asking = MoveRefund(
            row.out_refund_no, RefundStep.SUBMITTED, now, next_attempt_at=self._backed_off(row)
        )
        effects = await self.taker.move(asking)
        row = replace(row, step=RefundStep.SUBMITTED, submitted_at=now)
        answer = self._count("refund", await self._port.refund(rules.order_of(row)))
        do = rules.find(rules.ON_ASK, answer)
        if do is Do.QUERY:
            found = self._count("query_refund", await self._port.query_refund(row.out_refund_no))
            # known not to be there: the same again, but not at once
            do = Do.LATER if (do := rules.find(rules.on_query(row), found)) is Do.ASK else do
            answer = found if do is not Do.LATER else answer
        elif do is Do.LOOK_AT_PAYMENT:
            return await self._look_at_payment(row)
        visited = await self._follow(row, answer, do, is_new=True)
        is_accepted = visited.do is Do.TAKE
        if is_accepted:
            effects += (Clear(SHORT),)
        return replace(visited, effects=(*effects, *visited.effects), is_accepted=is_accepted)

    async def _look_at_payment(self, row: RefundRow) -> Visited:
        """There is nothing to refund from, says the provider; our books say that it was paid."""
        answer = self._count("query", await self._port.query_payment(row.out_trade_no))
        do = rules.find(rules.ON_PAYMENT, answer)
        if do is Do.MANUAL:
            return await self.taker.hand_over(row, do, "payment_not_paid")
        if isinstance(answer, FAILURES):
            return await self._follow(row, answer, do)
        return await self._put_off(row, row.step, self._backed_off(row), Do.LATER, "refund_not_found")

    async def _follow(self, row: RefundRow, answer: Refund | Any, do: Do, *, is_new: bool = False) -> Visited:
        """Do what the table says of an answer."""
        if isinstance(answer, Refund):
            visited = await self.taker.take(answer, row, is_new=is_new)
            return replace(visited, effects=(*visited.effects, *WORKS))
        code = answer.code
        now = self._clock.utc()
        match do:
            case Do.MANUAL | Do.REUSED:
                visited = await self.taker.hand_over(row, do, code)
            case Do.SHORT:
                visited = await self._put_off(row, RefundStep.NEW, rules.short_until(now), do, code)
                visited = replace(visited, effects=(*visited.effects, _SHORT))
            case Do.STOP:
                # due at once when the worker goes on, and then asked about first
                visited = await self._put_off(row, row.step, now, do, code)
                visited = replace(visited, effects=(*visited.effects, _stopped(answer)))
            case _:
                visited = await self._put_off(row, row.step, self._backed_off(row), Do.LATER, code)
        # of a fault of our own the worker itself tells, where it is one of them all
        said = () if isinstance(answer, Config) else about(answer)
        return replace(visited, effects=(*visited.effects, *said), is_failing=True)

    async def _put_off(self, row: RefundRow, step: RefundStep, until: datetime, do: Do, code: str) -> Visited:
        """Keep a refund where it is, for later."""
        write = MoveRefund(row.out_refund_no, step, self._clock.utc(), error=code, next_attempt_at=until)
        return Visited(do, code, await self.taker.move(write))

    def _backed_off(self, row: RefundRow) -> datetime:
        now = self._clock.utc()
        if row.step in (RefundStep.NEW, RefundStep.SUBMITTED):
            return rules.backed_off(row, now, self._random.random())
        return rules.next_look(row, row.step, now) or now

    def _count(self, call: str, answer: Any) -> Any:
        self._money.calls[f"{call}:{outcome(answer)}"] += 1
        return answer


def outcome(answer: Any) -> str:
    """An answer of a provider in a word, for counters: done, or the kind of failure."""
    return type(answer).__name__.lower() if isinstance(answer, FAILURES) else "done"


_SHORT: Final = Raise(
    SHORT,
    Severity.FAULT,
    "商户账户余额不足，退款暂缓，请充值",
    "the merchant account has too little money: refunds wait, top it up",
)


def _stopped(answer: Failure) -> Raise:
    zh = f"退款已全部停止：微信支付拒绝了我方配置（{answer.code}）"
    en = f"all refunds are stopped: the provider refuses our settings ({answer.code}: {answer.message})"
    return Raise(STOPPED, Severity.FAULT, zh, en[:200])


def _needs_person(row: RefundRow, code: str) -> Raise:
    return _needs_person_no(row.out_refund_no, code)


def _needs_person_no(out_refund_no: str, code: str) -> Raise:
    zh = f"退款 {out_refund_no} 需人工处理：{code}"
    en = f"refund {out_refund_no} needs a person: {code}"
    return Raise(NEEDS_PERSON, Severity.WARNING, zh, en)
