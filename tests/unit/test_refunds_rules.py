"""The table of the refund worker, line by line, and its moments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors import refunds_rules as rules
from pileward.actors.refunds_rules import Do
from pileward.messages.charging import RefundCause, RefundRow, RefundStep
from pileward.messages.payments import (
    FAILURES,
    Config,
    NotFound,
    Payment,
    PaymentState,
    RateLimited,
    Refund,
    RefundOrder,
    RefundState,
    Refused,
    SignatureInvalid,
    Unknown,
)
from tests.business import NOW, later

S = RefundStep
ROW = RefundRow(
    out_refund_no="R26030112050601000001-1",
    out_trade_no="P26030112050601000001-1",
    serial="26030112050601000001",
    operator_id=1,
    channel="wechat",
    merchant="1900000001",
    number=1,
    fen=1_234,
    total_fen=5_000,
    cause=RefundCause.REST,
    created_at=NOW,
)
TOLD = Refund(
    out_refund_no=ROW.out_refund_no,
    out_trade_no=ROW.out_trade_no,
    transaction_id="4200000001",
    refund_id="5030000001",
    state=RefundState.PROCESSING,
    refund_fen=1_234,
    total_fen=5_000,
    payer_refund_fen=1_234,
)


def failure(kind: Any, code: str = "CODE") -> Any:
    return kind(code, "what the provider said")


def payment(state: PaymentState) -> Payment:
    return Payment(ROW.out_trade_no, state, "wx1", ROW.merchant)


@pytest.mark.parametrize(
    ("answer", "do"),
    [
        # 200
        (TOLD, Do.TAKE),
        (replace(TOLD, state=RefundState.SUCCEEDED), Do.TAKE),
        # 200 with another amount than stored, as the client tells it
        (failure(Config, "REFUND_NUMBER_REUSED"), Do.REUSED),
        # timeout, connection error, 5xx, SYSTEM_ERROR, BANK_ERROR, 429
        (failure(Unknown, "NO_REPLY"), Do.QUERY),
        (failure(Unknown, "NOT_SENT"), Do.QUERY),
        (failure(Unknown, "SYSTEM_ERROR"), Do.QUERY),
        (failure(Unknown, "BANK_ERROR"), Do.QUERY),
        (failure(RateLimited, "FREQUENCY_LIMITED"), Do.QUERY),
        (failure(SignatureInvalid, "SIGNATURE_WRONG"), Do.QUERY),
        # 403 NOT_ENOUGH
        (failure(Refused, "NOT_ENOUGH"), Do.SHORT),
        # refused for good
        (failure(Refused, "INVALID_REQUEST"), Do.MANUAL),
        (failure(Refused, "USER_ACCOUNT_ABNORMAL"), Do.MANUAL),
        (failure(Refused, "REQUEST_BLOCKED"), Do.MANUAL),
        (failure(Refused, "NO_AUTH"), Do.MANUAL),
        (failure(Refused, "TRADE_OVERDUE"), Do.MANUAL),
        (failure(Refused, "SOMETHING_NEW"), Do.MANUAL),
        # 404 on create
        (failure(NotFound, "RESOURCE_NOT_EXISTS"), Do.LOOK_AT_PAYMENT),
        # 401 SIGN_ERROR, 400 PARAM_ERROR
        (failure(Config, "SIGN_ERROR"), Do.STOP),
        (failure(Config, "PARAM_ERROR"), Do.STOP),
    ],
)
def test_after_a_refund_was_asked_for(answer: Any, do: Do) -> None:
    assert rules.find(rules.ON_ASK, answer) is do


@pytest.mark.parametrize(
    ("answer", "unasked", "accepted"),
    [
        (TOLD, Do.TAKE, Do.TAKE),
        (failure(NotFound, "RESOURCE_NOT_EXISTS"), Do.ASK, Do.LATER),
        (failure(Unknown, "SYSTEM_ERROR"), Do.LATER, Do.LATER),
        (failure(RateLimited, "FREQUENCY_LIMITED"), Do.LATER, Do.LATER),
        (failure(SignatureInvalid, "STALE"), Do.LATER, Do.LATER),
        (failure(Refused, "NO_AUTH"), Do.LATER, Do.LATER),
        (failure(Config, "SIGN_ERROR"), Do.STOP, Do.STOP),
    ],
)
def test_after_a_query(answer: Any, unasked: Do, accepted: Do) -> None:
    for step in (S.NEW, S.SUBMITTED):
        assert rules.find(rules.on_query(replace(ROW, step=step)), answer) is unasked
    for step in (S.PROCESSING, S.ABNORMAL):
        assert rules.find(rules.on_query(replace(ROW, step=step)), answer) is accepted


@pytest.mark.parametrize(
    ("answer", "do"),
    [
        (payment(PaymentState.PAID), Do.LATER),
        (payment(PaymentState.UNPAID), Do.MANUAL),
        (payment(PaymentState.CLOSED), Do.MANUAL),
        (failure(NotFound, "ORDER_NOT_EXIST"), Do.MANUAL),
        (failure(Unknown), Do.LATER),
        (failure(RateLimited), Do.LATER),
        (failure(SignatureInvalid), Do.LATER),
        (failure(Refused), Do.LATER),
        (failure(Config), Do.STOP),
    ],
)
def test_after_a_query_of_the_payment(answer: Any, do: Do) -> None:
    assert rules.find(rules.ON_PAYMENT, answer) is do


@pytest.mark.parametrize("table", [rules.ON_ASK, rules.ON_QUERY_UNASKED, rules.ON_QUERY_ACCEPTED])
def test_every_table_has_a_line_for_every_answer(table: Any) -> None:
    for state in RefundState:
        assert rules.find(table, replace(TOLD, state=state)) is Do.TAKE
    for kind in FAILURES:
        assert isinstance(rules.find(table, failure(kind, "UNHEARD_OF")), Do)


def test_only_what_was_never_asked_for_is_asked_for_without_a_question() -> None:
    assert rules.first(ROW) is Do.ASK
    for step in (S.SUBMITTED, S.PROCESSING, S.ABNORMAL):
        assert rules.first(replace(ROW, step=step)) is Do.QUERY


@pytest.mark.parametrize("state", list(RefundState))
def test_every_state_of_the_provider_is_a_step_of_ours(state: RefundState) -> None:
    assert str(rules.TAKEN[state]) == str(state)


@pytest.mark.parametrize(
    "changes", [{"refund_fen": 1_235}, {"total_fen": 5_001}, {"out_trade_no": "P"}, {"out_refund_no": "R"}]
)
def test_another_refund_under_this_number_is_not_believed(changes: dict[str, Any]) -> None:
    assert rules.on_taken(TOLD, ROW) is Do.TAKE
    assert rules.on_taken(replace(TOLD, **changes), ROW) is Do.REUSED


@pytest.mark.parametrize("cause", list(RefundCause))
def test_a_repetition_is_equal_in_every_field(cause: RefundCause) -> None:
    row = replace(ROW, cause=cause)
    moved = replace(row, step=S.SUBMITTED, attempts=4, error="x", next_attempt_at=NOW, refund_id="5")
    assert rules.order_of(row) == rules.order_of(moved)
    assert rules.order_of(row) == RefundOrder(
        ROW.out_refund_no, ROW.out_trade_no, 1_234, 5_000, rules.REASONS[cause]
    )


class TestMoments:
    def test_back_off_grows_to_an_hour_and_is_never_shorter_than_its_entry(self) -> None:
        waits = [
            (rules.backed_off(replace(ROW, attempts=attempts), NOW, 0.0) - NOW).total_seconds()
            for attempts in range(8)
        ]
        assert waits == [61, 120, 300, 600, 1_800, 3_600, 3_600, 3_600]
        assert rules.backed_off(ROW, NOW, 0.999) < later(61 * 1.2)
        assert rules.backed_off(ROW, NOW, 0.5) == later(61 * 1.1)

    def test_what_is_on_its_way_is_asked_about_each_minute_then_after_5_10_20_and_each_30(self) -> None:
        moments, now = [], NOW
        for _ in range(11):
            now = rules.next_poll(NOW, now)
            moments.append((now - NOW).total_seconds() / 60)
        assert moments == [1, 2, 3, 4, 5, 10, 20, 40, 70, 100, 130]

    def test_after_a_long_absence_polls_do_not_crowd(self) -> None:
        assert rules.next_poll(NOW, later(7 * 86_400)) == later(7 * 86_400 + 600)

    def test_two_calls_of_one_payment_are_a_minute_apart(self) -> None:
        assert rules.may_ask_at(ROW) is None
        assert rules.may_ask_at(replace(ROW, submitted_at=NOW)) == later(61)

    @pytest.mark.parametrize(
        ("cause", "step", "at_s", "is_paused"),
        [
            (RefundCause.REST, S.NEW, 10, True),
            (RefundCause.REST, S.SUBMITTED, 10, True),
            (RefundCause.CORRECTION, S.NEW, 10, True),
            (RefundCause.REST, S.PROCESSING, 10, False),
            (RefundCause.REST, S.NEW, 1_800, False),
            (RefundCause.START_FAILED, S.NEW, 10, False),
            (RefundCause.LATE_PAYMENT, S.NEW, 10, False),
            (RefundCause.DUPLICATE_PAYMENT, S.NEW, 10, False),
        ],
    )
    def test_while_money_is_short_only_whole_payments_are_tried(
        self, cause: RefundCause, step: S, at_s: float, is_paused: bool
    ) -> None:
        row = replace(ROW, cause=cause, step=step)
        assert rules.is_paused(row, rules.short_until(NOW), later(at_s)) is is_paused
        assert not rules.is_paused(row, None, later(at_s))

    def test_three_days_on_the_way_are_too_long(self) -> None:
        assert not rules.is_stuck(ROW, NOW + timedelta(days=3))
        assert rules.is_stuck(ROW, NOW + timedelta(days=3, seconds=1))

    def test_when_each_step_is_looked_at_again(self) -> None:
        asked = replace(ROW, submitted_at=NOW)
        assert rules.next_look(asked, S.PROCESSING, later(130)) == later(180)
        assert rules.next_look(asked, S.PROCESSING, later(130), is_new=True) == later(190)
        assert rules.next_look(asked, S.ABNORMAL, NOW) == later(6 * 3_600)
        for step in (S.SUCCEEDED, S.CLOSED, S.MANUAL):
            assert rules.next_look(asked, step, NOW) is None
