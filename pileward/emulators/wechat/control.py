"""The control API: the driver's telephone, the merchant's bank, the clock, and everything that can go wrong.

It is no part of WeChat Pay. `POST /control/pay` stands in for `wx.requestPayment` and answers as that does;
the rest looks into the books or changes what happens next. Amounts are fen, bodies and answers JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.emulators.wechat import orders, refunds
from pileward.emulators.wechat.books import MERCHANT, OUTSIDE, Books
from pileward.emulators.wechat.clock import rfc3339
from pileward.emulators.wechat.emulator import Emulator
from pileward.emulators.wechat.errors import ApiError
from pileward.emulators.wechat.faults import AFTER, BEFORE, NOTIFY, SPECIAL, Fault
from pileward.emulators.wechat.keys import openid_of
from pileward.emulators.wechat.miniprogram import make_code
from pileward.emulators.wechat.protocol import EMULATOR
from pileward.emulators.wechat.signing import is_signed, pay_message

LIST_MAX: Final = 1_000


class PayBody(msgspec.Struct, rename="camel"):
    """What `wx.requestPayment` gets, and who holds the telephone (empty: whoever ordered)."""

    time_stamp: str
    nonce_str: str
    package: str
    sign_type: str
    pay_sign: str
    openid: str = ""


class LoginBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who logs in."""

    user: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_.-]{1,64}$")]


class RefundEnd(msgspec.Struct, forbid_unknown_fields=True):
    """How a refund ends."""

    status: str = "SUCCESS"


class HandRefund(msgspec.Struct, forbid_unknown_fields=True):
    """A refund made by hand in the merchant console: nobody is told."""

    out_trade_no: str
    fen: Annotated[int, Meta(ge=1)]


class Balance(msgspec.Struct, forbid_unknown_fields=True):
    """What the merchant shall have."""

    fen: int


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """How far to jump, business seconds."""

    seconds: Annotated[float, Meta(ge=0, le=400 * 24 * 3600)]


class Behaviour(msgspec.Struct, forbid_unknown_fields=True):
    """What changes from now on; what is left out stays. `refund_after_s` null: refunds wait for a command."""

    signer: str | msgspec.UnsetType = msgspec.UNSET
    refund_after_s: Annotated[float, Meta(ge=0)] | msgspec.UnsetType | None = msgspec.UNSET


Handler = Callable[[Emulator, web.Request], Awaitable[Any]]


async def pay(emulator: Emulator, request: web.Request) -> Any:
    """The driver confirms the payment: `{"errMsg": "requestPayment:ok"}`, or why it failed."""
    body = await _body(request, PayBody)
    prepay_id = body.package.removeprefix("prepay_id=")
    message = pay_message(emulator.identity.appid, body.time_stamp, body.nonce_str, body.package)
    key = emulator.keys.merchant_key.public_key()
    if body.sign_type != "RSA" or not is_signed(key, message, body.pay_sign):
        return _failed("支付验证签名失败")
    try:
        with emulator.books.transaction():
            order = orders.pay(
                emulator.books, emulator.identity, emulator.clock.now_ms(), prepay_id, body.openid
            )
    except orders.PayError as error:
        return _failed(str(error))
    emulator.notifier.wake()
    return {"errMsg": "requestPayment:ok", "out_trade_no": order.out_trade_no}


async def cancel(emulator: Emulator, request: web.Request) -> Any:
    """The driver closes the window: nothing happens to the order."""
    await _body(request, PayBody)
    return {"errMsg": "requestPayment:fail cancel"}


async def login(emulator: Emulator, request: web.Request) -> Any:
    """What `wx.login` gives to this user, and the openid it will lead to."""
    user = (await _body(request, LoginBody)).user
    return {"code": make_code(user), "openid": openid_of(emulator.identity.appid, user)}


async def state(emulator: Emulator, request: web.Request) -> Any:
    """Everything in a few lines."""
    books = emulator.books
    return {
        "time": rfc3339(emulator.clock.now_ms()),
        "scale": emulator.clock.scale,
        "signer": emulator.signer.mode,
        "refund_after_s": emulator.refund_after_s,
        "mchid": emulator.identity.mchid,
        "appid": emulator.identity.appid,
        "orders": _counts(books, "SELECT state AS name, count(*) AS n FROM orders GROUP BY 1"),
        "refunds": _counts(books, "SELECT status AS name, count(*) AS n FROM refunds GROUP BY 1"),
        "notifications": _counts(books, "SELECT state AS name, count(*) AS n FROM notifications GROUP BY 1"),
        "faults": emulator.faults.list(),
    }


