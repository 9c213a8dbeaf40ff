"""The bus of several nodes: Redis pub/sub carries the feed and the tails, a script keeps the rate limits.

Nothing may notice when Redis is slow, gone or new: `publish` only appends to a bounded queue that one task
empties by pipelines, rate limits fall back to buckets of this process, and while the connection is down
events are dropped and counted. One task owns the connection and comes back with growing pauses; after an
interruption every listener is told that it missed something.

Redis itself knows who listens, on any node: the set of channels with subscribers is asked for once a second,
and at once when a node announces a new subscription. So a node publishes nothing that nobody wants, without
any book that a crashed node could leave wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import AsyncIterator
from operator import itemgetter
from typing import Any

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pileward.livefeed.bucket import Buckets
from pileward.livefeed.hub import Event, Hub, Listener
from pileward.logs import logger
from pileward.ports import DEFAULT_QUEUE, BusStats

POOL_SIZE = 8
COMMAND_WITHIN_S = 2.0
"""An answer that takes longer counts as a lost connection."""
ALLOW_WITHIN_S = 0.5
"""A rate limit that takes longer is decided in this process."""
QUEUE_LIMIT = 10_000
"""Events that wait for the writer before the oldest is dropped."""
BATCH_LIMIT = 500
"""Events in one pipeline."""
INTEREST_EVERY_S = 1.0
SILENCE_LIMIT_S = 5.0
"""Pings go out each second; no answer for so long and the connection is half-open."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode

FAILURES = (RedisError, OSError, TimeoutError)

TAKE_SCRIPT = """
-- The rule of bucket.py on the clock of this server, in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local every = tonumber(ARGV[1])
local ahead = tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if full_at - now > ahead then return 0 end
full_at = full_at + every
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
return 1
"""


