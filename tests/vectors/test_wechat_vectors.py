"""The WeChat Pay client against recorded signatures, notifications and a bill (`wechat_vectors.json`).

The file holds test-only keys of a merchant, of a platform certificate and of a WeChat Pay public key, and
what was signed with them at one moment, 2026-01-01 08:00:00 China time. The clock of the client is set to it.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pileward.integrations.wechat_account import Account
from pileward.integrations.wechat_bill import BillError, read_bill
from pileward.integrations.wechat_pay import WeChatPay
from pileward.messages.payments import (
    FAILURES,
    Config,
    Notification,
    Payment,
    PaymentState,
    Refund,
    RefundState,
    Refused,
    SignatureInvalid,
)

FILE: dict[str, Any] = json.loads((Path(__file__).parent / "wechat_vectors.json").read_text(encoding="utf-8"))
MOMENT = 1767225600
PAID_AT = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)


def of_kind(kind: str) -> list[Any]:
    """Vectors of one kind as pytest parameters."""
    return [pytest.param(v, id=v["name"]) for v in FILE["vectors"] if v["kind"] == kind]


def named(name: str) -> dict[str, Any]:
    """One vector."""
    (found,) = [vector for vector in FILE["vectors"] if vector["name"] == name]
    return dict(found)


def account(**changes: Any) -> Account:
    """The account of the vectors, some of its values changed."""
    values: dict[str, Any] = {
        "mchid": FILE["account"]["mchid"],
        "appid": FILE["account"]["appid"],
        "api_v3_key": FILE["account"]["apiv3_key"],
        "cert_serial": FILE["account"]["merchant_serial"],
        "public_key_id": FILE["account"]["wechatpay_public_key_id"],
        "public_key_pem": FILE["keys"]["wechatpay_public_key_pem"],
        "merchant_key_pem": FILE["keys"]["merchant_private_key_pem"],
        "notify_base_url": "https://pay.example.com",
        "platform_certificate": x509.load_pem_x509_certificate(
            FILE["keys"]["platform_certificate_pem"].encode()
        ),
    }
    return Account(**(values | changes))


@functools.cache
def client(now: float = MOMENT, whose: Account | None = None) -> WeChatPay:
    """A client whose clock stands."""
    return WeChatPay(whose or account(), unix_time=lambda: now)


def parse(pay: WeChatPay, vector: Mapping[str, Any], **headers: str) -> Any:
    """Parse a vector's notification, some of its headers changed."""
    return pay.parse_notification(vector["headers"] | headers, vector["body"].encode())


@pytest.mark.parametrize("vector", of_kind("request_signature"))
def test_the_library_signs_requests_as_recorded(vector: dict[str, Any]) -> None:
    key = load_pem_public_key(FILE["keys"]["merchant_public_key_pem"].encode())
    assert isinstance(key, RSAPublicKey)
    lines = (vector["method"], vector["url_path"], vector["timestamp"], vector["nonce_str"], vector["body"])
    message = "".join(f"{line}\n" for line in lines)
    assert message == vector["message"]
    key.verify(base64.b64decode(vector["signature"]), message.encode(), PKCS1v15(), hashes.SHA256())
    assert client().client.sign(*lines) == vector["signature"]


def test_the_mini_program_gets_the_recorded_signature() -> None:
    (vector,) = [vector for vector in FILE["vectors"] if vector["kind"] == "pay_sign"]
    signed = client().client.sign(vector["appId"], vector["timeStamp"], vector["nonceStr"], vector["package"])
    assert signed == vector["paySign"]


@pytest.mark.parametrize("vector", of_kind("response_signature"))
async def test_replies_are_believed_as_recorded(vector: dict[str, Any]) -> None:
    pay = WeChatPay(account(), unix_time=lambda: MOMENT)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(vector["status"], headers=vector["headers"], content=vector["body"].encode())

    await pay.start()
    core = pay.client.sdk._core
    assert core._client is not None
    await core._client.aclose()
    core._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    result = await pay.close_payment("P20260101000000000001")
    await pay.close()
    assert isinstance(result, FAILURES) is not vector["valid"]
    if not vector["valid"]:
        assert isinstance(result, SignatureInvalid)
        assert result.code == "SIGNATURE_PROBE"


