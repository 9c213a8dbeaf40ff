"""Live feed: what publishing costs when nobody listens, and to one listener in the process."""

from __future__ import annotations

import asyncio
from typing import Any

from pileward.livefeed.memory import MemoryBus
from pileward.livefeed.redis_bus import RedisBus
from pileward.ports import Bus
from tests.bench.timing import best_us

PAYLOAD = b'{"pile":"32010200000001","gun":1,"state":"Charging","power_e1_kw":600}'


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


def run() -> list[dict[str, Any]]:
    """Measure both buses without a listener, and the one in memory with one."""
    rows = [
        ("live feed: publish to nobody, in process", publish(MemoryBus()), 0.3),
        # never started: what nobody listens to does not reach the connection
        ("live feed: publish to nobody, Redis", publish(RedisBus("redis://127.0.0.1:1/0")), 0.3),
        ("live feed: publish to one listener, in process", asyncio.run(listened()), None),
    ]
    return [
        {
            "name": name,
            "value": round(value, 3),
            "unit": "µs",
            "reference": None,
            "ratio": None,
            "budget": budget,
            "ok": budget is None or value <= budget,
        }
        for name, value, budget in rows
    ]
