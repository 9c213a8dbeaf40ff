"""The demo as real processes in a folder of its own, to be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

SLOW_S = 90.0
"""Real seconds that starting all processes may take on a busy machine."""
LOOK_EVERY_S = 0.25
"""Seldom enough for the page's rate limit."""


class DemoProcess:
    """`pileward demo` with its children; started again on the same folder as often as wanted."""

    def __init__(self, state: Path, profile: str = "steady") -> None:
        self.state = state
        self.profile = profile
        self.process: subprocess.Popen[bytes] | None = None
        state.mkdir(parents=True, exist_ok=True)
        self.ports = _free_ports("http", "ykc", "pay")
        (state / "ports.json").write_text(json.dumps(self.ports))

    @property
    def url(self) -> str:
        """Where its HTTP server is."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def token(self) -> str:
        """The operator's token, as a newcomer finds it."""
        return (self.state / "operator.token").read_text().strip()

    def start(self) -> None:
        """Start the parent, which starts the others."""
        with (self.state / "demo.out").open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pileward", "demo", "--state", str(self.state)),
                    *("--rate", "1", "--profile", self.profile),
                ],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )

    async def started(self) -> None:
        """Start, and wait until every simulated pile is online."""
        self.start()
        await until(self.all_online, what="all piles of the demo online")

    def all_online(self) -> bool:
        """Whether the page shows all simulated piles online, with their tariff."""
        assert self.process is not None
        assert self.process.poll() is None, (self.state / "demo.out").read_text()
        piles = self.piles()
        return len(piles) >= 22 and all(
            pile["state"] == "online" and pile["tariff_ok"]
            for pile in piles
            if pile["pile_code"].startswith("3201060001")
        )

    def piles(self) -> list[dict[str, Any]]:
        """The piles of the page; none while nobody answers."""
        try:
            overview = self.get("/api/public/v1/overview")
        except OSError:
            return []
        return [pile for station in overview["stations"] for pile in station["piles"]]

    def get(self, path: str) -> Any:
        """Ask its API. Raises OSError while nobody answers."""
        request = Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except URLError as error:
            raise OSError(str(error)) from error

    def cli(self, *arguments: str, stdin: str = "") -> str:
        """Run `pileward …` against it, as a newcomer does; gives what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "pileward", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=_environment() | {"COLUMNS": "200", "PILEWARD_URL": self.url},
        )
        assert done.returncode == 0, f"pileward {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def operate(self, *arguments: str) -> str:
        """The same for commands that need the token, which is in the state folder."""
        return self.cli(*arguments, "--state", str(self.state))

    def family(self) -> dict[int, str]:
        """Process ids of the parent and all below it, with their command lines."""
        found: dict[int, str] = {}
        waiting = [self.process.pid] if self.process is not None else []
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line:  # a zombie has none
                    found[pid] = line
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (thread / "children").read_text().split()]
        return found

    def pid_of(self, word: str) -> int:
        """The child whose command line has this word; 0 when there is none."""
        return next((pid for pid, line in self.family().items() if f" {word} " in f"{line} "), 0)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of its database as they are committed now."""
        path = self.state / "pileward.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    async def interrupted(self, number: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C and wait for the end; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self, within_s: float = 30.0) -> int:
        """Wait for the parent's end; gives its exit code."""
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, within_s, "the demo's end")
        return process.returncode

    def kill_all(self, family: dict[int, str] | None = None) -> None:
        """Kill every process of it at once, as a power cut does."""
        for pid in family if family is not None else self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)


async def until(condition: Callable[[], object], within_s: float = SLOW_S, what: str = "") -> None:
    """Look now and then until a condition about other processes holds; fail after so many real seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what or condition} did not come within {within_s:g} s"
        await asyncio.sleep(LOOK_EVERY_S)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def demo_in(state: Path, profile: str = "steady") -> Iterator[DemoProcess]:
    """A demo that is not started yet; nothing of it is left behind."""
    demo = DemoProcess(state, profile)
    try:
        yield demo
    finally:
        demo.kill_all()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PILEWARD_")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _free_ports(*names: str) -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in names:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
        return ports
