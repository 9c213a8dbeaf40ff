"""A WeChat Pay merchant account: numbers, keys and addresses, checked before anything is sent.

The library takes an empty key without a word and fails at the first payment; here a wrong value stops the
start, with a message that names the setting. Secrets do not show in `repr`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

GATEWAY_URL: Final = "https://api.mch.weixin.qq.com"
"""WeChat Pay's main host; a different one is only for an emulator, or for the other region's host."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class AccountError(ValueError):
    """A setting of the payment account that cannot be used; the message names it and says what is wrong."""


@dataclass(frozen=True)
class Account:
    """One direct merchant in public-key mode, with an optional platform certificate as second signer."""

    mchid: str
    appid: str
    cert_serial: str
    public_key_id: str
    public_key_pem: str
    notify_base_url: str
    """Public address of this server, without a path; notifications go to paths below it."""
    merchant_key_pem: str = field(repr=False)
    api_v3_key: str = field(repr=False)
    gateway_url: str = GATEWAY_URL
    platform_certificate: x509.Certificate | None = None

    @property
    def is_redirected(self) -> bool:
        """Whether calls go elsewhere than to WeChat Pay's main host."""
        return self.gateway_url != GATEWAY_URL


def read_account(
    *,
    mchid: str,
    appid: str,
    api_v3_key: str,
    merchant_key_path: str,
    cert_serial: str,
    public_key_path: str,
    public_key_id: str,
    notify_base_url: str,
    gateway_url: str = "",
    platform_certificate_path: str = "",
) -> Account:
    """Read the key files and check every value; raises AccountError naming the setting."""
    _demand("mchid", mchid, r"[0-9]{6,32}", "the merchant number, digits")
    _demand("appid", appid, r"wx[0-9a-zA-Z]{6,30}", "the mini-program's appid, wx…")
    _demand("api_v3_key", api_v3_key, r"[\x21-\x7e]{32}", "the APIv3 key, exactly 32 characters", shown=False)
    _demand("cert_serial", cert_serial, r"[0-9A-Fa-f]{16,40}", "serial of the merchant certificate, hex")
    _demand("public_key_id", public_key_id, r"PUB_KEY_ID_\w{6,}", "id of the WeChat Pay public key")
    return Account(
        mchid=mchid,
        appid=appid,
        api_v3_key=api_v3_key,
        merchant_key_pem=_read("merchant_key_path", merchant_key_path, _check_private_key),
        cert_serial=cert_serial.upper(),
        public_key_pem=_read("public_key_path", public_key_path, _check_public_key),
        public_key_id=public_key_id,
        notify_base_url=check_url("notify_base_url", notify_base_url),
        gateway_url=check_url("gateway_url", gateway_url or GATEWAY_URL),
        platform_certificate=_read_certificate(platform_certificate_path),
    )


def check_url(name: str, url: str) -> str:
    """Return an address without its last slash; raises AccountError unless it is `https://host[:port]`.

    Plain http is allowed on this machine only, where the emulator runs.
    """
    parts = urlsplit(url)
    is_local = parts.hostname in LOOPBACK
    if not parts.hostname or parts.scheme not in ({"https", "http"} if is_local else {"https"}):
        raise AccountError(f"wechat.{name}: {url!r} is no https address")
    if parts.query or parts.fragment or parts.username or parts.path.strip("/"):
        raise AccountError(f"wechat.{name}: {url!r} must be a host alone, without path or parameters")
    return url.rstrip("/")


def _demand(name: str, value: str, pattern: str, meaning: str, *, shown: bool = True) -> None:
    if not re.fullmatch(pattern, value):
        seen = f"{value!r} is not " if shown and value else "is missing or wrong: "
        raise AccountError(f"wechat.{name}: {seen}{meaning}")


def _read(name: str, path: str, check: Callable[[bytes], None]) -> str:
    if not path:
        raise AccountError(f"wechat.{name}: is missing")
    try:
        text = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise AccountError(f"wechat.{name}: {path}: {error.strerror}") from error
    try:
        check(text)
    except (ValueError, TypeError) as error:
        raise AccountError(f"wechat.{name}: {path}: {error}") from None
    return text.decode("ascii")


def _check_private_key(text: bytes) -> None:
    if not text.strip().startswith(b"-----BEGIN PRIVATE KEY-----"):
        raise ValueError("not a PKCS#8 key (BEGIN PRIVATE KEY), as apiclient_key.pem is")
    # the library validates the key itself when it loads it; here only the kind matters
    if not isinstance(load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True), RSAPrivateKey):
        raise ValueError("not an RSA key")


def _check_public_key(text: bytes) -> None:
    if not text.strip().startswith(b"-----BEGIN PUBLIC KEY-----"):
        raise ValueError("not a public key (BEGIN PUBLIC KEY); a certificate is something else")
    if not isinstance(load_pem_public_key(text), RSAPublicKey):
        raise ValueError("not an RSA key")


def _read_certificate(path: str) -> x509.Certificate | None:
    if not path:
        return None
    try:
        return x509.load_pem_x509_certificate(Path(path).expanduser().read_bytes())
    except OSError as error:
        raise AccountError(f"wechat.platform_certificate_path: {path}: {error.strerror}") from error
    except ValueError:
        raise AccountError(f"wechat.platform_certificate_path: {path}: not a certificate in PEM") from None
