"""How terminal commands reach a server: token, errors in words, no traceback."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest

from pileward.cli.http_client import TOKEN_FILE, Server, keep_token, open_server

PROBLEM = {
    "code": "pile_exists",
    "message": "桩已登记 / exists",
    "detail": {"field": "pile_code"},
    "request_id": "r",
}


class Scripted(ThreadingHTTPServer):
    """A server that answers what it is told and remembers what it was asked."""

    status = 200
    answer = b"{}"
    asked: list[tuple[str, str, dict[str, str], bytes]]


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        if self.server.status == 0:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut off")
            self.close_connection = True
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(scripted: Scripted) -> Server:
    return Server(f"http://127.0.0.1:{scripted.server_address[1]}/", "s3cret")


def test_a_call_carries_token_and_json(scripted: Scripted, client: Server) -> None:
    scripted.answer = json.dumps({"items": [1]}).encode()
    assert client.call("POST", "/api/x?limit=1", {"name": "一号"}) == {"items": [1]}
    ((method, path, headers, body),) = scripted.asked
    assert (method, path) == ("POST", "/api/x?limit=1")
    assert headers["Authorization"] == "Bearer s3cret"
    assert json.loads(body) == {"name": "一号"}


def test_an_empty_answer_is_none(scripted: Scripted, client: Server) -> None:
    scripted.answer = b""
    assert client.call("GET", "/x") is None


TROUBLES = [
    # status  answer                              what the person reads
    (409,     json.dumps(PROBLEM).encode(),       'pile_exists: 桩已登记 / exists {"field": "pile_code"}'),
    (401,     b'{"code": "c", "message": "m"}',   "c: m"),
    (502,     b"<html>Bad Gateway</html>",        "HTTP 502 Bad Gateway"),
    (500,     b'["odd"]',                         "HTTP 500 Internal Server Error"),
    (200,     b"<html>hello</html>",              "is no Pileward server"),
    (0,       b"",                                "cannot be reached: IncompleteRead"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "answer", "words"), TROUBLES)
def test_what_went_wrong_is_said_in_words(
    scripted: Scripted, client: Server, status: int, answer: bytes, words: str
) -> None:
    scripted.status, scripted.answer = status, answer
    with pytest.raises(click.ClickException) as raised:
        client.call("GET", "/x")
    assert words in raised.value.message


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(click.ClickException, match="cannot be reached"):
            Server(url, "t").call("GET", "/x")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:8080", "ftp://x"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(click.ClickException, match="not an http address"):
        Server(url, "t")


def test_the_token_comes_from_the_option_or_the_state_folder(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no operator token"):
        open_server("http://x", None, tmp_path)
    keep_token(tmp_path, "kept")
    assert open_server("http://x/", None, tmp_path)._token == "kept"
    assert open_server("http://x/", "given", tmp_path)._token == "given"


def test_a_kept_token_is_for_its_user_only(tmp_path: Path) -> None:
    file = tmp_path / TOKEN_FILE
    file.write_text("an older and longer one, readable for everybody")
    file.chmod(0o644)
    keep_token(tmp_path, "kept")
    assert file.read_text() == "kept\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
