"""The actors of money over a till: real store, real rows, a clock moved by hand, a scripted provider.

`ScriptedPayments` is a provider in memory that keeps its own books; answers put into its script come first.
A `Counter` is store, payments and refunds actors over one database, with a stand-in for the pile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors.engine import Engine
from pileward.actors.money import MoneyPart
from pileward.actors.port_actor import PortActor
from pileward.actors.store import StoreActor, StoreStart, Waiting
from pileward.clock import ManualClock
from pileward.messages.charging import PaymentRow, RefundRow, RefundStep
from pileward.messages.payments import (
    Bill,
    BillNotReady,
    Failure,
    NoBill,
    NotFound,
    Notification,
    Payment,
    PaymentClosed,
    PaymentState,
    PayParams,
    Prepay,
    PrepayOrder,
    Refund,
    RefundOrder,
    RefundState,
    Refused,
    SignatureInvalid,
)
from pileward.ports import Payments
from pileward.services import ledger
from pileward.services.backend import DatabaseBackend
from pileward.services.drivers import login_driver
from pileward.services.payments import payment_by_number
from pileward.services.refunds import refund_by_number
from tests.around import noted, stand_in, surroundings
from tests.business import NOW, PILE_CODE
from tests.charges import MERCHANT, OPENID, Till
from tests.unit.engine_actors import boom, engine_with

APPID = "wx0000000000000001"


class ScriptedPayments:
    """A provider in memory. Money moves as WeChat Pay moves it; `script` says what is answered otherwise."""

    def __init__(self) -> None:
        self.orders: dict[str, PrepayOrder] = {}
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, Refund] = {}
        self.script: dict[str, deque[Any]] = defaultdict(deque)
        """By call: failures or answers to give first. A callable gets what was asked and what would have been
        answered, after it was done; an exception is raised."""
        self.calls: list[tuple[str, Any]] = []
        self.is_started = False
        self.gates: dict[str, asyncio.Event] = {}
        """By call: an answer waits for this event."""

    async def start(self) -> None:
        self.is_started = True

    async def close(self) -> None:
        self.is_started = False

    async def create_prepay(self, order: PrepayOrder) -> Prepay | Failure:
        def do() -> Prepay | Failure:
            if self.orders.setdefault(order.out_trade_no, order) != order:
                return Refused("OUT_TRADE_NO_USED", "another order has this number")
            known = self.payments.setdefault(
                order.out_trade_no,
                Payment(order.out_trade_no, PaymentState.UNPAID, APPID, MERCHANT),
            )
            if known.state is not PaymentState.UNPAID:
                return Refused("ORDER_PAID" if known.state is PaymentState.PAID else "ORDER_CLOSED", "")
            return Prepay(order.out_trade_no, "wx1", self.pay_params("wx1"))

        return await self._answer("prepay", order, do)  # type: ignore[no-any-return] # by its function

    def pay_params(self, prepay_id: str) -> PayParams:
        return PayParams(APPID, "1772337906", "nonce", f"prepay_id={prepay_id}", "RSA", "signed")

    async def query_payment(self, out_trade_no: str) -> Payment | Failure:
        def do() -> Payment | Failure:
            return self.payments.get(out_trade_no) or NotFound("ORDER_NOT_EXIST", "no such order")

        return await self._answer("query", out_trade_no, do)  # type: ignore[no-any-return] # by its function

    async def close_payment(self, out_trade_no: str) -> PaymentClosed | Failure:
        def do() -> PaymentClosed | Failure:
            known = self.payments.get(out_trade_no)
            if known is None:
                return NotFound("ORDER_NOT_EXIST", "no such order")
            if known.state is PaymentState.PAID:
                return Refused("ORDER_PAID", "it was paid")
            self.payments[out_trade_no] = replace(known, state=PaymentState.CLOSED)
            return PaymentClosed(out_trade_no)

        return await self._answer("close", out_trade_no, do)  # type: ignore[no-any-return] # by its function

    async def refund(self, order: RefundOrder) -> Refund | Failure:
        def do() -> Refund | Failure:
            known = self.refunds.get(order.out_refund_no)
            if known is not None:
                return known
            payment = self.payments.get(order.out_trade_no)
            if payment is None or payment.state is not PaymentState.PAID:
                return NotFound("RESOURCE_NOT_EXISTS", "nothing to refund from")
            made = Refund(
                out_refund_no=order.out_refund_no,
                out_trade_no=order.out_trade_no,
                transaction_id=payment.transaction_id,
                refund_id=f"503{len(self.refunds):07d}",
                state=RefundState.PROCESSING,
                refund_fen=order.refund_fen,
                total_fen=order.total_fen,
                payer_refund_fen=order.refund_fen,
            )
            self.refunds[order.out_refund_no] = made
            return made

        return await self._answer("refund", order, do)  # type: ignore[no-any-return] # by its function

    async def query_refund(self, out_refund_no: str) -> Refund | Failure:
        def do() -> Refund | Failure:
            return self.refunds.get(out_refund_no) or NotFound("RESOURCE_NOT_EXISTS", "no such refund")

        return await self._answer("query_refund", out_refund_no, do)  # type: ignore[no-any-return] # by its function

    async def download_bill(self, day: date) -> Bill | NoBill | BillNotReady | Failure:
        return NoBill(day)

    def parse_notification(self, headers: Mapping[str, str], raw: bytes) -> Notification | Failure:
        """The body names what the script has prepared; anything else is forged."""
        found = self.script["parse"].popleft() if self.script["parse"] else None
        return found or SignatureInvalid("SIGNATURE_WRONG", "forged")

    # --- what a test does -------------------------------------------------------------------------------

    def pay(self, out_trade_no: str, fen: int | None = None, **changes: Any) -> Payment:
        """The driver pays."""
        order = self.orders[out_trade_no]
        values: dict[str, Any] = {
            "state": PaymentState.PAID,
            "transaction_id": f"42000{out_trade_no}",
            "openid": OPENID,
            "total_fen": order.total_fen if fen is None else fen,
            "currency": "CNY",
            "paid_at": NOW,
        }
        paid = replace(self.payments[out_trade_no], **{**values, **changes})
        self.payments[out_trade_no] = paid
        return paid

    def end(self, out_refund_no: str, state: RefundState = RefundState.SUCCEEDED) -> Refund:
        """A refund comes to an end."""
        ended = replace(self.refunds[out_refund_no], state=state)
        self.refunds[out_refund_no] = ended
        return ended

    def count(self, call: str) -> int:
        """How often something was asked."""
        return sum(1 for name, _ in self.calls if name == call)

    @property
    def back_fen(self) -> int:
        """Money that is back with drivers."""
        return sum(
            refund.refund_fen for refund in self.refunds.values() if refund.state is RefundState.SUCCEEDED
        )

    async def _answer(self, call: str, asked: Any, do: Callable[[], Any]) -> Any:
        self.calls.append((call, asked))
        scripted = self.script[call].popleft() if self.script[call] else None
        result: Any = scripted
        if scripted is None or callable(scripted):
            done = do()
            result = done if scripted is None else scripted(asked, done)
        if (gate := self.gates.get(call)) is not None:
            await gate.wait()
        await asyncio.sleep(0)  # a call takes at least a turn of the loop
        if isinstance(result, Exception):
            raise result
        return result


def after_doing(failure: Failure) -> Callable[[Any, Any], Failure]:
    """For a script: it is done, and the answer is lost."""
    return lambda _, __: failure


async def orders(till: Till, count: int, fen: int = 5_000) -> list[str]:
    """Orders of as many drivers at as many guns, stored; returns their serials."""
    serials = []
    operator_id = till.business.who.operator_id
    for number in range(1, count + 1):
        driver = await login_driver(operator_id, "wechat", APPID, f"openid-of-{number}", "", NOW)
        serials.append(await till.ordered(fen, gun_no=number, driver_id=driver.id))
    return serials


class Counter:
    """Store, payments and refunds actors over a till."""

    def __init__(self, till: Till, engine: Engine, clock: ManualClock, port: Payments | None) -> None:
        self.till = till
        self.engine = engine
        self.clock = clock
        self.around = surroundings(engine)
        self.pile = stand_in(engine)
        self.around.piles[PILE_CODE] = self.pile
        self.backend = DatabaseBackend(till.database, clock.utc)
        self.waiting = Waiting()
        start = StoreStart(self.around, self.backend, self.waiting)
        self.around.store = engine.create(StoreActor, start)
        self.money = MoneyPart(engine, self.around, till.database, port, 1)

    async def open(self) -> None:
        """Make the actors and set them to work."""
        await self.money.start()
        self.money.begin()
        await self.rest()

    async def ask(self, message: Any, within_s: float = 10.0) -> Any:
        """Ask the payments actor."""
        return await self.engine.ask_async(self.around.payments, message, within_s)

    def told(self, *kinds: type) -> list[Any]:
        """What the pile was told."""
        return noted(self.pile, *kinds)

    async def rest(self) -> None:
        """Let everything that can happen now happen, while the clock stands still."""
        quiet = 0
        while quiet < 5:
            await asyncio.sleep(0.002)
            is_busy = self.engine.waiting or self.waiting.queue or self.waiting.in_flight or self._works()
            quiet = 0 if is_busy else quiet + 1

    def _works(self) -> bool:
        works = (self.money._payments.calls, self.money._payments.notifications, self.money._refunds.jobs)
        looks = (self.money._payments.look, self.money._refunds.look)
        return any(jobs.running for jobs in works) or any(look and not look.done() for look in looks)

    async def fail_once(
        self, patch: pytest.MonkeyPatch, kind: type[PortActor], address: Any, message: Any
    ) -> None:
        """Have an actor fail at a message; the engine puts a fresh instance in its place."""
        old = address.instance
        with patch.context() as during:
            during.setattr(kind, "receiveMessage", lambda actor, _, sender: boom(actor, sender))
            self.engine.deliver(address, message)
        assert address.instance is not old
        await self.rest()

    async def pass_time(self, seconds: float, step: float | None = None) -> None:
        """Move the clock, in steps, and come to rest after each."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step or seconds, left))
            left -= step or seconds
            await self.rest()

    async def refund(self, number: str) -> RefundRow:
        """A refund as it is durable."""
        return await refund_by_number(self.till.database.connection, number)

    async def payment(self, number: str) -> PaymentRow:
        """A payment as it is durable."""
        return await payment_by_number(self.till.database.connection, number)

    async def step(self, number: str) -> RefundStep:
        """How far a refund is."""
        return (await self.refund(number)).step

    def alarms(self) -> set[str]:
        """Kinds of alarms of the platform that are open."""
        return {kind for kind, _ in self.around.alarms.get("", set())}

    async def proven(self) -> None:
        """The books add up."""
        assert await ledger.check_books(self.till.database.connection) == []


@asynccontextmanager
async def counter(till: Till, port: Payments | None) -> AsyncIterator[Counter]:
    """A counter that is open; in the end it is gone as after a kill."""
    clock = ManualClock(NOW)
    async with reopened(till, port, clock) as opened:
        yield opened


@asynccontextmanager
async def reopened(till: Till, port: Payments | None, clock: ManualClock) -> AsyncIterator[Counter]:
    """The same at the time that a clock shows: another process on the same rows."""
    async with engine_with(clock) as engine:
        made = Counter(till, engine, clock, port)
        try:
            await made.open()
            yield made
        finally:
            await made.money.close()
