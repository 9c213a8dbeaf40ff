"""What is asked of a payment provider and what comes back: orders, states, notifications, failures.

Every call of the port `Payments` returns one value of this module and never raises. A call that may move
money has one of three meanings, told by `verdict_of`: **done**, **refused** (nothing happened and nothing
will) or **unknown** (it may have happened: ask with a query, or repeat with the same number; never with a new
one).

Amounts are whole fen, times aware UTC. The words are ours; a provider's own word stands in a failure's
`code`.
"""

from __future__ import annotations

import enum
from datetime import date, datetime
from typing import Final, TypeAlias

import msgspec

PAYMENT_NOTIFY_PATH: Final = "/callbacks/wechat/payments"
"""Where notifications of payments arrive, below the public base URL; no query parameters are allowed."""
REFUND_NOTIFY_PATH: Final = "/callbacks/wechat/refunds"
"""Where notifications of refunds arrive: a path of their own, so that neither is taken for the other."""

NOTIFY_WITHIN_S: Final = 5.0
"""A provider waits so long (real time) for the answer to a notification before it repeats it."""


class PaymentState(enum.StrEnum):
    """What became of a payment. A payment that was refunded, wholly or in part, is still `PAID`."""

    UNPAID = "unpaid"
    PAID = "paid"
    CLOSED = "closed"


class RefundState(enum.StrEnum):
    """What became of a refund: accepted is `PROCESSING`, only `SUCCEEDED` means that the money is back."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    """Given up for lack of merchant funds: a new number is needed."""
    ABNORMAL = "abnormal"
    """The driver's account cannot take it: a person decides."""


class PrepayOrder(msgspec.Struct, frozen=True):
    """A payment to be made ready. A repetition must be equal in every field: keep it with the order.

    `out_trade_no` is ours, 6 to 32 of `[0-9A-Za-z_-]`, stored before the call. `expires_at` is when it can no
    longer be paid, more than a minute ahead. `openid` is the driver's at the provider.
    """

    out_trade_no: str
    description: str
    total_fen: int
    openid: str
    expires_at: datetime
    attach: str = ""
    """Comes back with the payment and in the bill: gun and serial."""
    device_id: str = ""
    """The gun, as the bill shows it."""
    client_ip: str = ""
    """The driver's address, for the provider's risk control."""


class PayParams(
    msgspec.Struct,
    frozen=True,
    rename={
        "app_id": "appId",
        "time_stamp": "timeStamp",
        "nonce_str": "nonceStr",
        "sign_type": "signType",
        "pay_sign": "paySign",
    },
):
    """What the mini-program hands to `wx.requestPayment`, under WeChat's own names."""

    app_id: str
    time_stamp: str
    nonce_str: str
    package: str
    sign_type: str
    pay_sign: str


class Prepay(msgspec.Struct, frozen=True):
    """A payment is ready to be paid; the id lives two hours, the same order asked again gives a valid one."""

    out_trade_no: str
    prepay_id: str
    pay_params: PayParams


class Payment(msgspec.Struct, frozen=True):
    """A payment as the provider knows it. Amount, openid, transaction and time are there once it is paid."""

    out_trade_no: str
    state: PaymentState
    appid: str
    mchid: str
    transaction_id: str = ""
    openid: str = ""
    total_fen: int | None = None
    payer_fen: int | None = None
    """What the driver paid himself, after the provider's coupons."""
    currency: str = ""
    paid_at: datetime | None = None
    attach: str = ""
    bank_type: str = ""
    is_refunded: bool = False
    """Some of it was refunded, or is being refunded."""


class PaymentClosed(msgspec.Struct, frozen=True):
    """The order can no longer be paid."""

    out_trade_no: str


class RefundOrder(msgspec.Struct, frozen=True):
    """Money to go back to where it came from. A repetition must be equal in every field.

    `out_refund_no` is ours, stored before the call; `total_fen` is the whole payment.
    """

    out_refund_no: str
    out_trade_no: str
    refund_fen: int
    total_fen: int
    reason: str = ""


class Refund(msgspec.Struct, frozen=True):
    """A refund as the provider knows it."""

    out_refund_no: str
    out_trade_no: str
    transaction_id: str
    refund_id: str
    state: RefundState
    refund_fen: int
    total_fen: int
    payer_refund_fen: int
    created_at: datetime | None = None
    succeeded_at: datetime | None = None
    account: str = ""
    """Where the money goes, in the provider's words, to show to the driver."""


