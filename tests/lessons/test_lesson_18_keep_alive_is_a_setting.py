"""Lesson 18: how long a pile may be silent, and how it wants to be kept alive, are settings of its model.

Elsewhere devices without a ping, and devices that hang up after 110 s of silence, could not be served.
"""

from __future__ import annotations

import pytest

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.services import pile_models, piles
from tests.hand import HandPile, online_by_hand
from tests.nodes import CODES, Street

PATIENT, USUAL = CODES[:2]


async def be_patient(street: Street, code: str, **settings: int) -> None:
    """Give one pile a model of its own."""
    values = pile_models.NewPileModel("Slow & Sons", "S1", **settings)  # type: ignore[arg-type]
    model = await pile_models.add_model(street.who_now(), values)
    await piles.change_pile(street.who_now(), code, piles.PileChange(model_id=model.id))
    await street.node.fleet_changed("pile", code)


async def beat_every(street: Street, pile: HandPile, seconds: int, times: int) -> None:
    """A pile with heartbeats of its own pace."""
    for _ in range(times):
        pile.beat()
        await street.settle()
        await street.pass_time(seconds, step=5)


@pytest.mark.parametrize("seconds", [60, 110, 300])
async def test_a_pile_of_a_slow_model_stays_online_at_its_own_pace(street: Street, seconds: int) -> None:
    await be_patient(street, PATIENT, offline_after_s=3 * seconds, heartbeat_s=seconds)
    pile = await online_by_hand(street, PATIENT)
    await beat_every(street, pile, seconds, times=4)
    assert street.pile(PATIENT).status is PileStatus.ONLINE
    assert len(pile.peer.heard(frames.LoginAnswer)) == 1
    assert street.alarms(PATIENT) == set()


async def test_others_keep_their_own_setting(street: Street) -> None:
    await be_patient(street, PATIENT, offline_after_s=90, heartbeat_s=30)
    slow, usual = await online_by_hand(street, PATIENT), await online_by_hand(street, USUAL)
    await street.pass_time(31)
    assert street.pile(PATIENT).status is PileStatus.ONLINE
    assert street.pile(USUAL).status is PileStatus.OFFLINE
    assert not slow.peer.is_closed
    await usual.peer.hear_close()


async def test_a_pile_that_hangs_up_without_answers_gets_one_for_every_heartbeat(street: Street) -> None:
    (control,) = street.power_on(USUAL)
    await street.online(USUAL)
    await street.pass_time(300, step=2)
    assert control.pile.tally.events["platform_silent"] == 0
    assert street.node.metrics.logins_accepted == 1
