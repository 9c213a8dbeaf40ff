"""Logging: one JSON line an event, and what must not be read in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from pileward import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(level="info", fmt="json", node=3, stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def test_an_event_is_one_line_with_what_was_bound(lines: Lines) -> None:
    log = logs.logger("pileward.test").bind(pile="32010200000001", gun=1)
    log.info("gun faulted", fault="emergency stop\nsecond line")
    log.debug("not written")
    (line,) = lines()
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "gun faulted",
        "level": "info",
        "logger": "pileward.test",
        "node": 3,
        "pile": "32010200000001",
        "gun": 1,
        "fault": "emergency stop\nsecond line",
    }


def test_events_of_libraries_have_the_same_shape(lines: Lines) -> None:
    logging.getLogger("aiohttp.server").warning(
        "bad %s from %s", "request", "10.0.0.1", extra={"openid": "o" * 28}
    )
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == (
        "bad request from 10.0.0.1",
        "warning",
        "aiohttp.server",
    )
    assert line["openid"] == "oo***oo"


def test_an_exception_is_in_the_line_and_masked(lines: Lines) -> None:
    try:
        raise ValueError("refused for 13812345678")
    except ValueError:
        logs.logger("x").exception("it failed")
    (line,) = lines()
    assert "ValueError: refused for 138****5678" in line["exception"]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("token", "abc", "***"),
        ("operator_token", "abc", "***"),
        ("Authorization", "Bearer abc.def", "***"),
        ("db_password", "abc", "***"),
        ("phone", "13812345678", "13***78"),
        ("plate", "沪AD12345", "沪A***45"),
        ("card_no", "1000000000000573", "10***73"),
        ("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "oU***6o"),
        ("vin", "LSVAM4187C2184847", "LS***47"),
        ("card", "12", "***"),
        ("note", "call 13812345678 now", "call 138****5678 now"),
        ("note", "粤B·12345 left, 沪AD12345 came", "粤B***45 left, 沪A***45 came"),
        ("note", "user oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "user o***"),
        ("url", "asyncpg://pileward:hunter2@db/pileward", "asyncpg://pileward:***@db/pileward"),
        ("url", "/ws?token=abc&topic=gun", "/ws?token=***&topic=gun"),
        ("header", "Bearer abc.def-ghi", "Bearer ***"),
        ("body", {"driver": {"mobile": "13812345678"}}, {"driver": {"mobile": "13***78"}}),
        ("cards", ["call 13812345678"], ["call 138****5678"]),
        ("what", ("a", 1, None, True), ["a", 1, None, True]),
        # numbers of the field that only look like personal ones
        ("pile", "13812345678901", "13812345678901"),
        ("serial", "26112209241301000001", "26112209241301000001"),
        ("note", "pile 32010200000001 is back", "pile 32010200000001 is back"),
        ("raw", "680d000000031381234567890000", "680d000000031381234567890000"),
        ("power_e1_kw", 1200, 1200),
    ],
)
def test_secrets_and_personal_data_are_masked(lines: Lines, key: str, value: object, shown: object) -> None:
    logs.logger("x").info("event", **{key: value})
    assert lines()[0][key] == shown


def test_what_is_no_json_is_shown_by_its_repr(lines: Lines) -> None:
    logs.logger("x").info("event", what={1, 2}, thing=ValueError("13812345678"), raw=b"\x68\x0d")
    (line,) = lines()
    assert line["what"] == [1, 2]
    assert line["thing"] == "ValueError('138****5678')"


def test_a_terminal_gets_text() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        logs.configure(fmt="console", stream=stream)
        logs.logger("x").info("pile online", pile="32010200000001", phone="13812345678")
    finally:
        structlog.reset_defaults()
        root.handlers[:], root.level = handlers, level
    assert "pile online" in stream.getvalue()
    assert "pile=32010200000001" in stream.getvalue()
    assert "12345" not in stream.getvalue()