@pytest.mark.parametrize("vector", of_kind("notification"))
def test_notifications_are_read_as_recorded(vector: dict[str, Any]) -> None:
    found = parse(client(), vector)
    assert isinstance(found, Notification)
    assert found.id == json.loads(vector["body"])["id"]
    assert found.event == vector["event_type"]
    assert found.created_at == datetime(2026, 1, 1, 0, 0, 31, tzinfo=UTC)
    if not vector["event_type"].startswith(("TRANSACTION.", "REFUND.")):
        assert found.content is None


def test_a_payment_is_read_whole() -> None:
    found = parse(client(), named("notify_pay_success_public_key"))
    assert found.content == Payment(
        out_trade_no="P20260101000000000001",
        state=PaymentState.PAID,
        appid="wx8888888888888888",
        mchid="1900000109",
        transaction_id="4200002000202601010000000001",
        openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        total_fen=5000,
        payer_fen=5000,
        currency="CNY",
        paid_at=PAID_AT,
        attach="gun=3100010001-1",
        bank_type="OTHERS",
    )


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("notify_refund_success", RefundState.SUCCEEDED),
        ("notify_refund_abnormal", RefundState.ABNORMAL),
        ("notify_refund_closed", RefundState.CLOSED),
    ],
)
def test_a_refund_is_read_whole(name: str, state: RefundState) -> None:
    found = parse(client(), named(name)).content
    assert isinstance(found, Refund)
    assert (found.state, found.refund_fen, found.total_fen) == (state, 1234, 5000)
    assert (found.succeeded_at is not None) is (state is RefundState.SUCCEEDED)


def test_the_names_of_headers_may_be_in_any_case() -> None:
    vector = named("notify_pay_success_public_key")
    lowered = {name.lower(): value for name, value in vector["headers"].items()}
    assert isinstance(client().parse_notification(lowered, vector["body"].encode()), Notification)


@pytest.mark.parametrize("age_s", [-301, 301, 86_400, 10**9])
def test_a_stale_notification_is_refused(age_s: int) -> None:
    found = parse(client(MOMENT + age_s), named("notify_pay_success_public_key"))
    assert isinstance(found, SignatureInvalid)
    assert found.code == "STALE"


@pytest.mark.parametrize("age_s", [-300, 0, 300])
def test_five_minutes_to_either_side_are_allowed(age_s: int) -> None:
    assert isinstance(parse(client(MOMENT + age_s), named("notify_refund_success")), Notification)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Wechatpay-Signature": ""}, "HEADERS_MISSING"),
        ({"Wechatpay-Serial": ""}, "HEADERS_MISSING"),
        ({"Wechatpay-Signature-Type": "WECHATPAY2-SM2-WITH-SM3"}, "SIGNATURE_TYPE"),
        ({"Wechatpay-Signature": "WECHATPAY/SIGNTEST/abc="}, "SIGNATURE_PROBE"),
        ({"Wechatpay-Serial": "PUB_KEY_ID_SOMEBODY_ELSE"}, "SERIAL_UNKNOWN"),
        ({"Wechatpay-Serial": "ABCDEF"}, "SERIAL_UNKNOWN"),
        ({"Wechatpay-Signature": "AAAA"}, "SIGNATURE_WRONG"),
        ({"Wechatpay-Signature": "not base64 at all"}, "SIGNATURE_WRONG"),
        ({"Wechatpay-Nonce": "another"}, "SIGNATURE_WRONG"),
        ({"Wechatpay-Timestamp": "1767225601"}, "SIGNATURE_WRONG"),
        ({"Wechatpay-Timestamp": "-1"}, "TIMESTAMP"),
        ({"Wechatpay-Timestamp": "2026-01-01"}, "TIMESTAMP"),
        ({"Wechatpay-Timestamp": "9" * 400}, "TIMESTAMP"),
    ],
)
def test_a_header_that_is_not_theirs_is_refused(headers: dict[str, str], code: str) -> None:
    found = parse(client(), named("notify_pay_success_public_key"), **headers)
    assert isinstance(found, SignatureInvalid)
    assert found.code == code


def test_a_changed_body_is_refused() -> None:
    vector = named("notify_pay_success_public_key")
    changed = vector["body"].replace("EV-2026", "EV-2027").encode()
    found = client().parse_notification(vector["headers"], changed)
    assert isinstance(found, SignatureInvalid)
    assert found.code == "SIGNATURE_WRONG"


