"""Lesson 4: paced admission, a cheap login, no command before the login has settled, late answers dropped.

Elsewhere, after a network came back, answers took ten seconds, so stations repeated their logins, and the
server never caught up.
"""

from __future__ import annotations

from pileward.actors.pile_state import PileStatus
from pileward.actors.surroundings import Admission
from pileward.codecs.ykc import frames
from pileward.messages.commands import SyncClock
from tests.hand import HandPile, pile_by_hand
from tests.nodes import CODES, Street
from tests.waiting import until


def test_a_burst_is_admitted_at_once_and_the_rest_in_turn() -> None:
    admission = Admission(rate_per_s=100, burst=50, longest_wait_s=10)
    waits = [admission.wait_s(1_000.0) for _ in range(2_000)]
    assert waits[:50] == [0.0] * 50
    assert waits == sorted(waits)
    assert abs(waits[149] - 1.0) < 0.02
    assert max(waits) == 10, "longer, and the pile would come again"
    assert admission.wait_s(1_100.0) == 0.0


async def queue(street: Street) -> list[HandPile]:
    """Three piles that log in at once where one a second is admitted."""
    street.node.around.admission = Admission(rate_per_s=1, burst=1, longest_wait_s=10)
    piles = [await pile_by_hand(street, code) for code in CODES]
    for pile in piles:
        pile.log_in()
        await until(lambda pile=pile: street.pile(pile.code).login is not None)  # type: ignore[misc]
    return piles


async def test_logins_are_answered_in_turn(street: Street) -> None:
    piles = await queue(street)
    for count in (1, 2, 3):
        await piles[count - 1].peer.hear(frames.LoginAnswer, result=0)
        assert [len(pile.peer.heard(frames.LoginAnswer)) for pile in piles] == [1] * count + [0] * (3 - count)
        await street.pass_time(1)


async def test_a_login_that_is_repeated_while_it_waits_keeps_its_turn_and_gets_one_answer(
    street: Street,
) -> None:
    piles = await queue(street)
    for _ in range(5):
        piles[1].log_in()
    await street.settle()
    await street.pass_time(1)
    await piles[1].peer.hear(frames.LoginAnswer, result=0)
    await street.pass_time(1)
    await piles[2].peer.hear(frames.LoginAnswer, result=0)
    assert len(piles[1].peer.heard(frames.LoginAnswer)) == 1


async def test_nothing_is_sent_before_the_login_is_answered(street: Street) -> None:
    piles = await queue(street)
    outcome = await street.command(CODES[2], SyncClock())
    assert outcome.status.value == "offline"
    assert piles[2].peer.packets == []
    await street.pass_time(2)
    await piles[2].peer.hear(frames.SetTime)
    kinds = [type(packet.frame) for packet in piles[2].peer.packets]
    assert kinds == [frames.LoginAnswer, frames.SetTime]


async def test_the_answer_to_a_pile_that_is_gone_is_dropped(street: Street) -> None:
    piles = await queue(street)
    piles[1].peer.hang_up()
    await until(lambda: street.pile(CODES[1]).status is PileStatus.OFFLINE)
    again = await pile_by_hand(street, CODES[1])
    await street.pass_time(2)
    assert again.peer.packets == [], "it has not asked on this line"
    again.log_in()
    await street.settle()
    await street.pass_time(3)
    await again.peer.hear(frames.LoginAnswer, result=0)
    assert len(again.peer.heard(frames.LoginAnswer)) == 1
