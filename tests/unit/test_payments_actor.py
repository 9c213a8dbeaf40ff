"""The payments actor over real rows and a scripted provider: paying, asking, closing, being told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors.payments import PaymentsActor
from pileward.messages.charging import PaymentStep, PaymentVerdict, RefundCause, ReviewKind, SessionState
from pileward.messages.charging_writes import CancelSession
from pileward.messages.payments import (
    Config,
    Notification,
    Payment,
    PaymentState,
    RateLimited,
    Refund,
    RefundState,
    Refused,
    SignatureInvalid,
    Unknown,
)
from pileward.messages.sessions import (
    CheckPayment,
    ClosePayment,
    Funded,
    NotificationReceived,
    NotificationTaken,
    PaymentChecked,
    PaymentOver,
    Prepay,
    PrepayFailed,
    PrepayReady,
    RefundChanged,
)
from pileward.models.database import open_database
from pileward.models.payments import PaymentNotification
from pileward.services import reviews
from pileward.services.serials import trade_no
from tests.business import NOW, later
from tests.charges import CHANNEL, Till
from tests.tills import APPID, Counter, ScriptedPayments, after_doing, counter, orders, reopened
from tests.waiting import until

S = SessionState
BODY = NotificationReceived({"Wechatpay-Nonce": "n"}, b"{}")


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


async def ready(desk: Counter, fen: int = 5_000) -> str:
    """An order whose payment the driver can make; returns the number of the payment."""
    number = trade_no(await desk.till.ordered(fen), 1)
    assert isinstance(await desk.ask(Prepay(number)), PrepayReady)
    return number


def told_of(payment: Payment | Refund, number: str = "N1") -> Notification:
    kind = "TRANSACTION.SUCCESS" if isinstance(payment, Payment) else "REFUND.SUCCESS"
    return Notification(number, kind, NOW, payment)


async def notify(desk: Counter, port: ScriptedPayments, *found: Any) -> list[NotificationTaken]:
    """Notifications arrive at the same time; each is what the script makes of it."""
    port.script["parse"].extend(found)
    answers = await asyncio.gather(*(desk.ask(BODY) for _ in found))
    await desk.rest()
    return answers


class TestPrepay:
    async def test_a_stored_payment_becomes_payable(self, desk: Counter, port: ScriptedPayments) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        answer = await desk.ask(Prepay(number))
        assert isinstance(answer, PrepayReady)
        assert answer.params["appId"] == APPID
        assert answer.params["package"] == "prepay_id=wx1"
        row = await desk.payment(number)
        assert (row.step, row.prepay_id, row.next_query_at) == (PaymentStep.WAITING, "wx1", later(5))
        [(_, order)] = [call for call in port.calls if call[0] == "prepay"]
        assert (order.out_trade_no, order.total_fen, order.expires_at) == (number, 5_000, later(600))

    async def test_asking_again_signs_again_without_another_order(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        assert isinstance(await desk.ask(Prepay(number)), PrepayReady)
        assert port.count("prepay") == 1

    async def test_what_brings_no_answer_is_asked_for_again_under_the_same_number(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        lost = Unknown("NO_REPLY", "sent, no whole reply")
        port.script["prepay"] += [after_doing(lost), lost]
        number = await ready(desk)
        orders = [asked for call, asked in port.calls if call == "prepay"]
        assert len(orders) == 3
        assert set(orders) == {port.orders[number]}

    async def test_a_provider_that_stays_away_ends_unknown_and_the_next_try_is_the_same_order(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        port.script["prepay"] += [Unknown("NOT_SENT", "")] * 3
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "unknown")
        row = await desk.payment(number)
        assert (row.step, row.error, row.next_query_at) == (PaymentStep.NEW, "NOT_SENT", later(5))
        assert isinstance(await desk.ask(Prepay(number)), PrepayReady)
        assert len(port.orders) == 1

    async def test_too_many_calls_are_not_answered_with_more(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        port.script["prepay"].append(RateLimited("FREQUENCY_LIMITED", ""))
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "unknown")
        assert port.count("prepay") == 1

    async def test_a_refusal_is_told_with_its_code(self, desk: Counter, port: ScriptedPayments) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        port.script["prepay"].append(Refused("RULE_LIMIT", "no"))
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "refused:RULE_LIMIT")
        assert desk.alarms() == set()

    async def test_our_own_fault_raises_an_alarm_until_a_call_succeeds(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        port.script["prepay"].append(Config("SIGN_ERROR", "key"))
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "refused:SIGN_ERROR")
        await desk.rest()
        assert desk.alarms() == {"payments_misconfigured"}
        assert isinstance(await desk.ask(Prepay(number)), PrepayReady)
        await desk.rest()
        assert desk.alarms() == set()

    async def test_an_order_that_was_paid_meanwhile_is_booked(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        port.script["prepay"] += [after_doing(Unknown("NO_REPLY", ""))] * 3
        await desk.ask(Prepay(number))
        port.pay(number)
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "refused:ORDER_PAID")
        await desk.rest()
        assert (await desk.payment(number)).verdict is PaymentVerdict.PAID
        assert [funded.confirmed.verdict for funded in desk.told(Funded)] == [PaymentVerdict.PAID]
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "already_paid")

    async def test_what_nobody_stored_cannot_be_paid(self, desk: Counter) -> None:
        assert await desk.ask(Prepay("P1-1")) == PrepayFailed("P1-1", "unknown_payment")

    async def test_an_order_that_has_run_out_cannot_be_paid(self, desk: Counter) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        await desk.pass_time(600)
        assert (await desk.ask(Prepay(number))).reason == "expired"

    async def test_an_order_that_was_given_up_cannot_be_paid(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        serial = (await desk.payment(number)).serial
        await desk.till.write(CancelSession(serial, "cancelled", later(2)))
        assert await desk.ask(Prepay(number)) == PrepayFailed(number, "closed")

    async def test_without_a_provider_nobody_can_pay(self, till: Till) -> None:
        number = trade_no(await till.ordered(), 1)
        async with counter(till, None) as desk:
            assert await desk.ask(Prepay(number)) == PrepayFailed(number, "not_configured")
            assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, False, None)
            assert await desk.ask(BODY) == NotificationTaken(False, "not_configured")

    async def test_more_than_can_wait_is_refused_at_once(self, desk: Counter, port: ScriptedPayments) -> None:
        desk.money._payments.calls.at_once = 1
        desk.money._payments.calls.queue_max = 1
        port.gates["prepay"] = asyncio.Event()
        numbers = [trade_no(serial, 1) for serial in await orders(desk.till, 3)]
        asking = [asyncio.create_task(desk.ask(Prepay(number))) for number in numbers]
        await until(asking[2].done)
        assert asking[2].result() == PrepayFailed(numbers[2], "busy")
        port.gates["prepay"].set()
        for task in asking[:2]:
            assert isinstance(await task, PrepayReady)


class TestAsking:
    async def test_the_schedule_asks_until_it_is_paid(self, desk: Counter, port: ScriptedPayments) -> None:
        number = await ready(desk)
        await desk.pass_time(4.5, step=1.5)
        assert port.count("query") == 0
        await desk.pass_time(1.5)
        assert port.count("query") == 1
        assert (await desk.payment(number)).next_query_at == later(30)
        port.pay(number)
        await desk.pass_time(30, step=3)
        assert port.count("query") == 2
        row = await desk.payment(number)
        assert (row.step, row.verdict, row.next_query_at) == (PaymentStep.PAID, PaymentVerdict.PAID, None)
        [funded] = desk.told(Funded)
        assert funded.confirmed.session_state is S.FUNDED
        await desk.pass_time(3_600, step=60)
        assert port.count("query") == 2
        await desk.proven()

    async def test_an_unpaid_order_is_closed_when_the_schedule_has_run_out(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        await desk.pass_time(1_830, step=15)
        assert (port.count("query"), port.count("close")) == (8, 1)
        assert port.payments[number].state is PaymentState.CLOSED
        assert (await desk.payment(number)).step is PaymentStep.CLOSED
        assert [over.out_trade_no for over in desk.told(PaymentOver)] == [number]

    async def test_an_order_that_waits_no_longer_is_closed_at_the_next_question(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        serial = (await desk.payment(number)).serial
        await desk.till.write(CancelSession(serial, "cancelled", later(2)))
        await desk.pass_time(7, step=1)
        assert port.count("close") == 1
        assert (await desk.payment(number)).step is PaymentStep.CLOSED

    async def test_the_drivers_app_may_have_it_asked_at_once(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, False, S.CREATED)
        port.pay(number)
        assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, True, S.FUNDED)
        await desk.rest()
        assert len(desk.told(Funded)) == 1
        assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, True, S.FUNDED)
        assert port.count("query") == 2

    async def test_many_who_ask_at_once_share_a_question(self, desk: Counter, port: ScriptedPayments) -> None:
        number = await ready(desk)
        port.pay(number)
        answers = await asyncio.gather(*(desk.ask(CheckPayment(number)) for _ in range(20)))
        assert {answer.is_paid for answer in answers} == {True}
        assert port.count("query") <= 2

    @pytest.mark.parametrize(
        "failure", [Unknown("NO_REPLY", ""), SignatureInvalid("STALE", ""), RateLimited("X", "")]
    )
    async def test_no_answer_changes_nothing(
        self, desk: Counter, port: ScriptedPayments, failure: Any
    ) -> None:
        number = await ready(desk)
        port.script["query"].append(failure)
        assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, False, S.CREATED)
        row = await desk.payment(number)
        assert (row.step, row.next_query_at) == (PaymentStep.WAITING, later(5))

    async def test_answers_signed_minutes_ago_mean_that_our_clock_is_wrong(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        port.script["query"].append(SignatureInvalid("STALE", "signed 400 s ago"))
        await desk.ask(CheckPayment(number))
        await desk.rest()
        assert desk.alarms() == {"clock_suspect"}
        await desk.ask(CheckPayment(number))
        await desk.rest()
        assert desk.alarms() == set()

    async def test_a_port_that_breaks_its_promise_costs_one_question(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        port.script["query"].append(RuntimeError("ports do not raise"))
        assert await desk.ask(CheckPayment(number)) == PaymentChecked(number, False, None)
        port.pay(number)
        assert (await desk.ask(CheckPayment(number))).is_paid

    async def test_after_a_restart_of_the_process_what_is_due_is_asked_at_once(
        self, till: Till, port: ScriptedPayments
    ) -> None:
        async with counter(till, port) as first:
            number = await ready(first)
            clock = first.clock
        port.pay(number)
        clock.advance(40)
        async with reopened(till, port, clock) as second:
            await second.rest()
            assert (await second.payment(number)).verdict is PaymentVerdict.PAID
            assert len(second.told(Funded)) == 1

    async def test_after_a_failure_of_the_actor_the_schedule_goes_on(
        self, desk: Counter, port: ScriptedPayments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = await ready(desk)

        await desk.fail_once(monkeypatch, PaymentsActor, desk.around.payments, CheckPayment(number))
        port.pay(number)
        await desk.pass_time(10, step=1)
        assert (await desk.payment(number)).verdict is PaymentVerdict.PAID


class TestClosing:
    async def test_an_unpaid_order_is_closed_and_seen_to_be(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert [call for call, _ in port.calls] == ["prepay", "close", "query"]
        assert (await desk.payment(number)).step is PaymentStep.CLOSED
        [over] = desk.told(PaymentOver)
        assert over.out_trade_no == number
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert len(desk.told(PaymentOver)) == 2
        assert port.count("close") == 1

    async def test_what_was_paid_at_that_moment_is_booked_instead(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        port.pay(number)
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert desk.told(PaymentOver) == []
        assert [funded.confirmed.verdict for funded in desk.told(Funded)] == [PaymentVerdict.PAID]
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert [funded.confirmed.is_first for funded in desk.told(Funded)] == [True, False]

    async def test_a_close_whose_answer_is_lost_is_repeated(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        serial = (await desk.payment(number)).serial
        await desk.till.write(CancelSession(serial, "cancelled", later(1)))
        port.script["close"].append(Unknown("NO_REPLY", ""))
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        row = await desk.payment(number)
        assert (row.step, row.next_query_at) == (PaymentStep.WAITING, later(60))
        await desk.pass_time(62, step=2)
        assert (await desk.payment(number)).step is PaymentStep.CLOSED
        assert len(desk.told(PaymentOver)) == 1

    async def test_a_close_that_is_not_seen_in_the_query_is_not_believed(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        unpaid = port.payments[number]
        port.script["query"].append(unpaid)
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert desk.told(PaymentOver) == []
        assert (await desk.payment(number)).next_query_at == later(60)

    async def test_an_order_that_was_never_made_payable_is_over_at_once(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = trade_no(await desk.till.ordered(), 1)
        desk.engine.tell(desk.around.payments, ClosePayment(number))
        await desk.rest()
        assert (await desk.payment(number)).step is PaymentStep.CLOSED
        assert len(desk.told(PaymentOver)) == 1

    async def test_closing_what_nobody_stored_does_nothing(self, desk: Counter) -> None:
        desk.engine.tell(desk.around.payments, ClosePayment("P1-1"))
        await desk.rest()
        assert desk.told(PaymentOver) == []


class TestNotifications:
    async def test_what_is_paid_is_durable_before_it_is_confirmed(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        [answer] = await notify(desk, port, told_of(port.pay(number)))
        assert answer == NotificationTaken(True)
        row = await desk.payment(number)
        assert (row.verdict, row.paid_fen) == (PaymentVerdict.PAID, 5_000)
        assert await desk.till.balance(CHANNEL) == 5_000
        [funded] = desk.told(Funded)
        assert (funded.confirmed.verdict, funded.confirmed.session_state) == (PaymentVerdict.PAID, S.FUNDED)
        assert await PaymentNotification.filter(notification_id="N1").count() == 1

    async def test_notification_and_query_race_and_the_money_is_booked_once(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        paid = port.pay(number)
        port.script["parse"].append(told_of(paid))
        checked, taken = await asyncio.gather(desk.ask(CheckPayment(number)), desk.ask(BODY))
        await desk.rest()
        assert checked.is_paid
        assert taken.is_ok
        assert sorted(funded.confirmed.is_first for funded in desk.told(Funded)) == [False, True]
        assert await desk.till.balance(CHANNEL) == 5_000
        await desk.proven()

    async def test_repetitions_are_taken_again_and_change_nothing(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        paid = told_of(port.pay(number))
        answers = await notify(desk, port, *[paid] * 8)
        answers += await notify(desk, port, paid)
        assert {answer.is_ok for answer in answers} == {True}
        assert sum(funded.confirmed.is_first for funded in desk.told(Funded)) == 1
        assert await desk.till.balance(CHANNEL) == 5_000
        assert await PaymentNotification.all().count() == 1
        assert desk.around.metrics.money.confirmed == {"paid": 1}

    @pytest.mark.parametrize(
        ("failure", "reason"),
        [
            (SignatureInvalid("SIGNATURE_WRONG", "forged"), "bad_signature"),
            (SignatureInvalid("SIGNATURE_PROBE", "test"), "bad_signature"),
            (SignatureInvalid("HEADERS_MISSING", "none"), "bad_signature"),
            (SignatureInvalid("STALE", "old"), "stale"),
            (Refused("NOT_JSON", "xml"), "unreadable"),
            (Refused("NOTIFICATION_INVALID", "odd"), "unreadable"),
            (Refused("MERCHANT_MISMATCH", "not ours"), "other_merchant"),
            (Config("DECRYPTION", "key"), "cannot_decrypt"),
        ],
    )
    async def test_what_is_not_proven_is_not_taken(
        self, desk: Counter, port: ScriptedPayments, failure: Any, reason: str
    ) -> None:
        number = await ready(desk)
        port.pay(number)
        assert await notify(desk, port, failure) == [NotificationTaken(False, reason)]
        assert (await desk.payment(number)).verdict is None
        assert desk.around.metrics.money.notifications == {reason: 1}
        assert desk.alarms() == ({"payments_misconfigured"} if isinstance(failure, Config) else set())

    async def test_a_payment_for_an_order_that_is_over_goes_back_whole(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        serial = (await desk.payment(number)).serial
        await desk.till.write(CancelSession(serial, "cancelled", later(2)))
        await notify(desk, port, told_of(port.pay(number)))
        [funded] = desk.told(Funded)
        assert funded.confirmed.verdict is PaymentVerdict.LATE
        refund = await desk.refund(funded.confirmed.out_refund_no)
        assert (refund.cause, refund.fen) == (RefundCause.LATE_PAYMENT, 5_000)
        assert port.refunds[refund.out_refund_no].refund_fen == 5_000
        await desk.proven()

    @pytest.mark.parametrize("changes", [{"total_fen": 4_999}, {"openid": "somebody"}])
    async def test_another_amount_or_payer_is_held_for_a_person(
        self, desk: Counter, port: ScriptedPayments, changes: dict[str, Any]
    ) -> None:
        number = await ready(desk)
        [answer] = await notify(desk, port, told_of(replace(port.pay(number), **changes)))
        assert answer.is_ok
        [funded] = desk.told(Funded)
        assert (funded.confirmed.verdict, funded.confirmed.session_state) == (
            PaymentVerdict.MISMATCH, S.DISPUTED
        )  # fmt: skip
        await desk.proven()

    async def test_money_of_another_currency_is_not_booked(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        [answer] = await notify(desk, port, told_of(port.pay(number, currency="USD")))
        assert answer.is_ok
        row = await desk.payment(number)
        assert (row.step, row.error) == (PaymentStep.WAITING, "currency")
        assert await desk.till.balance(CHANNEL) == 0
        found = await reviews.list_reviews(desk.till.business.who.operator_id)
        assert [(view.kind, view.reason) for view in found.items] == [
            (ReviewKind.PAYMENT_MISMATCH, "currency")
        ]

    async def test_a_payment_of_no_order_of_ours_is_put_before_a_person(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        number = await ready(desk)
        foreign = replace(port.pay(number), out_trade_no="P999999", transaction_id="4299")
        [answer] = await notify(desk, port, told_of(foreign))
        assert answer.is_ok
        assert desk.told(Funded) == []
        assert desk.around.metrics.money.confirmed == {"unknown": 1}

    async def test_an_event_of_no_concern_is_confirmed(self, desk: Counter, port: ScriptedPayments) -> None:
        event = Notification("N9", "PAYSCORE.USER_OPEN_SERVICE", NOW, None)
        assert await notify(desk, port, event) == [NotificationTaken(True)]

    async def test_a_refund_made_by_hand_is_confirmed_and_moves_nothing(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        refund = Refund("X1", "P1", "42", "50", RefundState.SUCCEEDED, 1, 1, 1)
        assert await notify(desk, port, told_of(refund)) == [NotificationTaken(True)]

    async def test_a_refund_of_ours_is_moved(self, desk: Counter, port: ScriptedPayments) -> None:
        number = await ready(desk)
        serial = (await desk.payment(number)).serial
        await desk.till.write(CancelSession(serial, "cancelled", later(2)))
        await notify(desk, port, told_of(port.pay(number)))
        [refund_no] = port.refunds
        ended = told_of(port.end(refund_no), "N2")
        assert await notify(desk, port, ended, ended) == [NotificationTaken(True)] * 2
        assert str(await desk.step(refund_no)) == "succeeded"
        changed = desk.told(RefundChanged)
        assert [(str(item.step), item.moved.is_last) for item in changed] == [
            ("processing", False), ("succeeded", True)
        ]  # fmt: skip
        assert await desk.till.balance(CHANNEL) == 0
        await desk.proven()

    async def test_a_notification_that_cannot_be_stored_is_not_confirmed(
        self, desk: Counter, port: ScriptedPayments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = await ready(desk)
        paid = told_of(port.pay(number))

        async def fail(writes: list[Any]) -> list[Any]:
            raise ValueError("this write never works")

        with monkeypatch.context() as patch:
            patch.setattr(desk.backend, "write", fail)
            assert await notify(desk, port, paid) == [NotificationTaken(False, "not_stored")]
        assert desk.told(Funded) == []
        assert await notify(desk, port, paid) == [NotificationTaken(True)]
        assert len(desk.told(Funded)) == 1

    async def test_more_than_can_wait_is_left_for_the_providers_repetition(
        self, desk: Counter, port: ScriptedPayments
    ) -> None:
        jobs = desk.money._payments.notifications
        jobs.at_once, jobs.queue_max = 1, 1
        number = await ready(desk)
        paid = told_of(port.pay(number))
        answers = await notify(desk, port, *[paid] * 3)
        assert [answer.is_ok for answer in answers] == [True, True, False]
        assert answers[2].reason == "busy"
