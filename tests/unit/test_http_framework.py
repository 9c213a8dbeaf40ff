"""The typed route registry by itself: validation that names the field, one error shape, the OpenAPI page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from msgspec import Meta

from pileward.errors import ConflictError, InvalidError, NotFoundError
from pileward.http import openapi
from pileward.http.api import Access, Api, mount
from pileward.http.middleware import explain, identify
from pileward.http.validation import TEXT_PATTERN

Client = TestClient[Any, web.Application]

api = Api("/things", tag="things", access=Access.PUBLIC)


class ThingPath(msgspec.Struct, frozen=True):
    """Which thing."""

    number: Annotated[int, Meta(ge=1, le=9)]


class ThingQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part."""

    is_deep: bool = False
    word: Annotated[str, Meta(max_length=5, description="a word")] | None = None


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a thing."""

    size: Annotated[int, Meta(ge=0, le=100)]


class NewThing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thing to make."""

    name: Annotated[str, Meta(min_length=1)]
    parts: list[Part] = []


class Thing(msgspec.Struct, frozen=True):
    """A thing."""

    number: int
    name: str


@api.get("/{number}", summary="one thing")
async def get_thing(request: web.Request, path: ThingPath, query: ThingQuery) -> Thing:
    """One thing, or a refusal."""
    if query.word == "gone":
        raise NotFoundError("thing_gone", "没有了", "it is gone", field="number")
    if query.word == "busy":
        raise ConflictError("thing_busy", "忙", "busy")
    if query.word == "wrong":
        raise InvalidError("thing_wrong", "不对", "wrong", field="word")
    if query.word == "bug":
        raise RuntimeError("a bug with secret details")
    return Thing(path.number, "deep" if query.is_deep else "plain")


@api.post("", summary="make a thing", status=201)
async def make_thing(request: web.Request, body: NewThing) -> Thing:
    """Make a thing."""
    return Thing(len(body.parts), body.name)


@api.post("/touch", summary="touch")
async def touch_things(request: web.Request) -> None:
    """Nothing to say."""


@pytest.fixture
async def client(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Client:
    """A client of an application with these routes alone."""
    app = web.Application(middlewares=[identify, explain], client_max_size=9000)
    mount(app, [api])
    return await aiohttp_client(app)


async def test_structs_go_in_and_out(client: Client) -> None:
    answer = await client.get("/things/7?is_deep=true")
    assert (answer.status, await answer.json()) == (200, {"number": 7, "name": "deep"})
    answer = await client.post("/things", json={"name": "x", "parts": [{"size": 1}]})
    assert (answer.status, await answer.json()) == (201, {"number": 1, "name": "x"})
    answer = await client.post("/things/touch")
    assert (answer.status, await answer.read()) == (204, b"")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{}", "name"),
        ("[]", "body"),
        ('{"name": 3}', "name"),
        ('{"name": ""}', "name"),
        ('{"name": "x", "colour": 1}', "colour"),
        ('{"name": "x", "parts": [{"size": 1}, {"size": 101}]}', "parts[1].size"),
        ('{"name": "x", "parts": [{"size": "1"}]}', "parts[0].size"),
        ('{"name": "x", "parts": [{}]}', "parts[0].size"),
        ('{"name": "a\\u0000b"}', "name"),
        ('{"na\\u0007me": "x"}', "na?me"),
        ('{"name": "x", "parts": [{"size": 99999999999999999999}]}', "parts[0].size"),
    ],
)
async def test_the_wrong_field_of_a_body_is_named(client: Client, body: str, field: str) -> None:
    answer = await client.post("/things", data=body, headers={"Content-Type": "application/json"})
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (400, "invalid_field")
    assert problem["detail"] == {"field": field, "where": "body"}
    assert problem["message"].startswith(f"字段 {field}：")
    assert f"field {field}: " in problem["message"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("path", "field", "where"),
    [
        ("/things/0", "number", "path"),
        ("/things/x", "number", "path"),
        ("/things/99999999999999999999999", "number", "path"),
        ("/things/1?is_deep=perhaps", "is_deep", "query"),
        ("/things/1?word=null", "word", "query"),
        ("/things/1?word=toolong", "word", "query"),
        ("/things/1?word=a%00b", "word", "query"),
        ("/things/1?word=a&word=b", "word", "query"),
        ("/things/1?colour=red", "colour", "query"),
    ],
)
async def test_the_wrong_field_of_an_address_is_named(
    client: Client, path: str, field: str, where: str
) -> None:
    answer = await client.get(path)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (400, "invalid_field")
    assert problem["detail"] == {"field": field, "where": where}


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        ('{"name": "x"', "application/json", 400, "malformed_json"),
        (b"\xff\xfe", "application/json", 400, "malformed_json"),
        ("", "application/json", 400, "malformed_json"),
        ("[" * 8000, "application/json", 400, "malformed_json"),
        ('{"name": "x"}', "text/plain", 415, "json_required"),
        ('{"name": "' + "x" * 9000 + '"}', "application/json", 413, "body_too_large"),
    ],
)
async def test_bodies_that_are_none(
    client: Client, body: str | bytes, kind: str, status: int, code: str
) -> None:
    answer = await client.post("/things", data=body, headers={"Content-Type": kind})
    assert (answer.status, (await answer.json())["code"]) == (status, code)


