"""The bus, the same tests on both implementations, Redis being a real one."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator

import pytest

from pileward.livefeed import make_bus
from pileward.livefeed.bucket import Buckets
from pileward.livefeed.memory import MemoryBus
from pileward.livefeed.redis_bus import RedisBus
from pileward.ports import Bus, Subscription, tail_topic
from tests.redis_server import RedisServer
from tests.waiting import until

LONG_S = 10.0


@pytest.fixture(params=["memory", "redis"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "memory":
        made: Bus = make_bus()
    else:
        made = RedisBus(request.getfixturevalue("redis_server").url, prefix=uuid.uuid4().hex)
    await made.start()
    yield made
    await made.close()


async def take(events: Subscription, count: int) -> list[tuple[str, bytes]]:
    """The next events, within a deadline."""
    async with asyncio.timeout(LONG_S):
        return [await anext(events) for _ in range(count)]


async def test_an_event_reaches_all_who_listen_to_its_topic_and_nobody_else(bus: Bus) -> None:
    async with (
        bus.subscribe("gun") as one,
        bus.subscribe("gun", "pile") as two,
        bus.subscribe("alarm") as three,
    ):
        bus.publish("gun", b"1")
        bus.publish("pile", b"2")
        bus.publish("alarm", b"3")
        assert await take(one, 1) == [("gun", b"1")]
        assert await take(two, 2) == [("gun", b"1"), ("pile", b"2")]
        assert await take(three, 1) == [("alarm", b"3")]
        assert bus.stats.subscribers == 3
        assert bus.stats.published == 3
        assert bus.stats.delivered == 4
    assert bus.stats.subscribers == 0


async def test_events_of_one_publisher_keep_their_order(bus: Bus) -> None:
    async with bus.subscribe("gun", "pile", limit=2_000) as events:
        sent = [("gun" if number % 3 else "pile", str(number).encode()) for number in range(2_000)]
        for topic, payload in sent:
            bus.publish(topic, payload)
        assert await take(events, len(sent)) == sent
        assert events.take_lost() == 0


async def test_a_slow_subscriber_loses_the_oldest_and_learns_how_many(bus: Bus) -> None:
    async with bus.subscribe("gun", limit=4) as slow, bus.subscribe("gun", limit=100) as fast:
        for number in range(10):
            bus.publish("gun", str(number).encode())
        assert len(await take(fast, 10)) == 10
        assert slow.take_lost() == 6
        assert slow.take_lost() == 0
        assert [payload for _, payload in await take(slow, 4)] == [b"6", b"7", b"8", b"9"]
        assert bus.stats.lagged == 6


async def test_who_left_hears_nothing_and_the_topic_is_free_again(bus: Bus) -> None:
    topic = tail_topic("32010200000001")
    assert not bus.has_subscribers(topic)
    async with bus.subscribe(topic):
        assert bus.has_subscribers(topic)
    await until(lambda: not bus.has_subscribers(topic), what="an empty topic")
    bus.publish(topic, b"to nobody")
    assert bus.stats.published == 0
    async with bus.subscribe(topic) as again:
        bus.publish(topic, b"x")
        assert await take(again, 1) == [(topic, b"x")]


async def test_closing_the_bus_ends_the_iteration(bus: Bus) -> None:
    async with bus.subscribe("gun") as events:
        bus.publish("gun", b"last")
        assert await take(events, 1) == [("gun", b"last")]
        await bus.close()
        assert [event async for event in events] == []
    await bus.close()


async def test_publishing_to_nobody_does_no_work(bus: Bus) -> None:
    for _ in range(100):
        bus.publish("gun", b"x")
    assert bus.stats.published == bus.stats.delivered == bus.stats.dropped == 0


async def test_a_burst_is_allowed_and_then_refused_by_key(bus: Bus) -> None:
    rate = 0.001
    assert [await bus.allow("a", rate, 3) for _ in range(5)] == [True, True, True, False, False]
    assert await bus.allow("b", rate, 1)
    assert not await bus.allow("b", rate, 1)
    assert bus.stats.refused == 3


async def test_tokens_come_back_with_time(bus: Bus) -> None:
    assert await bus.allow("a", 20, 1)

    refusals = 0
    async with asyncio.timeout(LONG_S):
        while not await bus.allow("a", 20, 1):
            refusals += 1
            await asyncio.sleep(0)
    assert refusals == bus.stats.refused


async def test_a_bus_is_a_bus(bus: Bus) -> None:
    assert isinstance(bus, Bus)


# Redis alone


async def test_two_nodes_hear_each_other(redis_server: RedisServer) -> None:
    prefix = uuid.uuid4().hex
    here, there = RedisBus(redis_server.url, prefix), RedisBus(redis_server.url, prefix)
    await here.start()
    await there.start()
    try:
        assert not there.has_subscribers("gun")
        async with here.subscribe("gun") as events:
            await until(lambda: there.has_subscribers("gun"), what="the other node's interest")
            there.publish("gun", b"from there")
            assert await take(events, 1) == [("gun", b"from there")]
            assert await here.allow("shared", 0.001, 1)
            assert not await there.allow("shared", 0.001, 1)
        await until(lambda: not there.has_subscribers("gun"), what="the end of interest")
    finally:
        await here.close()
        await there.close()


async def test_two_installations_on_one_redis_stay_apart(redis_server: RedisServer) -> None:
    one, two = RedisBus(redis_server.url, uuid.uuid4().hex), RedisBus(redis_server.url, uuid.uuid4().hex)
    await one.start()
    await two.start()
    try:
        async with one.subscribe("gun") as mine, two.subscribe("gun") as other:
            two.publish("gun", b"two")
            one.publish("gun", b"one")
            assert await take(mine, 1) == [("gun", b"one")]
            assert await take(other, 1) == [("gun", b"two")]
    finally:
        await one.close()
        await two.close()


async def test_redis_killed_and_restarted(redis_server: RedisServer) -> None:
    bus = RedisBus(redis_server.url, uuid.uuid4().hex)
    await bus.start()
    try:
        async with bus.subscribe("gun") as events:
            bus.publish("gun", b"before")
            assert await take(events, 1) == [("gun", b"before")]

            redis_server.kill()
            await until(lambda: not bus.stats.up, what="the loss")
            for _ in range(3):
                bus.publish("gun", b"while away")
            assert bus.stats.dropped >= 3
            assert [await bus.allow("a", 0.001, 2) for _ in range(3)] == [True, True, False]
            async with bus.subscribe("pile") as late:
                redis_server.start()
                await until(lambda: bus.stats.up, what="the return")
                assert events.take_lost() == 1
                bus.publish("gun", b"after")
                bus.publish("pile", b"after too")
                assert await take(events, 1) == [("gun", b"after")]
                assert await take(late, 1) == [("pile", b"after too")]
            assert bus.stats.interruptions == 1
    finally:
        await bus.close()


async def test_a_start_without_redis_waits_for_it_in_the_background(redis_server: RedisServer) -> None:
    redis_server.kill()
    bus = RedisBus(redis_server.url, uuid.uuid4().hex)
    await bus.start()
    try:
        assert not bus.stats.up
        async with bus.subscribe("gun") as events:
            bus.publish("gun", b"lost")
            assert await bus.allow("a", 1, 1)
            redis_server.start()
            await until(lambda: bus.stats.up, what="the first connection")
            assert bus.stats.interruptions == 0
            bus.publish("gun", b"heard")
            assert await take(events, 1) == [("gun", b"heard")]
    finally:
        await bus.close()


@pytest.mark.slow
async def test_a_frozen_redis_stops_nothing_and_is_left(redis_server: RedisServer) -> None:
    bus = RedisBus(redis_server.url, uuid.uuid4().hex, queue_limit=100)
    await bus.start()
    try:
        async with bus.subscribe("gun") as events:
            os.kill(redis_server.pid, signal.SIGSTOP)
            try:
                for _ in range(1_000):
                    bus.publish("gun", b"into the queue")
                assert bus.stats.dropped >= 900
                assert await bus.allow("a", 1, 1)
                await until(lambda: not bus.stats.up, what="giving up")
            finally:
                os.kill(redis_server.pid, signal.SIGCONT)
            await until(lambda: bus.stats.up, what="the return")
            bus.publish("gun", b"after")
            async with asyncio.timeout(LONG_S):
                while await anext(events) != ("gun", b"after"):
                    pass
    finally:
        await bus.close()


async def test_the_outgoing_queue_is_bounded_and_drops_the_oldest(redis_server: RedisServer) -> None:
    bus = RedisBus(redis_server.url, uuid.uuid4().hex, queue_limit=3)
    await bus.start()
    try:
        async with bus.subscribe("gun") as events:
            for number in range(5):
                bus.publish("gun", str(number).encode())
            assert bus.stats.dropped == 2
            assert [payload for _, payload in await take(events, 3)] == [b"2", b"3", b"4"]
    finally:
        await bus.close()


# the rule of the buckets, time told


def test_a_bucket_refills_at_its_rate_and_no_further_than_its_size() -> None:
    now = [100.0]
    buckets = Buckets(lambda: now[0])

    def taken(tries: int) -> int:
        return sum(buckets.take("a", 2.0, 4) for _ in range(tries))

    assert taken(10) == 4
    now[0] += 0.5
    assert taken(10) == 1
    now[0] += 1.25
    assert taken(10) == 2
    now[0] += 0.25
    assert taken(10) == 1
    now[0] += 3_600
    assert taken(10) == 4


def test_buckets_do_not_grow_without_bound() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0], keys_kept=10)
    for number in range(100):
        buckets.take(f"key {number}", 1.0, 1)
    assert len(buckets) == 10
    assert not buckets.take("key 99", 1.0, 1)
    now[0] += 2
    buckets.take("another", 1.0, 1)
    assert len(buckets) == 1


async def test_the_memory_bus_needs_no_start() -> None:
    bus = MemoryBus()
    async with bus.subscribe("gun") as events:
        bus.publish("gun", b"x")
        assert await take(events, 1) == [("gun", b"x")]
