"""The OpenAPI page is true: thousands of generated requests, good and bad, get the answers it promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.core.result import Ok

from pileward.clock import Clock
from pileward.config.settings import load
from pileward.http.app import make_app
from pileward.http.driver.tokens import DriverCaller, DriverTokens
from pileward.livefeed.memory import MemoryBus
from pileward.models.database import open_database
from pileward.node import Node
from pileward.services.drivers import login_driver
from tests.nodes import TOKEN, seed_street

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WEBSOCKETS = ("/ws", "/tail", "/live")
"""What a plain request cannot speak."""
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
"""What must hold of every answer. That good data is always taken does not: the business may refuse it too."""
EXAMPLES = 12
"""Requests to each operation, good ones, and as many bad ones."""


class Served:
    """A node with its HTTP server in a thread of its own: the generator of requests blocks."""

    def __init__(self, database_url: str, state: Path) -> None:
        self._database_url = database_url
        self._state = state
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.url = ""
        self.driver_token = ""

    def start(self) -> None:
        """Serve; returns when requests are taken."""
        self._thread.start()
        assert self._ready.wait(20), "the server did not start"

    def stop(self) -> None:
        """Stop, and wait until everything is closed."""
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        environ = {
            "PILEWARD_NODE_STATE_DIR": str(self._state),
            "PILEWARD_DATABASE_URL": self._database_url,
            "PILEWARD_YKC_HOST": "127.0.0.1",
            "PILEWARD_YKC_PORT": "0",
            "PILEWARD_OPERATOR_TOKEN": TOKEN,
            "PILEWARD_TAIL_SIZE_MIB": "4",
        }
        clock = Clock()
        database = await open_database(self._database_url)
        await seed_street(clock)
        node = Node(load(environ=environ), database, MemoryBus(), clock)
        await node.start()
        runner = web.AppRunner(make_app(node), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        driver = await login_driver(1, "wechat", "wx1", "o1", "", clock.utc())
        tokens = DriverTokens(node.driver_key)
        self.driver_token = tokens.issue(DriverCaller(driver.operator_id, driver.id))
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
        await node.close()
        await database.close()


@pytest.fixture
def served(sqlite_url: str, tmp_path: Path) -> Iterator[Served]:
    """A served node."""
    server = Served(sqlite_url, tmp_path / "state")
    server.start()
    yield server
    server.stop()


def test_the_page_promises_what_the_server_does(served: Served) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if not operation.path.endswith(WEBSOCKETS):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                token = served.driver_token if "/driver/" in operation.path else TOKEN
                _try(operation, mode, token)
            tried += 1
    assert tried > 30


def _try(operation: Any, mode: GenerationMode, token: str) -> None:
    """Send generated requests, good or bad ones, to one operation; the page must tell of every answer."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        # nobody can pay here, and that is said with 503
        assert answer.status_code != 500, f"{case.as_curl_command()}\n{answer.text}"
        case.validate_response(answer, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing to get wrong
