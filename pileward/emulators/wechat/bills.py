"""The trade bill (交易账单, ALL) of one China day, written from the books.

A row for each payment of the day and each refund asked for on that day, as it stood when the day ended; a
later change is not written any more. Source: 「申请交易账单」「下载账单」.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Final

from pileward.emulators.wechat.books import Books
from pileward.emulators.wechat.clock import china
from pileward.emulators.wechat.errors import ApiError
from pileward.emulators.wechat.keys import Identity
from pileward.emulators.wechat.orders import fee_fen
from pileward.values import CHINA, Money

READY_HOUR: Final = 9
"""The bill of a day is there from about nine o'clock on the next."""
KEPT_DAYS: Final = 90
RATE_TEXT: Final = "0.60%"

HEADER: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS_HEADER: Final = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
_WORDS: Final = {
    "PROCESSING": "PROCESSING",
    "SUCCESS": "SUCCESS",
    "CLOSED": "FAIL",
    "ABNORMAL": "CHANGE",
}


def trade_bill(books: Books, identity: Identity, now_ms: int, bill_date: str, bill_type: str) -> bytes:
    """The bill as text; raises ApiError when there is none, or not yet."""
    if bill_type != "ALL":
        raise ApiError(400, "PARAM_ERROR", "仅支持 bill_type=ALL")
    try:
        day = date.fromisoformat(bill_date)
    except ValueError:
        raise ApiError(400, "PARAM_ERROR", "账单日期格式错误") from None
    now = china(now_ms)
    age = now.date() - day
    if age < timedelta(days=1) or age > timedelta(days=KEPT_DAYS):
        raise ApiError(400, "INVALID_REQUEST", "账单日期不正确")
    if age == timedelta(days=1) and now.hour < READY_HOUR:
        raise ApiError(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
    begin = round(datetime(day.year, day.month, day.day, tzinfo=CHINA).timestamp() * 1000)
    end = begin + 24 * 3600 * 1000
    rows = sorted(
        [*_payments(books, identity, begin, end), *_refunds(books, identity, begin, end)],
        key=lambda row: row[0],
    )
    if not rows:
        raise ApiError(400, "NO_STATEMENT_EXIST", "账单文件不存在")
    lines = [HEADER, *(_line(row[2]) for row in rows), TOTALS_HEADER, _line(_totals(row[1] for row in rows))]
    return "".join(f"{line}\r\n" for line in lines).encode()


def sha1_of(text: bytes) -> str:
    """The hash that is announced: over the unpacked text."""
    return hashlib.sha1(text).hexdigest()  # noqa: S324 - the protocol's choice


_Row = tuple[int, tuple[int, int, int], list[str]]
"""Time, (paid fen, refunded fen, fee fen), the values."""


def _payments(books: Books, identity: Identity, begin: int, end: int) -> Iterable[_Row]:
    for order in books.rows(
        "SELECT * FROM orders WHERE paid_ms >= ? AND paid_ms < ? ORDER BY paid_ms", begin, end
    ):
        fee, fen = fee_fen(order["total_fen"]), order["total_fen"]
        values = [
            *_beginning(order, identity, order["paid_ms"], "SUCCESS"),
            *(str(Money(fen)), "0.00", "0", "0", "0.00", "0.00", "", ""),
            *(_text(order["description"]), _text(order["attach"])),
            *(_fee(fee), RATE_TEXT, str(Money(fen)), "0.00", ""),
        ]
        yield order["paid_ms"], (fen, 0, fee), values


def _refunds(books: Books, identity: Identity, begin: int, end: int) -> Iterable[_Row]:
    for row in books.rows(
        "SELECT orders.*, refunds.created_ms AS asked_ms, refund_id, out_refund_no, fen, fee_fen, status,"
        " ended_ms FROM refunds JOIN orders USING (out_trade_no)"
        " WHERE refunds.created_ms >= ? AND refunds.created_ms < ?",
        *(begin, end),
    ):
        status = row["status"] if row["ended_ms"] is not None and row["ended_ms"] < end else "PROCESSING"
        refunded, fen, fee = row["asked_ms"], row["fen"], -row["fee_fen"]
        values = [
            *_beginning(row, identity, refunded, "REFUND"),
            *("0.00", "0.00", row["refund_id"], row["out_refund_no"], str(Money(fen)), "0.00"),
            *("ORIGINAL", _WORDS[status], _text(row["description"]), _text(row["attach"])),
            *(_fee(fee), RATE_TEXT, "0.00", str(Money(fen)), ""),
        ]
        yield refunded, (0, fen, fee), values


def _beginning(row: dict[str, Any], identity: Identity, at_ms: int, state: str) -> list[str]:
    return [
        *(f"{china(at_ms):%Y-%m-%d %H:%M:%S}", identity.appid, identity.mchid, "0", _text(row["device_id"])),
        *(row["transaction_id"], row["out_trade_no"], row["openid"], "JSAPI", state, "OTHERS", "CNY"),
    ]


def _totals(sums: Iterable[tuple[int, int, int]]) -> list[str]:
    rows = list(sums)
    paid, refunded, fee = (sum(row[at] for row in rows) for at in range(3))
    return [
        *(str(len(rows)), str(Money(paid)), str(Money(refunded)), "0.00"),
        *(_fee(fee), str(Money(paid)), str(Money(refunded))),
    ]


def _line(values: list[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def _fee(fen: int) -> str:
    return f"{Money(fen)}000"


def _text(text: str) -> str:
    """Free text with its commas escaped, so that a row can be split at commas."""
    return text.replace(",", "\\ ").replace("\r", " ").replace("\n", " ")
