"""WeChat Pay API v3 over HTTP: requests verified, replies signed, faults in between.

Every call goes one way: fault before → signature of the request → rule on the books, one transaction → fault
after → signed reply. Refusals are not signed, like the original's. Source: WeChat Pay API v3, basic rules.
"""

from __future__ import annotations

import asyncio
import gzip
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from pileward.emulators.wechat import bills, orders, refunds
from pileward.emulators.wechat.books import Order
from pileward.emulators.wechat.clock import rfc3339
from pileward.emulators.wechat.emulator import Emulator
from pileward.emulators.wechat.errors import ApiError
from pileward.emulators.wechat.faults import Fault
from pileward.emulators.wechat.signing import encrypt, is_signed, parse_authorization, request_message

EMULATOR: Final = web.AppKey("emulator", Emulator)
WINDOW_S: Final = 300
DOWNLOAD_LIVES_S: Final = 300
SIGNATURE_FAULTS: Final = frozenset(
    {"bad_signature", "probe_signature", "no_headers", "stale", "unknown_key"}
)


class Cut(Exception):  # noqa: N818 - no error: what a fault asked for
    """The connection is to be closed without an answer."""


class Answer(NamedTuple):
    """What a rule answers: a status, and a body to be signed, unless it is a file."""

    status: int
    body: bytes
    content_type: str = "application/json"
    is_signed: bool = True


Rule = Callable[[Emulator, web.Request, bytes], Awaitable[Answer]]


def route(app: web.Application, method: str, path: str, name: str, rule: Rule) -> None:
    """Put a rule on its path, with everything around it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        emulator = request.app[EMULATOR]
        raw = await request.read()
        fault = emulator.faults.take(name)
        try:
            await before(fault)
            verify(emulator, request, raw)
            answer = await rule(emulator, request, raw)
            response = await after(emulator, request, answer, fault)
        except ApiError as error:
            response = refusal(error)
        except Cut:
            return cut(emulator, request, name, raw, fault)
        note(emulator, request, name, raw, fault, response)
        return response

    app.router.add_route(method, path, handle)


def verify(emulator: Emulator, request: web.Request, raw: bytes) -> None:
    """Refuse what the merchant did not sign, or signed at another time."""
    if not request.headers.get("User-Agent"):
        raise ApiError(400, "INVALID_REQUEST", "缺少 User-Agent")
    parts = parse_authorization(request.headers.get("Authorization", ""))
    if parts is None:
        raise ApiError(401, "SIGN_ERROR", "Authorization 不合法")
    if parts.mchid != emulator.identity.mchid or parts.serial_no.upper() != emulator.keys.merchant_serial:
        raise ApiError(401, "SIGN_ERROR", "商户号或商户证书序列号不正确")
    if not parts.timestamp.isdigit() or abs(emulator.unix_time() - int(parts.timestamp)) > WINDOW_S:
        raise ApiError(401, "SIGN_ERROR", "请求时间与服务器时间相差超过 5 分钟")
    message = request_message(request.method, request.raw_path, parts.timestamp, parts.nonce_str, raw)
    if not is_signed(emulator.keys.merchant_key.public_key(), message, parts.signature):
        detail = {
            "sign_information": {
                "method": request.method,
                "url": request.raw_path,
                "truncated_sign_message": message[:200].decode(errors="replace"),
            }
        }
        raise ApiError(401, "SIGN_ERROR", "签名错误，请检查后再试", detail)


async def before(fault: Fault | None) -> None:
    """Whatever goes wrong before anything is done."""
    match fault.kind if fault is not None else "":
        case "delay":
            assert fault is not None
            await asyncio.sleep(fault.seconds)
        case "cut":
            raise Cut
        case "429":
            raise ApiError(429, "FREQUENCY_LIMITED", "频率超限")
        case "500":
            raise ApiError(500, "SYSTEM_ERROR", "系统异常，请稍后重试")
        case "502":
            raise ApiError(502, "", "")
        case "not_enough":
            raise ApiError(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起")
        case "statement_creating":
            raise ApiError(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")


async def after(
    emulator: Emulator, request: web.Request, answer: Answer, fault: Fault | None
) -> web.Response:
    """The reply, with whatever goes wrong after everything was done."""
    kind = fault.kind if fault is not None else ""
    body = answer.body
    match kind:
        case "late":
            assert fault is not None
            await asyncio.sleep(fault.seconds)
        case "cut_after":
            raise Cut
        case "500_after":
            raise ApiError(500, "SYSTEM_ERROR", "系统异常，请稍后重试")
        case "429_after":
            raise ApiError(429, "FREQUENCY_LIMITED", "频率超限")
        case "garbled":
            body = body[: len(body) // 2] or b"{"
        case "bad_hash":
            body = msgspec.json.encode(msgspec.json.decode(body) | {"hash_value": "0" * 40})
        case "paid_before_reply":
            await pay_early(emulator, msgspec.json.decode(body)["prepay_id"])
    headers = {"Request-ID": secrets.token_hex(12).upper()}
    if answer.is_signed:
        wanted = request.headers.get("Wechatpay-Serial", "")
        headers |= emulator.signer.reply(wanted, body, kind if kind in SIGNATURE_FAULTS else "")
    if answer.status != 204:
        headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, body=body or None, headers=headers)


async def pay_early(emulator: Emulator, prepay_id: str) -> None:
    """The driver is faster than our reply: paid, and the notification answered, before it is written."""
    with emulator.books.transaction():
        orders.pay(emulator.books, emulator.identity, emulator.clock.now_ms(), prepay_id, openid="")
        number = emulator.books.number("SELECT max(n) FROM notifications")
    await emulator.notifier.send_now(number)


def refusal(error: ApiError) -> web.Response:
    """A refusal, or the page of a proxy that has no code."""
    headers = {"Request-ID": secrets.token_hex(12).upper()}
    if not error.code:
        return web.Response(status=error.status, text="<html>Bad Gateway</html>", headers=headers)
    body = msgspec.json.encode(error.body())
    headers["Content-Type"] = "application/json; charset=utf-8"
    return web.Response(status=error.status, body=body, headers=headers)


def cut(
    emulator: Emulator, request: web.Request, name: str, raw: bytes, fault: Fault | None
) -> web.StreamResponse:
    """Close the connection under the client's feet."""
    response = web.Response(status=500)
    note(emulator, request, name, raw, fault, None)
    if request.transport is not None:
        request.transport.abort()
    return response


