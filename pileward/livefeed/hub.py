"""Who listens to what inside this process, and one bounded queue for each listener.

Both buses end here: the in-process one delivers from `publish`, the Redis one from its reader. A listener
that lags loses its oldest events, because a live page wants the present; it learns how many it lost and may
ask for a full picture.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from pileward.ports import BusStats

Event = tuple[str, bytes]


class Listener:
    """One subscription: a queue of `limit` events, for one reader."""

    def __init__(
        self,
        hub: Hub,
        topics: tuple[str, ...],
        limit: int,
        joined: Callable[[tuple[str, ...]], Awaitable[None]] | None = None,
        left: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        assert topics and limit >= 1
        self.topics = topics
        self._hub = hub
        self._limit = limit
        self._joined = joined
        self._left = left
        self._events: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._lost = 0
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        self._hub.add(self)
        if self._joined is not None:
            try:
                await self._joined(self.topics)
            except BaseException:
                self._hub.remove(self)
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hub.remove(self)
        self.end()
        if self._left is not None:
            await self._left()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if not self._is_open:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()

    def put(self, event: Event) -> bool:
        """Queue an event; False when the oldest one had to go for it."""
        has_room = len(self._events) < self._limit
        if not has_room:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        if not self._ready.is_set():
            self._ready.set()
        return has_room

    def miss(self) -> None:
        """Note that events were lost before they came here; how many nobody knows, so it counts as one."""
        self._lost += 1

    def take_lost(self) -> int:
        """Return how many events were lost since this was last asked."""
        lost, self._lost = self._lost, 0
        return lost

    def end(self) -> None:
        """Let the reader take what is queued and then stop."""
        self._is_open = False
        self._ready.set()


class Hub:
    """The listeners of this process by topic."""

    def __init__(self, stats: BusStats) -> None:
        self.topics: dict[str, list[Listener]] = {}
        self._stats = stats

    def add(self, listener: Listener) -> None:
        """Let a listener hear its topics from now on."""
        for topic in dict.fromkeys(listener.topics):
            self.topics.setdefault(topic, []).append(listener)
        self._stats.subscribers += 1

    def remove(self, listener: Listener) -> None:
        """Let a listener hear nothing more; a second time changes nothing."""
        was_in = False
        for topic in dict.fromkeys(listener.topics):
            listeners = self.topics.get(topic, [])
            if listener in listeners:
                was_in = True
                listeners.remove(listener)
                if not listeners:
                    del self.topics[topic]
        self._stats.subscribers -= was_in

    def deliver(self, topic: str, payload: bytes) -> None:
        """Queue an event for everyone who listens to its topic."""
        for listener in self.topics.get(topic, ()):
            self._stats.delivered += 1
            if not listener.put((topic, payload)):
                self._stats.lagged += 1

    def listeners(self) -> list[Listener]:
        """Return each listener once."""
        return list({id(one): one for many in self.topics.values() for one in many}.values())

    def end(self) -> None:
        """Stop all listeners."""
        for listener in self.listeners():
            self.remove(listener)
            listener.end()
