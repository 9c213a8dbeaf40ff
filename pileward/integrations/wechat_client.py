"""`wechatpayv3` behind one door: everything that touches the library's own names is in this file.

Four of them are private, and each has its reason (a contract test fails when the library changes them):

- `_core._gate_way`: there is no argument for another host;
- `_core._client`: its own HTTP client takes proxies from the environment and gives no headers away;
- `_core._certificates`: in public-key mode there is no argument for a second signer, which the notifications
  of the switch-over from certificates need;
- `_core._verify_signature_async`: it throws the certificates away and downloads new ones whenever a serial is
  unknown, and it looks at no clock.

The library raises bare exceptions and lets those of its HTTP client through; here every call ends as a reply
or a failure within one deadline. What cannot be believed after it was sent is `Unknown`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import httpx
from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

from pileward.integrations.wechat_account import Account
from pileward.integrations.wechat_errors import classify
from pileward.integrations.wechat_trust import Trust, Untrusted
from pileward.logs import logger
from pileward.messages.payments import Config, Failure, NotFound, Refused, Unknown

CONNECT_S: Final = 3.0
READ_S: Final = 10.0
DEADLINE_S: Final = 15.0
"""A whole call, waiting for a free connection included; real time."""
CONNECTIONS_MAX: Final = 32
"""Calls at once; more wait here, in order. The HTTP client's own queue costs each call its whole length."""

_request_id: ContextVar[str] = ContextVar("wechat_request_id", default="")


class Reply(NamedTuple):
    """A successful reply, its signature proven where it has one."""

    status: int
    body: str | bytes
    request_id: str


class WeChatClient:
    """The library's asynchronous client of one merchant account, opened once and kept."""

    def __init__(
        self,
        account: Account,
        *,
        unix_time: Callable[[], float] = time.time,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.account = account
        self._deadline_s = deadline_s
        self._timeout = httpx.Timeout(read_s, connect=connect_s)
        self._gate = asyncio.Semaphore(CONNECTIONS_MAX)
        self._log = logger(__name__).bind(mchid=account.mchid)
        self.sdk = AsyncWeChatPay(
            wechatpay_type=WeChatPayType.MINIPROG,
            mchid=account.mchid,
            private_key=account.merchant_key_pem,
            cert_serial_no=account.cert_serial,
            appid=account.appid,
            apiv3_key=account.api_v3_key,
            # no notify_url here: a refund without one of its own would fall back to that of payments
            timeout=(connect_s, read_s),
            public_key=account.public_key_pem,
            public_key_id=account.public_key_id,
        )
        self._core = self.sdk._core
        self._core._gate_way = account.gateway_url
        self._core._verify_signature_async = self._verify_reply
        serials = {account.public_key_id, *self._second_signer()}
        self._trust = Trust(frozenset(serials), self._core._verify_signature, unix_time)

    async def start(self) -> None:
        """Open the connection pool; sends nothing."""
        await self.sdk.__aenter__()
        if self._core._client is not None:
            await self._core._client.aclose()
        self._core._client = httpx.AsyncClient(
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=not self.account.is_redirected,
            event_hooks={"response": [_note_request_id]},
        )

    async def close(self) -> None:
        """Close the connection pool; may be called twice."""
        if self._core._client is not None:
            await self._core._client.aclose()

    async def call(self, name: str, sending: Coroutine[Any, Any, tuple[int, str | bytes]]) -> Reply | Failure:
        """Run one call of the library to its end; never raises but for cancellation."""
        _request_id.set("")
        started = time.monotonic()
        is_sent = False
        try:
            async with asyncio.timeout(self._deadline_s), self._gate:
                is_sent = True
                status, body = await sending
        except Untrusted as error:
            result: Reply | Failure = error.failure
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            result = Unknown("NOT_SENT", f"no connection: {type(error).__name__}")
        except (httpx.HTTPError, TimeoutError) as error:
            result = Unknown("NO_REPLY" if is_sent else "NOT_SENT", type(error).__name__)
        except Exception as error:
            # the library raises bare ones, and does not tell whether before sending or after
            result = Unknown("CLIENT", f"{type(error).__name__}: {error}")
        else:
            reply = Reply(status, body, _request_id.get())
            result = reply if status in {200, 204} else classify(status, body, reply.request_id)
        finally:
            sending.close()
        self._report(name, result, time.monotonic() - started)
        return result

    def open_notification(self, headers: Mapping[str, str], raw: bytes) -> dict[str, Any] | Failure:
        """Prove and decrypt a notification: the envelope with `resource` in clear, or why it is not taken."""
        if raw.lstrip()[:1] != b"{":
            # a refund made by hand, or before v3, is told in XML to an address of the console
            return Refused("NOT_JSON", "a notification of another kind; what it is about must be queried")
        try:
            body = raw.decode("utf-8")
            found = self._trust.check(headers, body)
        except UnicodeDecodeError:
            return Refused("NOT_JSON", "not UTF-8")
        except Untrusted as error:
            return error.failure
        try:
            opened = self.sdk.callback(found, body)
        except Exception as error:  # damaged base64, unknown algorithm, no JSON: the library lets all through
            return Refused("NOTIFICATION_INVALID", f"signed, but cannot be read: {type(error).__name__}")
        if opened is None:
            return Config("DECRYPTION", "signed by WeChat Pay, but our APIv3 key does not open it")
        return opened

    def sign(self, *lines: str) -> str:
        """Sign lines for the mini-program with the merchant key."""
        return self.sdk.sign(lines)

    async def _verify_reply(self, headers: Mapping[str, str], body: str) -> bool:
        self._trust.check(headers, body)
        return True

    def _second_signer(self) -> set[str]:
        certificate = self.account.platform_certificate
        if certificate is None:
            return set()
        if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
            self._log.warning("wechat_platform_certificate_expired", until=certificate.not_valid_after_utc)
            return set()
        self._core._certificates.append(certificate)
        return {f"{certificate.serial_number:X}"}

    def _report(self, name: str, result: Reply | Failure, took_s: float) -> None:
        took_ms = round(took_s * 1000)
        if isinstance(result, Reply):
            self._log.debug("wechat_call", call=name, took_ms=took_ms, request_id=result.request_id)
            return
        # a clear no is an answer; the rest needs somebody's eyes when it does not pass
        report = self._log.info if isinstance(result, Refused | NotFound) else self._log.warning
        report(
            "wechat_call_failed",
            call=name,
            took_ms=took_ms,
            outcome=type(result).__name__,
            code=result.code,
            reason=result.message,
            request_id=result.request_id,
        )


async def _note_request_id(response: httpx.Response) -> None:
    _request_id.set(response.headers.get("Request-ID", ""))