async def books(emulator: Emulator, request: web.Request) -> Any:
    """What every account was debited and credited, and the sums to compare a ledger with."""
    kept = emulator.books
    accounts = kept.rows(
        "SELECT account, debited_fen, credited_fen, credited_fen - debited_fen AS balance_fen"
        " FROM balances ORDER BY account"
    )
    told: dict[str, Any] = {
        "accounts": {row.pop("account"): row for row in accounts},
        "sum_fen": kept.number("SELECT sum(credited_fen - debited_fen) FROM balances"),
        "paid_fen": kept.number("SELECT sum(fen) FROM entries WHERE cause = 'pay'"),
        "refunded_fen": kept.number("SELECT sum(fen) FROM refunds WHERE status = 'SUCCESS'"),
        "refunding_fen": kept.number(
            "SELECT sum(fen) FROM refunds WHERE status IN ('PROCESSING', 'ABNORMAL')"
        ),
        "fees_fen": kept.balance_fen("fees"),
    }
    if request.query.get("entries"):
        told["entries"] = _timed(kept.rows("SELECT * FROM entries ORDER BY n DESC LIMIT ?", LIST_MAX))
    return told


async def list_orders(emulator: Emulator, request: web.Request) -> Any:
    """The newest orders."""
    sql = "SELECT * FROM orders ORDER BY created_ms DESC LIMIT ?"
    return {"orders": _timed(emulator.books.rows(sql, LIST_MAX))}


async def one_order(emulator: Emulator, request: web.Request) -> Any:
    """An order with its prepay ids and refunds."""
    number = request.match_info["number"]
    found = emulator.books.rows("SELECT * FROM orders WHERE out_trade_no = ?", number)
    if not found:
        raise ApiError(404, "NOT_FOUND", f"没有订单 / no order {number}")
    prepays = emulator.books.rows("SELECT * FROM prepays WHERE out_trade_no = ? ORDER BY made_ms", number)
    rows = emulator.books.rows("SELECT * FROM refunds WHERE out_trade_no = ? ORDER BY created_ms", number)
    return _timed(found)[0] | {"prepays": _timed(prepays), "refunds": _timed(rows)}


async def list_refunds(emulator: Emulator, request: web.Request) -> Any:
    """The newest refunds."""
    sql = "SELECT * FROM refunds ORDER BY created_ms DESC LIMIT ?"
    return {"refunds": _timed(emulator.books.rows(sql, LIST_MAX))}


async def end_refund(emulator: Emulator, request: web.Request) -> Any:
    """Finish or break a refund: SUCCESS, CLOSED or ABNORMAL; an abnormal one may still succeed."""
    body = await _body(request, RefundEnd)
    number = request.match_info["number"]
    row = emulator.books.refund(number)
    if row is None:
        raise ApiError(404, "NOT_FOUND", f"没有退款 / no refund {number}")
    if body.status not in refunds.ENDS.get(row.status, ()):
        raise ApiError(409, "CONFLICT", f"{row.status} 不能变为 / cannot become {body.status}")
    with emulator.books.transaction():
        refunds.end(emulator.books, emulator.identity, emulator.clock.now_ms(), row, body.status)
    emulator.notifier.wake()
    return {"out_refund_no": number, "status": body.status}


async def hand_refund(emulator: Emulator, request: web.Request) -> Any:
    """A refund by hand in the merchant console, which only a query or the bill brings to light."""
    body = await _body(request, HandRefund)
    order = emulator.books.order(body.out_trade_no)
    if order is None or order.paid_ms is None:
        raise ApiError(404, "NOT_FOUND", f"没有已支付的订单 / no paid order {body.out_trade_no}")
    now_ms = emulator.clock.now_ms()
    amount = {"refund": body.fen, "total": order.total_fen, "currency": "CNY"}
    with emulator.books.transaction():
        number = f"HAND{emulator.books.next_number():010d}"
        asked = msgspec.convert({"out_refund_no": number, "amount": amount}, refunds.RefundBody)
        told = refunds.accept(emulator.books, now_ms, emulator.refund_due_ms(now_ms), order, asked)
    emulator.notifier.wake()
    return told


async def list_notifications(emulator: Emulator, request: web.Request) -> Any:
    """The newest notifications, what they say in clear, and every attempt."""
    rows = _timed(emulator.books.rows("SELECT * FROM notifications ORDER BY n DESC LIMIT ?", LIST_MAX))
    for row in rows:
        row["content"] = msgspec.json.decode(row["content"])
        attempts = emulator.books.rows("SELECT * FROM attempts WHERE notification = ? ORDER BY n", row["n"])
        row["tries"] = _timed(attempts)
    return {"notifications": rows}


async def flush(emulator: Emulator, request: web.Request) -> Any:
    """Send everything that waits or is held, now."""
    now_ms = emulator.clock.now_ms()
    count = emulator.books.run(
        "UPDATE notifications SET state = 'waiting', due_ms = ? WHERE state IN ('waiting', 'held')", now_ms
    )
    emulator.notifier.wake()
    return {"waiting": count}


