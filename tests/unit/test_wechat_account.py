"""A payment account that cannot work stops the start, and the message names the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pileward.cli.payments import make_logins, make_payments
from pileward.config.settings import Secret, WechatSettings, load
from pileward.emulators.wechat.emulator import Emulator, Options
from pileward.integrations.wechat_account import GATEWAY_URL, AccountError, check_url, read_account


@pytest.fixture
def values(wechat_state: Path) -> dict[str, Any]:
    """The settings of the emulator's merchant, as plain values."""
    emulator = Emulator(Options(state=wechat_state))
    settings = load(emulator.write_settings("http://127.0.0.1:18443"), environ={}).wechat
    emulator.close()
    assert settings.api_v3_key is not None
    return {
        "mchid": settings.mchid,
        "appid": settings.appid,
        "api_v3_key": settings.api_v3_key.reveal(),
        "merchant_key_path": settings.merchant_key_path,
        "cert_serial": settings.cert_serial,
        "public_key_path": settings.public_key_path,
        "public_key_id": settings.public_key_id,
        "platform_certificate_path": settings.platform_certificate_path,
        "notify_base_url": settings.notify_base_url,
        "gateway_url": settings.gateway_url,
    }


def test_the_settings_that_the_emulator_writes_are_good(values: dict[str, Any]) -> None:
    account = read_account(**values)
    assert account.is_redirected
    assert account.platform_certificate is not None
    assert not read_account(**values | {"gateway_url": ""}).is_redirected
    assert read_account(**values | {"gateway_url": ""}).gateway_url == GATEWAY_URL
    assert read_account(**values | {"platform_certificate_path": ""}).platform_certificate is None


def test_secrets_do_not_show(values: dict[str, Any]) -> None:
    shown = repr(read_account(**values))
    assert values["api_v3_key"] not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mchid", "", "missing or wrong"),
        ("mchid", "abc", "'abc' is not the merchant number"),
        ("appid", "1900000109", "is not the mini-program's appid"),
        ("api_v3_key", "", "exactly 32 characters"),
        ("api_v3_key", "x" * 31, "exactly 32 characters"),
        ("cert_serial", "PUB_KEY_ID_1", "is not serial of the merchant certificate"),
        ("public_key_id", "3775B6A45ACD588826D15E583A95F5DD0A1B2C3D", "is not id of the WeChat Pay"),
        ("merchant_key_path", "", "is missing"),
        ("merchant_key_path", "/nowhere/key.pem", "No such file"),
        ("public_key_path", "/nowhere/key.pem", "No such file"),
        ("platform_certificate_path", "/nowhere/cert.pem", "No such file"),
        ("notify_base_url", "", "is no https address"),
        ("notify_base_url", "http://charge.example.com", "is no https address"),
        ("notify_base_url", "https://charge.example.com/callbacks", "must be a host alone"),
        ("notify_base_url", "https://charge.example.com?a=1", "must be a host alone"),
        ("gateway_url", "http://api.example.com", "is no https address"),
        ("gateway_url", "https://user@api.example.com", "must be a host alone"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], name: str, value: str, message: str) -> None:
    with pytest.raises(AccountError, match=message) as caught:
        read_account(**values | {name: value})
    assert str(caught.value).startswith(f"wechat.{name}: ")
    if name == "api_v3_key" and value:
        assert value not in str(caught.value)


def test_keys_of_another_kind_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    old = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    curve = ec.generate_private_key(ec.SECP256R1())
    new = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    certificate = Path(values["platform_certificate_path"]).read_bytes()
    broken = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    file = tmp_path / "key.pem"
    for name, content, message in (
        ("merchant_key_path", old, "not a PKCS#8 key"),
        ("merchant_key_path", new, "not an RSA key"),
        ("merchant_key_path", b"", "not a PKCS#8 key"),
        ("merchant_key_path", broken, "wechat.merchant_key_path"),
        ("public_key_path", certificate, "a certificate is something else"),
        ("public_key_path", public, "not an RSA key"),
        ("platform_certificate_path", public, "not a certificate"),
    ):
        file.write_bytes(content)
        with pytest.raises(AccountError, match=message) as caught:
            read_account(**values | {name: str(file)})
        assert f"wechat.{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://charge.example.com/", "https://charge.example.com"),
        ("https://charge.example.com:8443", "https://charge.example.com:8443"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses(url: str, clean: str) -> None:
    assert check_url("gateway_url", url) == clean


def test_without_payments_there_is_no_client() -> None:
    assert make_payments(WechatSettings()) is None
    assert make_logins(WechatSettings()) is None


def test_a_wrong_setting_ends_the_command_with_its_name() -> None:
    with pytest.raises(click.ClickException, match=r"wechat\.mchid: is missing"):
        make_payments(WechatSettings(enabled=True))
    with pytest.raises(click.ClickException, match=r"wechat\.app_secret: is missing"):
        make_logins(WechatSettings(enabled=True))
    with pytest.raises(click.ClickException, match=r"wechat\.api_url: .* is no https address"):
        make_logins(WechatSettings(enabled=True, app_secret=Secret("x"), api_url="ftp://x"))
