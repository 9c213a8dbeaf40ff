"""The engine's figures, beside those of Thespian's `simpleSystemBase` in the same run.

    python -m tests.bench.bench_engine

Times are CPU seconds of this process, so that whatever else the machine does weighs little. The reference
goes through all timers with each message and slows down as it grows; where it would take minutes it is
measured at a smaller size, and the name of the row says so.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from time import process_time
from typing import Any

import msgspec
from thespian.actors import Actor, ActorExitRequest, ActorSystem

from pileward.actors.engine import Cell, Engine
from pileward.actors.supervised import Supervised
from tests.bench.processes import rss_kib

Row = dict[str, Any]

HOPS = 300_000
FLAT_PAIRS = 7
FLAT_BUDGET = 0.7
MESSAGES_BUDGET = 500_000
IDLE_BUDGET = 1_024
#: Timers that are armed run out long after the benchmark.
FAR_S = 86_400.0


class Token(msgspec.Struct, frozen=True):
    """Goes round the ring until nothing is left of it."""

    left: int


class RingActor(Supervised):
    """Passes the token on. Supervised, as Pileward's own actors are."""

    next: Any = None

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if type(message) is Token:
            if message.left:
                self.send(self.next, Token(message.left - 1))
        elif isinstance(message, float):
            self.wakeupAfter(message)
        elif isinstance(message, Cell):
            self.next = message


class PlainRingActor(Actor):
    """The same for the reference, which knows plain actors only."""

    next: Any = None

    def receiveMessage(self, msg: Any, sender: Any) -> None:
        if type(msg) is Token:
            if msg.left:
                self.send(self.next, Token(msg.left - 1))
        elif isinstance(msg, float):
            self.wakeupAfter(msg)
        elif not isinstance(msg, ActorExitRequest):
            self.next = msg


class Idle(Supervised):
    """Has no state of its own."""


class PlainIdle(Actor):
    """The same for the reference."""

    def receiveMessage(self, msg: Any, sender: Any) -> None:
        """Nothing to do."""


class Ring:
    """Actors in a ring of our engine, each with its share of timers; made once, timed often."""

    def __init__(self, engine: Engine, actors: int, timers: int, kind: type[Actor] = RingActor) -> None:
        self.engine = engine
        self.cells = [engine.create(kind) for _ in range(actors)]
        for cell, following in zip(self.cells, self.cells[1:] + self.cells[:1], strict=True):
            engine.tell(cell, following)
        for number in range(timers):
            engine.timers.arm(self.cells[number % actors], f"timer {number}", FAR_S + number)

    async def rate(self, hops: int = HOPS) -> float:
        """Messages a CPU second."""
        await self.rest()
        self.engine.tell(self.cells[0], Token(hops))
        start = process_time()
        await self.rest()
        return hops / (process_time() - start)

    async def rest(self) -> None:
        """Let the engine work until nothing is on its way."""
        await asyncio.sleep(0)
        while self.engine.waiting:  # noqa: ASYNC110 - turns of the loop are what is measured
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Once round, so that everything has been touched."""
        await self.rate(len(self.cells))


@contextmanager
def simple_system() -> Iterator[ActorSystem]:
    """Thespian's own base that runs within the process."""
    system = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
    try:
        yield system
    finally:
        system.shutdown()


def simple_rate(actors: int, timers: int, hops: int) -> float:
    """Messages a CPU second of the reference."""
    with simple_system() as system:
        ring = [system.createActor(PlainRingActor) for _ in range(actors)]
        for address, following in zip(ring, ring[1:] + ring[:1], strict=True):
            system.tell(address, following)
        for number in range(timers):
            system.tell(ring[number % actors], FAR_S + number)
        start = process_time()
        system.tell(ring[0], Token(hops))
        return hops / (process_time() - start)


def row(name: str, value: float, unit: str, reference: float | None = None, **limits: float) -> Row:
    """One line of the table; `at_least` or `at_most` is its budget."""
    at_least, at_most = limits.get("at_least"), limits.get("at_most")
    ok = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return {
        "name": f"engine: {name}",
        "value": round(value, 3),
        "unit": unit,
        "reference": None if reference is None else round(reference, 3),
        "ratio": None if not reference else round(value / reference, 3),
        "budget": at_least if at_least is not None else at_most,
        "ok": ok,
    }


