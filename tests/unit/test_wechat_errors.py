"""What each reply of WeChat Pay other than success means."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from pileward.integrations.wechat_errors import classify
from pileward.messages.payments import (
    FAILURES,
    Config,
    NotFound,
    Payment,
    PaymentClosed,
    PaymentState,
    PrepayOrder,
    RateLimited,
    Refused,
    Unknown,
    Verdict,
    payment_difference,
    verdict_of,
)

TABLE = [
    # status, code as it comes, kind, code as we say it
    (202, "USERPAYING", Unknown, "USERPAYING"),
    (400, "PARAM_ERROR", Config, "PARAM_ERROR"),
    (400, "INVALID_REQUEST", Refused, "INVALID_REQUEST"),
    (400, "APPID_MCHID_NOT_MATCH", Config, "APPID_MCHID_NOT_MATCH"),
    (400, "MCH_NOT_EXISTS", Config, "MCH_NOT_EXISTS"),
    (400, "ORDER_CLOSED", Refused, "ORDER_CLOSED"),
    (400, "ORDERPAID", Refused, "ORDER_PAID"),
    (400, "SYSTEMERROR", Unknown, "SYSTEM_ERROR"),
    (401, "SIGN_ERROR", Config, "SIGN_ERROR"),
    (403, "NO_AUTH", Refused, "NO_AUTH"),
    (403, "NOAUTH", Refused, "NO_AUTH"),
    (403, "NOT_ENOUGH", Refused, "NOT_ENOUGH"),
    (403, "NOTENOUGH", Refused, "NOT_ENOUGH"),
    (403, "OUT_TRADE_NO_USED", Refused, "OUT_TRADE_NO_USED"),
    (403, "USER_ACCOUNT_ABNORMAL", Refused, "USER_ACCOUNT_ABNORMAL"),
    (403, "SOMETHING_NEW", Refused, "SOMETHING_NEW"),
    (404, "ORDER_NOT_EXIST", NotFound, "ORDER_NOT_EXIST"),
    (404, "ORDERNOTEXIST", NotFound, "ORDER_NOT_EXIST"),
    (404, "RESOURCE_NOT_EXISTS", NotFound, "RESOURCE_NOT_EXISTS"),
    (429, "FREQUENCY_LIMITED", RateLimited, "FREQUENCY_LIMITED"),
    (429, "RATELIMIT_EXCEEDED", RateLimited, "RATELIMIT_EXCEEDED"),
    (403, "FREQUENCY_LIMITED", RateLimited, "FREQUENCY_LIMITED"),
    (500, "SYSTEM_ERROR", Unknown, "SYSTEM_ERROR"),
    (500, "BANK_ERROR", Unknown, "BANK_ERROR"),
    (500, "OPENID_MISMATCH", Unknown, "OPENID_MISMATCH"),
    (503, "SERVICE_UNAVAILABLE", Unknown, "SERVICE_UNAVAILABLE"),
]


@pytest.mark.parametrize(("status", "code", "kind", "ours"), TABLE)
def test_codes(status: int, code: str, kind: type, ours: str) -> None:
    failure = classify(status, json.dumps({"code": code, "message": "说明"}), "REQ-1")
    assert type(failure) is kind
    assert (failure.code, failure.message, failure.request_id) == (ours, "说明", "REQ-1")


@pytest.mark.parametrize("body", [b"", "", "<html>", b"\xff\xfe", "[]", '{"code": 5}', '{"other": 1}'])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Unknown),
        (400, Unknown),
        (401, Config),
        (403, Unknown),
        (404, Config),
        (405, Config),
        (429, RateLimited),
        (502, Unknown),
    ],
)
def test_replies_that_are_not_the_providers_own(status: int, kind: type, body: str | bytes) -> None:
    """A proxy's refusal says nothing about the payment; a wrong address is ours to mend."""
    failure = classify(status, body)
    assert type(failure) is kind
    assert failure.code == f"HTTP_{status}"


def test_only_a_clear_no_is_a_refusal() -> None:
    verdicts = {kind: verdict_of(kind("CODE", "text")) for kind in FAILURES}
    refused = {kind for kind, verdict in verdicts.items() if verdict is Verdict.REFUSED}
    assert refused == {Refused, NotFound, Config}
    assert set(verdicts.values()) == {Verdict.REFUSED, Verdict.UNKNOWN}
    assert verdict_of(PaymentClosed("P1")) is Verdict.DONE


def test_the_order_and_the_payment_are_compared_field_by_field() -> None:
    order = PrepayOrder("P20260101-1", "充电", 5_000, "o1", datetime(2026, 1, 1, tzinfo=UTC))
    paid = Payment("P20260101-1", PaymentState.PAID, "wx1", "190", "42", "o1", 5_000, 5_000, "CNY")
    assert payment_difference(paid, order) is None
    for name, value in (
        ("out_trade_no", "P20260101-2"),
        ("state", PaymentState.UNPAID),
        ("state", PaymentState.CLOSED),
        ("total_fen", 4_999),
        ("total_fen", None),
        ("currency", "USD"),
        ("openid", "o2"),
    ):
        assert payment_difference(replace(paid, **{name: value}), order) == name
    # a coupon of WeChat Pay's own pays for the driver, not less to us
    assert payment_difference(replace(paid, payer_fen=4_000), order) is None