def note(
    emulator: Emulator,
    request: web.Request,
    name: str,
    raw: bytes,
    fault: Fault | None,
    response: web.Response | None,
) -> None:
    """Remember a request for whoever looks at the control API."""
    body = response.body if response is not None and isinstance(response.body, bytes) else b""
    is_json = response is not None and response.content_type == "application/json"
    emulator.requests.append(
        {
            "at": rfc3339(emulator.clock.now_ms()),
            "name": name,
            "method": request.method,
            "path": request.raw_path,
            "body": raw.decode(errors="replace")[:4_000],
            "status": response.status if response is not None else 0,
            "reply": body.decode(errors="replace")[:4_000] if is_json else "",
            "fault": fault.kind if fault is not None else "",
        }
    )


def ok(body: dict[str, Any]) -> Answer:
    """200 with JSON."""
    return Answer(200, msgspec.json.encode(body))


async def prepay(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`POST /v3/pay/transactions/jsapi`; the mini-program's prepay is the same call."""
    now_ms = emulator.clock.now_ms()
    with emulator.books.transaction():
        told = orders.prepay(emulator.books, emulator.identity, now_ms, raw)
    return ok(told)


async def query_by_number(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/pay/transactions/out-trade-no/{out_trade_no}?mchid=`."""
    return _queried(emulator, request, emulator.books.order(request.match_info["number"]))


async def query_by_transaction(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/pay/transactions/id/{transaction_id}?mchid=`; paid orders only."""
    sql = "SELECT * FROM orders WHERE transaction_id = ?"
    return _queried(emulator, request, emulator.books.one(Order, sql, request.match_info["number"]))


async def close(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`POST /v3/pay/transactions/out-trade-no/{out_trade_no}/close`."""
    number = request.match_info["number"]
    with emulator.books.transaction():
        orders.close(emulator.books, emulator.identity, emulator.clock.now_ms(), number, raw)
    return Answer(204, b"")


async def refund(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`POST /v3/refund/domestic/refunds`."""
    now_ms = emulator.clock.now_ms()
    with emulator.books.transaction():
        told = refunds.refund(emulator.books, now_ms, emulator.refund_due_ms(now_ms), raw)
    emulator.notifier.wake()
    return ok(told)


async def query_refund(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/refund/domestic/refunds/{out_refund_no}`."""
    return ok(refunds.query(emulator.books, request.match_info["number"]))


async def trade_bill(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/bill/tradebill?bill_date=&bill_type=&tar_type=`."""
    ask = request.query
    text = bills.trade_bill(
        emulator.books,
        emulator.identity,
        emulator.clock.now_ms(),
        ask.get("bill_date", ""),
        ask.get("bill_type", "ALL"),
    )
    content = gzip.compress(text, mtime=0) if ask.get("tar_type") == "GZIP" else text
    token = secrets.token_urlsafe(24)
    now_s = emulator.unix_time()
    offers = emulator.downloads.items()
    emulator.downloads = {key: offer for key, offer in offers if now_s - offer[0] <= DOWNLOAD_LIVES_S}
    emulator.downloads[token] = (now_s, content)
    return ok(
        {
            "hash_type": "SHA1",
            "hash_value": bills.sha1_of(text),
            # the same base as this request came to: a client cuts it off again
            "download_url": f"{request.url.origin()}/v3/billdownload/file?token={token}",
        }
    )


async def download(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/billdownload/file?token=`; the reply is not signed."""
    offered_s, content = emulator.downloads.get(request.query.get("token", ""), (0.0, b""))
    if emulator.unix_time() - offered_s > DOWNLOAD_LIVES_S:
        raise ApiError(400, "INVALID_REQUEST", "下载地址已失效")
    return Answer(200, content, "application/octet-stream", is_signed=False)


async def certificates(emulator: Emulator, request: web.Request, raw: bytes) -> Answer:
    """`GET /v3/certificates`; merchants in public-key mode have none."""
    if emulator.signer.mode == "public_key":
        raise ApiError(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台申请微信支付公钥")
    data = []
    for platform in emulator.keys.platforms:
        valid_from, valid_until = (
            rfc3339(round(moment.timestamp() * 1000))
            for moment in (
                platform.certificate.not_valid_before_utc,
                platform.certificate.not_valid_after_utc,
            )
        )
        sealed = encrypt(emulator.identity.api_v3_key, platform.pem, "certificate")
        data.append(
            {
                "serial_no": platform.serial,
                "effective_time": valid_from,
                "expire_time": valid_until,
                "encrypt_certificate": sealed,
            }
        )
    return ok({"data": data})


def add_routes(app: web.Application) -> None:
    """Put the whole of API v3 that is spoken here on its paths."""
    pay = "/v3/pay/transactions"
    route(app, "POST", f"{pay}/jsapi", "prepay", prepay)
    route(app, "GET", pay + "/out-trade-no/{number}", "query", query_by_number)
    route(app, "GET", pay + "/id/{number}", "query", query_by_transaction)
    route(app, "POST", pay + "/out-trade-no/{number}/close", "close", close)
    route(app, "POST", "/v3/refund/domestic/refunds", "refund", refund)
    route(app, "GET", "/v3/refund/domestic/refunds/{number}", "query_refund", query_refund)
    route(app, "GET", "/v3/bill/tradebill", "bill", trade_bill)
    route(app, "GET", "/v3/billdownload/file", "download", download)
    route(app, "GET", "/v3/certificates", "certificates", certificates)


def _queried(emulator: Emulator, request: web.Request, order: Order | None) -> Answer:
    mchid = request.query.get("mchid", "")
    with emulator.books.transaction():
        told = orders.query(emulator.books, emulator.identity, emulator.clock.now_ms(), order, mchid)
    return ok(told)
