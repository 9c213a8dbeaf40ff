"""The signatures and the encryption of WeChat Pay API v3, as pure functions.

RSA PKCS#1 v1.5 with SHA-256 over lines that each end with a line feed; AES-256-GCM under the APIv3 key.
Sources: 「如何生成请求签名」「如何验证签名」「如何解密回调报文」.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
PROBE: Final = "WECHATPAY/SIGNTEST/"

_PART: Final = re.compile(r'(\w+)="([^"]*)"')


class Authorization(msgspec.Struct, frozen=True):
    """The five parts of the header of every request."""

    mchid: str
    nonce_str: str
    timestamp: str
    serial_no: str
    signature: str


def parse_authorization(header: str) -> Authorization | None:
    """Read an Authorization header; None when it is not a whole one of this scheme."""
    scheme, _, rest = header.partition(" ")
    parts = dict(_PART.findall(rest))
    if scheme != SCHEME or set(parts) != set(Authorization.__struct_fields__):
        return None
    return Authorization(**parts)


def request_message(method: str, path: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What a merchant signs; `path` with its query exactly as on the wire."""
    return f"{method}\n{path}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def reply_message(timestamp: str, nonce: str, body: bytes) -> bytes:
    """What WeChat Pay signs, in replies and in notifications."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def pay_message(appid: str, timestamp: str, nonce: str, package: str) -> bytes:
    """What a merchant signs for `wx.requestPayment`."""
    return f"{appid}\n{timestamp}\n{nonce}\n{package}\n".encode()


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """Sign; base64 without line breaks."""
    return base64.b64encode(key.sign(message, PKCS1v15(), hashes.SHA256())).decode()


def is_signed(key: RSAPublicKey, message: bytes, signature: str) -> bool:
    """Whether a base64 signature is that of this message."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def encrypt(api_v3_key: str, plaintext: bytes, associated_data: str) -> dict[str, str]:
    """Encrypt what notifications and certificates carry: the fields of a `resource`."""
    nonce = secrets.token_hex(6)
    sealed = AESGCM(api_v3_key.encode()).encrypt(nonce.encode(), plaintext, associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": associated_data,
        "ciphertext": base64.b64encode(sealed).decode(),
    }
