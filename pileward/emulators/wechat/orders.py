"""Payments: prepay, query, close, and the driver's side of paying. Rules on the books, no I/O but theirs.

Sources: 「JSAPI/小程序下单」「商户订单号查询订单」「关闭订单」「小程序调起支付」.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pileward.emulators.wechat.books import FEES, MERCHANT, Books, Order
from pileward.emulators.wechat.clock import china, rfc3339
from pileward.emulators.wechat.errors import ApiError, param_error
from pileward.emulators.wechat.keys import Identity

FEE_RATE_BP: Final = 60
"""WeChat Pay keeps 0.6 % of what is paid, and gives it back in proportion when it is refunded."""

PREPAY_LIVES_MS: Final = 2 * 3600 * 1000
ORDER_LIVES_MS: Final = 7 * 24 * 3600 * 1000
EXPIRE_MIN_MS: Final = 60 * 1000
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_STATE_TEXTS: Final = {
    "NOTPAY": "订单未支付",
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款，退款详情请查询退款单",
    "CLOSED": "订单已关闭",
}


class _Amount(msgspec.Struct):
    total: Annotated[int, Meta(ge=1)]
    currency: str = "CNY"


class _Payer(msgspec.Struct):
    openid: Annotated[str, Meta(pattern=r"^o[0-9A-Za-z_-]{27}$")]


class _Scene(msgspec.Struct):
    device_id: Annotated[str, Meta(max_length=32)] = ""
    payer_client_ip: Annotated[str, Meta(max_length=45)] = ""


class PrepayBody(msgspec.Struct):
    """Body of a prepay call."""

    appid: Annotated[str, Meta(max_length=32)]
    mchid: Annotated[str, Meta(max_length=32)]
    description: Annotated[str, Meta(min_length=1, max_length=127)]
    out_trade_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*]{6,32}$")]
    notify_url: Annotated[str, Meta(min_length=1, max_length=255)]
    amount: _Amount
    payer: _Payer
    time_expire: Annotated[str, Meta(max_length=64)] = ""
    attach: Annotated[str, Meta(max_length=128)] = ""
    scene_info: _Scene = msgspec.field(default_factory=_Scene)


class CloseBody(msgspec.Struct):
    """Body of a close call."""

    mchid: str


class PayError(Exception):
    """What the mini-program's `wx.requestPayment` fails with."""


def prepay(books: Books, identity: Identity, now_ms: int, raw: bytes) -> dict[str, Any]:
    """Make an order payable; an equal repetition gives the id in force, any difference is refused."""
    body = read_body(raw, PrepayBody)
    check_merchant(identity, body.mchid, body.appid)
    check_notify_url(body.notify_url)
    if body.amount.currency != "CNY":
        raise param_error("/amount/currency", "只支持 CNY")
    request = canonical(raw)
    known = books.order(body.out_trade_no)
    if known is None:
        expires_ms = _expiry(body.time_expire, now_ms)
        books.run(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'NOTPAY', NULL, NULL)",
            *(body.out_trade_no, request, body.amount.total, body.payer.openid, body.description),
            *(body.attach, body.scene_info.device_id, body.notify_url, now_ms, expires_ms),
        )
    else:
        if known.request != request:
            raise ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复")
        _refuse_settled(lapsed(books, known, now_ms))
    return {"prepay_id": _prepay_id(books, body.out_trade_no, now_ms)}


def query(books: Books, identity: Identity, now_ms: int, order: Order | None, mchid: str) -> dict[str, Any]:
    """What became of an order."""
    if mchid != identity.mchid:
        raise ApiError(400, "MCH_NOT_EXISTS", "商户号不存在")
    if order is None:
        raise ApiError(404, "ORDER_NOT_EXIST", "订单不存在")
    return described(identity, lapsed(books, order, now_ms))


def close(books: Books, identity: Identity, now_ms: int, out_trade_no: str, raw: bytes) -> None:
    """Make an order unpayable; may be repeated."""
    if read_body(raw, CloseBody).mchid != identity.mchid:
        raise ApiError(400, "MCH_NOT_EXISTS", "商户号不存在")
    order = books.order(out_trade_no)
    if order is None:
        raise ApiError(404, "ORDER_NOT_EXIST", "订单不存在")
    if order.state in {"SUCCESS", "REFUND"}:
        raise ApiError(400, "ORDERPAID", "该订单已支付")
    books.run("UPDATE orders SET state = 'CLOSED' WHERE out_trade_no = ?", out_trade_no)


