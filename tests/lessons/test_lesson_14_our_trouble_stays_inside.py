"""Lesson 14: our own trouble is retried inside and never reaches the wire.

Elsewhere a deadlock in the database was returned to the station as an error, and the status was lost.
"""

from __future__ import annotations

import sqlite3

import pytest

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.services.backend import DatabaseBackend
from tests import books
from tests.hand import FAULTY, online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


class Deadlocks:
    """Lets every write of the backend fail so often before it succeeds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left = times
        self.write = DatabaseBackend.write
        deadlocks = self

        async def write(backend: DatabaseBackend, writes: list[object]) -> list[object]:
            if deadlocks.left:
                deadlocks.left -= 1
                raise sqlite3.OperationalError("database is locked")
            return await deadlocks.write(backend, writes)

        monkeypatch.setattr(DatabaseBackend, "write", write)


async def test_a_deadlock_is_repeated_and_the_pile_only_sees_its_receipt(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile = await online_by_hand(street, CODE)
    deadlocks = Deadlocks(monkeypatch, times=2)
    pile.peer.say(record(CODE))
    pile.report(1, FAULTY, hardware_fault=1)
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert deadlocks.left == 0
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 0)]
    await until(lambda: books.open_alarms(street, CODE) == {"fault:emergency_stop"})
    assert street.pile(CODE).status is PileStatus.ONLINE
    assert street.node.metrics.restarts == 0
    assert {answer.result for answer in pile.peer.heard(frames.TransactionRecordAnswer)} == {0}


async def test_a_write_that_can_never_succeed_is_no_answer_to_the_pile_and_hurts_no_other(
    street: Street,
) -> None:
    pile, other = await online_by_hand(street, CODE), await online_by_hand(street, CODES[1])
    await street.database.connection.execute_query(
        "CREATE TRIGGER refuse BEFORE INSERT ON pile_record WHEN NEW.pile_code = '" + CODE + "' "
        "BEGIN SELECT RAISE(ABORT, 'a row that cannot be'); END"
    )
    for each in (pile, other):
        each.peer.say(record(each.code))
    await other.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(other.code))
    await until(lambda: street.node.metrics.restarts == 1, what="the actor's restart")
    await until(lambda: street.pile(CODE).status is PileStatus.ONLINE)
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    assert pile.peer.heard(frames.TransactionRecordAnswer) == []
