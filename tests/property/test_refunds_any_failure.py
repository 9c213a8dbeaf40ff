"""Refunds under any sequence of answers, lost answers, ends and deaths: money moves once, and all of it.

The provider does what it is asked, or not, and answers what chance says; the process dies now and then. After
every step the books add up, no payment has given back more than was paid, and two calls about one payment
were a minute apart. In the end, once the provider behaves, everything is back.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from random import Random
from typing import Any

import pytest

from pileward.actors.payments_rules import order_of
from pileward.clock import ManualClock
from pileward.messages.charging import RefundStep
from pileward.messages.charging_writes import ConfirmPayment, FailStart
from pileward.messages.payments import (
    Failure,
    RateLimited,
    RefundState,
    Refused,
    SignatureInvalid,
    Unknown,
)
from pileward.models.database import open_database
from pileward.models.payments import Refund
from pileward.services.serials import trade_no
from tests.business import NOW
from tests.charges import OPENID, Till
from tests.tills import Counter, ScriptedPayments, orders, reopened

FEN = 5_000
FAILURES: tuple[Failure, ...] = (
    Unknown("NO_REPLY", ""),
    Unknown("NOT_SENT", ""),
    Unknown("SYSTEM_ERROR", ""),
    RateLimited("FREQUENCY_LIMITED", ""),
    SignatureInvalid("SIGNATURE_WRONG", ""),
    Refused("NOT_ENOUGH", ""),
)
"""What may come back of a call that was not done, or was; NOT_ENOUGH only of one that was not."""


class Weather:
    """A provider whose mood is chance."""

    def __init__(self, random: Random, port: ScriptedPayments) -> None:
        self.random = random
        self.port = port
        self.clock: ManualClock | None = None
        self.asked_at: dict[str, list[datetime]] = defaultdict(list)
        self._real_refund = port.refund
        port.refund = self.refund  # type: ignore[method-assign] # the provider with its mood
        self.is_bad = True

    async def refund(self, order: Any) -> Any:
        assert self.clock is not None
        self.asked_at[order.out_trade_no].append(self.clock.utc())
        if self.is_bad and self.random.random() < 0.6:
            failure = self.random.choice(FAILURES)
            is_done = failure.code != "NOT_ENOUGH" and self.random.random() < 0.5
            self.port.script["refund"].append((lambda _, __: failure) if is_done else failure)
        return await self._real_refund(order)

    def step(self) -> None:
        """Queries fail, refunds end, in every way but one that needs a person."""
        if self.random.random() < 0.4:
            self.port.script["query_refund"].append(self.random.choice(FAILURES[:5]))
        for number, refund in list(self.port.refunds.items()):
            if refund.state is RefundState.PROCESSING and self.random.random() < 0.5:
                may_close = number.endswith("-1") and self.random.random() < 0.3
                self.port.end(number, RefundState.CLOSED if may_close else RefundState.SUCCEEDED)

    def prove(self) -> None:
        """Never more than was paid, never twice in a minute."""
        back: dict[str, int] = defaultdict(int)
        for refund in self.port.refunds.values():
            if refund.state is not RefundState.CLOSED:
                back[refund.out_trade_no] += refund.refund_fen
        assert all(fen <= FEN for fen in back.values()), back
        for moments in self.asked_at.values():
            gaps = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(moments)]
            assert all(gap >= 60 for gap in gaps), gaps


@pytest.fixture
async def till(sqlite_url: str) -> AsyncIterator[Till]:
    opened = await open_database(sqlite_url)
    yield await Till.open(opened)
    await opened.close()


async def paid(till: Till, port: ScriptedPayments, count: int) -> list[str]:
    """Orders that were paid, at the provider and in the books."""
    serials = await orders(till, count, FEN)
    for serial in serials:
        number = trade_no(serial, 1)
        await port.create_prepay(order_of(till.payment(await till.row(serial), 1)))
        told = port.pay(number)
        await till.write(ConfirmPayment(number, told.transaction_id, FEN, OPENID, NOW, NOW))
    return serials


SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed > 1 else []) for seed in range(12)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_money_comes_back_once_whatever_happens(till: Till, seed: int) -> None:
    random = Random(seed)
    port = ScriptedPayments()
    serials = await paid(till, port, 4)
    weather = Weather(random, port)
    clock = weather.clock = ManualClock(NOW)
    async with AsyncExitStack() as stack:
        desk: Counter = await stack.enter_async_context(reopened(till, port, clock))
        for _ in range(40):
            if serials and random.random() < 0.3:
                await till.write(FailStart(serials.pop(), "pile_refused", clock.utc()))
            weather.step()
            await desk.pass_time(random.choice([5, 20, 70, 400, 2_000]), step=70)
            weather.prove()
            await desk.proven()
            if random.random() < 0.2:
                await stack.aclose()
                desk = await stack.enter_async_context(reopened(till, port, clock))
        weather.is_bad = False
        port.script.clear()
        for serial in serials:
            await till.write(FailStart(serial, "pile_refused", clock.utc()))
        for _ in range(60):
            for number, refund in list(port.refunds.items()):
                if refund.state is RefundState.PROCESSING:
                    port.end(number)
            await desk.pass_time(600, step=100)
            if not await Refund.filter(step__not_in=[RefundStep.SUCCEEDED, RefundStep.CLOSED]).exists():
                break
        weather.prove()
        await desk.proven()
        assert await till.balances() == {}
        assert port.back_fen == 4 * FEN