async def _median_rate(actors: int, timers: int, kind: type[Actor] = RingActor) -> float:
    engine = Engine()
    engine_ring = Ring(engine, actors, timers, kind)
    await engine_ring.settle()
    rates = [await engine_ring.rate() for _ in range(5)]
    _discard(engine)
    return statistics.median(rates)


def _discard(engine: Engine) -> None:
    engine.shutdown()
    gc.collect()


def throughput() -> list[Row]:
    """Messages a second, with few and many actors and timers."""
    # actors, timers, and at which the reference is measured: actors, timers, messages
    sizes = (
        (1, 0, 1, 0, 30_000),
        (1_000, 0, 1_000, 0, 30_000),
        (100_000, 0, 10_000, 0, 30_000),
        (1, 100_000, 1, 1_000, 1_000),
        (1_000, 100_000, 1_000, 1_000, 1_000),
        (100_000, 100_000, 10_000, 1_000, 1_000),
    )
    rows = []
    for actors, timers, simple_actors, simple_timers, simple_hops in sizes:
        value = asyncio.run(_median_rate(actors, timers))
        reference = simple_rate(simple_actors, simple_timers, simple_hops)
        name = f"messages, {actors:,} actors, {timers:,} timers"
        if (simple_actors, simple_timers) != (actors, timers):
            name += f" (reference: {simple_actors:,} actors, {simple_timers:,} timers)"
        rows.append(row(name, value, "1/s", reference, at_least=MESSAGES_BUDGET))
    plain = asyncio.run(_median_rate(1_000, 0, PlainRingActor))
    rows.append(row("messages, 1,000 plain actors", plain, "1/s", at_least=MESSAGES_BUDGET))
    return rows


async def _flatness() -> float:
    engine = Engine()
    small, large = Ring(engine, 1_000, 1_000), Ring(engine, 100_000, 100_000)
    await small.settle()
    await large.settle()
    ratios = []
    for _ in range(FLAT_PAIRS):
        few = await small.rate()
        ratios.append(await large.rate() / few)
    _discard(engine)
    return statistics.median(ratios)


def flatness() -> list[Row]:
    """How much of its speed is left with a hundred times the actors and timers."""
    ratio = asyncio.run(_flatness())
    name = "speed of 100,000 actors with a timer each, to 1,000 (median of 7 interleaved pairs)"
    return [row(name, ratio, "ratio", at_least=FLAT_BUDGET)]


class Bytes(msgspec.Struct, frozen=True):
    """What a socket brings, and goes round: connection, pile, connection."""

    body: bytes


class Uplink(msgspec.Struct, frozen=True):
    """From the connection to the pile."""

    body: bytes


class Downlink(msgspec.Struct, frozen=True):
    """From the pile to the connection."""

    body: bytes


class BenchConnection(Supervised):
    """The engine's part of a frame's way, without what is done with the frame."""

    pile: Any = None

    def receiveMessage(self, message: Any, sender: Any) -> None:
        kind = type(message)
        if kind is Bytes:
            self.send(self.pile, Uplink(message.body))
        elif kind is not Downlink:
            self.pile = message


