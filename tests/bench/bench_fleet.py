"""Fleet: 10,000 simulated piles on connections of their own, two guns each, one server process.

This process is the street; the server is another one. All piles get their power at the same moment; when
all are online they live steadily with a heartbeat every 10 s for each gun. Memory a pile is the resident
memory after a collection, less that of the same server without any pile, by piles: actors, configuration,
connections and their buffers, everything. The frame tail is one bounded ring a process, not a cost of
piles, and is kept small here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from pileward.cli.load import allow_files
from pileward.simulator.load import LoadReport, LoadRun
from pileward.simulator.plan import Plan
from tests.bench.pileward_server import PilewardServer
from tests.bench.ykc_client import FIRST_CODE

PILES = 10_000
MEASURE_S = 40.0
"""Four heartbeats of every gun."""
MEMORY_BUDGET_KIB = 10.0
TAIL = {"TAIL_SIZE_MIB": "1"}


def row(name: str, value: float, unit: str, budget: float | None = None) -> dict[str, Any]:
    """One line of the report; a value without a budget is neither good nor bad."""
    is_ok = None if budget is None else value <= budget
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference": None,
        "ratio": None,
        "budget": budget,
        "ok": is_ok,
    }


async def live(server: PilewardServer) -> tuple[LoadReport, float, int]:
    """Bring all piles up and let them live: the report, the server's CPU share, and its memory (KiB)."""
    load = LoadRun("127.0.0.1", server.port, Plan(first_code=f"{FIRST_CODE:014d}", piles=PILES))
    try:
        all_online_s = await load.bring_up()
        began, used = time.monotonic(), server.cpu_s()
        report = await load.measure(MEASURE_S, all_online_s)
        share = (server.cpu_s() - used) / (time.monotonic() - began)
        return report, share, await asyncio.to_thread(server.rss_kib)
    finally:
        await load.fleet.close()


def run() -> list[dict[str, Any]]:
    """Weigh a server without piles, then one with all of them."""
    allow_files(PILES)
    with PilewardServer(first_code=FIRST_CODE, piles=0, **TAIL) as server:
        empty_kib = server.rss_kib()
    with PilewardServer(first_code=FIRST_CODE, piles=PILES, **TAIL) as server:
        registered_kib = server.rss_kib()
        report, share, full_kib = uvloop.run(live(server))
        started_s = server.started_s
    if report.online < PILES or report.all_online_s is None:
        raise RuntimeError(f"only {report.online} of {PILES} piles came online: {report.errors}")
    title = f"fleet of {PILES:,}"
    unwell = sum(report.errors.values())
    return [
        row(f"{title}: memory a pile", round((full_kib - empty_kib) / PILES, 2), "KiB", MEMORY_BUDGET_KIB),
        row(f"{title}: of this before they connect", round((registered_kib - empty_kib) / PILES, 2), "KiB"),
        row(f"{title}: heartbeat answer p50", report.heartbeat["p50_ms"], "ms"),
        row(f"{title}: heartbeat answer p99", report.heartbeat["p99_ms"], "ms"),
        row(f"{title}: heartbeat answer, longest", report.heartbeat["max_ms"], "ms"),
        row(f"{title}: CPU share of the server", round(share * 100, 1), "% of a core"),
        row(f"{title}: frames up", report.frames_up_per_s, "1/s"),
        row(f"{title}: server start until it listens", round(started_s, 2), "s"),
        row(f"{title}: cold start of all until all online", report.all_online_s, "s"),
        row(f"{title}: errors", unwell, "", 0),
    ]


if __name__ == "__main__":
    for line in run():
        sys.stdout.write(f"{line}\n")
