"""Whether a reply or a notification is WeChat Pay's, and fresh: what the library does not check, or not well.

The library verifies an RSA signature, and that is all: a signature of years ago passes, an unknown signature
type or serial raises, an unknown certificate serial makes it throw its certificates away and download new
ones, which anybody who can reach our callback address could provoke. So age, serial and type are checked
here first, and only then is the library asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pileward.messages.payments import SignatureInvalid

WINDOW_S: Final = 300
"""A signature is good for five minutes around our clock, to either side; real time."""

SIGNATURE_TYPE: Final = "WECHATPAY2-SHA256-RSA2048"
PROBE: Final = "WECHATPAY/SIGNTEST/"
"""Beginning of signatures that are wrong on purpose, to see whether a merchant checks."""

_NAMES: Final = (
    "Wechatpay-Timestamp",
    "Wechatpay-Nonce",
    "Wechatpay-Signature",
    "Wechatpay-Serial",
    "Wechatpay-Signature-Type",
)


class Untrusted(Exception):  # noqa: N818 - a finding, turned into a value by whoever asked
    """What came is not proven to be WeChat Pay's; `failure` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.failure = SignatureInvalid(code, message)


class Trust:
    """Checks the five headers of signed replies and notifications against a clock and the known signers."""

    def __init__(
        self,
        serials: frozenset[str],
        verify: Callable[[Mapping[str, str], str], bool],
        unix_time: Callable[[], float],
    ) -> None:
        """`serials`: ids of public keys, or hex of certificates. `verify`: the RSA check."""
        self._serials = frozenset(map(_plain, serials))
        self._verify = verify
        self._unix_time = unix_time

    def check(self, headers: Mapping[str, str], body: str) -> dict[str, str]:
        """Return the signature headers under their usual names; raises Untrusted.

        `headers` may have any case; the body is the text exactly as it came.
        """
        lowered = {name.lower(): value for name, value in headers.items()}
        found = {name: lowered.get(name.lower(), "") for name in _NAMES}
        if missing := [name for name, value in found.items() if not value]:
            raise Untrusted("HEADERS_MISSING", ", ".join(missing))
        if found["Wechatpay-Signature-Type"] != SIGNATURE_TYPE:
            raise Untrusted("SIGNATURE_TYPE", "an algorithm that is not ours")
        if found["Wechatpay-Signature"].startswith(PROBE):
            raise Untrusted("SIGNATURE_PROBE", "wrong on purpose, to test us")
        self._check_age(found["Wechatpay-Timestamp"])
        if _plain(found["Wechatpay-Serial"]) not in self._serials:
            raise Untrusted("SERIAL_UNKNOWN", "signed with a key that we do not have")
        if not self._verify(found, body):
            raise Untrusted("SIGNATURE_WRONG", "the signature is not that of this text")
        return found

    def _check_age(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise Untrusted("TIMESTAMP", "not a number of seconds")
        age_s = self._unix_time() - int(timestamp)
        if abs(age_s) > WINDOW_S:
            raise Untrusted("STALE", f"signed {age_s:.0f} s ago; at most {WINDOW_S} s are allowed")


def _plain(serial: str) -> str:
    """A certificate's serial is a number: case and leading zeros mean nothing. The id of a key is a name."""
    return serial if serial.startswith("PUB_KEY_ID_") else serial.upper().lstrip("0")
