"""Real databases for tests: an SQLite file and a PostgreSQL cluster of this run's own, both freshly migrated.

The cluster runs as user postgres when the tests run as root (initdb refuses root), otherwise as the user who
runs the tests. Each test gets a database of its own, cloned from one that was migrated once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pileward.models.database import Database, open_database
from pileward.models.migrate import migrate

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings of a cluster whose data nobody needs after a crash; benchmarks and chaos tests leave them out."""

T = TypeVar("T")

_numbers = itertools.count(1)


class PostgresServer:
    """A running cluster in a folder of its own, listening on a free port of the loopback address."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self._bin = _postgres_folder()
        self.port = _free_port()
        self._settings = [
            f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *settings
        ]  # fmt: skip
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        self._run(
            "initdb",
            "-D",
            self._data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        )
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers; its data is that of the last run."""
        options = " ".join(f"-c {setting}" for setting in self._settings)
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop; "immediate" is a crash, "fast" is orderly."""
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-m", mode, "stop")

    def create(self, template: str | None = None, name: str | None = None) -> str:
        """Create a database and return its URL."""
        name = name or f"test_{next(_numbers)}"
        self._run("createdb", *self._client, *(["-T", template] if template else []), name)
        return self.url(name)

    def dump(self, url: str) -> str:
        """The schema of a database as text."""
        return self._run("pg_dump", *self._client, "--schema-only", url.rpartition("/")[2])

    @property
    def _client(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def _run(self, program: str, *arguments: str) -> str:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False, **identity,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")
        return done.stdout


@contextlib.contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A cluster for the length of a block; skips the test where PostgreSQL is not installed."""
    folder = Path(tempfile.mkdtemp(prefix="pileward-pg-"))
    folder.chmod(0o755)
    try:
        server = PostgresServer(folder, *settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PostgresServer]:
    """The fast cluster of this run, with a migrated database called `migrated`."""
    with postgres_server(*FAST) as server:
        run_apart(migrate(server.create(name="migrated")))
        yield server


@pytest.fixture
def pg_url(pg_server: PostgresServer) -> str:
    """A migrated PostgreSQL database of this test's own."""
    return pg_server.create("migrated")


@pytest.fixture
def empty_pg_url(pg_server: PostgresServer) -> str:
    """An empty PostgreSQL database of this test's own."""
    return pg_server.create()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy from."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    run_apart(migrate(f"sqlite://{path}"))
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of this test's own."""
    path = tmp_path / "pileward.sqlite3"
    shutil.copyfile(migrated_file, path)
    return f"sqlite://{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "pg_url")
    return url


@pytest.fixture(scope="session")
def shared_pg_url(pg_server: PostgresServer) -> str:
    """A migrated PostgreSQL database that is emptied for each test: quicker than one of its own."""
    return pg_server.create("migrated")


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An open, empty database of each kind in turn; models use it."""
    is_sqlite = request.param == "sqlite"
    opened = await open_database(request.getfixturevalue("sqlite_url" if is_sqlite else "shared_pg_url"))
    try:
        if not is_sqlite:
            await empty(opened)
        yield opened
    finally:
        await opened.close()


async def empty(database: Database) -> None:
    """Delete every row of a PostgreSQL database and count from 1 again; TRUNCATE takes ten times as long."""
    rows = await database.connection.execute_query_dict(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'tortoise_migrations'"
    )
    script = ["SET LOCAL session_replication_role = replica"]  # foreign keys would ask for an order
    for row in rows:
        script.append(f'DELETE FROM "{row["tablename"]}"')
        script.append(f"SELECT setval(pg_get_serial_sequence('{row['tablename']}', 'id'), 1, false)")
    await database.connection.execute_script(";".join(script))


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and thread of its own, whatever runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _postgres_folder() -> Path:
    named = os.environ.get("PG_BIN")
    found = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    if not found:
        initdb = shutil.which("initdb")
        if initdb is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(
                "PostgreSQL is missing: make setup, or PG_BIN"
            )
        return Path(initdb).resolve().parent
    return found[-1]


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
