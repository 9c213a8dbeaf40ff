"""The queue of a port actor: bounded, one at a time for each key, shared where it may be."""

from __future__ import annotations

import asyncio
from typing import Any

from pileward.actors.jobs import JobDone, Jobs


class Desk:
    """Runs jobs that end when a test says so."""

    def __init__(self, at_once: int = 2, queue_max: int = 10) -> None:
        self.jobs = Jobs(at_once, queue_max)
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.ended: list[JobDone] = []

    def add(self, key: str, name: str = "", **more: Any) -> bool:
        name = name or key
        self.gates[name] = asyncio.Event()

        async def run() -> str:
            self.begun.append(name)
            await self.gates[name].wait()
            if name == "bad":
                raise ValueError("on purpose")
            return name

        return self.jobs.add(key, more.pop("kind", "work"), run, **more)

    def tell(self, done: JobDone) -> None:
        self.ended.append(done)
        self.jobs.done(done.job)
        self.jobs.start(self.tell)

    async def go(self, *ending: str) -> list[str]:
        """Begin what may begin, end some; what has begun so far."""
        self.jobs.start(self.tell)
        await asyncio.sleep(0)
        for name in ending:
            self.gates[name].set()
        for _ in range(5):
            await asyncio.sleep(0)
        return self.begun


async def test_so_many_run_and_the_longest_waiting_is_next() -> None:
    desk = Desk()
    assert all(desk.add(key) for key in "abcd")
    assert await desk.go() == ["a", "b"]
    assert await desk.go("b") == ["a", "b", "c"]
    assert await desk.go("a", "c") == ["a", "b", "c", "d"]
    assert (desk.jobs.waiting, desk.jobs.room) == (0, 1)
    await desk.jobs.close()


async def test_no_two_of_one_key_run_at_once() -> None:
    desk = Desk()
    for name in ("a1", "a2", "a3"):
        desk.add("a", name, kind=name)
    desk.add("b")
    assert await desk.go() == ["a1", "b"]
    assert await desk.go("b") == ["a1", "b"]
    assert await desk.go("a1") == ["a1", "b", "a2"]
    assert desk.jobs.has("a")
    await desk.go("a2", "a3")
    await desk.go("a3")
    assert not desk.jobs.has("a")


async def test_what_has_not_begun_is_shared_by_those_who_wait_for_the_same() -> None:
    desk = Desk(at_once=1)
    desk.add("a", "first", waiter=1)
    await desk.go()
    desk.add("a", "second", waiter=2)
    desk.add("a", "third", waiter=3)
    desk.add("a", "other", kind="other", waiter=4)
    desk.add("a", "alone", waiter=5, share=False)
    for name in ("first", "second", "other", "alone"):
        await desk.go(name)
    assert [(done.result, done.job.waiters) for done in desk.ended] == [
        ("first", [1]), ("second", [2, 3]), ("other", [4]), ("alone", [5])
    ]  # fmt: skip


async def test_a_full_queue_takes_only_what_can_be_shared() -> None:
    desk = Desk(at_once=1, queue_max=1)
    assert desk.add("a")
    await desk.go()
    assert desk.add("b")
    assert not desk.add("c")
    assert desk.add("b", "shared")
    assert desk.jobs.refused == 1
    await desk.jobs.close()


async def test_places_that_rest_stay_empty() -> None:
    desk = Desk(at_once=3)
    desk.jobs.resting = 2
    for key in "abc":
        desk.add(key)
    assert await desk.go() == ["a"]
    desk.jobs.resting = 0
    assert await desk.go() == ["a", "b", "c"]
    await desk.jobs.close()


async def test_a_job_that_fails_ends_without_a_result_and_frees_its_key() -> None:
    desk = Desk(at_once=1)
    desk.add("a", "bad")
    desk.add("b")
    await desk.go("bad")
    assert [done.result for done in desk.ended] == [None]
    assert desk.begun == ["bad", "b"]
    await desk.jobs.close()


async def test_in_the_end_everything_is_given_up_and_nobody_is_told() -> None:
    desk = Desk()
    desk.add("a")
    await desk.go()
    await desk.jobs.close()
    assert desk.ended == []
