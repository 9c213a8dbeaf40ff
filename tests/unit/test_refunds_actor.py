"""The refunds actor over real rows and a scripted provider: every line of its table, and every way to die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors import money as money_module
from pileward.actors import refunds as actor_module
from pileward.actors.refunds import RefundsActor, ResumedRefunds, ResumeRefunds
from pileward.messages.charging import RefundCause, RefundStep, SessionState
from pileward.messages.charging_writes import FailStart
from pileward.messages.payments import (
    Config,
    NotFound,
    PaymentState,
    RateLimited,
    Refund,
    RefundState,
    Refused,
    SignatureInvalid,
    Unknown,
)
from pileward.messages.sessions import Prepay, PrepayReady, RefundChanged, RefundsWaiting
from pileward.models.database import open_database
from pileward.services import reviews
from pileward.services.refunds import refunds_due
from pileward.services.serials import refund_no, trade_no
from tests.business import NOW, later
from tests.charges import CHANNEL, TRANSIT, Till, delivered
from tests.tills import Counter, ScriptedPayments, after_doing, counter, orders, reopened
from tests.unit.engine_actors import boom
from tests.waiting import until

S = RefundStep
LOST = Unknown("NO_REPLY", "sent, no whole reply")
NOT_ENOUGH = Refused("NOT_ENOUGH", "too little money")


@pytest.fixture
async def till(sqlite_url: str) -> AsyncIterator[Till]:
    opened = await open_database(sqlite_url)
    yield await Till.open(opened)
    await opened.close()


@pytest.fixture
def port() -> ScriptedPayments:
    return ScriptedPayments()


@pytest.fixture
async def desk(till: Till, port: ScriptedPayments) -> AsyncIterator[Counter]:
    async with counter(till, port) as opened:
        yield opened


async def paid(desk: Counter, port: ScriptedPayments, serial: str | None = None) -> str:
    """An order that was paid; returns its serial."""
    serial = serial or await desk.till.ordered()
    number = trade_no(serial, 1)
    assert isinstance(await desk.ask(Prepay(number)), PrepayReady)
    payment = port.pay(number)
    await desk.till.pay(serial, transaction_id=payment.transaction_id)
    return serial


async def failed(desk: Counter, port: ScriptedPayments, serial: str | None = None) -> str:
    """An order that never charged: its money stands in the outbox; returns the number of the refund."""
    serial = await paid(desk, port, serial)
    await desk.till.write(FailStart(serial, "pile_refused", desk.clock.utc()))
    return refund_no(serial, 1)


async def kick(desk: Counter) -> None:
    """Something stands in the outbox, says a session."""
    desk.engine.tell(desk.around.refunds, RefundsWaiting())
    await desk.rest()


async def started(desk: Counter, port: ScriptedPayments, *answers: Any, call: str = "refund") -> str:
    """A refund that was tried once, with these answers; returns its number."""
    number = await failed(desk, port)
    port.script[call] += answers
    await kick(desk)
    return number


def inspected(desk: Counter) -> dict[str, Any]:
    found: dict[str, Any] = desk.around.refunds.instance.inspect()
    return found


class TestTheWayItShouldBe:
    async def test_a_failed_start_gives_everything_back(self, desk: Counter, port: ScriptedPayments) -> None:
        number = await started(desk, port)
        row = await desk.refund(number)
        assert (row.step, row.refund_id) == (S.PROCESSING, "5030000000")
        assert row.next_attempt_at == desk.clock.utc() + timedelta(minutes=1)
        [(_, order)] = [call for call in port.calls if call[0] == "refund"]
        assert (order.out_refund_no, order.refund_fen, order.total_fen) == (number, 5_000, 5_000)
        assert order.reason
        port.end(number)
        await desk.pass_time(62, step=2)
        assert await desk.step(number) is S.SUCCEEDED
        assert await desk.till.balances() == {}
        changed = desk.told(RefundChanged)
        assert [(item.step, item.moved.is_last) for item in changed] == [
            (S.PROCESSING, False), (S.SUCCEEDED, True)
        ]  # fmt: skip
        assert (await desk.till.row(row.serial)).state is SessionState.CLOSED
        assert port.count("refund") == 1
        await desk.proven()

    async def test_the_rest_of_a_charge_goes_back(self, desk: Counter, port: ScriptedPayments) -> None:
        serial = await paid(desk, port)
        await desk.till.move(serial, SessionState.STARTING, at=later(30))
        await desk.till.move(serial, SessionState.CHARGING, at=later(40), started_at=later(40))
        settled = await desk.till.settle(serial, delivered())
        desk.clock.advance(3_700)
        await kick(desk)
        number = refund_no(serial, 1)
        assert port.refunds[number].refund_fen == settled.refund_fen == 3_000
        port.end(number)
        await desk.pass_time(62, step=2)
        assert port.back_fen == 3_000
        assert await desk.till.balance(CHANNEL) == 2_000
        await desk.proven()

    async def test_a_refund_that_is_done_at_once_is_closed_at_once(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        def at_once(_: Any, made: Refund) -> Refund:
            return port.end(made.out_refund_no)

        number = await started(desk, port, at_once)
        assert await desk.step(number) is S.SUCCEEDED
        assert port.count("query_refund") == 0

    async def test_it_is_polled_by_its_schedule(self, desk: Counter, port: ScriptedPayments) -> None:
        number = await started(desk, port)
        await desk.pass_time(20 * 60 + 10, step=5)
        assert port.count("query_refund") == 7
        port.end(number)
        await desk.pass_time(20 * 60, step=30)
        assert await desk.step(number) is S.SUCCEEDED
        assert port.count("query_refund") == 8

    async def test_without_being_told_it_finds_what_stands_in_the_outbox(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await failed(desk, port)
        await desk.pass_time(20, step=5)
        assert await desk.step(number) is S.PROCESSING

    async def test_many_are_worked_off_a_few_at_a_time(self, desk: Counter, port: ScriptedPayments) -> None:
        serials = await orders(desk.till, 20)
        numbers = [await failed(desk, port, serial) for serial in serials]
        most = 0

        def note(_: Any, made: Refund) -> Refund:
            nonlocal most
            most = max(most, len(inspected(desk)["calls"]))
            return made

        port.script["refund"] += [note] * 20
        await kick(desk)
        assert {await desk.step(number) for number in numbers} == {S.PROCESSING}
        assert 1 < most <= actor_module.CALLS_AT_ONCE
        assert port.count("refund") == 20


class TestWhatIsNotKnown:
    @pytest.mark.parametrize(
        "failure", [LOST, RateLimited("FREQUENCY_LIMITED", ""), SignatureInvalid("SIGNATURE_WRONG", "")]
    )
    async def test_a_lost_answer_is_asked_for_and_money_moves_once(
        self, desk: Counter, port: ScriptedPayments, failure: Any
    ) -> None:
        number = await started(desk, port, after_doing(failure))
        assert await desk.step(number) is S.PROCESSING
        assert (port.count("refund"), port.count("query_refund")) == (1, 1)

    async def test_what_was_not_accepted_is_asked_for_again_a_minute_later_under_its_number(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port, LOST)
        row = await desk.refund(number)
        assert (row.step, row.error) == (S.SUBMITTED, "NO_REPLY")
        assert row.next_attempt_at is not None
        wait_s = (row.next_attempt_at - desk.clock.utc()).total_seconds()
        assert 61 <= wait_s < 61 * 1.2
        await desk.pass_time(60, step=5)
        assert port.count("refund") == 1
        await desk.pass_time(20, step=2)
        assert await desk.step(number) is S.PROCESSING
        asked = [order for call, order in port.calls if call == "refund"]
        assert len(asked) == 2
        assert len(set(asked)) == 1
        assert [call for call, _ in port.calls][-3:] == ["query_refund", "query_refund", "refund"]

    async def test_back_off_grows_while_the_provider_stays_away(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await failed(desk, port)
        port.script["refund"] += [LOST] * 50
        port.script["query_refund"] += [LOST] * 50
        await kick(desk)
        waits = []
        for _ in range(4):
            row = await desk.refund(number)
            assert row.next_attempt_at is not None
            waits.append((row.next_attempt_at - desk.clock.utc()).total_seconds())
            await desk.pass_time(waits[-1] + 15, step=15)
        for wait_s, least_s in zip(waits, (61, 120, 300, 600), strict=True):
            assert least_s - 15 <= wait_s <= least_s * 1.2
        assert port.count("refund") == 1
        assert not port.refunds

    async def test_a_query_without_an_answer_never_asks_for_the_refund(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await failed(desk, port)
        port.script["refund"].append(after_doing(LOST))
        port.script["query_refund"] += [LOST, LOST]
        await kick(desk)
        await desk.pass_time(240, step=10)
        assert await desk.step(number) is S.PROCESSING
        assert port.count("refund") == 1

    async def test_an_accepted_refund_that_is_not_found_is_not_asked_for_again(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port)
        port.script["query_refund"] += [NotFound("RESOURCE_NOT_EXISTS", "")] * 3
        await desk.pass_time(200, step=10)
        assert port.count("refund") == 1
        assert await desk.step(number) is S.PROCESSING


class TestWhatIsRefused:
    async def test_too_little_money_is_an_alarm_and_the_same_again_in_half_an_hour(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port, NOT_ENOUGH)
        row = await desk.refund(number)
        assert (row.step, row.error) == (S.NEW, "NOT_ENOUGH")
        assert row.next_attempt_at == desk.clock.utc() + timedelta(minutes=30)
        assert "merchant_funds_short" in desk.alarms()
        await desk.pass_time(29 * 60, step=60)
        assert port.count("refund") == 1
        await desk.pass_time(90, step=15)
        assert await desk.step(number) is S.PROCESSING
        assert "merchant_funds_short" not in desk.alarms()
        assert {order.out_refund_no for call, order in port.calls if call == "refund"} == {number}

    async def test_while_money_is_short_only_whole_payments_are_tried(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        first, second, third = await orders(desk.till, 3)
        for serial in (first, second, third):
            await paid(desk, port, serial)
        await desk.till.move(second, SessionState.STARTING)
        await desk.till.move(second, SessionState.CHARGING, started_at=later(40))
        await desk.pass_time(3_700, step=1_000)
        number = refund_no(first, 1)
        await desk.till.write(FailStart(first, "pile_refused", desk.clock.utc()))
        port.script["refund"].append(NOT_ENOUGH)
        await kick(desk)
        assert (await desk.refund(number)).error == "NOT_ENOUGH"
        await desk.till.settle(second, delivered(), at=desk.clock.utc())
        await desk.till.write(FailStart(third, "pile_refused", desk.clock.utc()))
        port.script["refund"].append(NOT_ENOUGH)
        await kick(desk)
        rest = await desk.refund(refund_no(second, 1))
        assert (rest.cause, rest.step, rest.error) == (RefundCause.REST, S.NEW, "merchant_short_of_funds")
        assert {order.out_refund_no for call, order in port.calls if call == "refund"} == {
            number, refund_no(third, 1)
        }  # fmt: skip
        await desk.pass_time(32 * 60, step=60)
        assert len(port.refunds) == 3

    @pytest.mark.parametrize(
        "code", ["INVALID_REQUEST", "USER_ACCOUNT_ABNORMAL", "REQUEST_BLOCKED", "NO_AUTH", "TRADE_OVERDUE"]
    )
    async def test_what_is_refused_for_good_is_for_a_person(
        self, desk: Counter, port: ScriptedPayments, code: str
    ) -> None:
        number = await started(desk, port, Refused(code, "no"))
        row = await desk.refund(number)
        assert (row.step, row.error, row.next_attempt_at) == (S.MANUAL, code, None)
        assert desk.alarms() == {"refunds_need_person"}
        found = await reviews.list_reviews(desk.till.business.who.operator_id)
        assert [view.about for view in found.items] == [number]
        await desk.pass_time(4_000, step=500)
        assert port.count("refund") == 1
        assert [item.step for item in desk.told(RefundChanged)] == [S.MANUAL]

    async def test_nothing_to_refund_from_is_believed_only_after_a_look_at_the_payment(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await failed(desk, port)
        payment_no = (await desk.refund(number)).out_trade_no
        port.payments[payment_no] = replace(port.payments[payment_no], state=PaymentState.UNPAID)
        await kick(desk)
        row = await desk.refund(number)
        assert (row.step, row.error) == (S.MANUAL, "payment_not_paid")
        assert port.count("query") == 1

    async def test_a_payment_that_is_there_after_all_is_refunded_later(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port, NotFound("RESOURCE_NOT_EXISTS", ""))
        assert (await desk.refund(number)).error == "refund_not_found"
        await desk.pass_time(80, step=5)
        assert await desk.step(number) is S.PROCESSING

    @pytest.mark.parametrize("code", ["SIGN_ERROR", "PARAM_ERROR"])
    async def test_our_own_fault_stops_the_worker_and_keeps_the_outbox(
        self, desk: Counter, port: ScriptedPayments, code: str
    ) -> None:
        first, second = await orders(desk.till, 2)
        number = await failed(desk, port, first)
        port.script["refund"].append(Config(code, "our fault"))
        await kick(desk)
        assert "refunds_stopped" in desk.alarms()
        assert inspected(desk)["state"] == "stopped"
        other = await failed(desk, port, second)
        await kick(desk)
        await desk.pass_time(700, step=50)
        assert (await desk.step(number), await desk.step(other)) == (S.SUBMITTED, S.NEW)
        assert port.count("refund") == 1
        assert "refunds_late" in desk.alarms()
        answer = await desk.engine.ask_async(desk.around.refunds, ResumeRefunds(), 5.0)
        assert answer == ResumedRefunds(True)
        await desk.rest()
        await desk.pass_time(20, step=5)
        assert (await desk.step(number), await desk.step(other)) == (S.PROCESSING, S.PROCESSING)
        assert desk.alarms() == set()
        await desk.proven()

    async def test_what_was_claimed_before_the_stop_is_not_asked_for(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        for serial in await orders(desk.till, 20):
            await failed(desk, port, serial)
        port.script["refund"] += [Config("SIGN_ERROR", "our fault")] * 20
        await kick(desk)
        await desk.pass_time(30, step=1)
        assert port.count("refund") == actor_module.CALLS_AT_ONCE
        port.script["refund"].clear()
        await desk.engine.ask_async(desk.around.refunds, ResumeRefunds(), 5.0)
        await desk.pass_time(90, step=5)
        assert len(port.refunds) == 20
        await desk.proven()

    async def test_what_waited_too_long_behind_slow_calls_is_claimed_anew(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        for serial in await orders(desk.till, 9):
            await failed(desk, port, serial)
        port.gates["refund"] = asyncio.Event()
        desk.engine.tell(desk.around.refunds, RefundsWaiting())
        await until(lambda: port.count("refund") == actor_module.CALLS_AT_ONCE)
        desk.clock.advance(40)
        port.gates["refund"].set()
        await desk.rest()
        assert port.count("refund") == actor_module.CALLS_AT_ONCE
        await desk.pass_time(40, step=5)
        assert port.count("refund") == len(port.refunds) == 9

    async def test_a_number_used_for_two_things_is_an_alarm_and_a_persons(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        def other_amount(_: Any, made: Refund) -> Refund:
            return replace(made, refund_fen=1)

        number = await started(desk, port, other_amount)
        row = await desk.refund(number)
        assert (row.step, row.error) == (S.MANUAL, "other_content")
        assert desk.alarms() == {"refunds_need_person"}
        again = await failed_second(desk, port)
        port.script["refund"].append(Config("REFUND_NUMBER_REUSED", "as the client tells it"))
        await kick(desk)
        assert (await desk.refund(again)).error == "REFUND_NUMBER_REUSED"
        assert inspected(desk)["state"] == "working"

    async def test_calls_that_fail_are_at_most_six_a_second(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        for serial in await orders(desk.till, 15):
            await failed(desk, port, serial)
        port.script["refund"] += [Refused("INVALID_REQUEST", "no")] * 15
        await kick(desk)
        counts = [port.count("refund")]
        for _ in range(3):
            await desk.pass_time(1)
            counts.append(port.count("refund"))
        assert counts == [6, 12, 15, 15]


async def failed_second(desk: Counter, port: ScriptedPayments) -> str:
    """The same for another driver at another gun."""
    _, serial = await orders(desk.till, 2)
    return await failed(desk, port, serial)


class TestHowItEnds:
    async def test_a_closed_refund_gets_the_next_number_once_then_a_person(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port)
        port.end(number, RefundState.CLOSED)
        await desk.pass_time(62, step=2)
        row = await desk.refund(number)
        assert row.step is S.CLOSED
        following = refund_no(row.serial, 2)
        await desk.pass_time(80, step=5)
        assert (await desk.refund(following)).replaces == number
        assert await desk.step(following) is S.PROCESSING
        port.end(following, RefundState.CLOSED)
        await desk.pass_time(62, step=2)
        assert await desk.step(following) is S.MANUAL
        assert "refunds_need_person" in desk.alarms()
        assert len(port.refunds) == 2
        await desk.proven()

    async def test_the_successor_of_a_closed_refund_pays_once(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port)
        port.end(number, RefundState.CLOSED)
        await desk.pass_time(150, step=5)
        port.end(number.replace("-1", "-2"))
        await desk.pass_time(62, step=2)
        assert port.back_fen == 5_000
        assert await desk.till.balances() == {}
        await desk.proven()

    async def test_an_abnormal_refund_is_for_a_person_and_ends_when_it_is_done(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port)
        port.end(number, RefundState.ABNORMAL)
        await desk.pass_time(62, step=2)
        assert await desk.step(number) is S.ABNORMAL
        assert desk.alarms() == {"refunds_need_person"}
        port.end(number)
        await desk.pass_time(6 * 3_600 + 20, step=600)
        assert await desk.step(number) is S.SUCCEEDED
        await desk.pass_time(20, step=5)
        assert desk.alarms() == set()
        assert port.count("refund") == 1

    async def test_three_days_on_the_way_are_put_before_a_person(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port)
        await desk.pass_time(3 * 86_400 + 3_600, step=1_800)
        found = await reviews.list_reviews(desk.till.business.who.operator_id)
        assert [(view.about, view.reason) for view in found.items] == [(number, "too_long_on_its_way")]
        assert await desk.step(number) is S.PROCESSING


class TestDying:
    async def test_killed_between_asking_and_the_answer_it_queries_first(
        self, till: Till, port: ScriptedPayments
    ) -> None:
        port.gates["refund"] = asyncio.Event()
        async with counter(till, port) as first:
            number = await failed(first, port)
            first.engine.tell(first.around.refunds, RefundsWaiting())
            await until(lambda: port.refunds)
            clock = first.clock
            assert await first.step(number) is S.SUBMITTED
        port.gates.clear()
        clock.advance(5)
        async with reopened(till, port, clock) as second:
            await second.pass_time(30, step=5)
            assert await second.step(number) is S.SUBMITTED  # somebody may be at it still
            await second.pass_time(60, step=5)
            assert await second.step(number) is S.PROCESSING
            assert port.count("refund") == 1
            await second.proven()

    async def test_killed_before_the_call_left_it_asks_again_under_the_same_number(
        self, till: Till, port: ScriptedPayments
    ) -> None:
        async with counter(till, port) as first:
            number = await failed(first, port)
            port.script["refund"].append(LOST)
            port.gates["query_refund"] = asyncio.Event()
            first.engine.tell(first.around.refunds, RefundsWaiting())
            await until(lambda: port.count("query_refund"))
            clock = first.clock
        port.gates.clear()
        async with reopened(till, port, clock) as second:
            await second.pass_time(100, step=5)
            assert await second.step(number) is S.PROCESSING
            assert len(port.refunds) == 1

    async def test_two_processes_never_work_on_one_refund(self, till: Till, port: ScriptedPayments) -> None:
        port.gates["refund"] = asyncio.Event()
        async with counter(till, port) as first, reopened(till, port, first.clock) as second:
            await failed(first, port)
            for desk in (first, second):
                desk.engine.tell(desk.around.refunds, RefundsWaiting())
            await until(lambda: port.refunds)
            for _ in range(10):
                await asyncio.sleep(0.002)
            assert port.count("refund") == 1
            port.gates["refund"].set()
            await first.rest()

    async def test_a_failure_of_the_actor_loses_nothing(
        self, desk: Counter, port: ScriptedPayments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = await failed(desk, port)

        await desk.fail_once(monkeypatch, RefundsActor, desk.around.refunds, RefundsWaiting())
        await desk.pass_time(70, step=5)
        assert await desk.step(number) is S.PROCESSING

    async def test_one_that_fails_again_and_again_is_tried_again_after_a_while(
        self, desk: Counter, port: ScriptedPayments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port.gates["refund"] = asyncio.Event()
        number = await failed(desk, port)
        desk.engine.tell(desk.around.refunds, RefundsWaiting())
        await until(lambda: port.refunds)
        monkeypatch.setattr(money_module, "RELEASE_AFTER_S", 0.05)
        desk.engine.on_quarantine = desk.money.quarantined
        with monkeypatch.context() as patch:
            patch.setattr(RefundsActor, "receiveMessage", lambda actor, _, sender: boom(actor, sender))
            for _ in range(8):
                desk.engine.tell(desk.around.refunds, RefundsWaiting())
            await until(lambda: desk.engine.quarantined)
        assert desk.alarms() == {"money_quarantined"}
        port.gates["refund"].set()  # its end is told to nobody
        await until(lambda: not desk.engine.quarantined)
        await desk.rest()
        assert desk.alarms() == set()
        assert await desk.step(number) is S.PROCESSING
        assert inspected(desk)["calls"] == []
        port.end(number)
        await desk.pass_time(70, step=5)
        assert await desk.step(number) is S.SUCCEEDED

    async def test_a_port_that_breaks_its_promise_costs_one_visit(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await started(desk, port, RuntimeError("ports do not raise"))
        await desk.pass_time(150, step=5)
        assert await desk.step(number) is S.PROCESSING
        assert len(port.refunds) == 1

    async def test_without_a_provider_the_outbox_is_kept_and_watched(
        self, till: Till, port: ScriptedPayments
    ) -> None:
        async with counter(till, port) as first:
            serial = await paid(first, port)
        async with counter(till, None) as desk:
            await till.write(FailStart(serial, "pile_refused", NOW))
            await kick(desk)
            await desk.pass_time(620, step=20)
            money = desk.around.metrics.money
            assert (money.refunds["new"], money.transit_fen) == (1, 5_000)
            assert money.outbox_age_s >= 600
            assert desk.alarms() == {"refunds_late"}
            assert len(await refunds_due(till.database.connection, desk.clock.utc())) == 1


async def test_figures_follow_the_money(desk: Counter, port: ScriptedPayments) -> None:
    number = await started(desk, port)
    await desk.pass_time(16, step=4)
    money = desk.around.metrics.money
    assert (money.refunds["processing"], money.transit_fen) == (1, 5_000)
    assert await desk.till.balance(TRANSIT) == -5_000
    port.end(number)
    await desk.pass_time(80, step=4)
    assert (money.refunds["processing"], money.transit_fen) == (0, 0)
    assert money.refunds_ended == {"succeeded": 1}
    assert money.calls["refund:done"] == 1
