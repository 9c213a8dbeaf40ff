"""Notifications: encrypted, signed, posted, and repeated on WeChat Pay's schedule until they are confirmed.

What is queued stands in the books, so it is sent after a restart too. The waits between repetitions are
business time, the five seconds for an answer are real. Source: 「支付成功回调通知」, repeat schedule.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Final

import aiohttp
import msgspec

from pileward.emulators.wechat import refunds
from pileward.emulators.wechat.books import Books, NotificationRow
from pileward.emulators.wechat.clock import BusinessClock, rfc3339
from pileward.emulators.wechat.faults import Fault, Faults
from pileward.emulators.wechat.keys import Identity
from pileward.emulators.wechat.signer import Signer
from pileward.emulators.wechat.signing import encrypt

INTERVALS_S: Final = (
    *(15, 15, 30, 180, 600, 1200),
    *(1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600),
)
"""Waits after the first, second, … attempt: 24 h 4 min in all."""
ANSWER_WITHIN_S: Final = 5.0
AT_ONCE_MAX: Final = 32
IDLE_S: Final = 60.0

_SUMMARIES: Final = {"transaction": "支付成功"}
_log = logging.getLogger(__name__)


class Notifier:
    """The clockwork: ends refunds whose time has come, sends what is due, and sleeps until the next."""

    def __init__(
        self, books: Books, identity: Identity, clock: BusinessClock, signer: Signer, faults: Faults
    ) -> None:
        self._books = books
        self._identity = identity
        self._clock = clock
        self._signer = signer
        self._faults = faults
        self._woken = asyncio.Event()
        self._gate = asyncio.Semaphore(AT_ONCE_MAX)
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Begin to send."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop; what was not confirmed stays due."""
        tasks = [task for task in (self._loop, *self._sending.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def wake(self) -> None:
        """Something may be due earlier than was thought."""
        self._woken.set()

    async def send_now(self, number: int) -> None:
        """Send one notification and wait until it was answered or given up for this time."""
        row = self._books.one(NotificationRow, "SELECT * FROM notifications WHERE n = ?", number)
        assert row is not None
        task = self._begin(row)
        await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                next_ms = self._step()
            except Exception:  # the clockwork must not stop for one bad row
                _log.exception("clockwork")
                next_ms = None
            delay_s = IDLE_S if next_ms is None else min(self._clock.real_delay_s(next_ms), IDLE_S)
            try:
                async with asyncio.timeout(delay_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _step(self) -> int | None:
        """Do what is due; returns the business time of what comes next."""
        now_ms = self._clock.now_ms()
        next_refund = refunds.finish_due(self._books, self._identity, now_ms)
        for row in self._books.all(
            NotificationRow,
            "SELECT * FROM notifications WHERE state = 'waiting' AND due_ms <= ? ORDER BY due_ms, n LIMIT ?",
            *(now_ms, len(self._sending) + AT_ONCE_MAX),
        ):
            if row.n not in self._sending:
                self._begin(row)
        # what is being sent wakes the clockwork when it ends
        waiting = self._books.rows(
            "SELECT n, due_ms FROM notifications WHERE state = 'waiting' ORDER BY due_ms, n LIMIT ?",
            len(self._sending) + 1,
        )
        dues = [row["due_ms"] for row in waiting if row["n"] not in self._sending]
        return min([*dues, *([next_refund] if next_refund is not None else [])], default=None)

    def _begin(self, row: NotificationRow) -> asyncio.Task[None]:
        if row.n not in self._sending:
            task = asyncio.create_task(self._send(row))
            self._sending[row.n] = task
            task.add_done_callback(lambda _: self._ended(row.n))
        return self._sending[row.n]

    def _ended(self, number: int) -> None:
        self._sending.pop(number, None)
        self.wake()

    async def _send(self, row: NotificationRow) -> None:
        fault = self._faults.take("notify")
        kind = fault.kind if fault is not None else ""
        if kind == "reorder":
            self._books.run("UPDATE notifications SET state = 'held' WHERE n = ?", row.n)
            return
        if kind == "drop":
            self._books.run("UPDATE notifications SET state = 'given_up' WHERE n = ?", row.n)
            self._note(row, 0, "not sent", kind)
            return
        if fault is not None and kind == "delay":
            await asyncio.sleep(fault.seconds)
        async with self._gate:
            if kind == "duplicate":
                results = list(await asyncio.gather(self._post(row, fault), self._post(row, fault)))
            else:
                results = [await self._post(row, fault)]
        with self._books.transaction():
            for status, detail in results:
                self._note(row, status, detail, kind)
            self._settle(row, any(status in {200, 204} for status, _ in results))

    def _settle(self, row: NotificationRow, is_confirmed: bool) -> None:
        attempts = row.attempts + 1
        state, due_ms = "done", row.due_ms
        if not is_confirmed:
            if attempts <= len(INTERVALS_S):
                state, due_ms = "waiting", self._clock.now_ms() + INTERVALS_S[attempts - 1] * 1000
            else:
                state = "given_up"
        self._books.run(
            "UPDATE notifications SET state = ?, due_ms = ?, attempts = ? WHERE n = ?",
            *(state, due_ms, attempts, row.n),
        )
        # whatever was to come after this one
        self._books.run("UPDATE notifications SET state = 'waiting' WHERE state = 'held'")

    def _note(self, row: NotificationRow, status: int, detail: str, fault: str) -> None:
        self._books.run(
            "INSERT INTO attempts (notification, at_ms, status, detail, fault) VALUES (?, ?, ?, ?, ?)",
            *(row.n, self._clock.now_ms(), status, detail[:200], fault),
        )

    async def _post(self, row: NotificationRow, fault: Fault | None) -> tuple[int, str]:
        """Post once; returns the HTTP status, or 0, and what came."""
        assert self._session is not None
        kind = fault.kind if fault is not None else ""
        body = _xml(row) if kind == "v2_xml" else self._body(row, kind)
        headers = {
            "Content-Type": "text/xml" if kind == "v2_xml" else "application/json",
            "Request-ID": secrets.token_hex(12).upper(),
            "User-Agent": "Mozilla/4.0",
        }
        if kind != "v2_xml":
            headers |= self._signer.notification(body, kind)
        try:
            async with self._session.post(
                row.url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                return reply.status, (await reply.text(errors="replace"))[:200]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return 0, type(error).__name__

    def _body(self, row: NotificationRow, fault: str) -> bytes:
        content: dict[str, Any] = msgspec.json.decode(row.content)
        if fault == "other_amount":
            content["amount"]["total"] += 1
        if fault == "other_merchant":
            content["mchid"] = "1900000110"
        resource = encrypt(self._identity.api_v3_key, msgspec.json.encode(content), row.kind)
        envelope = {
            "id": row.id,
            "create_time": rfc3339(row.created_ms),
            "resource_type": "encrypt-resource",
            "event_type": row.event,
            "summary": _SUMMARIES.get(row.kind) or refunds.summary(row.event),
            "resource": resource | {"original_type": row.kind},
        }
        return msgspec.json.encode(envelope)


def _xml(row: NotificationRow) -> bytes:
    """Something like the refund notification of API v2."""
    content = f"<req_info><![CDATA[{row.reference}]]></req_info>"
    return f"<xml><return_code>SUCCESS</return_code>{content}</xml>".encode()
