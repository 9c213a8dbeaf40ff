"""Rules of payments, line by line: what each answer means for a payment in each situation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors import payments_rules as rules
from pileward.actors.payments_rules import Next
from pileward.messages.charging import PaymentRow, PaymentStep
from pileward.messages.payments import (
    Config,
    NotFound,
    Payment,
    PaymentClosed,
    PaymentState,
    PayParams,
    Prepay,
    RateLimited,
    Refused,
    SignatureInvalid,
    Unknown,
)
from tests.business import NOW, later

ROW = PaymentRow(
    out_trade_no="P26030112050601000001-1",
    serial="26030112050601000001",
    operator_id=1,
    driver_id=7,
    channel="wechat",
    merchant="1900000001",
    openid="openid-1",
    fen=5_000,
    description="充电预付",
    attach="a",
    device_id="d",
    expires_at=later(900),
    created_at=NOW,
    step=PaymentStep.WAITING,
    prepay_id="wx1",
)
PAID = Payment(
    out_trade_no=ROW.out_trade_no,
    state=PaymentState.PAID,
    appid="wx0000000000000001",
    mchid=ROW.merchant,
    transaction_id="4200000001",
    openid="openid-1",
    total_fen=5_000,
    currency="CNY",
    paid_at=later(20),
)
UNPAID = Payment(ROW.out_trade_no, PaymentState.UNPAID, PAID.appid, PAID.mchid)
CLOSED = replace(UNPAID, state=PaymentState.CLOSED)
PREPAY = Prepay(ROW.out_trade_no, "wx1", PayParams("a", "1", "n", "prepay_id=wx1", "RSA", "s"))


def failure(kind: Any, code: str = "CODE") -> Any:
    return kind(code, "what the provider said")


class TestSchedule:
    def test_it_asks_after_5_s_30_s_1_3_5_10_and_30_min(self) -> None:
        moments, now = [], NOW
        while (due := rules.next_query(ROW, now)) is not None:
            moments.append((due - NOW).total_seconds())
            now = due
        assert moments == [5, 30, 60, 180, 300, 600, 1_800]

    def test_after_a_long_absence_it_goes_on_with_what_is_left(self) -> None:
        assert rules.next_query(ROW, later(400)) == later(600)
        assert rules.next_query(ROW, later(1_800)) is None


class TestEquality:
    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({}, None),
            ({"mchid": "1900000002"}, "mchid"),
            ({"out_trade_no": "P2"}, "out_trade_no"),
            ({"currency": "USD"}, "currency"),
            ({"currency": "USD", "total_fen": 1}, "currency"),
            ({"total_fen": 4_999}, "total_fen"),
            ({"openid": "openid-2"}, "openid"),
            ({"transaction_id": ""}, "incomplete"),
            ({"total_fen": None}, "incomplete"),
        ],
    )
    def test_every_field_of_the_order_is_compared(self, changes: dict[str, Any], found: str | None) -> None:
        assert rules.difference(replace(PAID, **changes), ROW) == found

    def test_the_order_is_the_same_for_every_repetition(self) -> None:
        moved = replace(ROW, step=PaymentStep.NEW, prepay_id="", queries=9, error="x", next_query_at=NOW)
        assert rules.order_of(moved) == rules.order_of(ROW)


def ask(answer: Any, at_s: float = 10, *, is_wanted: bool = True, is_closed: bool = False) -> rules.Verdict:
    return rules.after_query(answer, ROW, later(at_s), is_wanted=is_wanted, is_closed=is_closed)


class TestAfterAQuery:
    @pytest.mark.parametrize("at_s", [10, 1_800])
    @pytest.mark.parametrize("is_wanted", [True, False])
    @pytest.mark.parametrize("is_closed", [True, False])
    def test_what_is_paid_is_booked_whatever_became_of_the_order(
        self, at_s: float, is_wanted: bool, is_closed: bool
    ) -> None:
        verdict = ask(PAID, at_s, is_wanted=is_wanted, is_closed=is_closed)
        assert verdict == (Next.CONFIRM, "")

    @pytest.mark.parametrize(
        ("changes", "verdict"),
        [
            ({"total_fen": 1}, (Next.CONFIRM, "total_fen")),
            ({"openid": "x"}, (Next.CONFIRM, "openid")),
            ({"is_refunded": True}, (Next.CONFIRM, "")),
            ({"currency": "USD"}, (Next.REVIEW, "currency")),
            ({"mchid": "1"}, (Next.REVIEW, "mchid")),
            ({"out_trade_no": "P2"}, (Next.REVIEW, "out_trade_no")),
            ({"total_fen": None}, (Next.REVIEW, "incomplete")),
        ],
    )
    def test_what_is_not_ours_is_never_booked(self, changes: Any, verdict: Any) -> None:
        assert ask(replace(PAID, **changes)) == verdict

    @pytest.mark.parametrize(
        ("answer", "wanted", "unwanted", "run_out", "after_close"),
        [
            (UNPAID, Next.WAIT, Next.CLOSE, Next.CLOSE, Next.AGAIN),
            (CLOSED, Next.OVER, Next.OVER, Next.OVER, Next.OVER),
            (failure(NotFound), Next.WAIT, Next.OVER, Next.OVER, Next.OVER),
            (failure(Unknown), Next.WAIT, Next.AGAIN, Next.AGAIN, Next.AGAIN),
            (failure(RateLimited), Next.WAIT, Next.AGAIN, Next.AGAIN, Next.AGAIN),
            (failure(SignatureInvalid), Next.WAIT, Next.AGAIN, Next.AGAIN, Next.AGAIN),
            (failure(Refused), Next.WAIT, Next.AGAIN, Next.AGAIN, Next.AGAIN),
            (failure(Config), Next.ALARM, Next.ALARM, Next.ALARM, Next.ALARM),
        ],
    )
    def test_what_is_not_paid(
        self, answer: Any, wanted: Next, unwanted: Next, run_out: Next, after_close: Next
    ) -> None:
        assert ask(answer).next is wanted
        assert ask(answer, is_wanted=False).next is unwanted
        assert ask(answer, at_s=1_800).next is run_out
        assert ask(answer, is_wanted=False, is_closed=True).next is after_close


class TestAfterAClose:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (PaymentClosed(ROW.out_trade_no), (Next.ASK, "closed")),
            (failure(Refused, "ORDER_PAID"), (Next.ASK, "ORDER_PAID")),
            (failure(Refused, "ORDER_CLOSED"), (Next.ASK, "ORDER_CLOSED")),
            (failure(NotFound, "ORDER_NOT_EXIST"), (Next.OVER, "never_made")),
            (failure(Unknown, "NO_REPLY"), (Next.AGAIN, "NO_REPLY")),
            (failure(RateLimited, "FREQUENCY_LIMITED"), (Next.AGAIN, "FREQUENCY_LIMITED")),
            (failure(SignatureInvalid, "STALE"), (Next.AGAIN, "STALE")),
            (failure(Config, "SIGN_ERROR"), (Next.ALARM, "SIGN_ERROR")),
        ],
    )
    def test_only_a_query_ends_a_payment_that_may_have_been_made(self, answer: Any, verdict: Any) -> None:
        assert rules.after_close(answer) == verdict


class TestPrepay:
    @pytest.mark.parametrize(
        ("changes", "at_s", "reason"),
        [
            ({}, 0, ""),
            ({}, 899, ""),
            ({}, 900, "expired"),
            ({"prepay_id": "", "step": PaymentStep.NEW}, 839, ""),
            ({"prepay_id": "", "step": PaymentStep.NEW}, 840, "expired"),
            ({"step": PaymentStep.PAID}, 0, "already_paid"),
            ({"step": PaymentStep.CLOSED}, 0, "closed"),
        ],
    )
    def test_what_forbids_it(self, changes: dict[str, Any], at_s: float, reason: str) -> None:
        assert rules.before_prepay(replace(ROW, **changes), later(at_s)) == reason

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (PREPAY, (Next.READY, "")),
            (failure(Refused, "ORDER_PAID"), (Next.ASK, "refused:ORDER_PAID")),
            (failure(Refused, "ORDER_CLOSED"), (Next.ASK, "refused:ORDER_CLOSED")),
            (failure(Refused, "OUT_TRADE_NO_USED"), (Next.REFUSED, "refused:OUT_TRADE_NO_USED")),
            (failure(NotFound, "RESOURCE_NOT_EXISTS"), (Next.REFUSED, "refused:RESOURCE_NOT_EXISTS")),
            (failure(Config, "PARAM_ERROR"), (Next.ALARM, "refused:PARAM_ERROR")),
            (failure(Unknown, "SYSTEM_ERROR"), (Next.REPEAT, "SYSTEM_ERROR")),
            (failure(RateLimited, "FREQUENCY_LIMITED"), (Next.REPEAT, "FREQUENCY_LIMITED")),
            (failure(SignatureInvalid, "SIGNATURE_WRONG"), (Next.REPEAT, "SIGNATURE_WRONG")),
        ],
    )
    def test_what_it_says(self, answer: Any, verdict: Any) -> None:
        assert rules.after_prepay(answer) == verdict


def test_what_is_not_known_is_asked_again_in_a_minute_our_own_faults_in_ten() -> None:
    assert rules.again(NOW, Next.AGAIN) == NOW + timedelta(minutes=1)
    assert rules.again(NOW, Next.ALARM) == NOW + timedelta(minutes=10)
