"""What we rely on in `wechatpayv3`, and the faults of it that we work around.

When the library is updated and a test here fails, the wrapper has to be looked at: a private name is gone, or
a fault is mended and a workaround can go.
"""

from __future__ import annotations

import inspect
import json
from importlib.metadata import version
from typing import Any

import pytest
from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

from pileward.integrations.wechat_client import WeChatClient
from tests.vectors.test_wechat_vectors import MOMENT, account, named


@pytest.fixture(scope="module")
def client() -> WeChatClient:
    return WeChatClient(account(), unix_time=lambda: MOMENT)


def test_the_version_is_the_one_that_was_reviewed() -> None:
    assert version("wechatpayv3").startswith("2.0.")


def test_the_private_names_are_there() -> None:
    plain = AsyncWeChatPay(
        wechatpay_type=WeChatPayType.MINIPROG,
        mchid="1900000109",
        private_key=account().merchant_key_pem,
        cert_serial_no="AB",
        appid="wx1",
        apiv3_key="x" * 32,
        public_key=account().public_key_pem,
        public_key_id="PUB_KEY_ID_1",
    )
    core = plain._core
    assert core._gate_way == "https://api.mch.weixin.qq.com"
    assert core._certificates == []
    assert core._client is None
    assert inspect.iscoroutinefunction(core._verify_signature_async)
    source = inspect.getsource(type(core))
    for name in ("_gate_way", "_certificates", "_client", "_verify_signature_async", "_verify_signature("):
        assert f"self.{name}" in source


def test_the_library_alone_takes_a_stale_notification(client: WeChatClient) -> None:
    vector = named("notify_pay_success_public_key")
    assert client.sdk.callback(vector["headers"], vector["body"]) is not None


def test_the_library_alone_raises_where_it_could_say_no(client: WeChatClient) -> None:
    vector = named("notify_pay_success_public_key")
    for changes in ({"Wechatpay-Signature-Type": "OTHER"}, {"Wechatpay-Serial": "PUB_KEY_ID_X"}):
        with pytest.raises(Exception, match=r"does not support|invalid literal"):
            client.sdk.callback(vector["headers"] | changes, vector["body"])
    assert client.sdk.callback(vector["headers"] | {"Wechatpay-Nonce": "x"}, vector["body"]) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algorithm": "AES"}, "NOTIFICATION_INVALID"),
        ({"ciphertext": "AAAA"}, "DECRYPTION"),
        ({"ciphertext": "A"}, "NOTIFICATION_INVALID"),
        ({"nonce": "short"}, "NOTIFICATION_INVALID"),
        ({"associated_data": "other"}, "DECRYPTION"),
    ],
)
def test_what_is_signed_and_damaged_all_the_same_ends_in_a_value(
    client: WeChatClient, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], code: str
) -> None:
    """The signature is taken as right here, to see what lies behind it."""
    vector = named("notify_pay_success_public_key")
    body = json.loads(vector["body"])
    body["resource"] |= change
    monkeypatch.setattr(client._core, "_verify_signature", lambda *_: True)
    monkeypatch.setattr(client._trust, "_verify", lambda *_: True)
    found = client.open_notification(vector["headers"], json.dumps(body).encode())
    assert not isinstance(found, dict)
    assert found.code == code