class RedisBus:
    """`pileward.ports.Bus` over Redis; see there. `prefix` keeps several installations on one Redis apart."""

    def __init__(self, url: str, prefix: str = "pileward", queue_limit: int = QUEUE_LIMIT) -> None:
        self.stats = BusStats()
        self.stats.up = False
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=POOL_SIZE,
            timeout=COMMAND_WITHIN_S,
            socket_timeout=COMMAND_WITHIN_S,
            socket_connect_timeout=COMMAND_WITHIN_S,
            retry=Retry(NoBackoff(), 0),  # one place decides about coming back: _keep_connected
        )
        self._redis = Redis(connection_pool=self._pool)
        self._take_token = self._redis.register_script(TAKE_SCRIPT)
        self._feed = f"{prefix}:feed:"
        self._interest = f"{prefix}:interest"
        self._limit = f"{prefix}:limit:"
        self._hub = Hub(self.stats)
        self._buckets = Buckets()
        self._wanted: set[str] = set()
        self._queue: deque[Event] = deque()
        self._queue_limit = queue_limit
        self._has_work = asyncio.Event()
        self._pubsub: PubSub | None = None
        self._asked: set[str] = set()
        self._heard: dict[str, asyncio.Event] = {}
        self._sync = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._log = logger(__name__)

    # the port

    async def start(self) -> None:
        """Begin to connect; waits for the first attempt, not for its success."""
        tried = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_connected(tried), name="redis bus")
        await tried.wait()

    async def close(self) -> None:
        """Let go of Redis and end all subscriptions; what still waits to be sent is dropped."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._hub.end()
        await self._redis.aclose()
        await self._pool.disconnect()

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody on any node listened at the last look, at most a second or so ago."""
        return topic in self._wanted

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue the event for the writer; while Redis is gone it is counted and dropped."""
        if topic not in self._wanted:
            return
        self.stats.published += 1
        if not self.stats.up:
            self.stats.dropped += 1
            return
        if len(self._queue) >= self._queue_limit:
            self._queue.popleft()
            self.stats.dropped += 1
        self._queue.append((topic, payload))
        if not self._has_work.is_set():
            self._has_work.set()

    def subscribe(self, *topics: str, limit: int = DEFAULT_QUEUE) -> Listener:
        """Listen to topics with a queue of `limit` events."""
        return Listener(self._hub, topics, limit, joined=self._joined, left=self._left)

    async def allow(self, key: str, rate_per_s: float, burst: int) -> bool:
        """Take one token from the shared bucket of `key`, or from this process's own when Redis is gone."""
        assert rate_per_s > 0 and burst >= 1
        is_allowed = None
        if self.stats.up:
            every_us = 1_000_000 / rate_per_s
            arguments = [every_us, (burst - 1) * every_us]
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(ALLOW_WITHIN_S):
                    is_allowed = bool(await self._take_token(keys=[self._limit + key], args=arguments))
        if is_allowed is None:
            is_allowed = self._buckets.take(key, rate_per_s, burst)
        self.stats.refused += not is_allowed
        return is_allowed

    # subscriptions

    async def _joined(self, topics: tuple[str, ...]) -> None:
        """A listener came: wait until Redis has confirmed its topics, unless Redis is gone."""
        self._wanted.update(topics)
        heard = [self._heard.setdefault(topic, asyncio.Event()) for topic in topics]
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(COMMAND_WITHIN_S):
                await self._ask_for_topics()
                for one in heard if self.stats.up else ():
                    await one.wait()
                if self.stats.up:
                    await self._redis.publish(self._interest, b"")

    async def _left(self) -> None:
        """A listener went: no longer ask for topics that nobody here hears."""
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(COMMAND_WITHIN_S):
                await self._ask_for_topics()

    async def _ask_for_topics(self) -> None:
        """Make Redis send what this process's listeners want, no more and no less."""
        async with self._sync:
            if self._pubsub is None:
                return
            wanted = set(self._hub.topics)
            more, fewer = wanted - self._asked, self._asked - wanted
            if more:
                self._asked |= more
                for topic in more:
                    self._heard.setdefault(topic, asyncio.Event())
                await self._pubsub.subscribe(*(self._feed + topic for topic in more))
            if fewer:
                self._asked -= fewer
                for topic in fewer:
                    self._heard.pop(topic, None)
                await self._pubsub.unsubscribe(*(self._feed + topic for topic in fewer))

    # the connection

    async def _keep_connected(self, tried: asyncio.Event) -> None:
        """Hold one session after another; the pause between them grows while Redis stays away."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._session() as pubsub, asyncio.TaskGroup() as tasks:
                    tried.set()
                    pause_s = FIRST_PAUSE_S
                    tasks.create_task(self._read(pubsub))
                    tasks.create_task(self._write())
                    tasks.create_task(self._watch_interest())
            except* FAILURES as failures:
                reason = failures.exceptions[0]
                self._log.warning(
                    "redis is gone: the live feed pauses", reason=str(reason), retry_in_s=pause_s
                )
            tried.set()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[PubSub]:
        """One life of the connection: subscribed again, up, and afterwards everybody told."""
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._interest)
            self._pubsub = pubsub
            self._asked.clear()
            try:
                await self._ask_for_topics()
                await self._look_for_interest()
                self.stats.up = True
                self._log.info("redis is there: the live feed flows")
                yield pubsub
            finally:
                self._fell_away()
                # the pool's other connections may be dead too: the next session starts with new ones
                await self._pool.disconnect()

    def _fell_away(self) -> None:
        """Mark the feed as paused, count what waited, tell listeners, and free whoever waits for a
        confirmation.
        """
        self._pubsub = None
        if self.stats.up:
            self.stats.interruptions += 1
            for listener in self._hub.listeners():
                listener.miss()
        self.stats.up = False
        self.stats.dropped += len(self._queue)
        self._queue.clear()
        for heard in self._heard.values():
            heard.set()
        self._heard.clear()

    async def _read(self, pubsub: PubSub) -> None:
        """Deliver what Redis sends; ping it when it is silent, and give up when pings stay unanswered."""
        clock = asyncio.get_running_loop().time
        heard_at = clock()
        while True:
            message = await pubsub.get_message(timeout=1.0)
            if message is None:
                if clock() - heard_at > SILENCE_LIMIT_S:
                    raise TimeoutError(f"no answer for {SILENCE_LIMIT_S:g} s")
                await pubsub.ping()
                continue
            heard_at = clock()
            await self._take(message)

    async def _take(self, message: dict[str, Any]) -> None:
        kind, channel = message["type"], message["channel"]
        if kind not in ("message", "subscribe"):
            return
        name = channel.decode()
        if not name.startswith(self._feed):
            if kind == "message":
                await self._look_for_interest()
            return
        topic = name.removeprefix(self._feed)
        if kind == "message":
            with contextlib.suppress(msgspec.MsgspecError):  # a stranger's message on our channel
                for payload in _unpack(message["data"]):
                    self._hub.deliver(topic, payload)
        elif topic in self._heard:
            self._heard[topic].set()

    async def _write(self) -> None:
        """Send what is queued, many events a round trip; neighbours of one topic share a message.

        Under load that saves most of the work at both ends and in Redis, and changes no order.
        """
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))]
                pipeline = self._redis.pipeline(transaction=False)
                for topic, run in itertools.groupby(batch, itemgetter(0)):
                    pipeline.publish(self._feed + topic, _pack([payload for _, payload in run]))
                try:
                    await pipeline.execute()
                except BaseException:
                    self.stats.dropped += len(batch)
                    raise

    async def _watch_interest(self) -> None:
        while True:
            await asyncio.sleep(INTEREST_EVERY_S)
            await self._look_for_interest()

    async def _look_for_interest(self) -> None:
        """Learn which topics anybody listens to, here or on another node."""
        channels = await self._redis.pubsub_channels(self._feed + "*")
        names = (channel.decode() if isinstance(channel, bytes) else channel for channel in channels)
        everywhere = {name.removeprefix(self._feed) for name in names}
        self._wanted = everywhere | set(self._hub.topics)
