"""Lesson 6: store always, confirm always; what fits nowhere is for a person.

Elsewhere an unknown transaction was answered with an error, and the station sent it for ever. The review list
follows with charging; that nothing is lost, and no pile repeats for ever, is shown here.
"""

from __future__ import annotations

import pytest

from pileward.codecs.ykc import frames
from tests import books
from tests.hand import online_by_hand, record
from tests.nodes import CODES, Street

CODE = CODES[0]
NUMBERS = ["0" * 32, "9" * 32, "32010600019236012507011030150007"]


@pytest.mark.parametrize("number", NUMBERS, ids=["zeros", "nines", "of another pile"])
async def test_a_record_that_nobody_knows_is_stored_and_confirmed(street: Street, number: str) -> None:
    pile = await online_by_hand(street, CODE)
    for count in (1, 2):
        pile.peer.say(record(CODE, trade_no=number))
        await pile.peer.hear(frames.TransactionRecordAnswer, count, trade_no=number, result=0)
    assert books.records(street) == [books.KeptRecord(number, 0, 1)]


async def test_a_record_of_nonsense_is_stored_and_confirmed_whole(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    nonsense = record(CODE, gun_no=9, start_time=None, end_time=None, total_energy_e4_kwh=4_294_967_295)
    pile.peer.say(nonsense)
    await pile.peer.hear(frames.TransactionRecordAnswer, result=0)
    ((body,),) = books.read(street, "SELECT body FROM pile_record")
    assert len(body) == 158, "as it came, for whoever has to look at it"


async def test_no_receipt_ever_says_illegal(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for amount in (1, 2, 3):
        pile.peer.say(record(CODE, total_amount_e4_yuan=amount))
    await pile.peer.hear(frames.TransactionRecordAnswer, 3)
    assert {answer.result for answer in pile.peer.heard(frames.TransactionRecordAnswer)} == {0}
