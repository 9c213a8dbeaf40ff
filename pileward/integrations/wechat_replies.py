"""The JSON of WeChat Pay API v3, typed, and its translation into our words.

Fields that we do not need are ignored; one that we need and is missing or of another type is a
`msgspec.ValidationError`, for the caller to turn into a failure. Sources: 「商户订单号查询订单」「退款申请」
「支付成功回调通知」「退款结果回调通知」.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pileward.messages.payments import Payment, PaymentState, Refund, RefundState

# REFUND is what a paid order becomes after any refund; the last three exist for payment codes only
_PAYMENT_STATES: Final = {
    "NOTPAY": PaymentState.UNPAID,
    "USERPAYING": PaymentState.UNPAID,
    "SUCCESS": PaymentState.PAID,
    "REFUND": PaymentState.PAID,
    "CLOSED": PaymentState.CLOSED,
    "REVOKED": PaymentState.CLOSED,
    "PAYERROR": PaymentState.CLOSED,
}
_REFUND_STATES: Final = {
    "PROCESSING": RefundState.PROCESSING,
    "SUCCESS": RefundState.SUCCEEDED,
    "CLOSED": RefundState.CLOSED,
    "ABNORMAL": RefundState.ABNORMAL,
}


class PrepayReply(msgspec.Struct):
    """Answer to 「JSAPI/小程序下单」."""

    prepay_id: str


class BillReply(msgspec.Struct):
    """Answer to 「申请交易账单」: where the bill is, and its hash."""

    hash_type: str
    hash_value: str
    download_url: str


class _Payer(msgspec.Struct):
    openid: str = ""


class _PaymentAmount(msgspec.Struct):
    total: int | None = None
    payer_total: int | None = None
    currency: str = ""


class WirePayment(msgspec.Struct):
    """A payment, in the answer to a query and inside a notification."""

    appid: str
    mchid: str
    out_trade_no: str
    trade_state: str
    transaction_id: str = ""
    success_time: str = ""
    attach: str = ""
    bank_type: str = ""
    payer: _Payer = msgspec.field(default_factory=_Payer)
    amount: _PaymentAmount = msgspec.field(default_factory=_PaymentAmount)


class _RefundAmount(msgspec.Struct):
    total: int
    refund: int
    payer_refund: int


class WireRefund(msgspec.Struct):
    """A refund; an answer says `status`, a notification says `refund_status`, and only it says `mchid`."""

    out_refund_no: str
    out_trade_no: str
    transaction_id: str
    refund_id: str
    amount: _RefundAmount
    status: str = ""
    refund_status: str = ""
    mchid: str = ""
    create_time: str = ""
    success_time: str = ""
    user_received_account: str = ""


class Envelope(msgspec.Struct):
    """A notification around its encrypted content. `original_type` leads over the event's name."""

    class Resource(msgspec.Struct):
        """Of the encrypted part only what says what it is."""

        original_type: str = ""

    id: str
    event_type: str
    create_time: str = ""
    resource: Resource = msgspec.field(default_factory=Resource)

    @property
    def kind(self) -> str:
        """What the content is: `transaction`, `refund`, or something that is not ours."""
        return self.resource.original_type or self.event_type.partition(".")[0].lower()


def payment_of(wire: WirePayment) -> Payment:
    """Translate a payment; raises ValidationError for a state or time that does not exist."""
    state = _PAYMENT_STATES.get(wire.trade_state)
    if state is None:
        raise msgspec.ValidationError(f"trade_state {wire.trade_state!r} does not exist")
    if state is PaymentState.PAID and (wire.amount.total is None or not wire.transaction_id):
        raise msgspec.ValidationError("a paid order without amount or transaction_id")
    return Payment(
        out_trade_no=wire.out_trade_no,
        state=state,
        appid=wire.appid,
        mchid=wire.mchid,
        transaction_id=wire.transaction_id,
        openid=wire.payer.openid,
        total_fen=wire.amount.total,
        payer_fen=wire.amount.payer_total,
        currency=wire.amount.currency,
        paid_at=time_of(wire.success_time),
        attach=wire.attach,
        bank_type=wire.bank_type,
        is_refunded=wire.trade_state == "REFUND",
    )


def refund_of(wire: WireRefund) -> Refund:
    """Translate a refund; raises ValidationError for a state or time that does not exist."""
    word = wire.status or wire.refund_status
    state = _REFUND_STATES.get(word)
    if state is None:
        raise msgspec.ValidationError(f"refund status {word!r} does not exist")
    return Refund(
        out_refund_no=wire.out_refund_no,
        out_trade_no=wire.out_trade_no,
        transaction_id=wire.transaction_id,
        refund_id=wire.refund_id,
        state=state,
        refund_fen=wire.amount.refund,
        total_fen=wire.amount.total,
        payer_refund_fen=wire.amount.payer_refund,
        created_at=time_of(wire.create_time),
        succeeded_at=time_of(wire.success_time),
        account=wire.user_received_account,
    )


def time_of(text: str) -> datetime | None:
    """Read an RFC 3339 time as UTC; empty is None; raises ValidationError."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise msgspec.ValidationError(f"time {text!r} cannot be read") from error
    if moment.tzinfo is None:
        raise msgspec.ValidationError(f"time {text!r} has no zone")
    return moment.astimezone(UTC)


def read_json(body: str | bytes, kind: type[Any]) -> Any:
    """Decode a reply into one of the structs above; raises ValidationError for anything else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise msgspec.ValidationError(f"not JSON: {error}") from error
