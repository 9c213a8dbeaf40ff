"""`pileward demo`: the whole story on one machine, with nothing set up.

A parent with three children which die with it: the WeChat Pay emulator, the server, and the simulated piles
with their drivers. Ports, token, database, clock, the emulator's books and the piles' memories live in the
state folder, so the demo goes on after it was stopped or killed; a child that dies alone is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import uvloop

from pileward.cli.demo_seed import FIRST_CODE, PILES, seed
from pileward.cli.demo_story import Story
from pileward.cli.http_client import TOKEN_FILE, keep_token
from pileward.clock import Clock
from pileward.config import clock_state
from pileward.config.settings import load
from pileward.errors import DatabaseError
from pileward.models.database import open_database

PR_SET_PDEATHSIG: Final = 1
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 15.0
STORY_EVERY_S: Final = 2.0
AGAIN_AFTER_S: Final = 1.0
PORTS_FILE: Final = "ports.json"
HTTP_PORT: Final = 8080
YKC_PORT: Final = 8768
PAY_PORT: Final = 18443
DRIVERS: Final = 24
RATE: Final = 20.0
"""Clock seconds a second: half an hour of charging is a minute and a half to watch."""
REST_S: Final = 240.0
"""Mean clock seconds between two charges of a driver."""


@click.command("demo")
@click.option(
    "--state",
    default="state",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="状态文件夹 / state folder; remove it to begin anew",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="HTTP 端口 / HTTP port; default: 8080 or a free one"
)
@click.option(
    "--rate", default=RATE, show_default=True, type=click.FloatRange(0.1, 3_600), help="时钟倍速 / clock rate"
)
@click.option("--profile", default="lively", show_default=True, help="桩的性格 / how the piles behave")
def command(state: Path, port: int | None, rate: float, profile: str) -> None:
    """演示：两个场站、二十余台模拟桩 / A demo: two stations, some twenty simulated piles that live."""
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    try:
        uvloop.run(Demo(state, port, rate, profile).run())
    except (DatabaseError, OSError) as error:
        raise click.ClickException(str(error)) from error


class Demo:
    """The parent process."""

    def __init__(self, state: Path, port: int | None, rate: float, profile: str) -> None:
        self.state = state
        self.rate = rate
        self.profile = profile
        self.token = self._token()
        self.ports = self._ports(port)
        self.clock: Clock = clock_state.resume(state, rate) if rate != 1.0 else Clock()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Seed, start both children, keep them running, stop them in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.set)
        await self._seed()
        pay = asyncio.create_task(self._keep("pay", self._pay_arguments()))
        server = None
        if await self._ready("pay"):
            server = asyncio.create_task(self._keep("server", self._server_arguments()))
            if await self._ready("server"):
                self._tell()
                story = asyncio.create_task(self._tell_story())
                piles = asyncio.create_task(self._keep("piles", self._piles_arguments()))
                await self.stopping.wait()
                click.echo("\n正在停止 / stopping …")
                story.cancel()
                await piles
        self.stopping.set()
        for child in (server, pay):
            if child is not None:
                await child
        click.echo("已停止，状态保存在 / stopped; the state is kept in " + str(self.state))

    async def _seed(self) -> None:
        settings = load(environ=self._environment())
        database = await open_database(settings.database_url)
        try:
            await seed(self.clock.utc())
        finally:
            await database.close()

    async def _ready(self, name: str) -> bool:
        """Wait until a child listens; False when it was stopped before."""
        ready = self._ready_file(name)
        for _ in range(round(READY_WITHIN_S / 0.1)):
            if ready.exists():
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.1)
            if self.stopping.is_set():
                return False
        self.stopping.set()
        raise click.ClickException(
            f"{name} 未能启动，见 / {name} did not start, see {self.state / f'{name}.log'}"
        )

    async def _keep(self, name: str, arguments: list[str]) -> None:
        """Run one child until the demo ends; start it again when it dies before."""
        while not self.stopping.is_set():
            self._ready_file(name).unlink(missing_ok=True)
            with (self.state / f"{name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *arguments,
                    stdout=log,
                    stderr=log,
                    env=os.environ | self._environment(),
                    preexec_fn=_die_with_parent(os.getpid()),
                    start_new_session=True,
                )
            ended = asyncio.create_task(process.wait())
            stop = asyncio.create_task(self.stopping.wait())
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.is_set():
                await _end(process)
            else:
                click.echo(
                    f"{name} 已退出（{process.returncode}），重新启动 / {name} ended, starting it again"
                )
                await asyncio.sleep(AGAIN_AFTER_S)
            for task in (ended, stop):
                task.cancel()

    def _ready_file(self, name: str) -> Path:
        return self.state / f"{name}.ready.json"

    async def _tell_story(self) -> None:
        """Print one charge in full each time one is over, from the server's own books."""
        story = Story(f"http://127.0.0.1:{self.ports['http']}", self.token)
        while True:
            await asyncio.sleep(STORY_EVERY_S)
            for text in await story.next():
                click.echo(text)

    def _tell(self) -> None:
        url = f"http://127.0.0.1:{self.ports['http']}"
        click.echo(
            f"\n  Pileward 演示正在运行 / the demo is running\n\n"
            f"  实时页面 / live page      {url}/\n"
            f"  调试 / debug              {url}/debug\n"
            f"  接口文档 / API            {url}/docs\n"
            f"  YKC 接入 / YKC listener   127.0.0.1:{self.ports['ykc']}\n"
            f"  运营令牌 / operator token {self.token}\n\n"
            f"  {PILES} 台模拟桩，首号 / simulated piles from {FIRST_CODE}\n"
            f"  {DRIVERS} 位司机，时钟 {self.rate:g} 倍 / drivers, clock at {self.rate:g} times\n"
            f"  日志 / logs               {self.state}\n"
            f"  Ctrl-C 停止 / Ctrl-C stops\n"
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PILEWARD_NODE_STATE_DIR": str(self.state),
            "PILEWARD_HTTP_HOST": "127.0.0.1",
            "PILEWARD_HTTP_PORT": str(self.ports["http"]),
            "PILEWARD_YKC_HOST": "127.0.0.1",
            "PILEWARD_YKC_PORT": str(self.ports["ykc"]),
            "PILEWARD_OPERATOR_TOKEN": self.token,
            "PILEWARD_CLOCK_RATE": str(self.rate),
            "PILEWARD_LOG_FORMAT": "json",
        }

    def _server_arguments(self) -> list[str]:
        return [
            *(sys.executable, "-m", "pileward", "serve"),
            *("--config", str(self.state / "wechat" / "merchant.toml")),
            *("--ready-file", str(self._ready_file("server"))),
        ]

    def _pay_arguments(self) -> list[str]:
        return [
            *(sys.executable, "-m", "pileward", "emulate", "wechat"),
            *("--port", str(self.ports["pay"]), "--state", str(self.state / "wechat")),
            *("--scale", str(self.rate), "--origin", self.clock.utc().isoformat()),
            *("--notify-base", f"http://127.0.0.1:{self.ports['http']}"),
            *("--ready-file", str(self._ready_file("pay"))),
        ]

    def _piles_arguments(self) -> list[str]:
        return [
            *(sys.executable, "-m", "pileward", "simulate"),
            *("--port", str(self.ports["ykc"]), "--piles", str(PILES), "--first-code", FIRST_CODE),
            *("--profile", self.profile, "--rate", str(self.rate), "--seed", "7"),
            *("--origin", self.clock.utc().isoformat(), "--state", str(self.state / "piles")),
            *("--drivers", str(DRIVERS), "--rest", str(REST_S)),
            *("--api", f"http://127.0.0.1:{self.ports['http']}"),
            *("--pay", f"http://127.0.0.1:{self.ports['pay']}"),
        ]

    def _token(self) -> str:
        file = self.state / TOKEN_FILE
        if not file.exists():
            keep_token(self.state, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def _ports(self, wanted: int | None) -> dict[str, int]:
        """The ports of the last time, so that piles and bookmarks find the demo again; else free ones."""
        file = self.state / PORTS_FILE
        known = json.loads(file.read_text()) if file.exists() else {}
        ports = {
            "http": wanted or _usable(known.get("http", HTTP_PORT)),
            "ykc": _usable(known.get("ykc", YKC_PORT)),
            "pay": _usable(known.get("pay", PAY_PORT)),
        }
        file.write_text(json.dumps(ports))
        return ports


def _usable(port: int) -> int:
    """This port if nobody has it, else any free one."""
    for candidate in (port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", candidate))
            return int(probe.getsockname()[1])
    raise OSError("没有空闲端口 / no free port")


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For the child, before it runs: end when the parent ends, however that happens."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
