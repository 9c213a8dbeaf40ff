"""Access tokens of drivers: what opens, what does not, and where the key is kept."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from pileward.http.driver.tokens import (
    KEY_FILE,
    LASTS_S,
    SKEW_S,
    DriverCaller,
    DriverTokens,
    token_key,
)
from pileward.http.problems import HttpError
from tests.drivers import Market, Rider
from tests.nodes import CODES, TOKEN

KEY = b"k" * 32
CALLER = DriverCaller(operator_id=7, driver_id=42)


def refused(token: str, tokens: DriverTokens | None = None) -> str:
    """The code with which a token is refused."""
    with pytest.raises(HttpError) as caught:
        (tokens or DriverTokens(KEY)).read(token)
    assert caught.value.status == 401
    return caught.value.code


def forged(key: str | bytes = KEY, algorithm: str | None = "HS256", **changes: Any) -> str:
    """A token like ours, but for some of it."""
    now = int(time.time())
    claims = {"iss": "pileward", "aud": "driver", "sub": "42", "op": 7, "iat": now, "exp": now + 60}
    claims.update(changes)
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def test_a_token_tells_whose_it_is() -> None:
    tokens = DriverTokens(KEY)
    assert tokens.read(tokens.issue(CALLER)) == CALLER
    assert tokens.read(forged()) == CALLER


def test_a_token_ends() -> None:
    tokens = DriverTokens(KEY)
    now = time.time()
    assert tokens.read(tokens.issue(CALLER, now - LASTS_S)) == CALLER  # clocks of nodes may differ a little
    assert refused(tokens.issue(CALLER, now - LASTS_S - SKEW_S - 1)) == "driver_token_expired"
    assert refused(tokens.issue(CALLER, now + SKEW_S + 5)) == "driver_token_wrong"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # of the forger's key
@pytest.mark.parametrize(
    "changes",
    [
        {"key": b"x" * 32},
        {"algorithm": "HS512"},
        {"algorithm": "none", "key": ""},
        {"aud": "staff"},
        {"iss": "elsewhere"},
        {"sub": None},
        {"exp": None},
        {"op": None},
        {"sub": "forty-two"},
        {"op": "x"},
    ],
)
def test_anything_else_is_refused(changes: dict[str, Any]) -> None:
    assert refused(forged(**changes)) == "driver_token_wrong"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 5_000, "é.é.é"])
def test_what_is_no_token(token: str) -> None:
    assert refused(token) == "driver_token_wrong"


def test_a_weak_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32"):
        DriverTokens(b"short")
    with pytest.raises(ValueError, match=r"driver\.token_key"):
        token_key("short", tmp_path)


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = token_key(None, state)
    assert len(made) == 32
    assert token_key(None, state) == made
    assert stat.S_IMODE((state / KEY_FILE).stat().st_mode) == 0o600
    assert [file.name for file in state.iterdir()] == [KEY_FILE]
    assert token_key("s" * 40, state) == b"s" * 40


async def test_a_login_makes_a_driver_once(market: Market) -> None:
    anna = await market.rider("anna")
    again = await market.rider("anna")
    bert = await market.rider("bert")
    assert anna.id == again.id != bert.id
    drivers = (await market.staff("GET", "/drivers"))["items"]
    assert [driver["id"] for driver in drivers] == [bert.id, anna.id]
    assert await anna("GET", "/sessions/current") == {"session": None}


async def test_a_code_is_good_once(market: Market) -> None:
    rider = Rider(market, "anna")
    code = (await market.control("login", user="anna"))["code"]
    await rider("POST", "/login", {"code": code})
    problem = await rider("POST", "/login", {"code": code}, 401)
    assert (problem["code"], problem["detail"]["next"]) == ("login_refused", "login_again")
    assert (await rider("POST", "/login", {"code": "made up"}, 400))["code"] == "invalid_field"


async def test_a_login_service_that_is_away(market: Market) -> None:
    code = (await market.control("login", user="anna"))["code"]
    await market.control("faults", on="login", kind="busy", times=5, seconds=0.0)
    problem = await Rider(market, "anna")("POST", "/login", {"code": code}, 503)
    assert problem["code"] == "login_unavailable"


async def test_a_blocked_driver_neither_logs_in_nor_orders(market: Market) -> None:
    anna = await market.rider("anna")
    await market.staff("POST", f"/drivers/{anna.id}/block", {"is_blocked": True})
    gun = f"{CODES[0]}01"
    problem = await anna.order(gun, status=403)
    assert (problem["code"], problem["detail"]["next"]) == ("driver_blocked", "contact_service")
    code = (await market.control("login", user="anna"))["code"]
    assert (await anna("POST", "/login", {"code": code}, 403))["code"] == "driver_blocked"
    entries = (await market.staff("GET", "/audit?kind=driver"))["items"]
    assert [entry["action"] for entry in entries] == ["driver.block"]


async def test_tokens_of_staff_and_drivers_do_not_mix(market: Market) -> None:
    anna = await market.rider("anna")
    async with market.http.get(
        f"{market.url}/api/admin/v1/stations", headers={"Authorization": f"Bearer {anna.token}"}
    ) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "operator_token_wrong")
    anna.token = TOKEN
    assert (await anna("GET", "/sessions", status=401))["code"] == "driver_token_wrong"
    anna.token = ""
    assert (await anna("GET", "/sessions", status=401))["code"] == "driver_token_required"
    assert anna.headers["WWW-Authenticate"] == "Bearer"
