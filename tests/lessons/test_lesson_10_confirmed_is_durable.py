"""Lesson 10: a receipt is sent only after the durable write.

Elsewhere records were confirmed and never stored. Settling exactly once, and debts as rows, follow with
charging.
"""

from __future__ import annotations

import pytest

from pileward.codecs.ykc import frames
from tests import books
from tests.hand import Peer, online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def test_at_the_moment_of_the_receipt_the_row_is_there(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile = await online_by_hand(street, CODE)
    seen: list[bool] = []
    received = Peer.data_received

    def look(self: Peer, data: bytes) -> None:
        before = len(self.heard(frames.TransactionRecordAnswer))
        received(self, data)
        for answer in self.heard(frames.TransactionRecordAnswer)[before:]:
            seen.append(answer.trade_no in {row.wire_number for row in books.records(street)})

    monkeypatch.setattr(Peer, "data_received", look)
    pile.peer.say(*(record(CODE, number) for number in range(50)))
    await pile.peer.hear(frames.TransactionRecordAnswer, 50)
    assert seen == [True] * 50


async def test_a_kill_between_write_and_receipt_loses_nothing(street: Street) -> None:
    confirmed: set[str] = set()
    sent = 0
    for _ in range(5):
        pile = await online_by_hand(street, CODE)
        pile.peer.say(*(record(CODE, number) for number in range(sent, sent + 20)))
        sent += 20
        await until(lambda: street.node.waiting.in_flight or street.node.waiting.queue, what="a write")
        await street.crash()
        confirmed |= {answer.trade_no for answer in pile.peer.heard(frames.TransactionRecordAnswer)}
        kept = {row.wire_number for row in books.records(street)}
        assert confirmed <= kept
        await street.restart()
    pile = await online_by_hand(street, CODE)
    pile.peer.say(*(record(CODE, number) for number in range(sent)))
    await pile.peer.hear(frames.TransactionRecordAnswer, sent)
    assert {row.wire_number for row in books.records(street)} == {trade_no(CODE, n) for n in range(sent)}
    assert len(books.records(street)) == sent