def pay(books: Books, identity: Identity, now_ms: int, prepay_id: str, openid: str) -> Order:
    """The driver pays: money moves, the notification is queued. Raises PayError as WeChat would show."""
    found = books.rows("SELECT out_trade_no, made_ms FROM prepays WHERE prepay_id = ?", prepay_id)
    if not found:
        raise PayError("支付订单不存在")
    if now_ms - found[0]["made_ms"] > PREPAY_LIVES_MS:
        raise PayError("prepay_id 已过期")
    order = books.order(found[0]["out_trade_no"])
    assert order is not None
    if openid and openid != order.openid:
        raise PayError("支付者与下单用户不一致")
    order = lapsed(books, order, now_ms)
    if order.state == "CLOSED":
        raise PayError("订单已关闭")
    if order.state != "NOTPAY":
        raise PayError("该订单已支付")
    transaction_id = f"4200{books.next_number():010d}{china(now_ms):%Y%m%d}{secrets.randbelow(10**6):06d}"
    books.run(
        "UPDATE orders SET state = 'SUCCESS', transaction_id = ?, paid_ms = ? WHERE out_trade_no = ?",
        *(transaction_id, now_ms, order.out_trade_no),
    )
    reference = order.out_trade_no
    books.move(now_ms, "pay", reference, f"payer:{order.openid}", MERCHANT, order.total_fen)
    books.move(now_ms, "fee", reference, MERCHANT, FEES, fee_fen(order.total_fen))
    paid = books.order(order.out_trade_no)
    assert paid is not None
    content = msgspec.json.encode(described(identity, paid)).decode()
    books.notify(
        url=order.notify_url,
        event="TRANSACTION.SUCCESS",
        kind="transaction",
        reference=reference,
        content=content,
        at_ms=now_ms,
    )
    return paid


def described(identity: Identity, order: Order) -> dict[str, Any]:
    """An order as a query and a notification tell it; one that was never paid lacks half of it."""
    told: dict[str, Any] = {
        "appid": identity.appid,
        "mchid": identity.mchid,
        "out_trade_no": order.out_trade_no,
        "trade_state": order.state,
        "trade_state_desc": _STATE_TEXTS[order.state],
        "attach": order.attach,
    }
    if order.paid_ms is None:
        return told
    return told | {
        "transaction_id": order.transaction_id,
        "trade_type": "JSAPI",
        "bank_type": "OTHERS",
        "success_time": rfc3339(order.paid_ms),
        "payer": {"openid": order.openid},
        "amount": {
            "total": order.total_fen,
            "payer_total": order.total_fen,
            "currency": "CNY",
            "payer_currency": "CNY",
        },
        "scene_info": {"device_id": order.device_id},
    }


def lapsed(books: Books, order: Order, now_ms: int) -> Order:
    """The order as it stands now: one that nobody paid in time is closed."""
    if order.state == "NOTPAY" and now_ms >= order.expires_ms:
        books.run("UPDATE orders SET state = 'CLOSED' WHERE out_trade_no = ?", order.out_trade_no)
        return msgspec.structs.replace(order, state="CLOSED")
    return order


def fee_fen(fen: int) -> int:
    """The fee on an amount, half up to whole fen."""
    return (fen * FEE_RATE_BP + 5_000) // 10_000


def read_body(raw: bytes, kind: type[Any]) -> Any:
    """Decode a body; raises 400 naming the field."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        complaint, _, where = str(error).partition(" - at `$")
        raise param_error(where.removesuffix("`").replace(".", "/") or "/", complaint) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, "PARAM_ERROR", "请求体不是合法的 JSON") from error


def canonical(raw: bytes) -> str:
    """A body in one spelling, to tell an equal repetition from another request."""
    return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic").decode()


def check_merchant(identity: Identity, mchid: str, appid: str) -> None:
    """Refuse another merchant, or an appid that is not bound to it."""
    if mchid != identity.mchid:
        raise ApiError(400, "MCH_NOT_EXISTS", "商户号不存在")
    if appid != identity.appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "商户号和 AppID 没有绑定关系")


def check_notify_url(url: str) -> None:
    """https without parameters; plain http to this machine, which the real one would refuse."""
    parts = urlsplit(url)
    is_allowed = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_allowed or not parts.hostname or parts.query:
        raise param_error("/notify_url", "必须为 https 地址且不能携带参数")


def _prepay_id(books: Books, out_trade_no: str, now_ms: int) -> str:
    """The id in force, or a new one when the last has grown old."""
    rows = books.rows(
        "SELECT prepay_id FROM prepays WHERE out_trade_no = ? AND made_ms > ? ORDER BY made_ms DESC LIMIT 1",
        *(out_trade_no, now_ms - PREPAY_LIVES_MS),
    )
    if rows:
        return str(rows[0]["prepay_id"])
    made = f"wx{china(now_ms):%d%H%M%S}{secrets.token_hex(13)}"
    books.run("INSERT INTO prepays VALUES (?, ?, ?)", made, out_trade_no, now_ms)
    return made


def _expiry(text: str, now_ms: int) -> int:
    if not text:
        return now_ms + ORDER_LIVES_MS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise param_error("/time_expire", "格式错误") from None
    if moment.tzinfo is None:
        raise param_error("/time_expire", "缺少时区")
    expires_ms = round(moment.timestamp() * 1000)
    if expires_ms < now_ms + EXPIRE_MIN_MS:
        raise param_error("/time_expire", "不能早于下单后一分钟")
    return expires_ms


def _refuse_settled(order: Order) -> None:
    if order.state == "CLOSED":
        raise ApiError(400, "ORDER_CLOSED", "订单已关闭")
    if order.state != "NOTPAY":
        raise ApiError(400, "ORDERPAID", "该订单已支付")
