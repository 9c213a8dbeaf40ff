"""Frame path: what one frame costs the server, against a bare uvloop echo server in the same run.

200 connections send a heartbeat each and wait for all answers, again and again; then real-time data and a
heartbeat. Real-time data has no answer, so its cost is that of the pair minus that of the heartbeat, on
both servers. Cost is CPU time of the server's process (all its threads) by frames; repeats are interleaved,
and the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.pileward_server import PilewardServer
from tests.bench.processes import cpu_s
from tests.bench.ykc_client import FIRST_CODE, BareFleet

CONNECTIONS = 200
ROUNDS = 100
"""Rounds of one measurement: 20,000 frames or pairs, about half a second."""
REPEATS = 9
HEARTBEAT_BUDGET = 2.5
REAL_TIME_BUDGET = 4.0


class Reference:
    """The echo server as a process of its own."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("echo_server.py")
        self._process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[1])
        self.pid = self._process.pid

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(10)


def measure(pid: int, fleet: BareFleet, *, with_real_time: bool) -> float:
    """CPU microseconds of the server for one round of one connection: a heartbeat, or a pair."""
    heartbeats = fleet.heartbeats()
    bursts = [fleet.real_times(), heartbeats] if with_real_time else [heartbeats]
    before = cpu_s(pid)
    for _ in range(ROUNDS):
        fleet.round(bursts)
    return (cpu_s(pid) - before) * 1e6 / (ROUNDS * CONNECTIONS)


def row(name: str, ours_us: float, reference_us: float, budget: float) -> dict[str, Any]:
    """One line of the report."""
    ratio = ours_us / reference_us
    return {
        "name": name,
        "value": round(ours_us, 2),
        "unit": "µs",
        "reference": round(reference_us, 2),
        "ratio": round(ratio, 2),
        "budget": budget,
        "ok": ratio <= budget,
    }


def compare(server_pid: int, server_port: int, reference: Reference) -> list[dict[str, Any]]:
    """Measure both servers in turns."""
    fleets = {
        "ours": (server_pid, BareFleet(server_port, CONNECTIONS, power_on=True)),
        "reference": (reference.pid, BareFleet(reference.port, CONNECTIONS, power_on=False)),
    }
    costs: dict[tuple[str, bool], list[float]] = {(who, pair): [] for who in fleets for pair in (False, True)}
    for pid, fleet in fleets.values():  # warm up
        measure(pid, fleet, with_real_time=True)
    for _ in range(REPEATS):
        for pair in (False, True):
            for who, (pid, fleet) in fleets.items():
                costs[who, pair].append(measure(pid, fleet, with_real_time=pair))
    for _, fleet in fleets.values():
        fleet.close()
    median = {key: statistics.median(values) for key, values in costs.items()}
    real_time = {who: median[who, True] - median[who, False] for who in fleets}
    return [
        row(
            "frame path: CPU a heartbeat", median["ours", False], median["reference", False], HEARTBEAT_BUDGET
        ),
        row("frame path: CPU a real-time frame", real_time["ours"], real_time["reference"], REAL_TIME_BUDGET),
    ]


def run() -> list[dict[str, Any]]:
    """Start both servers, measure, stop them."""
    reference = Reference()
    try:
        with PilewardServer(first_code=FIRST_CODE, piles=CONNECTIONS) as server:
            return compare(server.pid, server.port, reference)
    finally:
        reference.stop()


if __name__ == "__main__":
    for line in run():
        sys.stdout.write(f"{line}\n")
