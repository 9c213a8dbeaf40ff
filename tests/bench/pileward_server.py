"""A Pileward server for benchmarks: `pileward serve` in a process of its own, with registered piles.

Run as a module this file is that process: `seed` fills a state folder, `serve` is `pileward serve` with one
addition: on SIGUSR1 it collects garbage, so that memory can be read after a collection.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.bench.processes import cpu_s, rss_kib

ROOT: Final = Path(__file__).parents[2]
START_WITHIN_S: Final = 120.0
BULK: Final = 500
SETTINGS: Final = {
    "PILEWARD_HTTP_PORT": "0",
    "PILEWARD_YKC_HOST": "127.0.0.1",
    "PILEWARD_YKC_PORT": "0",
    "PILEWARD_LOG_LEVEL": "warning",
    # A benchmark is one client far busier than any pile.
    "PILEWARD_LIMITS_FRAMES_PER_S": "1000000",
    "PILEWARD_LIMITS_FRAMES_BURST": "1000000",
}


class PilewardServer:
    """The process; `with` starts and stops it. The piles are registered with two guns each."""

    def __init__(self, *, first_code: int, piles: int, **settings: str) -> None:
        """`settings`: more environment variables, without the prefix (`TAIL_SIZE_MIB="1"`)."""
        self._first_code = first_code
        self._piles = piles
        self._settings = {f"PILEWARD_{name}": value for name, value in settings.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="pileward-bench-")
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.port = 0
        self.started_s = 0.0
        """Seconds from the start of the process until it listened."""

    def __enter__(self) -> Self:
        environ = os.environ | SETTINGS | self._settings | {"PILEWARD_NODE_STATE_DIR": self._folder.name}
        seed = self._command("seed", str(self._first_code), str(self._piles))
        subprocess.run(seed, check=True, env=environ, cwd=ROOT)
        ready = Path(self._folder.name) / "ready.json"
        began = time.monotonic()
        log = Path(self._folder.name) / "server.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command("serve", str(ready)), env=environ, cwd=ROOT, stderr=output
            )
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() - began > START_WITHIN_S:
                said = log.read_text()[-2_000:]
                self.__exit__(None, None, None)
                raise RuntimeError(f"the server did not start: {said}")
            time.sleep(0.02)
        self.started_s = time.monotonic() - began
        self.port = json.loads(ready.read_text())["ykc_port"]
        self.pid = self._process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def cpu_s(self) -> float:
        """CPU seconds the process has used."""
        return cpu_s(self.pid)

    def rss_kib(self) -> int:
        """Resident memory after a collection, KiB."""
        os.kill(self.pid, signal.SIGUSR1)
        # The collection takes CPU time; when that stands still it is over.
        before = -1.0
        while (now := self.cpu_s()) - before > 0.02:
            before = now
            time.sleep(0.3)
        return rss_kib(self.pid)

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.bench.pileward_server", *arguments]


async def seed(first_code: int, piles: int) -> None:
    """Register consecutive piles in the database of the settings: one station, one tariff."""
    from pileward.config.settings import load
    from pileward.models.database import open_database
    from pileward.models.kinds import PileKind
    from pileward.models.piles import Gun, Pile
    from pileward.services.audit import Who
    from pileward.services.operators import ensure_operator
    from pileward.services.pile_models import ensure_default_model
    from pileward.services.stations import NewStation, add_station
    from pileward.services.tariffs import TariffTerms, create_tariff
    from pileward.values import RatePrice

    settings = load()
    database = await open_database(settings.database_url)
    try:
        now = datetime.now(UTC)
        operator = await ensure_operator(now)
        who = Who(operator.id, "system", now)
        price = RatePrice(80_000, 40_000)
        terms = TariffTerms(price, price, price, price, slots="3" * 48)
        tariff = await create_tariff(who, "bench", terms)
        station = await add_station(who, NewStation(code="bench", name_zh="测试站", tariff_id=tariff.id))
        model = await ensure_default_model(operator.id)
        common: dict[str, Any] = {
            "operator_id": operator.id,
            "station_id": station.id,
            "model_id": model.id,
            "kind": PileKind.DC,
            "gun_count": 2,
            "rated_power_w": 120_000,
            "created_at": now,
            "updated_at": now,
        }
        codes = [f"{first_code + index:014d}" for index in range(piles)]
        async with database.transaction():
            await Pile.bulk_create(
                [Pile(pile_code=code, name=code, **common) for code in codes], batch_size=BULK
            )
            ids = await Pile.all().values_list("id", flat=True)
            guns = [Gun(pile_id=pile_id, gun_no=gun_no) for pile_id in ids for gun_no in (1, 2)]
            await Gun.bulk_create(guns, batch_size=BULK)
    finally:
        await database.close()


def main() -> None:
    """Be the process: `seed FIRST_CODE PILES` or `serve READY_FILE`."""
    if sys.argv[1] == "seed":
        asyncio.run(seed(int(sys.argv[2]), int(sys.argv[3])))
        return
    from pileward.cli.serve import command

    signal.signal(signal.SIGUSR1, lambda number, frame: gc.collect())
    command(["--ready-file", sys.argv[2]], standalone_mode=False)


if __name__ == "__main__":
    main()
