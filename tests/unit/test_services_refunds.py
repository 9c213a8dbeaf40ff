"""Payments and the outbox of refunds: every order, every repetition, every provider's answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pileward.errors import NotFoundError
from pileward.messages.charging import (
    PaymentVerdict,
    RefundCause,
    RefundRow,
    RefundStep,
    ReviewKind,
    SessionState,
)
from pileward.messages.charging_writes import (
    CancelSession,
    ClaimRefunds,
    CreateSession,
    FailStart,
    HoldSession,
    MoveRefund,
    RefundMoved,
    RefundPayment,
    RetryRefund,
)
from pileward.models.database import Database
from pileward.models.payments import Payment, PaymentNotification
from pileward.services import payments, refunds, reviews, sessions
from pileward.services.books import REFUND_SPACING, insert
from pileward.services.charge_rows import payment_columns
from tests.business import NOW, later
from tests.charges import CHANNEL, TRANSIT, Till, delivered

S = SessionState
R = RefundStep


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def refund_of(till: Till, number: str) -> RefundRow:
    return await refunds.refund_by_number(till.database.connection, number)


async def due(till: Till, at_s: float) -> list[str]:
    found = await refunds.refunds_due(till.database.connection, later(at_s))
    return [refund.out_refund_no for refund in found]


async def failed(till: Till) -> str:
    """A paid order whose start failed; returns its serial."""
    serial = await till.ordered()
    await till.pay(serial)
    await till.write(FailStart(serial, "pile_refused", later(30)))
    return serial


async def second_payment(till: Till, serial: str) -> None:
    """A further payment of an order."""
    row = till.payment(await till.row(serial), 2)
    async with till.database.transaction() as connection:
        await insert(connection, "payment", [payment_columns(row)])


class TestPayments:
    async def test_a_verified_payment_funds_its_order(self, till: Till) -> None:
        serial = await till.ordered()
        confirmed = await till.pay(serial, notification_id="N1")
        assert (confirmed.verdict, confirmed.is_first, confirmed.session_state) == (
            PaymentVerdict.PAID, True, S.FUNDED
        )  # fmt: skip
        row = await till.row(serial)
        assert (row.paid_fen, row.funded_at) == (5_000, later(21))
        assert await till.balances() == {CHANNEL: 5_000, till.prepaid: -5_000}

    async def test_notification_and_query_in_any_order_are_one_payment(self, till: Till) -> None:
        serial = await till.ordered()
        first, second = await till.write(
            till.confirmation(serial, notification_id="N1"), till.confirmation(serial, at=later(22))
        )
        third = await till.pay(serial, notification_id="N1")
        assert [result.is_first for result in (first, second, third)] == [True, False, False]
        assert {result.verdict for result in (first, second, third)} == {PaymentVerdict.PAID}
        assert await till.balance(CHANNEL) == 5_000
        assert await PaymentNotification.all().count() == 1
        assert await payments.is_known_notification(till.database.connection, "N1")
        assert not await payments.is_known_notification(till.database.connection, "N2")

    @pytest.mark.parametrize(
        ("change", "reason"), [({"fen": 4_999}, "amount:4999:5000"), ({"openid": "somebody"}, "payer")]
    )
    async def test_what_is_not_the_order_is_held(
        self, till: Till, change: dict[str, Any], reason: str
    ) -> None:
        serial = await till.ordered()
        confirmed = await till.pay(serial, **change)
        assert (confirmed.verdict, confirmed.reason, confirmed.session_state) == (
            PaymentVerdict.MISMATCH, reason, S.DISPUTED
        )  # fmt: skip
        assert await till.balance(CHANNEL) == change.get("fen", 5_000)
        [review] = await reviews.reviews_of(serial)
        assert review.kind is ReviewKind.PAYMENT_MISMATCH
        from pileward.messages.charging_writes import DecideHeld, Decision

        [decided] = await till.write(DecideHeld(serial, Decision.ACCEPT, "token:anna", later(99)))
        assert (decided.state, decided.refund_fen) == (S.REFUNDING, change.get("fen", 5_000))

    async def test_a_transaction_belongs_to_one_order(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial, transaction_id="T1")
        await till.write(FailStart(serial, "x", later(30)))
        other = await till.ordered()
        [result] = await till.write(till.confirmation(other, transaction_id="T1"))
        assert (result.verdict, result.reason) == (PaymentVerdict.UNKNOWN, f"transaction_of:P{serial}-1")
        assert (await till.row(other)).state is S.CREATED

    async def test_one_order_paid_by_two_transactions_is_put_before_a_person(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        again = await till.pay(serial, transaction_id="T2")
        assert (again.is_first, again.verdict) == (False, PaymentVerdict.PAID)
        assert again.reason == "differs_from_first:T2:5000"
        assert [review.kind for review in await reviews.reviews_of(serial)] == [ReviewKind.PAYMENT_MISMATCH]
        assert await till.balance(CHANNEL) == 5_000

    async def test_a_payment_of_no_order_is_put_before_a_person(self, till: Till) -> None:
        [result] = await till.write(till.confirmation("1" * 20))
        assert (result.verdict, result.serial) == (PaymentVerdict.UNKNOWN, "")
        assert await till.balances() == {}

    async def test_money_that_funds_nothing_is_sent_back_by_a_person(self, till: Till) -> None:
        serial = await till.ordered()
        await second_payment(till, serial)
        await till.pay(serial)
        stray = await till.pay(serial, number=2, fen=4_000)
        assert (stray.verdict, stray.session_state) == (PaymentVerdict.MISMATCH, S.FUNDED)
        write = RefundPayment(f"P{serial}-2", "token:anna", later(60))
        sent, again = await till.write(write, write)
        assert (sent.fen, sent.cause, again) == (4_000, RefundCause.DECISION, None)
        assert await till.write(RefundPayment(f"P{serial}-1", "token:anna", NOW)) == [None]
        assert await till.write(RefundPayment("P1-1", "token:anna", NOW)) == [None]
        settled = await till.settle(serial, delivered())
        assert settled.refund_fen == 3_000


class TestOutbox:
    async def test_a_refund_is_stored_and_booked_before_anybody_asks_for_it(self, till: Till) -> None:
        serial = await failed(till)
        assert await till.balances() == {CHANNEL: 5_000, TRANSIT: -5_000}
        assert await due(till, 29) == []
        assert await due(till, 30) == [f"R{serial}-1"]
        refund = await refund_of(till, f"R{serial}-1")
        assert (refund.fen, refund.total_fen, refund.out_trade_no) == (5_000, 5_000, f"P{serial}-1")
        with pytest.raises(NotFoundError):
            await refund_of(till, "R0-1")

    async def test_a_claim_lasts_as_long_as_its_lease(self, till: Till) -> None:
        serial = await failed(till)
        [claimed] = await till.write(ClaimRefunds(later(30), lease_s=60))
        assert [refund.out_refund_no for refund in claimed] == [f"R{serial}-1"]
        assert await till.write(ClaimRefunds(later(89))) == [[]]
        [again] = await till.write(ClaimRefunds(later(90)))
        assert (again[0].out_refund_no, again[0].attempts) == (f"R{serial}-1", 1)

    async def test_accepted_is_not_refunded(self, till: Till) -> None:
        serial = await failed(till)
        number = f"R{serial}-1"
        moved = await till.refund(number, R.SUBMITTED, at=later(31), next_attempt_at=later(91), refund_id="")
        assert (moved.step, moved.is_first, moved.is_last) == (R.SUBMITTED, True, False)
        moved = await till.refund(number, R.PROCESSING, next_attempt_at=later(92), refund_id="50300")
        assert (moved.step, moved.session_state) == (R.PROCESSING, S.START_FAILED)
        assert await due(till, 92) == [number]
        refund = await refund_of(till, number)
        assert (refund.refund_id, refund.submitted_at) == ("50300", later(31))
        assert await till.balance(TRANSIT) == -5_000
        moved = await till.refund(number, R.SUCCEEDED)
        assert moved == RefundMoved(serial, True, R.SUCCEEDED, True, S.CLOSED)
        assert await till.balances() == {}
        assert await due(till, 99_999) == []

    async def test_the_same_word_again_and_late_words_change_nothing(self, till: Till) -> None:
        serial = await failed(till)
        number = f"R{serial}-1"
        done = MoveRefund(number, R.SUCCEEDED, later(60), notification_id="N7")
        first, second = await till.write(done, done)
        assert (first.is_first, second.is_first) == (True, False)
        for step in RefundStep:
            moved = await till.refund(number, step)
            assert (moved.is_first, moved.step, moved.session_state) == (False, R.SUCCEEDED, S.CLOSED)
        assert await till.balances() == {}
        assert await PaymentNotification.all().count() == 1

    async def test_a_poll_that_learns_nothing_only_waits_longer(self, till: Till) -> None:
        serial = await failed(till)
        await till.refund(f"R{serial}-1", R.PROCESSING, next_attempt_at=later(90))
        moved = await till.refund(f"R{serial}-1", R.PROCESSING, next_attempt_at=later(390), error="x")
        assert not moved.is_first
        assert await due(till, 389) == []
        assert await due(till, 390) == [f"R{serial}-1"]
        late = await till.refund(f"R{serial}-1", R.SUBMITTED, next_attempt_at=later(1))
        assert late.step is R.PROCESSING
        assert await due(till, 389) == []

    async def test_what_the_provider_does_not_know_is_asked_for_under_the_same_number(
        self, till: Till
    ) -> None:
        serial = await failed(till)
        await till.refund(f"R{serial}-1", R.SUBMITTED, next_attempt_at=later(40))
        moved = await till.refund(f"R{serial}-1", R.NEW, next_attempt_at=later(50))
        assert (moved.step, moved.is_first) == (R.NEW, True)
        assert await due(till, 50) == [f"R{serial}-1"]

    async def test_an_unknown_refund_is_no_refund(self, till: Till) -> None:
        assert await till.refund("R0-1", R.SUCCEEDED) == RefundMoved("", False, None, False, None)
        assert await till.write(RetryRefund("R0-1", "token:anna", NOW)) == [
            RefundMoved("", False, None, False, None)
        ]

    async def test_two_of_one_payment_keep_their_distance(self, till: Till) -> None:
        """Rest and correction: a minute between them, and never two numbers while one is not known."""
        from pileward.models.operators import Operator

        await Operator.all().update(provisional_refund="auto")
        serial = await till.charging()
        await till.settle(serial, delivered(100_000), None, later(4_000))
        await till.settle(serial, delivered(50_000), 1, later(4_001))
        first, second = await sessions.refunds_of(till.database.connection, serial)
        assert (first.next_attempt_at, second.next_attempt_at) == (
            later(4_000),
            later(4_000) + REFUND_SPACING,
        )
        assert await due(till, 4_500) == [f"R{serial}-1"]
        await till.refund(f"R{serial}-1", R.SUBMITTED, at=later(4_500), next_attempt_at=later(4_560))
        assert await due(till, 4_559) == []
        await till.refund(f"R{serial}-1", R.PROCESSING, at=later(4_501), next_attempt_at=later(4_900))
        assert await due(till, 4_560) == []
        assert await due(till, 4_562) == [f"R{serial}-2"]
        moved = await till.refund(f"R{serial}-2", R.SUCCEEDED)
        assert (moved.is_last, moved.session_state) == (False, S.REFUNDING)
        moved = await till.refund(f"R{serial}-1", R.SUCCEEDED)
        assert (moved.is_last, moved.session_state) == (True, S.CLOSED)

    async def test_a_held_order_keeps_what_was_not_asked_for(self, till: Till) -> None:
        serial = await failed(till)
        await till.write(HoldSession(serial, "complaint", later(40)))
        assert await due(till, 99_999) == []

    async def test_too_many_or_too_old_go_to_a_person(self, till: Till) -> None:
        serial = await till.charging()
        await Payment.all().update(refund_count=50)
        settled = await till.settle(serial, delivered())
        refund = await refund_of(till, str(settled.out_refund_no))
        assert (refund.step, refund.error, refund.next_attempt_at) == (R.MANUAL, "too_many_refunds", None)
        old = await till.ordered()
        await till.pay(old)
        await till.write(FailStart(old, "x", NOW + timedelta(days=366)))
        assert (await refund_of(till, f"R{old}-1")).error == "payment_too_old"
        kinds = [review.kind for review in await reviews.reviews_of(old)]
        assert kinds == [ReviewKind.REFUND_STUCK]


class TestStuck:
    async def test_lesson_20_a_closed_refund_gets_the_next_number_once(self, till: Till) -> None:
        serial = await failed(till)
        moved = await till.refund(f"R{serial}-1", R.CLOSED, at=later(700_000))
        assert moved.successor is not None
        assert (moved.successor.out_refund_no, moved.successor.fen) == (f"R{serial}-2", 5_000)
        assert (moved.is_last, moved.session_state) == (False, S.START_FAILED)
        again = await till.refund(f"R{serial}-1", R.CLOSED, at=later(700_001))
        assert (again.is_first, again.successor) == (False, None)
        assert await till.balances() == {CHANNEL: 5_000, TRANSIT: -5_000}
        moved = await till.refund(f"R{serial}-2", R.CLOSED, at=later(1_400_000))
        assert (moved.step, moved.successor) == (R.MANUAL, None)
        assert [review.kind for review in await reviews.reviews_of(serial)] == [ReviewKind.REFUND_STUCK]
        assert await due(till, 9_999_999) == []

    @pytest.mark.parametrize("step", [R.ABNORMAL, R.MANUAL])
    async def test_a_person_tries_again_under_the_next_number(self, till: Till, step: RefundStep) -> None:
        serial = await failed(till)
        moved = await till.refund(f"R{serial}-1", step, error="USER_ACCOUNT_ABNORMAL")
        assert moved.step is step
        [review] = await reviews.reviews_of(serial)
        assert review.reason == f"{step}: USER_ACCOUNT_ABNORMAL"
        write = RetryRefund(f"R{serial}-1", "token:anna", later(5_000))
        [retried] = await till.write(write)
        assert retried.successor is not None
        assert retried.successor.out_refund_no == f"R{serial}-2"
        [again] = await till.write(write)
        assert (again.is_first, again.successor) == (False, None)
        moved = await till.refund(f"R{serial}-2", R.SUCCEEDED)
        assert (moved.is_last, moved.session_state) == (True, S.CLOSED)
        assert await till.balances() == {}

    async def test_an_abnormal_refund_that_arrives_after_all(self, till: Till) -> None:
        serial = await failed(till)
        await till.refund(f"R{serial}-1", R.ABNORMAL)
        moved = await till.refund(f"R{serial}-1", R.SUCCEEDED)
        assert (moved.is_last, moved.session_state) == (True, S.CLOSED)

    async def test_a_working_refund_is_not_tried_again(self, till: Till) -> None:
        serial = await failed(till)
        [retried] = await till.write(RetryRefund(f"R{serial}-1", "token:anna", NOW))
        assert (retried.is_first, retried.step) == (False, R.NEW)


async def test_a_late_payment_of_a_cancelled_order_goes_back(till: Till) -> None:
    serial = await till.ordered()
    await till.write(CancelSession(serial, "expired", later(10)))
    confirmed = await till.pay(serial)
    assert (confirmed.verdict, confirmed.out_refund_no) == (PaymentVerdict.LATE, f"R{serial}-1")
    assert (await till.pay(serial)).out_refund_no == f"R{serial}-1"
    moved = await till.refund(f"R{serial}-1", R.SUCCEEDED)
    assert (moved.is_last, moved.session_state) == (True, S.CANCELLED)
    assert await till.balances() == {}


async def test_an_order_without_money_needs_no_payment(till: Till) -> None:
    order = till.order(0)
    from msgspec.structs import replace

    row = replace(order.row, state=S.FUNDED, out_trade_no="")
    await till.write(CreateSession(row, None))
    settled = await till.settle(row.serial, delivered(15_000))
    assert (settled.state, settled.debt_fen, settled.out_refund_no) == (S.CLOSED, 150, None)
