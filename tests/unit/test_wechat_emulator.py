"""The emulator's own parts: signatures against recorded ones, clocks, faults, folder, protocol edges."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from pileward.cli import main
from pileward.config.settings import load
from pileward.emulators.wechat import signing
from pileward.emulators.wechat.clock import BusinessClock, china, rfc3339
from pileward.emulators.wechat.emulator import Emulator, Options
from pileward.emulators.wechat.faults import Fault, Faults
from pileward.emulators.wechat.keys import Keyring, openid_of
from pileward.emulators.wechat.orders import fee_fen
from pileward.emulators.wechat.server import Server
from tests.vectors.test_wechat_vectors import FILE, named, of_kind
from tests.wechat_emulator import EmulatorProcess, Wechat


def public_key(name: str) -> RSAPublicKey:
    key = load_pem_public_key(FILE["keys"][name].encode())
    assert isinstance(key, RSAPublicKey)
    return key


def private_key(name: str) -> RSAPrivateKey:
    key = load_pem_private_key(FILE["keys"][name].encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.mark.parametrize("vector", of_kind("request_signature"))
def test_it_accepts_recorded_requests(vector: dict[str, Any]) -> None:
    parts = signing.parse_authorization(vector["authorization"])
    assert parts is not None
    message = signing.request_message(
        vector["method"],
        vector["url_path"],
        parts.timestamp,
        parts.nonce_str,
        vector["body"].encode(),
    )
    key = public_key("merchant_public_key_pem")
    assert signing.is_signed(key, message, parts.signature)
    assert not signing.is_signed(key, message + b" ", parts.signature)


@pytest.mark.parametrize("vector", of_kind("response_signature"))
def test_it_signs_replies_as_recorded(vector: dict[str, Any]) -> None:
    headers = vector["headers"]
    name = "wechatpay" if vector["signer"] == "public_key" else "platform"
    message = signing.reply_message(
        headers["Wechatpay-Timestamp"], headers["Wechatpay-Nonce"], vector["body"].encode()
    )
    signed = signing.sign(private_key(f"{name}_private_key_pem"), message)
    assert (signed == headers["Wechatpay-Signature"]) is vector["valid"]


def test_it_checks_what_the_mini_program_is_given_as_recorded() -> None:
    vector = named("requestPayment_paySign")
    message = signing.pay_message(vector["appId"], vector["timeStamp"], vector["nonceStr"], vector["package"])
    assert signing.is_signed(public_key("merchant_public_key_pem"), message, vector["paySign"])


def test_what_it_encrypts_can_be_opened() -> None:
    sealed = signing.encrypt("x" * 32, "正文".encode(), "transaction")
    opened = AESGCM(b"x" * 32).decrypt(
        sealed["nonce"].encode(),
        base64.b64decode(sealed["ciphertext"]),
        sealed["associated_data"].encode(),
    )
    assert opened.decode() == "正文"
    assert len(sealed["nonce"]) == 12


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        'WECHATPAY2-SHA256-RSA2048 mchid="1"',
        'WECHATPAY2-SM2-WITH-SM3 mchid="1",nonce_str="2",signature="3",timestamp="4",serial_no="5"',
        'WECHATPAY2-SHA256-RSA2048 mchid="1",nonce_str="2",signature="3",timestamp="4",serial_no="5",x="6"',
    ],
)
def test_a_header_of_another_kind_is_no_authorization(header: str) -> None:
    assert signing.parse_authorization(header) is None


def test_business_time_runs_at_its_own_pace_and_jumps_ahead() -> None:
    real_s = 1_000.0
    clock = BusinessClock(60.0, 5_000, lambda: real_s)
    real_s += 2.0
    assert clock.now_ms() == 5_000 + 120_000
    assert clock.real_delay_s(clock.now_ms() + 60_000) == 1.0
    assert clock.real_delay_s(0) == 0.0
    clock.advance(30)
    assert clock.now_ms() == 5_000 + 150_000


def test_business_time_goes_on_after_a_restart(wechat_state: Path) -> None:
    real_s = 1_000_000.0
    origin = datetime(2026, 1, 1, tzinfo=UTC)
    start_ms = round(origin.timestamp() * 1000)
    first = Emulator(Options(state=wechat_state, scale=60.0, origin_ms=start_ms), lambda: real_s)
    real_s += 10
    assert first.clock.now_ms() == start_ms + 600_000
    first.close()
    real_s += 10
    second = Emulator(Options(state=wechat_state, scale=1.0), lambda: real_s)
    assert second.clock.now_ms() == start_ms + 1_200_000
    second.close()
    # an origin that has passed does not turn time back; one ahead is reached at once
    for origin_ms, expected_ms in ((start_ms, start_ms + 1_200_000), (start_ms + 10**7,) * 2):
        other = Emulator(Options(state=wechat_state, origin_ms=origin_ms), lambda: real_s)
        assert other.clock.now_ms() == expected_ms
        other.close()


def test_times_are_written_as_wechat_pay_writes_them() -> None:
    at_ms = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000) + 999
    assert rfc3339(at_ms) == "2026-01-01T08:00:00+08:00"
    assert china(at_ms).hour == 8


@pytest.mark.parametrize(("fen", "fee"), [(5_000, 30), (3_766, 23), (1, 0), (83, 0), (84, 1), (100, 1)])
def test_the_fee_is_rounded_half_up(fen: int, fee: int) -> None:
    assert fee_fen(fen) == fee


def test_faults_are_used_up_in_their_order() -> None:
    faults = Faults()
    faults.add(Fault("refund", "500", times=2))
    faults.add(Fault("refund", "cut", times=0))
    assert faults.take("prepay") is None
    taken = [faults.take("refund") for _ in range(4)]
    assert [fault.kind for fault in taken if fault is not None] == ["500", "500", "cut", "cut"]
    faults.clear()
    assert faults.take("refund") is None
    for wrong in (Fault("rfund", "cut"), Fault("refund", "duplicate"), Fault("notify", "cut_after")):
        with pytest.raises(ValueError, match="is none of"):
            faults.add(wrong)


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    first = Keyring(tmp_path / "state")
    second = Keyring(tmp_path / "state")
    assert first.identity == second.identity
    assert first.merchant_serial == second.merchant_serial
    assert len(first.merchant_serial) == len(first.platform.serial) == 40
    for path in first.folder.iterdir():
        is_private = ("key" in path.name and "pub" not in path.name) or path.name == "identity.json"
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if is_private else 0o644), path.name
    assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700
    second.rotate()
    assert [platform.serial for platform in Keyring(first.folder).platforms] == [
        platform.serial for platform in second.platforms
    ]


def test_the_settings_file_is_private_and_loads(wechat_state: Path) -> None:
    emulator = Emulator(Options(state=wechat_state, notify_base_url="http://127.0.0.1:1"))
    path = emulator.write_settings("http://127.0.0.1:2")
    emulator.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load(path, environ={}).wechat
    assert settings.enabled
    assert (settings.notify_base_url, settings.gateway_url) == ("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_a_state_folder_has_one_emulator_at_a_time(wechat_state: Path) -> None:
    emulator = Emulator(Options(state=wechat_state))
    with pytest.raises(RuntimeError, match="in use by another"):
        Emulator(Options(state=wechat_state))
    emulator.close()
    Emulator(Options(state=wechat_state)).close()


def test_users_have_openids_of_their_own() -> None:
    openid = openid_of("wx1", "a")
    assert openid == openid_of("wx1", "a")
    assert len(openid) == 28
    assert len({openid, openid_of("wx1", "b"), openid_of("wx2", "a")}) == 3


async def test_what_is_not_signed_is_refused(wechat: Wechat) -> None:
    async with httpx.AsyncClient(base_url=wechat.server.url, trust_env=False) as http:
        path = "/v3/pay/transactions/out-trade-no/P20260101?mchid=1900000109"
        plain = await http.get(path)
        assert (plain.status_code, plain.json()["code"]) == (401, "SIGN_ERROR")
        nameless = await http.get(path, headers={"User-Agent": ""})
        assert (nameless.status_code, nameless.json()["code"]) == (400, "INVALID_REQUEST")
        recorded = named("query_by_out_trade_no")
        other = await http.get(recorded["url_path"], headers={"Authorization": recorded["authorization"]})
        assert other.status_code == 401
        assert "Wechatpay-Signature" not in other.headers
        nowhere = await http.get("/v3/nothing")
        assert (nowhere.status_code, nowhere.content) == (404, b"")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"out_trade_no": "short"}, "/out_trade_no"),
        ({"amount": {"total": 0}}, "/amount/total"),
        ({"amount": {"total": "1"}}, "/amount/total"),
        ({"amount": {"total": 1, "currency": "USD"}}, "/amount/currency"),
        ({"payer": {"openid": "somebody"}}, "/payer/openid"),
        ({"notify_url": "http://charge.example.com/x"}, "/notify_url"),
        ({"notify_url": "https://charge.example.com/x?a=1"}, "/notify_url"),
        ({"time_expire": "tomorrow"}, "/time_expire"),
        ({"time_expire": "2030-01-01T00:00:00"}, "/time_expire"),
        ({"attach": "x" * 129}, "/attach"),
    ],
)
async def test_a_wrong_field_is_named(wechat: Wechat, change: dict[str, Any], field: str) -> None:
    identity = wechat.server.emulator.identity
    body = {
        "appid": identity.appid,
        "mchid": identity.mchid,
        "description": "充电",
        "out_trade_no": "P20260101",
        "notify_url": "https://charge.example.com/x",
        "amount": {"total": 1},
        "payer": {"openid": wechat.openid},
    }
    status, reply = await raw_call(wechat, "POST", "/v3/pay/transactions/jsapi", body | change)
    assert (status, reply["code"], reply["detail"]["field"]) == (400, "PARAM_ERROR", field)


async def test_refunds_by_either_number_but_one(wechat: Wechat) -> None:
    order = wechat.order()
    paid = await wechat.paid(order)
    body = {"out_refund_no": "R1", "amount": {"refund": 1, "total": 5_000, "currency": "CNY"}}
    path = "/v3/refund/domestic/refunds"
    both = {"transaction_id": paid.transaction_id, "out_trade_no": order.out_trade_no}
    for numbers in ({}, both):
        status, reply = await raw_call(wechat, "POST", path, body | numbers)
        assert (status, reply["code"]) == (400, "PARAM_ERROR")
    status, reply = await raw_call(wechat, "POST", path, body | {"transaction_id": paid.transaction_id})
    assert (status, reply["status"]) == (200, "PROCESSING")
    by_id = f"/v3/pay/transactions/id/{paid.transaction_id}?mchid=1900000109"
    status, reply = await raw_call(wechat, "GET", by_id)
    assert (status, reply["out_trade_no"]) == (200, order.out_trade_no)


async def test_certificates_are_there_for_merchants_of_the_old_mode(wechat: Wechat) -> None:
    status, reply = await raw_call(wechat, "GET", "/v3/certificates")
    assert (status, reply["code"]) == (404, "RESOURCE_NOT_EXISTS")
    await wechat.control("behaviour", signer="certificate")
    await wechat.control("certificates/rotate")
    status, reply = await raw_call(wechat, "GET", "/v3/certificates")
    assert [item["serial_no"] for item in reply["data"]] == [
        platform.serial for platform in wechat.server.emulator.keys.platforms
    ]
    sealed = reply["data"][0]["encrypt_certificate"]
    opened = AESGCM(wechat.server.emulator.identity.api_v3_key.encode()).decrypt(
        sealed["nonce"].encode(), base64.b64decode(sealed["ciphertext"]), b"certificate"
    )
    assert opened == wechat.server.emulator.keys.platforms[0].pem


async def test_the_library_in_certificate_mode_runs_too(wechat: Wechat) -> None:
    """Not how Pileward uses it; it shows that the emulator is WeChat Pay for more than one client."""
    from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

    await wechat.control("behaviour", signer="certificate")
    account = wechat.pay.account
    sdk = AsyncWeChatPay(
        WeChatPayType.MINIPROG,
        account.mchid,
        account.merchant_key_pem,
        account.cert_serial,
        account.appid,
        account.api_v3_key,
        timeout=(3, 10),
    )
    sdk._core._gate_way = wechat.server.url
    async with sdk:
        assert (await sdk.query(out_trade_no="P20260101"))[0] == 404
        await wechat.pay.create_prepay(wechat.order())
        await wechat.control("certificates/rotate")
        status, _ = await sdk.query(out_trade_no=wechat.order().out_trade_no)
        assert status == 200


async def test_the_access_token_stays_until_shortly_before_its_end(wechat_state: Path) -> None:
    real_s = 1_000_000.0
    async with Server(Options(state=wechat_state), lambda: real_s) as server:
        identity = server.emulator.identity
        ask = {
            "grant_type": "client_credential",
            "appid": identity.appid,
            "secret": identity.app_secret,
        }

        async def token(**changes: Any) -> dict[str, Any]:
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
                reply = await http.post("/cgi-bin/stable_token", json=ask | changes)
            told: dict[str, Any] = reply.json()
            return told

        first = await token()
        assert first["expires_in"] == 7_200
        real_s += 6_000
        assert await token() == {"access_token": first["access_token"], "expires_in": 1_200}
        real_s += 901
        assert (await token())["access_token"] != first["access_token"]
        forced = await token(force_refresh=True)
        assert (await token())["access_token"] == forced["access_token"]
        for changes, code in (
            ({"secret": "x"}, 40125),
            ({"appid": "x"}, 40013),
            ({"grant_type": "x"}, 40002),
            ({"grant_type": 5}, 47001),
        ):
            assert (await token(**changes))["errcode"] == code


async def test_what_cannot_be_controlled_is_said(wechat: Wechat) -> None:
    async with httpx.AsyncClient(base_url=wechat.server.url, trust_env=False) as http:
        for path, body, status in (
            ("faults", {"on": "refund", "kind": "nothing"}, 400),
            ("faults", {"on": "refund", "kind": "cut", "more": 1}, 400),
            ("behaviour", {"signer": "nobody"}, 400),
            ("time/advance", {"seconds": -1}, 400),
            ("balance", {}, 400),
            ("refunds/R1/end", {}, 404),
            ("refunds", {"out_trade_no": "P1", "fen": 1}, 404),
            ("login", {"user": "a b"}, 400),
            ("pay", {}, 400),
        ):
            reply = await http.post(f"/control/{path}", json=body)
            assert (reply.status_code, bool(reply.json()["message"])) == (status, True), path
        assert (await http.get("/control/orders/P1")).status_code == 404
        assert (await http.post("/control/pay", content=b"{")).status_code == 400
        listed = (await http.get("/control/faults")).json()
        assert set(listed["kinds"]) == {"before", "after", "special", "notify"}
        await http.post("/control/faults", json={"on": "refund", "kind": "cut"})
        assert (await http.request("DELETE", "/control/faults")).json() == {"faults": []}
        state = (await http.get("/control/state")).json()
        assert (state["signer"], state["faults"]) == ("public_key", [])
        assert (await http.post("/control/notifications/flush")).json() == {"waiting": 0}
        assert (await http.get("/control/refunds")).json() == {"refunds": []}


async def test_an_ended_refund_stays_ended(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    await wechat.pay.refund(wechat.refund_order("R1", 1, order))
    await wechat.refund_told("R1")
    async with httpx.AsyncClient(base_url=wechat.server.url, trust_env=False) as http:
        reply = await http.post("/control/refunds/R1/end", json={"status": "CLOSED"})
    assert reply.status_code == 409
    books = await wechat.get("books?entries=1")
    assert [entry["cause"] for entry in books["entries"]] == [
        *("refunded", "refund", "fee", "pay"),
    ]


def test_the_command_is_there() -> None:
    shown = CliRunner().invoke(main, ["emulate", "wechat", "--help"])
    assert shown.exit_code == 0
    assert "--refund-after" in shown.output
    wrong = CliRunner().invoke(main, ["emulate", "wechat", "--origin", "yesterday"])
    assert wrong.exit_code == 1


def test_two_processes_on_one_folder(wechat_process: EmulatorProcess) -> None:
    arguments = ["--port", "0", "--state", str(wechat_process.state)]
    second = subprocess.run(
        [sys.executable, "-m", "pileward.emulators.wechat", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "in use by another emulator" in second.stderr


async def raw_call(
    wechat: Wechat, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Call the protocol with a body that the client would never send."""
    keys = wechat.server.emulator.keys
    content = json.dumps(body).encode() if body is not None else b""
    timestamp = str(int(wechat.server.emulator.unix_time()))
    signature = signing.sign(
        keys.merchant_key, signing.request_message(method, path, timestamp, "nonce", content)
    )
    header = (
        f'{signing.SCHEME} mchid="{keys.identity.mchid}",nonce_str="nonce",signature="{signature}",'
        f'timestamp="{timestamp}",serial_no="{keys.merchant_serial}"'
    )
    async with httpx.AsyncClient(base_url=wechat.server.url, trust_env=False) as http:
        reply = await http.request(method, path, content=content, headers={"Authorization": header})
    told: dict[str, Any] = reply.json()
    return reply.status_code, told
