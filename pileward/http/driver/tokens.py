"""Access tokens of drivers: signed, short-lived, made at the login and checked without asking anybody.

A token is a JSON Web Token (RFC 7519, HS256) that names the driver and the operator. It cannot be taken back
before it ends, so it ends soon; whoever is blocked meanwhile cannot order anything (the row is looked at),
yet can still stop what is running. Times are real time: a demonstration's clock does not concern tokens.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

import jwt
import msgspec

from pileward.http.problems import HttpError

LASTS_S: Final = 2 * 3600
SKEW_S: Final = 30
"""How far the clocks of two nodes may be apart."""
KEY_BYTES: Final = 32
KEY_FILE: Final = "driver-token.key"
TOKEN_MAX: Final = 1_000
"""Characters; ours have about 250."""

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "pileward"
_AUDIENCE: Final = "driver"
_CLAIMS: Final = ("exp", "iat", "sub", "op", "iss", "aud")


class DriverCaller(msgspec.Struct, frozen=True):
    """On whose behalf a request of an app acts."""

    operator_id: int
    driver_id: int


class DriverTokens:
    """Issues and reads tokens with one key."""

    def __init__(self, key: bytes) -> None:
        """`key`: at least 32 bytes, the same on every node."""
        if len(key) < KEY_BYTES:
            raise ValueError(f"the key of drivers' tokens needs {KEY_BYTES} bytes")
        self._key = key

    def issue(self, caller: DriverCaller, now_s: float | None = None) -> str:
        """A token for a driver, good for `LASTS_S` from `now_s` (real time, epoch seconds; left out: now)."""
        began = int(time.time() if now_s is None else now_s)
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": str(caller.driver_id),
            "op": caller.operator_id,
            "iat": began,
            "exp": began + LASTS_S,
        }
        return jwt.encode(claims, self._key, _ALGORITHM)

    def read(self, token: str) -> DriverCaller:
        """Whose token it is; raises HttpError `driver_token_expired` or `driver_token_wrong`."""
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        if len(token) > TOKEN_MAX:
            raise HttpError("driver_token_wrong", headers=headers)
        try:
            claims = jwt.decode(
                token,
                self._key,
                [_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                leeway=SKEW_S,
                options={"require": list(_CLAIMS)},
            )
            return DriverCaller(int(claims["op"]), int(claims["sub"]))
        except jwt.ExpiredSignatureError:
            raise HttpError("driver_token_expired", headers=headers) from None
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise HttpError("driver_token_wrong", headers=headers) from None


def token_key(chosen: str | None, state: Path) -> bytes:
    """The key in force: the one of the settings, or one kept in the state folder, made at the first start.

    Nodes that share drivers need the same one, from the settings. Raises ValueError for one that is too weak.
    """
    if chosen is not None:
        key = chosen.encode()
        if len(key) < KEY_BYTES:
            raise ValueError(f"driver.token_key: at least {KEY_BYTES} characters are needed")
        return key
    state.mkdir(parents=True, exist_ok=True)
    file = state / KEY_FILE
    part = state / f"{KEY_FILE}.{os.getpid()}.part"
    if not file.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(secrets.token_bytes(KEY_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
        # a link never replaces a key that another process has made at the same moment
        try:
            os.link(part, file)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return file.read_bytes()
