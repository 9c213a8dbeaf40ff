"""Lesson 2: whether a pile lives is what its own protocol says, not what TCP believes.

Elsewhere a charger without power was shown online for a quarter of an hour because its socket was still
there, and two connections spoke for one id.
"""

from __future__ import annotations

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from tests.hand import online_by_hand
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def test_a_pile_without_power_is_offline_while_its_socket_is_open(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    control.cut_power()
    assert street.node.metrics.connections == 1
    await street.eventually(lambda: street.pile(CODE).status is PileStatus.OFFLINE, within_s=31)
    (station,) = street.node.snapshot()
    assert station.piles[0].state == "offline"
    assert {gun.state for gun in station.piles[0].guns} == {"offline"}


async def test_a_pile_with_a_heartbeat_stays_online_whatever_its_socket_does_not_send(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for _ in range(12):
        await street.pass_time(25)
        pile.beat()
        await street.settle()
    assert street.pile(CODE).status is PileStatus.ONLINE


async def test_of_two_connections_with_one_number_one_speaks(street: Street) -> None:
    old, new = await online_by_hand(street, CODE), await online_by_hand(street, CODE)
    old.beat(1, gun_status=1)
    await old.peer.hear_close()
    new.beat(1)
    await new.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    await until(lambda: street.node.metrics.connections == 1)
    assert street.pile(CODE).remote_address.endswith(str(new.peer.transport.get_extra_info("sockname")[1]))
