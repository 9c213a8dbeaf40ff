"""The store actor: durable writes with group commit, and reads for actors that start.

Writes that arrive while a batch is being committed form the next one, so a lone write waits for nobody and
many share one flush. One batch is in flight at a time; answers go out in the order of the writes. When a
batch fails it is repeated write by write, and only the culprit is refused. Telemetry has a queue of its own
that is shed first. What waits outlives the actor: a fresh instance goes on where the failed one was.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pileward.actors.store_messages import (
    LoadPile,
    LoadSession,
    PileLoaded,
    Refused,
    Save,
    SessionLoaded,
    Stored,
    TakeSample,
)
from pileward.actors.supervised import Supervised, TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.charging import OpenSession
from pileward.messages.uplinks import Telemetry

BATCH_MAX: Final = 500
"""Writes in one transaction."""
QUEUE_MAX: Final = 20_000
"""Writes that may wait; beyond, they are refused and the sender's peer repeats."""
FOLLOW_UPS_MAX: Final = 5_000
"""More that may wait of what nobody repeats: it follows from writes that are done (settle this record)."""
SAMPLES_MAX: Final = 20_000
"""Telemetry samples that may wait; beyond, the oldest are shed."""
SAMPLE_EVERY_S: Final = 5.0
"""Clock seconds between two bulk writes of samples."""
LOADS_AT_ONCE: Final = 4
LOADS_MAX: Final = 50_000
RETRY_S: Final = 0.5
"""Real seconds before a batch is tried again while the database is away."""

log = logger(__name__)


class Backend(Protocol):
    """What the store needs of the database layer; given by the node."""

    async def write(self, writes: list[Any]) -> list[Any]:
        """Write all in one transaction; returns one result for each, in order, once flushed."""
        ...

    async def write_samples(self, samples: list[tuple[Telemetry, int]]) -> None:
        """Write telemetry in bulk (epoch ms each)."""
        ...

    async def load_pile(self, pile_code: str) -> Any:
        """Read one pile: an object with `config` (None: not registered) and `open_alarms`."""
        ...

    async def load_session(self, serial: str) -> OpenSession | None:
        """Read one charge that is not over; None when it is, or never was."""
        ...

    def is_outage(self, error: BaseException) -> bool:
        """Whether the database is away, so that the same write may succeed later."""
        ...


class Waiting:
    """What the store has taken and not yet answered; outlives a failed instance of the actor."""

    __slots__ = (
        "committed",
        "finished",
        "flushers",
        "in_flight",
        "loading",
        "loads",
        "oldest_at",
        "queue",
        "samples",
        "taken",
        "tasks",
    )

    def __init__(self) -> None:
        self.queue: deque[Entry] = deque()
        self.in_flight = 0
        self.finished: BatchDone | None = None
        """The batch whose answers are on their way out."""
        self.taken = 0
        self.committed = 0
        """Writes taken and written (or refused) since the start."""
        self.oldest_at: float | None = None
        """Real monotonic time since which the oldest write waits."""
        self.samples: deque[tuple[Telemetry, int]] = deque()
        self.loads: deque[Load] = deque()
        self.loading = 0
        self.flushers: list[Any] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def stuck_s(self) -> float:
        """Real seconds the oldest waiting write has waited."""
        return time.monotonic() - self.oldest_at if self.oldest_at is not None else 0.0


class StoreStart(msgspec.Struct, frozen=True):
    """Start argument of the store actor."""

    around: Any
    backend: Any
    waiting: Waiting


class Entry(NamedTuple):
    """One write and who waits for it."""

    write: Any
    sender: Any
    ticket: int
    at: float
    """Real monotonic time since which it waits."""


class Load(NamedTuple):
    """One read and who waits for it."""

    question: LoadPile | LoadSession
    sender: Any
    after: int
    """The number of writes that were taken before it, and have to be there first."""


class BatchDone(msgspec.Struct, frozen=True):
    """From the store's own task: results or errors, one for each entry, in order."""

    entries: list[Entry]
    answers: list[Stored | Refused]
    took_s: float


