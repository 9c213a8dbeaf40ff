"""Lesson 12: what waits to be sent is bounded for each connection; overflow closes that connection alone.

Elsewhere one socket that did not read held a lock, and every station froze.
"""

from __future__ import annotations

import pytest

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.gateway.tcp import OUTPUT_MAX
from tests.hand import HandPile, knock, online_by_hand
from tests.nodes import CODES, Street

SLOW, OTHER = CODES[:2]
ROUNDS = 400


@pytest.mark.parametrize("node_settings", [{"PILEWARD_LIMITS_FRAMES_BURST": "100000000"}])
async def test_others_are_answered_at_every_moment_until_the_slow_one_is_dropped(street: Street) -> None:
    other = await online_by_hand(street, OTHER)
    slow = HandPile(await knock(street, receive_buffer=4_096), SLOW)
    await slow.be_accepted()
    slow.peer.transport.pause_reading()
    beats = encode_frame(frames.Heartbeat(SLOW, 1, 0), 1) * 2_000
    most = 0
    for count in range(2, ROUNDS):
        slow.peer.write(beats)
        other.beat(1)
        await other.peer.hear(frames.HeartbeatAnswer, count, gun_no=1)
        await street.pass_time(0.1, step=0.1)
        sockets = [sock for gateway in street.node.gateways for sock in gateway._sockets]
        waiting = [sock._transport.get_write_buffer_size() for sock in sockets if sock._transport]
        most = max(most, *waiting)
        if street.pile(SLOW).status is PileStatus.OFFLINE:
            break
    assert (street.pile(SLOW).status, street.pile(SLOW).reason) == (PileStatus.OFFLINE, "slow_peer")
    assert most <= OUTPUT_MAX + 64
    assert street.pile(OTHER).status is PileStatus.ONLINE
    assert street.node.metrics.connections_closed == {"slow_peer": 1}
