"""Live feed: what publishing costs when nobody listens, to one listener in the process, and through Redis."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from typing import Any

import uvloop

from pileward.livefeed.memory import MemoryBus
from pileward.livefeed.redis_bus import QUEUE_LIMIT, RedisBus
from pileward.ports import Bus
from tests.bench.timing import best_us
from tests.redis_server import RedisServer

PAYLOAD = b'{"pile":"32010200000001","gun":1,"state":"Charging","power_e1_kw":600}'
EVENTS = 50_000
BURST = 1_000


def publish(bus: Bus) -> float:
    """Microseconds of one publish."""

    def many(calls: int) -> None:
        send = bus.publish
        for _ in range(calls):
            send("gun", PAYLOAD)

    return best_us(many, 200_000)


async def listened() -> float:
    """Microseconds of one publish to a listener whose queue is always full."""
    bus = MemoryBus()
    async with bus.subscribe("gun", limit=16):
        return publish(bus)


async def through_redis(url: str) -> tuple[float, float]:
    """Events a second from `publish` to a listener of the same process, and its CPU microseconds an event."""
    bus = RedisBus(url, "bench")
    await bus.start()
    async with bus.subscribe("gun", limit=QUEUE_LIMIT) as events:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(EVENTS // BURST):
            for _ in range(BURST):
                bus.publish("gun", PAYLOAD)
            for _ in range(BURST):
                await anext(events)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    await bus.close()
    assert bus.stats.dropped == bus.stats.lagged == 0
    return EVENTS / took_s, cpu_s / EVENTS * 1e6


def run() -> list[dict[str, Any]]:
    """Measure all; without a redis-server the last two rows are left out."""
    rows = [
        row("live feed: publish to nobody, in process", publish(MemoryBus()), "µs", 0.3),
        # never started: what nobody listens to does not reach the connection
        row("live feed: publish to nobody, Redis", publish(RedisBus("redis://127.0.0.1:1/0")), "µs", 0.3),
        row("live feed: publish to one listener, in process", asyncio.run(listened()), "µs", None),
    ]
    if shutil.which("redis-server") is None:
        return rows
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(directory)
        server.start()
        try:
            rate, cost_us = uvloop.run(through_redis(server.url))
        finally:
            server.kill()
    rows.append(row("live feed: through Redis to one listener", rate, "events/s", None))
    rows.append(row("live feed: CPU an event through Redis", cost_us, "µs", None))
    return rows


def row(name: str, value: float, unit: str, budget: float | None) -> dict[str, Any]:
    """One figure; the budget, if there is one, is in the unit of the value."""
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "reference": None,
        "ratio": None,
        "budget": budget,
        "ok": budget is None or value <= budget,
    }
