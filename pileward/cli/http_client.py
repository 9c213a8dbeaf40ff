"""How commands of the terminal talk to a running server: its HTTP API with the operator token."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import click

TIMEOUT_S: Final = 40.0
TOKEN_FILE: Final = "operator.token"  # noqa: S105 - a file's name
F = TypeVar("F", bound=Callable[..., Any])


class Server:
    """One server, spoken to with the operator's token."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise click.ClickException(f"{url}: 服务地址须以 http:// 或 https:// 开头 / not an http address")
        self.url = url.rstrip("/")
        self._token = token

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self._token}"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request; returns the answer's JSON. Raises ClickException that says what was wrong."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
                told = answer.read()
        except HTTPError as error:
            raise click.ClickException(_problem(error)) from None
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(f"{self.url} 无法连接 / cannot be reached: {reason}") from None
        try:
            return json.loads(told or b"null")
        except ValueError:
            raise click.ClickException(f"{self.url} 不是 Pileward 服务 / is no Pileward server") from None


def with_server(function: F) -> F:
    """Options that say which server and with which token."""
    url = click.option(
        "--url",
        envvar="PILEWARD_URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        help="服务地址 / address of the server",
    )
    token = click.option(
        "--token",
        envvar="PILEWARD_OPERATOR_TOKEN",
        help="运营令牌 / operator token; default: the one in --state",
    )
    state = click.option(
        "--state",
        envvar="PILEWARD_NODE_STATE_DIR",
        default="state",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="状态文件夹，内有演示令牌 / state folder that holds the demo's token",
    )
    return url(token(state(function)))


def open_server(url: str, token: str | None, state: Path) -> Server:
    """The server of the options; the token comes from the option, the environment or the state folder."""
    if not token:
        file = state / TOKEN_FILE
        if not file.is_file():
            raise click.ClickException(
                "缺少运营令牌：用 --token 或 PILEWARD_OPERATOR_TOKEN 给出 / "
                "no operator token: give --token or PILEWARD_OPERATOR_TOKEN"
            )
        token = file.read_text().strip()
    return Server(url, token)


def keep_token(state: Path, token: str) -> None:
    """Write the token where only this user can read it."""
    file = state / TOKEN_FILE
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        os.fchmod(descriptor, 0o600)  # the file may be there already, and readable for others
        opened.write(token + "\n")


def _problem(error: HTTPError) -> str:
    try:
        told = json.loads(error.read())
        detail = told.get("detail")
        return f"{told['code']}: {told['message']}" + (
            f" {json.dumps(detail, ensure_ascii=False)}" if detail else ""
        )
    except (ValueError, KeyError, AttributeError):
        return f"HTTP {error.code} {error.reason}"
