"""Which serials are the same, and which are nobody's."""

from __future__ import annotations

import pytest

from pileward.integrations.wechat_trust import SIGNATURE_TYPE, Trust, Untrusted

KNOWN = frozenset({"PUB_KEY_ID_01a", "0A1B2C"})


@pytest.mark.parametrize(
    ("serial", "is_known"),
    [
        ("PUB_KEY_ID_01a", True),
        ("PUB_KEY_ID_01A", False),
        ("pub_key_id_01a", False),
        ("0A1B2C", True),
        ("A1B2C", True),
        ("000a1b2c", True),
        ("A1B2C0", False),
        ("0", False),
    ],
)
def test_serials(serial: str, is_known: bool) -> None:
    asked: list[str] = []

    def verify(headers: object, body: str) -> bool:
        asked.append(body)
        return True

    headers = {
        "Wechatpay-Timestamp": "1000",
        "Wechatpay-Nonce": "n",
        "Wechatpay-Signature": "s",
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": SIGNATURE_TYPE,
    }
    trust = Trust(KNOWN, verify, lambda: 1000.0)
    if is_known:
        assert trust.check(headers, "{}") == headers
    else:
        with pytest.raises(Untrusted) as caught:
            trust.check(headers, "{}")
        assert caught.value.failure.code == "SERIAL_UNKNOWN"
    # the library is never asked about a serial that is nobody's: it would look for it elsewhere
    assert asked == (["{}"] if is_known else [])