class BenchPile(Supervised):
    """Answers each uplink."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if type(message) is Uplink:
            self.send(sender, Downlink(message.body))


def _cpu_us(action: Callable[[], object], times: int) -> float:
    """CPU microseconds of an action, the median of five rounds."""
    rounds = []
    for _ in range(5):
        start = process_time()
        for _ in range(times):
            action()
        rounds.append((process_time() - start) / times * 1e6)
    return statistics.median(rounds)


async def _frame_path(actors: int) -> float:
    engine = Engine()
    pairs = [(engine.create(BenchConnection), engine.create(BenchPile)) for _ in range(actors)]
    for connection, pile in pairs:
        engine.tell(connection, pile)
    while engine.waiting:  # noqa: ASYNC110 - until everything is in place
        await asyncio.sleep(0)
    frame = Bytes(b"x" * 68)
    connections = iter([connection for connection, _ in pairs] * (200_000 // actors + 1))
    result = _cpu_us(lambda: engine.deliver(next(connections), frame), 40_000)
    _discard(engine)
    return result


async def _arming(timers: int) -> float:
    engine = Engine()
    ring = Ring(engine, 1_000, timers)
    cell = ring.cells[0]

    def arm_and_disarm() -> None:
        engine.timers.arm(cell, "deadline", FAR_S)
        engine.timers.disarm(cell, "deadline")

    result = _cpu_us(arm_and_disarm, 20_000)
    _discard(engine)
    return result


def latencies() -> list[Row]:
    """CPU time of what happens for each frame and each timer."""
    few, many = asyncio.run(_frame_path(1)), asyncio.run(_frame_path(20_000))
    none, armed = asyncio.run(_arming(0)), asyncio.run(_arming(100_000))
    return [
        row("socket to connection to pile to connection, 1 pile", few, "us", at_most=5.0),
        row("socket to connection to pile to connection, 20,000 piles", many, "us", few),
        row("arm and disarm a timer, 100,000 others armed (reference: none armed)", armed, "us", none),
    ]


def _rss() -> int:
    gc.collect()
    return rss_kib(os.getpid()) * 1024


async def _idle_bytes(count: int) -> float:
    engine = Engine()
    warm = [engine.create(Idle) for _ in range(1_000)]
    await asyncio.sleep(0)
    before = _rss()
    kept = []
    for number in range(count):
        kept.append(engine.create(Idle))
        if number % 100 == 0:  # they are told to begin; that shall not count as memory
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    size = (_rss() - before) / count
    assert len(kept) + len(warm) == len(engine.roots())
    _discard(engine)
    return size


def simple_idle_bytes(count: int) -> float:
    """The same of the reference."""
    with simple_system() as system:
        warm = [system.createActor(PlainIdle) for _ in range(1_000)]
        before = _rss()
        kept = [system.createActor(PlainIdle) for _ in range(count)]
        size = (_rss() - before) / count
        assert len(kept) + len(warm) > count
        return size


class Spawner(Supervised):
    """Makes children that exit at once; is told of each."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, Token):
            for _ in range(message.left):
                self.send(self.createActor(Idle), ActorExitRequest())


async def _come_and_go(times: int, at_once: int = 1_000) -> tuple[float, float]:
    engine = Engine()
    spawner = engine.create(Spawner)

    async def spawn(count: int) -> None:
        for _ in range(count // at_once):
            engine.tell(spawner, Token(at_once))
            await asyncio.sleep(0)
            while engine.waiting:  # noqa: ASYNC110 - turns of the loop are what is measured
                await asyncio.sleep(0)

    await spawn(100_000)
    before = _rss()
    start = process_time()
    await spawn(times)
    speed = times / (process_time() - start)
    growth = (_rss() - before) / 1024
    assert not engine.children(spawner)
    _discard(engine)
    return speed, growth


def simple_come_and_go(times: int) -> tuple[float, float]:
    """The same of the reference."""
    with simple_system() as system:
        before = _rss()
        start = process_time()
        for _ in range(times):
            system.tell(system.createActor(PlainIdle), ActorExitRequest())
        speed = times / (process_time() - start)
        return speed, (_rss() - before) / 1024


def idle_bytes(count: int) -> float:
    """Bytes an idle actor."""
    return asyncio.run(_idle_bytes(count))


def come_and_go(times: int) -> tuple[float, float]:
    """Actors created and exited in a CPU second, and KiB that the process has grown by."""
    return asyncio.run(_come_and_go(times))


def _afresh(measure: Callable[[int], Any], count: int) -> Any:
    """Measure in a process of its own, whose memory nobody has used before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, count).result()


def memory() -> list[Row]:
    """What an idle actor takes, and that one that has exited leaves nothing."""
    size, simple_size = _afresh(idle_bytes, 100_000), _afresh(simple_idle_bytes, 20_000)
    speed, growth = _afresh(come_and_go, 1_000_000)
    simple_speed, simple_growth = _afresh(simple_come_and_go, 20_000)
    return [
        row("an idle actor (reference: 20,000 actors)", size, "B", simple_size, at_most=IDLE_BUDGET),
        row("actors created and exited (reference: 20,000 actors)", speed, "1/s", simple_speed),
        row(
            "growth of the process in 1,000,000 exits (reference: in 20,000)",
            growth,
            "KiB",
            simple_growth,
            at_most=1_024,
        ),
    ]


def run() -> list[Row]:
    """All rows of the table; takes about two minutes."""
    return [*memory(), *throughput(), *flatness(), *latencies()]


def main() -> None:
    """Print the table."""
    for line in run():
        reference = (
            "" if line["reference"] is None else f"{line['reference']:>14,.3f} {line['ratio']:>9,.2f}x"
        )
        mark = "ok " if line["ok"] else "BAD"
        sys.stdout.write(f"{mark} {line['name']:<96}{line['value']:>16,.3f} {line['unit']:<6}{reference}\n")


if __name__ == "__main__":
    main()
