"""A pile that comes back while its old connection is still there: the newest login wins."""

from __future__ import annotations

import pytest

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.messages.commands import SetService
from tests import books
from tests.hand import online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def test_a_new_connection_replaces_a_half_open_one_and_its_late_end_changes_nothing(
    street: Street,
) -> None:
    old = await online_by_hand(street, CODE)
    old.peer.transport.pause_reading()  # half open: nobody is at this end any more
    new = await online_by_hand(street, CODE)
    transitions = street.node.around.piles[CODE].instance.transitions.rows()
    link = street.pile(CODE).link
    old.peer.transport.abort()
    await until(lambda: street.node.metrics.connections == 1, what="the old connection's end")
    assert street.pile(CODE).link is link
    assert street.pile(CODE).status is PileStatus.ONLINE
    assert street.node.around.piles[CODE].instance.transitions.rows() == transitions
    new.beat(1)
    await new.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)


async def test_the_old_connection_is_closed_by_us_when_it_is_replaced(street: Street) -> None:
    old = await online_by_hand(street, CODE)
    await online_by_hand(street, CODE)
    await old.peer.hear_close()
    assert street.node.metrics.connections_closed["replaced"] == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
async def test_the_end_of_the_present_connection_takes_the_pile_offline(
    street: Street, is_reset: bool
) -> None:
    pile = await online_by_hand(street, CODE)
    pile.peer.hang_up(is_reset=is_reset)
    await until(lambda: street.pile(CODE).status is PileStatus.OFFLINE)
    assert street.pile(CODE).reason in ("peer_closed", "network_error")


async def test_simulated_piles_come_back_from_every_kind_of_loss(street: Street) -> None:
    first, second, third = street.power_on(*CODES)
    await street.online(*CODES)
    first.drop(is_reset=True)
    second.vanish(for_s=5)
    third.freeze()
    await street.eventually(lambda: street.pile(CODES[0]).status is PileStatus.OFFLINE)
    await street.eventually(lambda: street.node.metrics.logins_accepted == 5, what="two new logins")
    await street.eventually(lambda: street.pile(CODES[2]).reason == "silent")
    third.thaw()
    await street.online(*CODES)
    assert [street.node.metrics.piles[state] for state in PileStatus] == [0, 0, 3, 0]


async def test_a_repeated_login_on_the_same_connection_is_answered_again(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await pile.be_accepted(2)
    assert street.pile(CODE).status is PileStatus.ONLINE
    assert not pile.peer.is_closed
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)


async def test_a_command_on_the_old_connection_ends_as_offline_and_is_not_sent_on_the_new_one(
    street: Street,
) -> None:
    old = await online_by_hand(street, CODE)
    asking = street.asking(CODE, SetService(is_in_service=False))
    await old.peer.hear(frames.WorkingParameters)
    new = await online_by_hand(street, CODE)
    outcome = await asking
    assert (outcome.status.value, outcome.reason) == ("offline", "pile_offline")
    await street.pass_time(29)
    assert new.peer.heard(frames.WorkingParameters) == []


async def test_a_late_receipt_is_not_sent_on_the_new_connection_and_the_repeat_is(street: Street) -> None:
    old = await online_by_hand(street, CODE)
    with books.locked(street):
        old.peer.say(record(CODE))
        await until(lambda: street.node.waiting.in_flight, what="the write")
        new = await online_by_hand(street, CODE)
    await until(lambda: books.records(street), what="the record in the database")
    await street.settle()
    assert new.peer.heard(frames.TransactionRecordAnswer) == []
    new.peer.say(record(CODE))
    await new.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 1)]
