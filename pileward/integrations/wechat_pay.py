"""WeChat Pay behind the port `Payments`: a direct merchant's mini-program payments, in public-key mode.

Numbers are checked before they become part of an address; texts that only people read are cut to what
WeChat Pay takes, so that a long station name never stops a payment. A reply is believed when it is signed,
fresh and about what was asked; otherwise the call ends unknown. Source: WeChat Pay API v3.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from pileward.integrations.wechat_account import Account, read_account
from pileward.integrations.wechat_bill import BillError, read_bill
from pileward.integrations.wechat_client import CONNECT_S, DEADLINE_S, READ_S, Reply, WeChatClient
from pileward.integrations.wechat_replies import (
    BillReply,
    Envelope,
    PrepayReply,
    WirePayment,
    WireRefund,
    payment_of,
    read_json,
    refund_of,
    time_of,
)
from pileward.messages.payments import (
    PAYMENT_NOTIFY_PATH,
    REFUND_NOTIFY_PATH,
    Bill,
    BillNotReady,
    Config,
    Failure,
    NoBill,
    Notification,
    Payment,
    PaymentClosed,
    PayParams,
    Prepay,
    PrepayOrder,
    Refund,
    RefundOrder,
    Refused,
    Unknown,
    refund_difference,
)
from pileward.values import CHINA

# the protocol would also take | and *, which HTTP clients encode and signatures then miss
_OUT_TRADE_NO: Final = re.compile(r"[0-9A-Za-z_\-]{6,32}")
_OUT_REFUND_NO: Final = re.compile(r"[0-9A-Za-z_\-]{1,64}")

DESCRIPTION_MAX: Final = 127
REASON_MAX: Final = 80
ATTACH_MAX: Final = 128
DEVICE_ID_MAX: Final = 32


class WeChatPay:
    """One merchant's account; implements `pileward.ports.Payments`."""

    def __init__(
        self,
        account: Account,
        *,
        unix_time: Callable[[], float] = time.time,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`unix_time` is real time, whatever clock the platform runs on; so are the limits of one call."""
        self.account = account
        self._unix_time = unix_time
        self.client = WeChatClient(
            account, unix_time=unix_time, connect_s=connect_s, read_s=read_s, deadline_s=deadline_s
        )
        """The library behind its door."""

    async def start(self) -> None:
        """Open the connection pool; sends nothing."""
        await self.client.start()

    async def close(self) -> None:
        """Close the connection pool; may be called twice."""
        await self.client.close()

    async def create_prepay(self, order: PrepayOrder) -> Prepay | Failure:
        """Make an order payable (「JSAPI/小程序下单」); an equal repetition gives a valid id again."""
        if problem := _prepay_problem(order):
            return Config("PARAM_ERROR", problem)
        reply = await self.client.call(
            "prepay",
            self.client.sdk.pay(
                description=order.description[:DESCRIPTION_MAX],
                out_trade_no=order.out_trade_no,
                amount={"total": order.total_fen, "currency": "CNY"},
                payer={"openid": order.openid},
                time_expire=order.expires_at.astimezone(CHINA).isoformat(timespec="seconds"),
                attach=order.attach or None,
                scene_info=_scene(order),
                notify_url=self.account.notify_base_url + PAYMENT_NOTIFY_PATH,
            ),
        )
        if not isinstance(reply, Reply):
            return reply
        try:
            prepay_id = read_json(reply.body, PrepayReply).prepay_id
        except msgspec.ValidationError as error:
            return _unreadable(reply, error)
        return Prepay(order.out_trade_no, prepay_id, self.pay_params(prepay_id))

    def pay_params(self, prepay_id: str) -> PayParams:
        """Sign what `wx.requestPayment` needs (「小程序调起支付」)."""
        moment, nonce = str(int(self._unix_time())), secrets.token_hex(16)
        package = f"prepay_id={prepay_id}"
        signature = self.client.sign(self.account.appid, moment, nonce, package)
        return PayParams(self.account.appid, moment, nonce, package, "RSA", signature)

    async def query_payment(self, out_trade_no: str) -> Payment | Failure:
        """Ask what became of an order (「商户订单号查询订单」)."""
        if not _OUT_TRADE_NO.fullmatch(out_trade_no):
            return _bad_number("out_trade_no", out_trade_no)
        reply = await self.client.call("query", self.client.sdk.query(out_trade_no=out_trade_no))
        if not isinstance(reply, Reply):
            return reply
        try:
            payment = payment_of(read_json(reply.body, WirePayment))
        except msgspec.ValidationError as error:
            return _unreadable(reply, error)
        if payment.out_trade_no != out_trade_no or not self._is_ours(payment):
            return Unknown("REPLY_MISMATCH", "the reply is about another payment", reply.request_id)
        return payment

    async def close_payment(self, out_trade_no: str) -> PaymentClosed | Failure:
        """Make an unpaid order unpayable (「关闭订单」)."""
        if not _OUT_TRADE_NO.fullmatch(out_trade_no):
            return _bad_number("out_trade_no", out_trade_no)
        reply = await self.client.call("close", self.client.sdk.close(out_trade_no))
        return PaymentClosed(out_trade_no) if isinstance(reply, Reply) else reply

    async def refund(self, order: RefundOrder) -> Refund | Failure:
        """Return money of a payment (「退款申请」); one number moves money once."""
        if problem := _refund_problem(order):
            return Config("PARAM_ERROR", problem)
        reply = await self.client.call(
            "refund",
            self.client.sdk.refund(
                order.out_refund_no,
                {"refund": order.refund_fen, "total": order.total_fen, "currency": "CNY"},
                out_trade_no=order.out_trade_no,
                reason=order.reason[:REASON_MAX] or None,
                notify_url=self.account.notify_base_url + REFUND_NOTIFY_PATH,
            ),
        )
        refund = _refund_in(reply)
        if isinstance(refund, Refund) and (name := refund_difference(refund, order)):
            # the same number used for two things: nothing that a repetition could mend
            return Config("REFUND_NUMBER_REUSED", f"this number was a refund with another {name}")
        return refund

    async def query_refund(self, out_refund_no: str) -> Refund | Failure:
        """Ask what became of a refund (「查询单笔退款」)."""
        if not _OUT_REFUND_NO.fullmatch(out_refund_no):
            return _bad_number("out_refund_no", out_refund_no)
        reply = await self.client.call("query_refund", self.client.sdk.query_refund(out_refund_no))
        refund = _refund_in(reply)
        if isinstance(refund, Refund) and refund.out_refund_no != out_refund_no:
            return Unknown("REPLY_MISMATCH", "the reply is about another refund")
        return refund

    async def download_bill(self, day: date) -> Bill | NoBill | BillNotReady | Failure:
        """Get and check the trade bill of one China day (「申请交易账单」「下载账单」)."""
        reply = await self.client.call("bill", self.client.sdk.trade_bill(day.isoformat()))
        if not isinstance(reply, Reply):
            if isinstance(reply, Refused) and reply.code == "NO_STATEMENT_EXIST":
                return NoBill(day)
            if isinstance(reply, Refused) and reply.code == "STATEMENT_CREATING":
                return BillNotReady(day)
            return reply
        try:
            told = read_json(reply.body, BillReply)
        except msgspec.ValidationError as error:
            return _unreadable(reply, error)
        if _origin(told.download_url) != _origin(self.account.gateway_url):
            # our signature goes to nobody but the host that was configured
            return Config("BILL_HOST", "the bill is offered on another host", reply.request_id)
        # the download is not signed: its hash was, in the reply before
        file = await self.client.call("download", self.client.sdk.download_bill(told.download_url))
        if not isinstance(file, Reply):
            return file
        content = file.body.encode() if isinstance(file.body, str) else file.body
        try:
            return await asyncio.to_thread(read_bill, day, content, told.hash_value)
        except BillError as error:
            return Unknown("BILL_INVALID", str(error), file.request_id)

    def parse_notification(self, headers: Mapping[str, str], raw: bytes) -> Notification | Failure:
        """Prove where a notification comes from, and read it."""
        opened = self.client.open_notification(headers, raw)
        if not isinstance(opened, dict):
            return opened
        try:
            return self._read_notification(read_json(raw, Envelope), opened["resource"])
        except msgspec.ValidationError as error:
            return Refused("NOTIFICATION_INVALID", str(error))

    def _read_notification(self, envelope: Envelope, content: Any) -> Notification | Failure:
        read: Payment | Refund | None = None
        match envelope.kind:
            case "transaction":
                read = payment_of(msgspec.convert(content, WirePayment))
                if not self._is_ours(read):
                    return Refused("MERCHANT_MISMATCH", "about another merchant's payment")
            case "refund":
                wire = msgspec.convert(content, WireRefund)
                read = refund_of(wire)
                if wire.mchid != self.account.mchid:
                    return Refused("MERCHANT_MISMATCH", "about another merchant's refund")
        created_at = time_of(envelope.create_time)
        if created_at is None:
            raise msgspec.ValidationError("create_time is missing")
        return Notification(envelope.id, envelope.event_type, created_at.astimezone(UTC), read)

    def _is_ours(self, payment: Payment) -> bool:
        return (payment.mchid, payment.appid) == (self.account.mchid, self.account.appid)


def from_settings(
    *,
    mchid: str,
    appid: str,
    api_v3_key: str,
    merchant_key_path: str,
    cert_serial: str,
    public_key_path: str,
    public_key_id: str,
    notify_base_url: str,
    gateway_url: str = "",
    platform_certificate_path: str = "",
) -> WeChatPay:
    """Build the client from plain values, to be started later; raises AccountError naming the setting."""
    return WeChatPay(
        read_account(
            mchid=mchid,
            appid=appid,
            api_v3_key=api_v3_key,
            merchant_key_path=merchant_key_path,
            cert_serial=cert_serial,
            public_key_path=public_key_path,
            public_key_id=public_key_id,
            notify_base_url=notify_base_url,
            gateway_url=gateway_url,
            platform_certificate_path=platform_certificate_path,
        )
    )


def _prepay_problem(order: PrepayOrder) -> str | None:
    """What WeChat Pay would refuse for certain, named; a refusal of its own would stop the whole merchant."""
    if not _OUT_TRADE_NO.fullmatch(order.out_trade_no):
        return f"out_trade_no {order.out_trade_no!r}: 6 to 32 of 0-9 A-Z a-z _ -"
    if order.total_fen < 1:
        return f"total_fen {order.total_fen}: at least 1"
    if order.expires_at.tzinfo is None:
        return "expires_at has no zone"
    if len(order.attach) > ATTACH_MAX:
        return f"attach has {len(order.attach)} characters: at most {ATTACH_MAX}"
    if not order.description or not order.openid:
        return "description and openid must not be empty"
    return None


def _refund_problem(order: RefundOrder) -> str | None:
    if not _OUT_REFUND_NO.fullmatch(order.out_refund_no):
        return f"out_refund_no {order.out_refund_no!r}: 1 to 64 of 0-9 A-Z a-z _ -"
    if not _OUT_TRADE_NO.fullmatch(order.out_trade_no):
        return f"out_trade_no {order.out_trade_no!r}: 6 to 32 of 0-9 A-Z a-z _ -"
    if not 1 <= order.refund_fen <= order.total_fen:
        return f"refund_fen {order.refund_fen}: from 1 to the payment's {order.total_fen}"
    return None


def _scene(order: PrepayOrder) -> dict[str, str] | None:
    """The bill shows the gun as 设备号."""
    scene = {"payer_client_ip": order.client_ip, "device_id": order.device_id[:DEVICE_ID_MAX]}
    return {name: value for name, value in scene.items() if value} or None


def _refund_in(reply: Reply | Failure) -> Refund | Failure:
    if not isinstance(reply, Reply):
        return reply
    try:
        return refund_of(read_json(reply.body, WireRefund))
    except msgspec.ValidationError as error:
        return _unreadable(reply, error)


def _unreadable(reply: Reply, error: Exception) -> Unknown:
    return Unknown("REPLY_UNREADABLE", str(error), reply.request_id)


def _bad_number(name: str, value: str) -> Config:
    return Config("PARAM_ERROR", f"{name} {value!r} cannot be a number of ours")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
