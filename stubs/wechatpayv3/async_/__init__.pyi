# The part of wechatpayv3 2.0.4 that is used; the underscored names are the library's own and may change.
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography.x509 import Certificate

class WeChatPayType(enum.Enum):
    MINIPROG = ...

class AsyncCore:
    _gate_way: str
    _certificates: list[Certificate]
    _client: httpx.AsyncClient | None
    _verify_signature_async: Callable[[Mapping[str, str], str], Awaitable[bool]]
    def _verify_signature(self, headers: Mapping[str, str], body: str) -> bool: ...

class AsyncWeChatPay:
    _core: AsyncCore
    def __init__(
        self,
        wechatpay_type: WeChatPayType,
        mchid: str,
        private_key: str,
        cert_serial_no: str,
        appid: str,
        apiv3_key: str,
        notify_url: str | None = ...,
        *,
        timeout: tuple[float, float] | None = ...,
        public_key: str | None = ...,
        public_key_id: str | None = ...,
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool: ...
    def sign(self, data: Sequence[str]) -> str: ...
    def callback(self, headers: Mapping[str, str], body: str | bytes) -> dict[str, Any] | None: ...
    async def pay(
        self,
        description: str,
        out_trade_no: str,
        amount: Mapping[str, Any],
        payer: Mapping[str, str],
        *,
        time_expire: str | None = ...,
        attach: str | None = ...,
        scene_info: Mapping[str, Any] | None = ...,
        notify_url: str | None = ...,
    ) -> tuple[int, str | bytes]: ...
    async def close(self, out_trade_no: str) -> tuple[int, str | bytes]: ...
    async def query(
        self, transaction_id: str | None = ..., out_trade_no: str | None = ...
    ) -> tuple[int, str | bytes]: ...
    async def refund(
        self,
        out_refund_no: str,
        amount: Mapping[str, Any],
        *,
        out_trade_no: str | None = ...,
        reason: str | None = ...,
        notify_url: str | None = ...,
    ) -> tuple[int, str | bytes]: ...
    async def query_refund(self, out_refund_no: str) -> tuple[int, str | bytes]: ...
    async def trade_bill(
        self, bill_date: str, bill_type: str = ..., tar_type: str = ...
    ) -> tuple[int, str | bytes]: ...
    async def download_bill(self, url: str) -> tuple[int, str | bytes]: ...
