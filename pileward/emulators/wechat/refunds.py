"""Refunds: accepted at once, done later, within WeChat Pay's limits. Rules on the books.

200 means accepted. The fee comes back in proportion; the merchant must have the rest. Limits: 50 refunds a
payment, 60 s apart, together no more than was paid, for 365 days. Source: 「退款申请」「查询单笔退款」.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from pileward.emulators.wechat.books import FEES, MERCHANT, REFUNDING, Books, Order, RefundRow
from pileward.emulators.wechat.clock import china, rfc3339
from pileward.emulators.wechat.errors import ApiError, param_error
from pileward.emulators.wechat.keys import Identity
from pileward.emulators.wechat.orders import check_notify_url, fee_fen, read_body

REFUNDS_MAX: Final = 50
APART_MS: Final = 60 * 1000
WINDOW_MS: Final = 365 * 24 * 3600 * 1000
ACCOUNT_TEXT: Final = "支付用户零钱"

ENDS: Final = {
    "PROCESSING": frozenset({"SUCCESS", "CLOSED", "ABNORMAL"}),
    "ABNORMAL": frozenset({"SUCCESS"}),
}
"""What a refund can become."""

_SUMMARIES: Final = {"SUCCESS": "退款成功", "CLOSED": "退款关闭", "ABNORMAL": "退款异常"}


class _Amount(msgspec.Struct):
    refund: Annotated[int, Meta(ge=1)]
    total: Annotated[int, Meta(ge=1)]
    currency: str


class RefundBody(msgspec.Struct):
    """Body of a refund call."""

    out_refund_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
    amount: _Amount
    transaction_id: str = ""
    out_trade_no: str = ""
    reason: Annotated[str, Meta(max_length=80)] = ""
    notify_url: Annotated[str, Meta(max_length=256)] = ""


def refund(books: Books, now_ms: int, due_ms: int | None, raw: bytes) -> dict[str, Any]:
    """Accept a refund, or tell of the one that has this number already, whatever it was for.

    `due_ms`: when it will be done; None leaves it to the control API.
    """
    body = read_body(raw, RefundBody)
    if bool(body.transaction_id) == bool(body.out_trade_no):
        raise param_error("/transaction_id", "transaction_id 和 out_trade_no 必须二选一")
    if body.amount.currency != "CNY":
        raise param_error("/amount/currency", "只支持 CNY")
    if body.notify_url:
        check_notify_url(body.notify_url)
    known = books.refund(body.out_refund_no)
    if known is not None:
        return described(books, known)
    order = _payment(books, body.transaction_id, body.out_trade_no)
    if body.amount.total != order.total_fen:
        raise ApiError(400, "INVALID_REQUEST", "订单金额与原订单不一致")
    return accept(books, now_ms, due_ms, order, body)


def accept(books: Books, now_ms: int, due_ms: int | None, order: Order, body: RefundBody) -> dict[str, Any]:
    """Check the limits, move the money on its way, and tell of the refund."""
    returned_fee = _check_limits(books, now_ms, order, body.amount.refund)
    refund_id = f"503{books.next_number():012d}{china(now_ms):%Y%m%d%H%M%S}"
    books.run(
        "INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?, 'PROCESSING', ?, ?, NULL)",
        *(body.out_refund_no, refund_id, order.out_trade_no, body.amount.refund, returned_fee),
        *(body.reason, body.notify_url, now_ms, due_ms),
    )
    books.run("UPDATE orders SET state = 'REFUND' WHERE out_trade_no = ?", order.out_trade_no)
    books.move(now_ms, "refund", body.out_refund_no, MERCHANT, REFUNDING, body.amount.refund)
    books.move(now_ms, "fee_back", body.out_refund_no, FEES, MERCHANT, returned_fee)
    row = books.refund(body.out_refund_no)
    assert row is not None
    return described(books, row)


def query(books: Books, out_refund_no: str) -> dict[str, Any]:
    """What became of a refund."""
    row = books.refund(out_refund_no)
    if row is None:
        raise ApiError(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
    return described(books, row)


def end(books: Books, identity: Identity, now_ms: int, row: RefundRow, status: str) -> None:
    """Bring a refund to an end: money moves, the notification is queued. The caller has looked at `ENDS`."""
    assert status in ENDS[row.status]
    books.run(
        "UPDATE refunds SET status = ?, due_ms = NULL, ended_ms = ? WHERE out_refund_no = ?",
        *(status, now_ms, row.out_refund_no),
    )
    order = books.order(row.out_trade_no)
    assert order is not None
    if status == "SUCCESS":
        books.move(now_ms, "refunded", row.out_refund_no, REFUNDING, f"payer:{order.openid}", row.fen)
    elif status == "CLOSED":
        books.move(now_ms, "refund_closed", row.out_refund_no, REFUNDING, MERCHANT, row.fen)
        books.move(now_ms, "fee_again", row.out_refund_no, MERCHANT, FEES, row.fee_fen)
    if row.notify_url:
        told = _notified(identity, order, row, status, now_ms)
        books.notify(
            url=row.notify_url,
            event=f"REFUND.{status}",
            kind="refund",
            reference=row.out_refund_no,
            content=msgspec.json.encode(told).decode(),
            at_ms=now_ms,
        )


def finish_due(books: Books, identity: Identity, now_ms: int) -> int | None:
    """End all refunds whose time has come; returns when the next is due."""
    with books.transaction():
        for row in books.all(
            RefundRow, "SELECT * FROM refunds WHERE status = 'PROCESSING' AND due_ms <= ?", now_ms
        ):
            end(books, identity, now_ms, row, "SUCCESS")
        return books.number("SELECT min(due_ms) FROM refunds WHERE status = 'PROCESSING'") or None


def summary(event: str) -> str:
    """The text of a refund notification."""
    return _SUMMARIES.get(event.partition(".")[2], "退款")


def described(books: Books, row: RefundRow) -> dict[str, Any]:
    """A refund as a reply tells it."""
    order = books.order(row.out_trade_no)
    assert order is not None
    told: dict[str, Any] = {
        "refund_id": row.refund_id,
        "out_refund_no": row.out_refund_no,
        "transaction_id": order.transaction_id,
        "out_trade_no": row.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": ACCOUNT_TEXT,
        "create_time": rfc3339(row.created_ms),
        "status": row.status,
        "funds_account": "AVAILABLE",
        "amount": {
            "total": order.total_fen,
            "refund": row.fen,
            "payer_total": order.total_fen,
            "payer_refund": row.fen,
            "settlement_refund": row.fen,
            "settlement_total": order.total_fen,
            "discount_refund": 0,
            "currency": "CNY",
        },
    }
    if row.status == "SUCCESS" and row.ended_ms is not None:
        told["success_time"] = rfc3339(row.ended_ms)
    return told


def _payment(books: Books, transaction_id: str, out_trade_no: str) -> Order:
    order = (
        books.order(out_trade_no)
        if out_trade_no
        else books.one(Order, "SELECT * FROM orders WHERE transaction_id = ?", transaction_id)
    )
    if order is None or order.paid_ms is None:
        raise ApiError(404, "RESOURCE_NOT_EXISTS", "订单不存在或未支付")
    return order


def _check_limits(books: Books, now_ms: int, order: Order, fen: int) -> int:
    """Refuse what is beyond a limit; returns the fee that comes back."""
    assert order.paid_ms is not None
    if now_ms - order.paid_ms > WINDOW_MS:
        raise ApiError(403, "TRADE_OVERDUE", "订单已超过可退款的期限")
    rows = books.all(RefundRow, "SELECT * FROM refunds WHERE out_trade_no = ?", order.out_trade_no)
    if len(rows) >= REFUNDS_MAX:
        raise ApiError(400, "INVALID_REQUEST", f"一笔订单最多支持 {REFUNDS_MAX} 次部分退款")
    if any(now_ms - row.created_ms < APART_MS for row in rows):
        raise ApiError(429, "FREQUENCY_LIMITED", "同一笔订单两次退款至少间隔 1 分钟")
    back_fen = sum(row.fen for row in rows if row.status != "CLOSED")
    if back_fen + fen > order.total_fen:
        raise ApiError(400, "INVALID_REQUEST", "退款金额大于可退金额")
    kept_fen = order.total_fen - back_fen
    returned_fee = fee_fen(kept_fen) - fee_fen(kept_fen - fen)
    if books.balance_fen(MERCHANT) + returned_fee < fen:
        raise ApiError(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起")
    return returned_fee


def _notified(identity: Identity, order: Order, row: RefundRow, status: str, now_ms: int) -> dict[str, Any]:
    """A refund as a notification tells it: other names, fewer fields."""
    told: dict[str, Any] = {
        "mchid": identity.mchid,
        "out_trade_no": row.out_trade_no,
        "transaction_id": order.transaction_id,
        "out_refund_no": row.out_refund_no,
        "refund_id": row.refund_id,
        "refund_status": status,
        "amount": {
            "total": order.total_fen,
            "refund": row.fen,
            "payer_total": order.total_fen,
            "payer_refund": row.fen,
        },
        "user_received_account": ACCOUNT_TEXT,
    }
    return told | {"success_time": rfc3339(now_ms)} if status == "SUCCESS" else told