async def list_requests(emulator: Emulator, request: web.Request) -> Any:
    """The last requests of the protocol, with what was answered; kept in memory only."""
    return {"requests": list(emulator.requests)}


async def set_balance(emulator: Emulator, request: web.Request) -> Any:
    """Pay into the merchant's account, or draw from it, until it holds this much."""
    wanted = (await _body(request, Balance)).fen
    with emulator.books.transaction():
        now_ms, difference = emulator.clock.now_ms(), wanted - emulator.books.balance_fen(MERCHANT)
        if difference > 0:
            emulator.books.move(now_ms, "pay_in", "control", OUTSIDE, MERCHANT, difference)
        else:
            emulator.books.move(now_ms, "withdraw", "control", MERCHANT, OUTSIDE, -difference)
    return {"balance_fen": wanted}


async def set_behaviour(emulator: Emulator, request: web.Request) -> Any:
    """Choose who signs, and how long refunds take."""
    body = await _body(request, Behaviour)
    if body.signer is not msgspec.UNSET:
        emulator.set_signer(str(body.signer))
    if body.refund_after_s is not msgspec.UNSET:
        emulator.set_refund_after(body.refund_after_s)
    return {"signer": emulator.signer.mode, "refund_after_s": emulator.refund_after_s}


async def rotate(emulator: Emulator, request: web.Request) -> Any:
    """Make a new platform certificate."""
    return {"serial_no": emulator.keys.rotate().serial}


async def advance(emulator: Emulator, request: web.Request) -> Any:
    """Jump ahead in business time; refunds and repetitions that become due happen at once."""
    emulator.advance((await _body(request, Advance)).seconds)
    return {"time": rfc3339(emulator.clock.now_ms())}


async def list_faults(emulator: Emulator, request: web.Request) -> Any:
    """The rules in force, and what there is to choose from."""
    return {
        "faults": emulator.faults.list(),
        "kinds": {"before": BEFORE, "after": AFTER, "special": SPECIAL, "notify": NOTIFY},
    }


async def add_fault(emulator: Emulator, request: web.Request) -> Any:
    """Make something go wrong."""
    emulator.faults.add(await _body(request, Fault))
    return {"faults": emulator.faults.list()}


async def clear_faults(emulator: Emulator, request: web.Request) -> Any:
    """All is well again."""
    emulator.faults.clear()
    return {"faults": []}


ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "/control/pay", pay),
    ("POST", "/control/cancel", cancel),
    ("POST", "/control/login", login),
    ("GET", "/control/state", state),
    ("GET", "/control/books", books),
    ("GET", "/control/orders", list_orders),
    ("GET", "/control/orders/{number}", one_order),
    ("GET", "/control/refunds", list_refunds),
    ("POST", "/control/refunds", hand_refund),
    ("POST", "/control/refunds/{number}/end", end_refund),
    ("GET", "/control/notifications", list_notifications),
    ("POST", "/control/notifications/flush", flush),
    ("GET", "/control/requests", list_requests),
    ("POST", "/control/balance", set_balance),
    ("POST", "/control/behaviour", set_behaviour),
    ("POST", "/control/certificates/rotate", rotate),
    ("POST", "/control/time/advance", advance),
    ("GET", "/control/faults", list_faults),
    ("POST", "/control/faults", add_fault),
    ("DELETE", "/control/faults", clear_faults),
)
"""Method, path, handler: the whole control API."""


def add_routes(app: web.Application) -> None:
    """Put the control API on its paths."""
    for method, path, handler in ROUTES:
        app.router.add_route(method, path, _wrapped(handler))


def _wrapped(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            told = await handler(request.app[EMULATOR], request)
        except ApiError as error:
            return _json(error.status, error.body())
        except (ValueError, msgspec.MsgspecError) as error:
            return _json(400, {"code": "INVALID", "message": str(error)})
        return _json(200, told)

    return handle


def _json(status: int, told: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(told), content_type="application/json")


async def _body(request: web.Request, kind: type[Any]) -> Any:
    return msgspec.json.decode(await request.read() or b"{}", type=kind)


def _failed(why: str) -> dict[str, str]:
    return {"errMsg": f"requestPayment:fail {why}"}


def _counts(kept: Books, sql: str) -> dict[str, int]:
    return {row["name"]: row["n"] for row in kept.rows(sql)}


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their times as people and the protocol write them."""
    return [
        {
            (name.removesuffix("_ms") + "_at" if name.endswith("_ms") and name != "at_ms" else name): (
                rfc3339(value) if name.endswith("_ms") and value is not None else value
            )
            for name, value in row.items()
        }
        for row in rows
    ]
