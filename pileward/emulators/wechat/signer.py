"""Which key signs what: the WeChat Pay public key, the platform certificate, or both in turn.

A merchant that sends `Wechatpay-Serial: PUB_KEY_ID_…` gets replies signed with that key, one that does not
gets the certificate. Notifications follow the mode; `mixed` is the switch-over week, one and the other by
turns. Faults that spoil a signature are made here. Source: 「微信支付公钥」「平台证书」切换.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from pileward.emulators.wechat.keys import Keyring
from pileward.emulators.wechat.signing import PROBE, SCHEME, reply_message, sign

MODES: Final = ("public_key", "certificate", "mixed")
STALE_S: Final = 600


class Signer:
    """Signs replies and notifications, real time."""

    def __init__(self, keys: Keyring, mode: str, unix_time: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self.mode = mode
        self._unix_time = unix_time
        self._turn = 0

    def reply(self, wanted_serial: str, body: bytes, fault: str = "") -> dict[str, str]:
        """Headers of a reply to a request that carried this `Wechatpay-Serial`, or none."""
        use_public_key = self.mode != "certificate" and wanted_serial == self.keys.identity.public_key_id
        return self._headers(use_public_key, body, fault)

    def notification(self, body: bytes, fault: str = "") -> dict[str, str]:
        """Headers of a notification."""
        self._turn += 1
        use_public_key = self.mode == "public_key" or (self.mode == "mixed" and self._turn % 2 == 1)
        return self._headers(use_public_key, body, fault)

    def _headers(self, use_public_key: bool, body: bytes, fault: str) -> dict[str, str]:
        if fault == "no_headers":
            return {}
        serial, key = self._key(use_public_key)
        timestamp = str(int(self._unix_time()) - (STALE_S if fault == "stale" else 0))
        nonce = secrets.token_hex(16).upper()
        signed = body + b" " if fault == "bad_signature" else body
        signature = sign(key, reply_message(timestamp, nonce, signed))
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": PROBE + signature if fault == "probe_signature" else signature,
            "Wechatpay-Serial": "PUB_KEY_ID_UNKNOWN" if fault == "unknown_key" else serial,
            "Wechatpay-Signature-Type": SCHEME,
        }

    def _key(self, use_public_key: bool) -> tuple[str, RSAPrivateKey]:
        if use_public_key:
            return self.keys.identity.public_key_id, self.keys.wechat_key
        return self.keys.platform.serial, self.keys.platform.key
