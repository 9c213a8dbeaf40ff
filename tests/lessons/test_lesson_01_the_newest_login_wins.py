"""Lesson 1: a connection has an identity, and only its own end changes anything.

Elsewhere the late close of an old socket threw out the new one, a zombie kept the pile from coming back, and
a missing answer had no deadline. Here the newest login wins, and a half-open connection is found in 30 s.
"""

from __future__ import annotations

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from tests.hand import online_by_hand
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def test_the_late_close_of_an_old_socket_does_not_throw_out_the_new_one(street: Street) -> None:
    old = await online_by_hand(street, CODE)
    old.peer.transport.pause_reading()
    new = await online_by_hand(street, CODE)
    link = street.pile(CODE).link
    old.peer.hang_up(is_reset=True)
    await until(lambda: street.node.metrics.connections == 1)
    assert (street.pile(CODE).status, street.pile(CODE).link) == (PileStatus.ONLINE, link)
    new.beat(1)
    await new.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)


async def test_a_zombie_does_not_keep_its_pile_from_coming_back(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    for logins in (2, 3, 4):
        control.vanish()  # each time the old socket stays open with nobody behind it
        await street.eventually(lambda n=logins: street.node.metrics.logins_accepted == n)  # type: ignore[misc]
        await street.online(CODE)
    assert street.node.metrics.connections == 1


async def test_a_half_open_connection_is_found_within_thirty_seconds(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.peer.transport.pause_reading()
    await street.pass_time(30)
    assert street.pile(CODE).status is PileStatus.OFFLINE
    await until(lambda: street.node.metrics.connections == 0)
