"""The bus of a single node: listeners, tail and rate limits inside this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from pileward.livefeed.bucket import Buckets
from pileward.livefeed.hub import Hub, Listener
from pileward.ports import DEFAULT_QUEUE, BusStats


class MemoryBus:
    """`pileward.ports.Bus` without anything outside the process; see there."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.stats = BusStats()
        self._hub = Hub(self.stats)
        self._topics = self._hub.topics
        self._buckets = Buckets(monotonic)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """End all subscriptions."""
        self._hub.end()

    def has_subscribers(self, topic: str) -> bool:
        """Whether somebody listens now."""
        return topic in self._topics

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue the event for whoever listens."""
        if topic not in self._topics:
            return
        self.stats.published += 1
        self._hub.deliver(topic, payload)

    def subscribe(self, *topics: str, limit: int = DEFAULT_QUEUE) -> Listener:
        """Listen to topics with a queue of `limit` events."""
        return Listener(self._hub, topics, limit)

    async def allow(self, key: str, rate_per_s: float, burst: int) -> bool:
        """Take one token from the bucket of `key`."""
        is_allowed = self._buckets.take(key, rate_per_s, burst)
        self.stats.refused += not is_allowed
        return is_allowed
