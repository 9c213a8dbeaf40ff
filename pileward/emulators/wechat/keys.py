"""Keys of the emulated merchant and of the emulated WeChat Pay: made at the first start, kept, never shared.

Everything lies in the state folder. Private keys and secrets are readable by their owner alone, and nothing
of it is worth anything anywhere else.
"""

from __future__ import annotations

import base64
import os
import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

MCHID: Final = "1900000109"
APPID: Final = "wx8888888888888888"
KEY_BITS: Final = 2048
YEARS: Final = 10

_IDENTITY_FILE: Final = "identity.json"


class Identity(msgspec.Struct, frozen=True):
    """Numbers and secrets that both sides know."""

    mchid: str
    appid: str
    app_secret: str
    api_v3_key: str
    public_key_id: str


@dataclass(frozen=True)
class Platform:
    """One platform certificate (平台证书) with its key."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def serial(self) -> str:
        """Its serial as WeChat Pay writes it: upper-case hex."""
        return f"{self.certificate.serial_number:X}"

    @property
    def pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


class Keyring:
    """All keys of one state folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.identity = self._identity()
        self.merchant_key = self._key("merchant_key.pem")
        self.merchant_certificate = self._certificate("merchant_cert.pem", self.merchant_key, "merchant")
        self.wechat_key = self._key("wechatpay_key.pem")
        _write(self.public_key_path, _public_pem(self.wechat_key), 0o644)
        count = max(len(list(folder.glob("platform_cert_*.pem"))), 1)
        self.platforms = [self._platform(number) for number in range(1, count + 1)]

    @property
    def merchant_key_path(self) -> Path:
        """The file that a merchant downloads as `apiclient_key.pem`."""
        return self.folder / "merchant_key.pem"

    @property
    def public_key_path(self) -> Path:
        """The file that a merchant downloads as the WeChat Pay public key."""
        return self.folder / "wechatpay_pub_key.pem"

    @property
    def platform_certificate_path(self) -> Path:
        """The newest platform certificate."""
        return self.folder / f"platform_cert_{len(self.platforms)}.pem"

    @property
    def merchant_serial(self) -> str:
        """Serial of the merchant's API certificate."""
        return f"{self.merchant_certificate.serial_number:040X}"

    @property
    def platform(self) -> Platform:
        """The platform certificate in force; older ones stay valid."""
        return self.platforms[-1]

    def rotate(self) -> Platform:
        """Make a new platform certificate; from now on it signs."""
        self.platforms.append(self._platform(len(self.platforms) + 1))
        return self.platform

    def _identity(self) -> Identity:
        path = self.folder / _IDENTITY_FILE
        if not path.exists():
            letters = string.ascii_letters + string.digits
            made = Identity(
                mchid=MCHID,
                appid=APPID,
                app_secret=secrets.token_hex(16),
                api_v3_key="".join(secrets.choice(letters) for _ in range(32)),
                public_key_id=f"PUB_KEY_ID_01{MCHID}{secrets.token_hex(12).upper()}",
            )
            _write(path, msgspec.json.encode(made), 0o600)
        return msgspec.json.decode(path.read_bytes(), type=Identity)

    def _key(self, name: str) -> rsa.RSAPrivateKey:
        path = self.folder / name
        if not path.exists():
            key = rsa.generate_private_key(65537, KEY_BITS)
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            _write(path, pem, 0o600)
        # made here a moment or a day ago: testing the primes again would be most of the time of a start
        loaded = serialization.load_pem_private_key(
            path.read_bytes(), None, unsafe_skip_rsa_key_validation=True
        )
        assert isinstance(loaded, rsa.RSAPrivateKey), f"{path} is no RSA key"
        return loaded

    def _platform(self, number: int) -> Platform:
        key = self._key(f"platform_key_{number}.pem")
        return Platform(key, self._certificate(f"platform_cert_{number}.pem", key, f"platform {number}"))

    def _certificate(self, name: str, key: rsa.RSAPrivateKey, subject: str) -> x509.Certificate:
        path = self.folder / name
        if not path.exists():
            who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Pileward emulator, {subject}")])
            now = datetime.now(UTC)
            certificate = (
                x509.CertificateBuilder()
                .subject_name(who)
                .issuer_name(who)
                .public_key(key.public_key())
                # 160 bits with the highest but one set: 40 hex digits always
                .serial_number((1 << 158) | secrets.randbits(158))
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=365 * YEARS))
                .sign(key, hashes.SHA256())
            )
            _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return x509.load_pem_x509_certificate(path.read_bytes())


def openid_of(appid: str, user: str) -> str:
    """The openid of a user under an appid: always the same, another one under another appid."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(f"{appid}:{user}".encode())
    return "o" + base64.urlsafe_b64encode(digest.finalize()).decode()[:27]


def _public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all, never readable by others for a moment."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_private(path: Path, text: str) -> None:
    """Write a text that only its owner may read."""
    _write(path, text.encode(), 0o600)
