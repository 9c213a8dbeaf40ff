"""The emulator whole: keys, books, clocks, faults and the clockwork, opened from one state folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from pileward.emulators.wechat.books import Books
from pileward.emulators.wechat.clock import BusinessClock
from pileward.emulators.wechat.faults import Faults
from pileward.emulators.wechat.keys import Identity, Keyring, write_private
from pileward.emulators.wechat.notifier import Notifier
from pileward.emulators.wechat.signer import MODES, Signer

REQUESTS_KEPT: Final = 1_000
SETTINGS_FILE: Final = "merchant.toml"


class Options(msgspec.Struct, frozen=True):
    """How an emulator is run. `origin_ms`: business time at the start, unless it is later already."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    scale: float = 1.0
    origin_ms: int | None = None
    refund_after_s: float = 5.0
    notify_base_url: str = "http://127.0.0.1:8080"
    ready_file: Path | None = None


class Line(msgspec.Struct, frozen=True):
    """The clock as the books keep it: business time at a real time, and how fast it ran."""

    real_s: float
    at_ms: int
    scale: float


class Emulator:
    """One emulated WeChat Pay with one merchant."""

    def __init__(self, options: Options, unix_time: Callable[[], float] = time.time) -> None:
        """Raises RuntimeError when the state folder is in use."""
        self.options = options
        options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(options.state / "lock")
        self.keys = Keyring(options.state)
        self.books = Books(options.state / "books.sqlite3")
        self.unix_time = unix_time
        self.clock = self._clock(unix_time)
        self.faults = Faults()
        self.signer = Signer(self.keys, self.books.get("signer", "public_key"), unix_time)
        self.notifier = Notifier(self.books, self.identity, self.clock, self.signer, self.faults)
        self.requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT)
        self.downloads: dict[str, tuple[float, bytes]] = {}
        """Tokens of bills offered for download: real time of the offer, and the bytes."""
        self.token: tuple[str, float] | None = None
        """The access token in force, and the real time at which it ends."""
        self.refund_after_s: float | None = options.refund_after_s
        """Business seconds from acceptance to the driver's purse; None: only the control API ends refunds."""
        if kept := self.books.get("refund_after_s"):
            self.refund_after_s = msgspec.json.decode(kept, type=float | None)

    @property
    def identity(self) -> Identity:
        """Numbers and secrets that both sides know."""
        return self.keys.identity

    def refund_due_ms(self, now_ms: int) -> int | None:
        """When a refund accepted now will be done."""
        return None if self.refund_after_s is None else now_ms + round(self.refund_after_s * 1000)

    def set_signer(self, mode: str) -> None:
        """Choose who signs; raises ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"signer: {mode!r} is none of {', '.join(MODES)}")
        self.books.put("signer", mode)
        self.signer.mode = mode

    def set_refund_after(self, seconds: float | None) -> None:
        """Choose how long refunds take from now on."""
        self.books.put("refund_after_s", msgspec.json.encode(seconds).decode())
        self.refund_after_s = seconds

    def advance(self, seconds: float) -> None:
        """Jump ahead in business time; what becomes due is done at once."""
        self.clock.advance(seconds)
        self._keep_clock()
        self.notifier.wake()

    def close(self) -> None:
        """Close the books and free the folder."""
        self._keep_clock()
        self.books.close()
        os.close(self._lock)

    def write_settings(self, url: str) -> Path:
        """Write what the merchant's side has to know, as a settings file of Pileward."""
        values = {
            "enabled": True,
            "mchid": self.identity.mchid,
            "appid": self.identity.appid,
            "app_secret": self.identity.app_secret,
            "api_v3_key": self.identity.api_v3_key,
            "merchant_key_path": str(self.keys.merchant_key_path.resolve()),
            "cert_serial": self.keys.merchant_serial,
            "public_key_path": str(self.keys.public_key_path.resolve()),
            "public_key_id": self.identity.public_key_id,
            "platform_certificate_path": str(self.keys.platform_certificate_path.resolve()),
            "notify_base_url": self.options.notify_base_url,
            "gateway_url": url,
            "api_url": url,
        }
        # a JSON text or truth value is one of TOML too
        lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in values.items()]
        path = self.options.state / SETTINGS_FILE
        write_private(path, "\n".join(["[wechat]", *lines, ""]))
        return path

    def _clock(self, unix_time: Callable[[], float]) -> BusinessClock:
        """Go on where the stored line has got to by now, at the speed that is asked for; never back."""
        now_s = unix_time()
        at_ms = self.options.origin_ms if self.options.origin_ms is not None else round(now_s * 1000)
        if kept := self.books.get("clock"):
            line = msgspec.json.decode(kept, type=Line)
            reached_ms = line.at_ms + round(max(now_s - line.real_s, 0.0) * 1000 * line.scale)
            at_ms = max(reached_ms, self.options.origin_ms or 0)
        clock = BusinessClock(self.options.scale, at_ms, unix_time)
        self.books.put("clock", msgspec.json.encode(Line(now_s, at_ms, self.options.scale)).decode())
        return clock

    def _keep_clock(self) -> None:
        line = Line(self.unix_time(), self.clock.now_ms(), self.clock.scale)
        self.books.put("clock", msgspec.json.encode(line).decode())


def _lock(path: Path) -> int:
    """Hold the folder until this process ends, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RuntimeError(f"{path.parent} 正被另一个模拟器使用 / is in use by another emulator") from None
    return handle
