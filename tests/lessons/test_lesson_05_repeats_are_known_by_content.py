"""Lesson 5: a repeated message is known by its content (pile, number), not by its message id.

Elsewhere repeated start and stop messages made second transactions. Here it is about records; starts follow
with charging.
"""

from __future__ import annotations

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from tests import books
from tests.hand import online_by_hand, record, trade_no
from tests.nodes import CODES, Street

CODE, OTHER = CODES[:2]


async def test_the_same_record_under_other_sequence_numbers_is_one_record(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for count, sequence in enumerate((7, 7, 8, 900), start=1):
        pile.peer.write(encode_frame(record(CODE), sequence))
        await pile.peer.hear(frames.TransactionRecordAnswer, count, trade_no=trade_no(CODE), result=0)
        assert pile.peer.packets[-1].sequence == sequence
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 3)]
    assert street.alarms(CODE) == set()


async def test_repeats_in_one_go_are_one_record(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.peer.say(*[record(CODE)] * 20)
    await pile.peer.hear(frames.TransactionRecordAnswer, 20, trade_no=trade_no(CODE), result=0)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 19)]


async def test_the_same_number_of_another_pile_is_another_record(street: Street) -> None:
    for code in (CODE, OTHER):
        pile = await online_by_hand(street, code)
        pile.peer.say(record(code, trade_no=trade_no(CODE)))
        await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert len(books.records(street)) == 2