@pytest.mark.parametrize(
    ("word", "status", "code", "detail"),
    [
        ("gone", 404, "thing_gone", {"field": "number"}),
        ("busy", 409, "thing_busy", {}),
        ("wrong", 400, "thing_wrong", {"field": "word"}),
    ],
)
async def test_refusals_of_the_business_keep_their_code(
    client: Client, word: str, status: int, code: str, detail: dict[str, Any]
) -> None:
    answer = await client.get(f"/things/1?word={word}")
    problem = await answer.json()
    assert (answer.status, problem["code"], problem["detail"]) == (status, code, detail)
    assert " / " in problem["message"]


async def test_a_bug_tells_the_client_nothing_but_its_number(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/things/1?word=bug", headers={"X-Request-Id": "asked-for-7"})
    text = await answer.text()
    assert answer.status == 500
    assert "secret" not in text
    assert (await answer.json())["request_id"] == "asked-for-7"


async def test_what_the_router_refuses_has_the_same_shape(client: Client) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status, (await answer.json())["code"]) == (404, "not_found")
    answer = await client.put("/things/1")
    assert (answer.status, (await answer.json())["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


async def test_a_strange_request_id_is_not_taken(client: Client) -> None:
    answer = await client.get("/things/1", headers={"X-Request-Id": "a b<script>"})
    assert len(answer.headers["X-Request-Id"]) == 16


async def test_every_answer_forbids_strangers(client: Client) -> None:
    answer = await client.get("/things/1")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_the_openapi_page_comes_from_the_same_structs() -> None:
    page = openapi.document(api.operations, "1.2.3")
    assert page["openapi"] == "3.1.0"
    operation = page["paths"]["/things/{number}"]["get"]
    assert operation["operationId"] == "get_thing"
    assert operation["security"] == []
    number, is_deep, word = operation["parameters"]
    assert (number["in"], number["required"], number["schema"]["maximum"]) == ("path", True, 9)
    assert (is_deep["in"], is_deep["required"], is_deep["schema"]["default"]) == ("query", False, False)
    assert word["schema"] == {"type": "string", "maxLength": 5, "pattern": TEXT_PATTERN}
    assert word["description"] == "a word"
    made = page["paths"]["/things"]["post"]
    assert made["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/NewThing"
    }
    assert set(made["responses"]) == {"201", "400", "413", "415", "500"}
    assert page["paths"]["/things/touch"]["post"]["responses"]["204"] == {"description": "成功 / done"}


def test_the_older_form_has_no_null_type() -> None:
    page = openapi.as_3_0(openapi.document(api.operations, "1"))
    assert page["openapi"] == "3.0.3"
    assert '"type":"null"' not in msgspec.json.encode(page).decode()


def test_names_of_operations_are_unique() -> None:
    from pileward.http.app import GROUPS

    names = [operation.name for group in GROUPS for operation in group.operations]
    assert len(names) == len(set(names))


def test_the_documentation_lists_every_route() -> None:
    """docs/http-api.md, between the marks: one row for each route, in the order of the API page."""
    from pileward.http.app import GROUPS

    who = {
        Access.PUBLIC: "everybody",
        Access.OPERATOR: "token",
        Access.OPERATOR_BROWSER: "token or cookie",
        Access.DRIVER: "driver",
    }
    rows = [
        f"| `{op.method} {op.path}` | {who[op.access]} | {op.summary} |"
        for group in GROUPS
        for op in group.operations
        if not op.is_hidden
    ]
    text = Path("docs/http-api.md").read_text(encoding="utf-8")
    told = text.partition("<!-- routes: begin -->\n")[2].partition("<!-- routes: end -->")[0]
    assert told.splitlines() == ["| route | who | what |", "| --- | --- | --- |", *rows]