class BillPayment(msgspec.Struct, frozen=True):
    """One payment in a provider's bill of a day."""

    at: datetime
    out_trade_no: str
    transaction_id: str
    openid: str
    total_fen: int
    fee_e5_yuan: int


class BillRefund(msgspec.Struct, frozen=True):
    """One refund in a provider's bill, as it stood at the end of that day; a query tells how it ended."""

    at: datetime
    out_trade_no: str
    transaction_id: str
    out_refund_no: str
    refund_id: str
    refund_fen: int
    status: str
    """`SUCCESS`, `PROCESSING`, `FAIL` or `CHANGE`: the bill's own words."""
    fee_e5_yuan: int
    """Negative: a fee that comes back."""


class Bill(msgspec.Struct, frozen=True):
    """A provider's bill of one China day, checked: the announced hash and the totals hold."""

    day: date
    payments: tuple[BillPayment, ...]
    refunds: tuple[BillRefund, ...]
    text: bytes
    """The bill as it came, uncompressed, to be kept."""
    sha1: str


class NoBill(msgspec.Struct, frozen=True):
    """Nothing moved on that day."""

    day: date


class BillNotReady(msgspec.Struct, frozen=True):
    """The bill is not made yet: ask again in half an hour."""

    day: date


class Notification(msgspec.Struct, frozen=True):
    """A notification whose signature, age and merchant hold. `id` is the same in every repetition.

    What it says must still be compared with the order (`payment_difference`), and the id must be new.
    """

    id: str
    event: str
    created_at: datetime
    content: Payment | Refund | None
    """None for an event that concerns neither: confirm it and log it."""


class Login(msgspec.Struct, frozen=True):
    """Who opened the mini-program. `unionid` is empty unless the operator linked several apps."""

    openid: str
    unionid: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The provider said no, for good: nothing moved. `code` is the provider's, with underscores."""

    code: str
    message: str
    request_id: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """No answer that can be relied on: it may have happened. Query, or repeat with the same number."""

    code: str
    message: str
    request_id: str = ""


class NotFound(msgspec.Struct, frozen=True):
    """The provider knows no such number; for a refund also: the payment was never paid."""

    code: str
    message: str
    request_id: str = ""


class RateLimited(msgspec.Struct, frozen=True):
    """Too many calls; a refund may have been accepted all the same, so query first."""

    code: str
    message: str
    request_id: str = ""


class Config(msgspec.Struct, frozen=True):
    """Our own fault (key, clock, parameter): stop asking for this merchant, alarm, keep the queue."""

    code: str
    message: str
    request_id: str = ""


class SignatureInvalid(msgspec.Struct, frozen=True):
    """What came is not proven to be from the provider, or is too old: believe nothing of it."""

    code: str
    message: str
    request_id: str = ""


Failure: TypeAlias = Refused | Unknown | NotFound | RateLimited | Config | SignatureInvalid
"""Whatever is not the answer that was hoped for; all have `code`, `message`, `request_id`."""

FAILURES: Final = (Refused, Unknown, NotFound, RateLimited, Config, SignatureInvalid)
"""The same for `isinstance`."""


class Verdict(enum.StrEnum):
    """What is known of a call that may move money."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def verdict_of(result: Prepay | PaymentClosed | Refund | Failure) -> Verdict:
    """Tell what a call to prepay, close or refund has come to."""
    if isinstance(result, Unknown | RateLimited | SignatureInvalid):
        return Verdict.UNKNOWN
    if isinstance(result, Refused | NotFound | Config):
        return Verdict.REFUSED
    return Verdict.DONE


def payment_difference(payment: Payment, order: PrepayOrder) -> str | None:
    """Name the first thing that keeps a payment from being this order paid in full; None: it is.

    The merchant and the appid were compared before, by whoever returned the payment.
    """
    wanted = {
        "out_trade_no": order.out_trade_no,
        "state": PaymentState.PAID,
        "total_fen": order.total_fen,
        "currency": "CNY",
        "openid": order.openid,
    }
    return next((name for name, value in wanted.items() if getattr(payment, name) != value), None)


def refund_difference(refund: Refund, order: RefundOrder) -> str | None:
    """Name the first thing in which a refund is not the one asked for; None: it is, in whatever state."""
    names = ("out_refund_no", "out_trade_no", "refund_fen", "total_fen")
    return next((name for name in names if getattr(refund, name) != getattr(order, name)), None)
