"""Lesson 20: a refund has one number, stored before anybody hears of it; one in flight; the same one again.

Elsewhere a pending refund was sent again, two clicks deducted twice, a failed refund could not be retried,
and an order was paid through two channels. (The reconciliation of each day has tests of its own.)
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pileward.actors.payments_rules import order_of
from pileward.messages.charging import PaymentVerdict, RefundStep
from pileward.messages.charging_writes import ConfirmPayment, FailStart
from pileward.messages.payments import NotFound, Refund, Refused, Unknown
from pileward.messages.sessions import Prepay, PrepayFailed, PrepayReady, RefundsWaiting
from pileward.models.database import open_database, sqlite_path
from pileward.services.books import insert
from pileward.services.charge_rows import payment_columns
from pileward.services.serials import refund_no, trade_no
from tests.business import NOW, later
from tests.charges import OPENID, Till
from tests.tills import Counter, ScriptedPayments, counter, reopened
from tests.waiting import until


@pytest.fixture
async def till(sqlite_url: str) -> AsyncIterator[Till]:
    opened = await open_database(sqlite_url)
    yield await Till.open(opened)
    await opened.close()


async def paid(desk: Counter, port: ScriptedPayments) -> str:
    serial = await desk.till.ordered()
    assert isinstance(await desk.ask(Prepay(trade_no(serial, 1))), PrepayReady)
    payment = port.pay(trade_no(serial, 1))
    await desk.till.pay(serial, transaction_id=payment.transaction_id)
    return serial


async def give_back(desk: Counter, serial: str, times: int = 1) -> str:
    for _ in range(times):
        await desk.till.write(FailStart(serial, "pile_refused", NOW))
        desk.engine.tell(desk.around.refunds, RefundsWaiting())
    await desk.rest()
    return refund_no(serial, 1)


def durable(url: str) -> list[Any]:
    """Refunds as another process would find them now."""
    with contextlib.closing(sqlite3.connect(sqlite_path(url))) as connection:
        return connection.execute("SELECT out_refund_no, step FROM refund").fetchall()


async def test_the_number_is_durable_before_the_provider_hears_of_it(till: Till, sqlite_url: str) -> None:
    port = ScriptedPayments()
    seen: list[Any] = []

    def look(order: Any, made: Refund) -> Refund:
        seen.append((order.out_refund_no, durable(sqlite_url)))
        return made

    port.script["refund"].append(look)
    async with counter(till, port) as desk:
        number = await give_back(desk, await paid(desk, port))
    assert seen == [(number, [(number, "submitted")])]


async def test_a_pending_refund_is_not_sent_again(till: Till) -> None:
    port = ScriptedPayments()
    port.gates["refund"] = asyncio.Event()
    async with counter(till, port) as desk:
        serial = await paid(desk, port)
        await till.write(FailStart(serial, "pile_refused", NOW))
        for _ in range(20):
            desk.engine.tell(desk.around.refunds, RefundsWaiting())
        await until(lambda: port.refunds)
        desk.clock.advance(50)
        await asyncio.sleep(0.05)
        assert port.count("refund") == 1
        port.gates["refund"].set()
        await desk.rest()
        await desk.pass_time(1_800, step=30)
        assert port.count("refund") == 1
        clock = desk.clock
    async with reopened(till, port, clock) as desk:
        await desk.pass_time(600, step=30)
        assert port.count("refund") == 1
        assert await desk.step(refund_no(serial, 1)) is RefundStep.PROCESSING


async def test_two_clicks_move_money_once(till: Till) -> None:
    port = ScriptedPayments()
    async with counter(till, port) as desk:
        serial = await till.ordered()
        number = trade_no(serial, 1)
        ready = await asyncio.gather(*(desk.ask(Prepay(number)) for _ in range(5)))
        assert len({answer.params["package"] for answer in ready}) == 1
        assert port.count("prepay") == 1
        port.pay(number)
        await till.pay(serial, transaction_id=port.payments[number].transaction_id)
        await give_back(desk, serial, times=5)
        assert len(port.refunds) == 1
        await desk.proven()


@pytest.mark.parametrize(
    "failure",
    [
        Unknown("NO_REPLY", "sent, no whole reply"),
        Unknown("NOT_SENT", "no connection"),
        Refused("NOT_ENOUGH", "too little money"),
        NotFound("RESOURCE_NOT_EXISTS", "nothing to refund from"),
    ],
)
async def test_a_failed_refund_is_tried_again_under_its_own_number(till: Till, failure: Any) -> None:
    port = ScriptedPayments()
    port.script["refund"].append(failure)
    async with counter(till, port) as desk:
        number = await give_back(desk, await paid(desk, port))
        await desk.pass_time(32 * 60, step=15)
        asked = {order for call, order in port.calls if call == "refund"}
        assert [order.out_refund_no for order in asked] == [number]
        assert port.count("refund") == 2
        port.end(number)
        await desk.pass_time(2_400, step=60)
        assert await desk.step(number) is RefundStep.SUCCEEDED
        assert await till.balances() == {}


async def test_an_order_that_was_paid_twice_gives_one_payment_back(till: Till) -> None:
    port = ScriptedPayments()
    async with counter(till, port) as desk:
        serial = await paid(desk, port)
        second = till.payment(await till.row(serial), 2)
        async with till.database.transaction() as connection:
            await insert(connection, "payment", [payment_columns(second)])
        # the app can no longer get this one paid; one that it got before may be paid all the same
        assert await desk.ask(Prepay(second.out_trade_no)) == PrepayFailed(second.out_trade_no, "closed")
        await port.create_prepay(order_of(second))
        paid_again = port.pay(second.out_trade_no)
        confirmation = ConfirmPayment(
            second.out_trade_no, paid_again.transaction_id, 5_000, OPENID, later(30), later(31)
        )
        [confirmed] = await till.write(confirmation)
        assert confirmed.verdict is PaymentVerdict.DUPLICATE
        desk.engine.tell(desk.around.refunds, RefundsWaiting())
        await desk.pass_time(40, step=5)
        [refund] = port.refunds.values()
        assert (refund.out_trade_no, refund.refund_fen) == (second.out_trade_no, 5_000)
        await desk.proven()
