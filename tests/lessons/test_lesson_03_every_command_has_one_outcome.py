"""Lesson 3: a command has exactly one outcome: accepted, refused, timed out, no connection; never silence.

Elsewhere commands that were written into a dead channel vanished without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pileward.actors.engine import AskError
from pileward.actors.supervised import TimerFired
from pileward.codecs.ykc import frames
from pileward.messages.commands import SetService
from tests.hand import HandPile, online_by_hand
from tests.nodes import CODES, Street

CODE = CODES[0]
COMMAND = SetService(is_in_service=True)

Fate = Callable[[Street, HandPile], Awaitable[None]]


async def says_yes(street: Street, pile: HandPile) -> None:
    pile.peer.say(frames.WorkingParametersAnswer(CODE, 1))


async def says_no(street: Street, pile: HandPile) -> None:
    pile.peer.say(frames.WorkingParametersAnswer(CODE, 0))


async def says_yes_twice(street: Street, pile: HandPile) -> None:
    pile.peer.say(frames.WorkingParametersAnswer(CODE, 1), frames.WorkingParametersAnswer(CODE, 1))


async def says_nothing(street: Street, pile: HandPile) -> None:
    for _ in range(30):
        pile.beat()
        await street.pass_time(1)


async def is_gone(street: Street, pile: HandPile) -> None:
    pile.peer.hang_up(is_reset=True)


async def is_silent(street: Street, pile: HandPile) -> None:
    await street.pass_time(31)


async def comes_back_on_another_line(street: Street, pile: HandPile) -> None:
    await online_by_hand(street, CODE)


async def has_its_actor_fail(street: Street, pile: HandPile) -> None:
    street.node.engine.tell(street.node.around.piles[CODE], TimerFired("a timer that nobody knows"))


OUTCOMES: list[tuple[Fate, str]] = [
    (says_yes, "accepted"),
    (says_no, "rejected"),
    (says_yes_twice, "accepted"),
    (says_nothing, "timed_out"),
    (is_gone, "offline"),
    (is_silent, "offline"),
    (comes_back_on_another_line, "offline"),
    (has_its_actor_fail, "failed"),
]


@pytest.mark.parametrize(("fate", "outcome"), OUTCOMES, ids=[fate.__name__ for fate, _ in OUTCOMES])
async def test_whatever_becomes_of_the_pile_the_command_ends(
    street: Street, fate: Fate, outcome: str
) -> None:
    pile = await online_by_hand(street, CODE)
    asking = street.asking(CODE, COMMAND)
    await pile.peer.hear(frames.WorkingParameters)
    await fate(street, pile)
    if outcome == "failed":
        with pytest.raises(AskError):
            await asking
    else:
        assert (await asyncio.wait_for(asking, 10)).status.value == outcome
        assert street.node.metrics.commands == {outcome: 1}


async def test_without_a_connection_the_answer_comes_at_once(street: Street) -> None:
    assert (await street.command(CODE, COMMAND)).status.value == "offline"
