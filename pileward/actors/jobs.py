"""The work of a port actor: calls that wait for the outside, bounded in number, one at a time for each key.

A job is a coroutine function; what it returns is told to the actor as `JobDone`. The jobs outlive a failed
instance of the actor, so that no answer of a provider is lost with it. Nothing here knows what a job does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pileward.logs import logger

log = logger(__name__)


class JobDone(msgspec.Struct, frozen=True):
    """From a job's task to its actor: what it came to; `result` None: it failed by itself (logged)."""

    job: Any
    result: Any


class Job:
    """One piece of work about one thing, and who waits for its answer."""

    __slots__ = ("key", "kind", "run", "task", "waiters")

    def __init__(self, key: str, kind: str, run: Callable[[], Awaitable[Any]]) -> None:
        self.key = key
        self.kind = kind
        self.run = run
        self.waiters: list[Any] = []
        self.task: asyncio.Task[None] | None = None


class Jobs:
    """Bounded work: at most `at_once` run, at most `queue_max` wait, and no two of one key run at once."""

    def __init__(self, at_once: int, queue_max: int) -> None:
        self.at_once = at_once
        self.queue_max = queue_max
        self.resting = 0
        """Places that stay empty for a while, after calls that failed."""
        self.waiting = 0
        self.running: dict[str, Job] = {}
        self.refused = 0
        """Jobs that found no place in the queue."""
        self._queues: dict[str, deque[Job]] = {}
        self._ready: deque[str] = deque()
        """Keys with waiting jobs of which none runs, longest waiting first."""
        self._tasks: set[asyncio.Task[None]] = set()

    def add(
        self,
        key: str,
        kind: str,
        run: Callable[[], Awaitable[Any]],
        waiter: Any = None,
        *,
        share: bool = True,
    ) -> bool:
        """Take a job, or let `waiter` share one of the same key and kind that has not begun; False: full."""
        queue = self._queues.get(key, ()) if share else ()
        job = next((waiting for waiting in queue if waiting.kind == kind), None)
        if job is None:
            if self.waiting >= self.queue_max:
                self.refused += 1
                return False
            job = Job(key, kind, run)
            self._enqueue(job)
        if waiter is not None:
            job.waiters.append(waiter)
        return True

    def has(self, key: str) -> bool:
        """Whether a job of this key runs or waits."""
        return key in self.running or key in self._queues

    @property
    def room(self) -> int:
        """Jobs that would begin at once."""
        return max(self.at_once - self.resting - len(self.running) - len(self._ready), 0)

    def start(self, tell: Callable[[JobDone], None]) -> None:
        """Begin what may begin; each ends with one `tell`."""
        while self._ready and len(self.running) + self.resting < self.at_once:
            key = self._ready.popleft()
            job = self._queues[key].popleft()
            if not self._queues[key]:
                del self._queues[key]
            self.waiting -= 1
            self.running[key] = job
            task = job.task = asyncio.get_running_loop().create_task(self._run(job, tell))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def done(self, job: Job) -> None:
        """The actor has dealt with the end of a job; the next of its key may begin."""
        if self.running.get(job.key) is job:
            del self.running[job.key]
            if job.key in self._queues:
                self._ready.append(job.key)

    def renew(self) -> None:
        """A fresh instance of the actor has come: free what ended while nobody was told."""
        self.resting = 0  # timers do not outlive an instance
        for job in [job for job in self.running.values() if job.task is None or job.task.done()]:
            self.done(job)

    async def close(self) -> None:
        """Give everything up, at the end of the process; what was under way is found again by its row."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job, tell: Callable[[JobDone], None]) -> None:
        try:
            result = await job.run()
        except Exception:
            log.exception("job_failed", about=job.key, kind=job.kind)
            result = None
        tell(JobDone(job, result))

    def _enqueue(self, job: Job) -> None:
        queue = self._queues.get(job.key)
        if queue is None:
            queue = self._queues[job.key] = deque()
            if job.key not in self.running:
                self._ready.append(job.key)
        queue.append(job)
        self.waiting += 1
