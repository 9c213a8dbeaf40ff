"""The store is away, or full: records are not confirmed, piles repeat them, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pileward.actors import store
from pileward.actors.pile import PENDING_WRITES_MAX
from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.simulator.habits import QUEUED_RECORDS_MAX
from tests import books
from tests.databases import PostgresServer, postgres_server
from tests.hand import CHARGING, HandPile, online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def is_alive(pile: HandPile) -> bool:
    """Whether a heartbeat is answered."""
    answered = len(pile.peer.heard(frames.HeartbeatAnswer, pile_no=pile.code, gun_no=1))
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer, answered + 1, pile_no=pile.code, gun_no=1)
    return True


async def test_while_the_database_is_locked_nothing_is_confirmed_and_everything_else_goes_on(
    street: Street,
) -> None:
    pile, other = await online_by_hand(street, CODES[0]), await online_by_hand(street, CODES[1])
    with books.locked(street):
        pile.peer.say(record(CODE, 1))
        await until(lambda: street.node.metrics.store_failures, what="a failed write")
        pile.report(2, CHARGING, trade_no=trade_no(CODE, gun_no=2), gun_plugged=1, soc=33)
        await until(lambda: street.pile(CODE).guns[1].telemetry.soc_pct == 33)  # type: ignore[union-attr]
        pile.peer.say(record(CODE, 1))  # the repeat, half a minute later
        for _ in range(5):
            assert await is_alive(pile)
            assert await is_alive(other)
            await street.pass_time(5)
        assert pile.peer.heard(frames.TransactionRecordAnswer) == []
        assert street.node.waiting.stuck_s() > 0
    await pile.peer.hear(frames.TransactionRecordAnswer, 2, trade_no=trade_no(CODE, 1), result=0)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE, 1), 0, 1)]
    assert street.pile(CODE).status is PileStatus.ONLINE


async def test_a_pile_may_only_have_so_many_writes_on_their_way(street: Street) -> None:
    pile, other = await online_by_hand(street, CODES[0]), await online_by_hand(street, CODES[1])
    most = PENDING_WRITES_MAX
    with books.locked(street):
        pile.peer.say(*(record(CODE, number) for number in range(most + 4)))
        other.peer.say(record(other.code))
        # so many frames at once pause their socket for a moment, so the clock has to go on
        await street.eventually(lambda: street.node.metrics.records_dropped == 4, within_s=20)
        assert street.alarms(CODE) == {"record_unconfirmed"}
        await street.pass_time(1)
        assert await is_alive(pile)
    await other.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(other.code))
    await pile.peer.hear(frames.TransactionRecordAnswer, most)
    assert len(books.records(street)) == most + 1
    pile.peer.say(*(record(CODE, number) for number in range(most, most + 4)))  # it repeats them
    await pile.peer.hear(frames.TransactionRecordAnswer, most + 4)
    kept = {row.wire_number for row in books.records(street)}
    assert kept == {trade_no(CODE, number) for number in range(most + 4)} | {trade_no(other.code)}
    assert street.alarms(CODE) == set()
    await until(lambda: books.open_alarms(street, CODE) == set())


async def test_a_pile_that_was_away_delivers_all_it_stored_in_one_go(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    control.drop()
    for number in range(QUEUED_RECORDS_MAX):
        control.keep_record(record(CODE, number))
    await street.online(CODE)
    logged_in_at = street.pile(CODE).since_ms
    await street.eventually(lambda: not control.pile.memory.records, what="all receipts")
    assert street.clock.epoch_ms() - logged_in_at < 30_000, "without a single repeat"
    assert len(books.records(street)) == QUEUED_RECORDS_MAX
    assert street.node.metrics.records_dropped == 0
    assert street.alarms(CODE) == set()


async def test_when_the_store_is_full_records_are_dropped_unconfirmed_with_an_alarm(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile, other = await online_by_hand(street, CODES[0]), await online_by_hand(street, CODES[1])
    await until(lambda: not street.node.waiting.in_flight)
    monkeypatch.setattr(store, "QUEUE_MAX", 3)
    with books.locked(street):
        pile.peer.say(*(record(CODE, number) for number in range(1, 5)))  # one in flight, three in the queue
        await until(lambda: len(street.node.waiting.queue) == 3, what="a full queue")
        other.peer.say(record(other.code))
        await until(lambda: street.alarms(other.code) == {"record_unconfirmed"})
        assert street.node.metrics.records_dropped == 1
        assert await is_alive(other)
    await pile.peer.hear(frames.TransactionRecordAnswer, 4)
    assert other.peer.heard(frames.TransactionRecordAnswer) == []
    assert len(books.records(street)) == 4
    await until(lambda: not street.node.waiting.queue, what="room in the queue: records are settled behind")
    other.peer.say(record(other.code))
    await other.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(other.code))
    assert street.alarms(other.code) == set()


async def test_a_simulated_pile_repeats_a_record_until_the_store_takes_it(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    monkeypatch.setattr(store, "QUEUE_MAX", 0)
    control.keep_record(record(CODE))
    await street.eventually(lambda: street.node.metrics.records_dropped == 3, what="two repeats")
    assert books.records(street) == []
    monkeypatch.undo()
    await street.eventually(lambda: not control.pile.memory.records, what="the receipt")
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 0)]


class TestPostgres:
    """The same with a server of its own that stops and starts."""

    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        with postgres_server() as server:
            yield server

    @pytest.fixture
    def street_url(self, server: PostgresServer) -> str:
        from pileward.models.migrate import migrate
        from tests.databases import run_apart

        url = server.create(name="street")
        run_apart(migrate(url))
        return url

    @pytest.mark.slow
    async def test_an_outage_of_the_server_loses_nothing(
        self, street: Street, server: PostgresServer
    ) -> None:
        pile = await online_by_hand(street, CODE)
        await until(lambda: not street.node.waiting.in_flight)
        server.stop("immediate")
        pile.peer.say(*(record(CODE, number) for number in range(1, 6)))
        await until(lambda: street.node.metrics.store_failures, what="a failed write")
        assert await is_alive(pile)
        assert pile.peer.heard(frames.TransactionRecordAnswer) == []
        assert (await street.node.readiness())["database"]
        server.start()
        await pile.peer.hear(frames.TransactionRecordAnswer, 5)
        _, rows = await street.database.connection.execute_query("SELECT wire_number FROM pile_record")
        assert {row["wire_number"] for row in rows} == {trade_no(CODE, number) for number in range(1, 6)}
        assert street.pile(CODE).status is PileStatus.ONLINE
        await until(lambda: not street.node.waiting.in_flight)
        assert not any((await street.node.readiness()).values())
