"""Lesson 8: what is concluded from silence is provisional; the real record is taken whenever it comes.

Elsewhere a late end record was ignored because the charge was thought closed, and its energy was lost.
"""

from __future__ import annotations

from pileward.actors.gun_machine import GunState
from pileward.codecs.ykc import frames
from tests import books
from tests.hand import CHARGING, online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def test_a_record_that_was_given_up_is_stored_confirmed_and_ends_its_alarm(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.report(1, CHARGING, trade_no=trade_no(CODE), gun_plugged=1)
    pile.report(1)
    await until(lambda: street.pile(CODE).guns[0].state is GunState.STOPPING)
    for _ in range(31):
        pile.beat()
        await street.pass_time(1)
    assert street.pile(CODE).guns[0].state is GunState.IDLE, "concluded from silence"
    assert street.alarms(CODE) == {"record_missing"}
    for _ in range(60):
        pile.beat()
        await street.pass_time(10)
    pile.peer.say(record(CODE))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 0)]
    assert street.alarms(CODE) == set()


async def test_a_record_without_any_charge_before_it_is_taken(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.peer.say(record(CODE))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert street.pile(CODE).guns[0].state is GunState.IDLE, "it says nothing about the gun now"