@pytest.mark.parametrize("body", [b"<xml><return_code/></xml>", b"", b"\xff\xfe{", b"{\xff}"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """A refund made by hand in the merchant console may be told in the XML of API v2."""
    found = client().parse_notification(named("notify_refund_success")["headers"], body)
    assert isinstance(found, Refused)
    assert found.code == "NOT_JSON"


def test_without_the_second_signer_its_notifications_are_refused() -> None:
    vector = named("notify_pay_success_platform_cert")
    assert isinstance(parse(client(), vector), Notification)
    found = parse(client(whose=account(platform_certificate=None)), vector)
    assert isinstance(found, SignatureInvalid)
    assert found.code == "SERIAL_UNKNOWN"


def test_a_wrong_api_key_is_our_fault_and_said_to_be() -> None:
    found = parse(client(whose=account(api_v3_key="x" * 32)), named("notify_pay_success_public_key"))
    assert isinstance(found, Config)
    assert found.code == "DECRYPTION"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("notify_pay_success_public_key", {"mchid": "1900000110"}),
        ("notify_pay_success_public_key", {"appid": "wx9999999999999999"}),
        ("notify_refund_success", {"mchid": "1900000110"}),
    ],
)
def test_another_merchants_notification_is_refused(name: str, changes: dict[str, str]) -> None:
    found = parse(client(whose=account(**changes)), named(name))
    assert isinstance(found, Refused)
    assert found.code == "MERCHANT_MISMATCH"


def bill_vector() -> tuple[dict[str, Any], bytes]:
    (vector,) = [vector for vector in FILE["vectors"] if vector["kind"] == "bill"]
    return vector, base64.b64decode(vector["gzip_base64"])


def test_the_bill_is_read_as_recorded() -> None:
    vector, packed = bill_vector()
    bill = read_bill(date(2026, 1, 1), packed, vector["sha1"])
    (payment,), (refund,) = bill.payments, bill.refunds
    assert (payment.out_trade_no, payment.total_fen, payment.fee_e5_yuan) == (
        "P20260101000000000001",
        5000,
        30_000,
    )
    assert payment.at == PAID_AT
    assert (refund.out_refund_no, refund.refund_fen, refund.fee_e5_yuan, refund.status) == (
        "R20260101000000000001",
        1234,
        -7_000,
        "SUCCESS",
    )
    assert bill.text == vector["text"].encode()
    # a hash over the packed file is taken too: an older page meant that one
    assert read_bill(date(2026, 1, 1), bill.text, vector["sha1"]) == bill


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("`50.00,`0.00,`\r\n", "`50.01,`0.00,`\r\n", "rows and totals differ"),
        ("`2,`50.00", "`3,`50.00", "总交易单数"),
        ("`0.30000", "`0.3000000", ""),
        ("`0.30000", "`abc", "is no number"),
        ("`0.30000", "`NaN", "is no number"),
        ("`50.00,`12.34,`0.00", "`50.00,`12.34", "values under"),
        ("手续费,费率", "手续,费率", "column 手续费 is missing"),
        ("JSAPI,`REFUND", "JSAPI,`GIFT", "unknown kind"),
        ("2026-01-01 08:00:30", "yesterday", "is no time"),
        ("总交易单数", "总数", "missing"),
    ],
)
def test_a_changed_bill_is_not_used(old: str, new: str, message: str) -> None:
    vector, _ = bill_vector()
    assert old in vector["text"]
    text = vector["text"].replace(old, new).encode()
    sha1 = hashlib.sha1(text).hexdigest()
    if not message:
        assert read_bill(date(2026, 1, 1), gzip.compress(text), sha1).payments[0].fee_e5_yuan == 30_000
        return
    with pytest.raises(BillError, match=message):
        read_bill(date(2026, 1, 1), gzip.compress(text), sha1)


def test_a_damaged_bill_is_not_used() -> None:
    vector, packed = bill_vector()
    with pytest.raises(BillError, match="hash"):
        read_bill(date(2026, 1, 1), packed, "0" * 40)
    with pytest.raises(BillError, match="cut short"):
        read_bill(date(2026, 1, 1), packed[:-20], vector["sha1"])
    with pytest.raises(BillError, match="unpacked"):
        read_bill(date(2026, 1, 1), packed[:20] + b"\xff" * 50, vector["sha1"])
