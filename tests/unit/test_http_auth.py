"""Who may call what: a route is closed unless it says public; tokens in headers, cookies and addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.http import auth
from pileward.http.api import Access
from pileward.http.app import GROUPS, make_app
from pileward.services import operators
from pileward.services.audit import Who
from tests.nodes import CODES, TOKEN, Street

Client = TestClient[Any, Application]

HEADER = {"Authorization": f"Bearer {TOKEN}"}
PAGE = {"Accept": "text/html,application/xhtml+xml"}
PUBLIC = {
    "/",
    "/docs",
    "/openapi.json",
    "/openapi-3.0.json",
    "/api/public/v1/overview",
    "/ws",
    "/healthz",
    "/readyz",
    "/metrics",
    "/debug/login",
    "/api/driver/v1/login",
    "/callbacks/wechat/payments",
    "/callbacks/wechat/refunds",
}

VALUES = {
    "id": 1,
    "pile_code": CODES[0],
    "serial": "2" * 20,
    "out_refund_no": f"R{'2' * 20}-1",
    "day": "2026-03-01",
}
"""Something for each place in a path."""


@pytest.fixture
async def client(street: Street, aiohttp_client: Callable[[Application], Awaitable[Client]]) -> Client:
    """A client of the node's application, without a token."""
    return await aiohttp_client(make_app(street.node))


def test_what_is_public_is_listed_here() -> None:
    found = {op.path for group in GROUPS for op in group.operations if op.access is Access.PUBLIC}
    assert found == PUBLIC


def test_nothing_that_changes_anything_takes_a_cookie() -> None:
    browser = [op for group in GROUPS for op in group.operations if op.access is Access.OPERATOR_BROWSER]
    assert {op.path.split("/")[1] for op in browser} == {"debug"}
    assert {(op.method, op.path) for op in browser if op.method != "GET"} == {("POST", "/debug/decode")}


async def test_closed_without_a_token(client: Client) -> None:
    closed = [op for group in GROUPS for op in group.operations if op.access is not Access.PUBLIC]
    assert len(closed) > 30
    for operation in closed:
        path = operation.path.format(**VALUES)
        wanted = "driver" if operation.access is Access.DRIVER else "operator"
        answer = await client.request(operation.method, path)
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (401, f"{wanted}_token_required"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_wrong_tokens(client: Client) -> None:
    for value in ("Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer " + "x" * 5000):
        answer = await client.get("/api/admin/v1/stations", headers={"Authorization": value})
        assert answer.status == 401, value


async def test_the_token_opens(client: Client) -> None:
    answer = await client.get("/api/admin/v1/stations", headers=HEADER)
    assert answer.status == 200


async def test_a_revoked_token_opens_nothing_more(client: Client, street: Street) -> None:
    who = Who(street.who.operator_id, "system", street.clock.utc() + timedelta(seconds=1))
    token = await operators.issue_token(who, "night shift")
    header = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/api/admin/v1/stations", headers=header)).status == 200
    row = next(row for row in await operators.list_tokens(who.operator_id) if row.name == "night shift")
    await operators.revoke_token(who, row.id)
    assert (await client.get("/api/admin/v1/stations", headers=header)).status == 401


async def guess(client: Client) -> None:
    """Use up the wrong tokens that an address has, and one more."""
    for _ in range(auth.WRONG_BURST + 1):
        answer = await client.get("/api/admin/v1/stations", headers={"Authorization": "Bearer guess"})
        assert answer.status == 401


async def test_after_too_many_guesses_even_the_right_token_is_refused(client: Client) -> None:
    await guess(client)
    answer = await client.get("/api/admin/v1/stations", headers=HEADER)
    assert (answer.status, (await answer.json())["code"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= auth.PENALTY_S + 1


async def test_a_penalty_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "PENALTY_S", 0.0)
    await guess(client)
    assert (await client.get("/api/admin/v1/stations", headers=HEADER)).status == 200


async def test_a_page_with_the_token_in_its_address_changes_it_for_a_cookie(client: Client) -> None:
    address = f"/debug?pile={CODES[0]}&token={TOKEN}"
    answer = await client.get(address, headers=PAGE, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, f"/debug?pile={CODES[0]}")
    cookie = answer.cookies[auth.COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"]) == ("Strict", "/debug")
    page = await client.get("/debug", headers=PAGE)
    assert (page.status, page.content_type) == (200, "text/html")
    assert (await client.get("/debug/actors")).status == 200
    # the cookie is for looking only
    assert (await client.get("/api/admin/v1/stations", cookies={auth.COOKIE: TOKEN})).status == 401


async def test_programs_must_use_the_header(client: Client) -> None:
    answer = await client.get(f"/debug/actors?token={TOKEN}")
    assert answer.status == 401
    answer = await client.get(f"/api/admin/v1/stations?token={TOKEN}", headers=PAGE)
    assert answer.status == 401


async def test_a_person_without_a_token_is_asked_for_it(client: Client) -> None:
    answer = await client.get(f"/debug?pile={CODES[0]}&x=%22%3E", headers=PAGE)
    text = await answer.text()
    assert (answer.status, answer.content_type) == (401, "text/html")
    assert "需要运营商令牌" in text
    assert f"/debug?pile={CODES[0]}&amp;x=" in text
    form = {"token": TOKEN, "next": f"/debug?pile={CODES[0]}"}
    answer = await client.post("/debug/login", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, f"/debug?pile={CODES[0]}")
    assert answer.cookies[auth.COOKIE].value == TOKEN


async def test_the_form_leads_to_our_pages_only(client: Client) -> None:
    for target in ("https://elsewhere.example/", "//elsewhere.example", "/debug\\x", "/debugger"):
        form = {"token": TOKEN, "next": target}
        answer = await client.post("/debug/login", data=form, allow_redirects=False)
        assert answer.headers["Location"] == "/debug", target


async def test_the_form_refuses_a_wrong_token(client: Client) -> None:
    answer = await client.post("/debug/login", data={"token": "wrong"}, allow_redirects=False)
    assert answer.status == 401
    assert "运营商令牌不正确" in await answer.text()
    assert auth.COOKIE not in answer.cookies


async def test_a_websocket_takes_the_token_from_its_address(client: Client) -> None:
    path = f"/debug/piles/{CODES[0]}/tail"
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(path)
    assert refused.value.status == 401
    async with client.ws_connect(f"{path}?token={TOKEN}") as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "started"


async def test_no_log_line_tells_the_token(
    client: Client, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(f"/debug?token={TOKEN}", headers=PAGE)
    await client.get("/debug/actors", headers=HEADER)
    await client.get("/debug/actors", headers={"Authorization": f"Bearer {TOKEN}x"})
    told = capsys.readouterr()
    assert TOKEN not in told.out + told.err + caplog.text
