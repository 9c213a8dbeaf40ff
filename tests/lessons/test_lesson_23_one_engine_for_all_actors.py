"""Lesson 23: all actors live on one engine in one process, however many they are.

Elsewhere thousands of Thespian actors exhausted processes, memory and select(), and a thousand messages could
hang. The benchmark measures 100,000 actors; here: what they must not cost.
"""

from __future__ import annotations

from pathlib import Path

from pileward.actors.engine import Cell, Engine
from pileward.actors.supervised import Supervised
from pileward.clock import ManualClock

ACTORS = 20_000


class Counter(Supervised):
    """Counts, and passes on what is left."""

    def __init__(self, requirements: object = None) -> None:
        self.heard = 0

    def receiveMessage(self, message: object, sender: object) -> None:
        self.heard += 1
        if isinstance(message, tuple):
            ring, left = message
            if left:
                self.send(ring[left % len(ring)], (ring, left - 1))


def resources() -> tuple[int, int, int]:
    """Threads, processes, open files."""
    threads = list(Path("/proc/self/task").iterdir())
    children = [child for thread in threads for child in (thread / "children").read_text().split()]
    return len(threads), len(children), len(list(Path("/proc/self/fd").iterdir()))


def heard(actor: object) -> int:
    """How many messages an actor has had."""
    assert isinstance(actor, Cell)
    assert isinstance(actor.instance, Counter)
    return actor.instance.heard


async def test_many_actors_cost_no_thread_no_process_and_no_file() -> None:
    engine = Engine(clock=ManualClock())
    before = resources()
    actors = [engine.create(Counter) for _ in range(ACTORS)]
    for actor in actors:
        engine.tell(actor, "hello")
    while engine.waiting:
        engine.run()
    # what an earlier test left behind may end meanwhile; nothing may come
    assert all(now <= was for now, was in zip(resources(), before, strict=True))
    assert all(heard(actor) == 1 for actor in actors)
    engine.shutdown()


async def test_a_hundred_thousand_messages_do_not_hang() -> None:
    engine = Engine(clock=ManualClock())
    ring = [engine.create(Counter) for _ in range(1_000)]
    engine.tell(ring[0], (ring, 100_000))
    turns = 0
    while engine.waiting:
        engine.run()
        turns += 1
        assert turns < 1_000
    assert sum(heard(actor) for actor in ring) == 100_001
    engine.shutdown()


def test_the_benchmark_goes_to_a_hundred_thousand() -> None:
    page = (Path(__file__).parents[1] / "bench" / "bench_engine.py").read_text()
    assert "100_000" in page