class LoadDone(msgspec.Struct, frozen=True):
    """From the store's own task: one read is over."""

    sender: Any
    answer: PileLoaded | SessionLoaded


class StoreActor(Supervised):
    """Collects writes, commits them in groups, answers in order."""

    mailbox_limit = 200_000

    def __init__(self, requirements: StoreStart) -> None:
        self.around: Surroundings = requirements.around
        self.backend: Backend = requirements.backend
        self.waiting: Waiting = requirements.waiting

    def started(self, restarted: bool) -> None:
        """Begin, or go on with what waits."""
        if not restarted:
            return
        if self.waiting.finished is not None:
            self._batch_done(self.waiting.finished)
        elif self.waiting.queue and not self.waiting.in_flight:
            self._commit()
        if self.waiting.samples:
            self.arm("samples", SAMPLE_EVERY_S)

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        kind = type(message)
        if kind is Save:
            self._take(Entry(message.write, sender, message.ticket, time.monotonic()))
        elif kind is TakeSample:
            self._take_sample(message)
        elif kind is BatchDone:
            self._batch_done(message)
        elif kind is LoadPile or kind is LoadSession:
            self._take_load(message, sender)
        elif kind is LoadDone:
            self.waiting.loading -= 1
            if message.answer is not None:
                self.send(message.sender, message.answer)
            self._load_next()
        elif kind is TimerFired and message.name == "samples":
            self._write_samples()
        elif kind is Flush:
            self.waiting.flushers.append(sender)
            self._tell_flushed()

    # --- writes -----------------------------------------------------------------------------------------

    def _take(self, entry: Entry) -> None:
        room = QUEUE_MAX if entry.ticket else QUEUE_MAX + FOLLOW_UPS_MAX
        if len(self.waiting.queue) >= room:
            self.around.metrics.store_failures += 1
            if entry.ticket:
                self.send(entry.sender, Refused(entry.ticket, "store_queue_full", is_pressure=True))
            return
        self.waiting.queue.append(entry)
        self.waiting.taken += 1
        if self.waiting.oldest_at is None:
            self.waiting.oldest_at = entry.at
        self.around.metrics.store_queue = len(self.waiting.queue) + self.waiting.in_flight
        if not self.waiting.in_flight:
            self._commit()

    def _commit(self) -> None:
        count = min(len(self.waiting.queue), BATCH_MAX)
        batch = [self.waiting.queue.popleft() for _ in range(count)]
        self.waiting.in_flight = count
        self._run(self._write(batch))

    async def _write(self, batch: list[Entry]) -> None:
        """Commit one batch, however long the database stays away; then tell the actor."""
        began = time.monotonic()
        answers: list[Stored | Refused] = []
        try:
            answers = await self._write_all(batch)
        except Exception as error:
            log.warning("batch_repeated_singly", writes=len(batch), error=repr(error))
            answers = [await self._write_one(entry) for entry in batch]
        self.waiting.finished = BatchDone(batch, answers, time.monotonic() - began)
        self.engine.tell(self.myAddress, self.waiting.finished)

    async def _write_one(self, entry: Entry) -> Stored | Refused:
        try:
            return (await self._write_all([entry]))[0]
        except Exception as error:
            log.error("write_refused", write=type(entry.write).__name__, error=repr(error))
            return Refused(entry.ticket, repr(error), is_pressure=False)

    async def _write_all(self, entries: list[Entry]) -> list[Stored | Refused]:
        """Write in one transaction, again and again while the database is away. Raises what is at fault."""
        while True:
            try:
                results = await self.backend.write([entry.write for entry in entries])
                return [Stored(entry.ticket, result) for entry, result in zip(entries, results, strict=True)]
            except Exception as error:
                if not self.backend.is_outage(error):
                    raise
                self.around.metrics.store_failures += 1
                log.warning("database_away", error=repr(error))
            await asyncio.sleep(RETRY_S)

    def _batch_done(self, done: BatchDone) -> None:
        if done is not self.waiting.finished:
            return  # answered already, by the instance that was restarted
        metrics = self.around.metrics
        metrics.store_batch.observe(len(done.entries))
        metrics.store_commit_s.observe(done.took_s)
        for entry, answer in zip(done.entries, done.answers, strict=True):
            if type(answer) is Stored:
                metrics.store_writes += 1
            else:
                metrics.store_failures += 1
            if entry.ticket:
                self.send(entry.sender, answer)
        waiting = self.waiting
        waiting.finished = None
        waiting.in_flight = 0
        waiting.committed += len(done.entries)
        waiting.oldest_at = waiting.queue[0].at if waiting.queue else None
        metrics.store_queue = len(waiting.queue)
        if waiting.queue:
            self._commit()
        else:
            self._tell_flushed()
        self._load_next()

    # --- samples ----------------------------------------------------------------------------------------

    def _take_sample(self, message: TakeSample) -> None:
        if len(self.waiting.samples) >= SAMPLES_MAX or len(self.waiting.queue) > QUEUE_MAX // 2:
            self.around.metrics.samples_shed += 1
            return
        if not self.waiting.samples:
            self.arm("samples", SAMPLE_EVERY_S)
        self.waiting.samples.append((message.telemetry, message.at_ms))

    def _write_samples(self) -> None:
        samples, self.waiting.samples = list(self.waiting.samples), deque()
        self._run(self._save_samples(samples))

    async def _save_samples(self, samples: list[tuple[Telemetry, int]]) -> None:
        try:
            await self.backend.write_samples(samples)
        except Exception as error:
            self.around.metrics.samples_shed += len(samples)
            log.warning("samples_shed", count=len(samples), error=repr(error))

    # --- reads ------------------------------------------------------------------------------------------

    def _take_load(self, question: LoadPile | LoadSession, sender: Any) -> None:
        if len(self.waiting.loads) < LOADS_MAX:
            self.waiting.loads.append(Load(question, sender, self.waiting.taken))
            self._load_next()

    def _load_next(self) -> None:
        """Begin the next reads; none overtakes what was written before it was asked for."""
        waiting = self.waiting
        while (
            waiting.loads and waiting.loading < LOADS_AT_ONCE and waiting.loads[0].after <= waiting.committed
        ):
            load = waiting.loads.popleft()
            waiting.loading += 1
            self._run(self._load(load.question, load.sender))

    async def _load(self, question: LoadPile | LoadSession, sender: Any) -> None:
        """Read, however long the database stays away."""
        while True:
            try:
                answer = await self._read(question)
                break
            except Exception as error:
                log.warning("load_failed", question=repr(question), error=repr(error))
                await asyncio.sleep(RETRY_S)
        self.engine.tell(self.myAddress, LoadDone(sender, answer))

    async def _read(self, question: LoadPile | LoadSession) -> PileLoaded | SessionLoaded:
        if isinstance(question, LoadSession):
            return SessionLoaded(question.serial, await self.backend.load_session(question.serial))
        loaded = await self.backend.load_pile(question.pile_code)
        return PileLoaded(question.pile_code, loaded.config, loaded.open_alarms)

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.waiting.tasks.add(task)
        task.add_done_callback(self.waiting.tasks.discard)

    # --- the end, and looking inside --------------------------------------------------------------------

    def _tell_flushed(self) -> None:
        if self.waiting.queue or self.waiting.in_flight:
            return
        for waiting in self.waiting.flushers:
            self.send(waiting, Flushed())
        self.waiting.flushers.clear()

    def inspect(self) -> dict[str, Any]:
        """Queue, batch and samples, for people."""
        return {
            "state": "committing" if self.waiting.in_flight else "idle",
            "queue": len(self.waiting.queue),
            "in_flight": self.waiting.in_flight,
            "samples": len(self.waiting.samples),
            "loads": len(self.waiting.loads) + self.waiting.loading,
            "oldest_waits_s": round(self.waiting.stuck_s(), 3),
        }


class Flush(msgspec.Struct, frozen=True):
    """Ask to be told when everything taken so far is durable."""


class Flushed(msgspec.Struct, frozen=True):
    """Nothing waits any more."""
