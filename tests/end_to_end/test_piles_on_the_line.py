"""Piles over real TCP against a whole node: they log in, report, go, come back."""

from __future__ import annotations

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from tests.nodes import CODES, Street


async def test_power_on_brings_a_pile_online_with_clock_and_tariff(street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    await street.eventually(lambda: street.pile(CODES[0]).clock_drift_ms is not None)
    assert {gun.state for gun in street.pile(CODES[0]).guns} == {GunState.IDLE}
    assert control.is_online
    assert street.pile(CODES[0]).held_model_no == street.pile(CODES[0]).config.billing_model_no
    assert street.node.metrics.logins_accepted == 1


async def test_silence_takes_a_half_open_pile_offline_and_it_heals(street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    control.freeze()
    await street.pass_time(31)
    assert street.pile(CODES[0]).status is PileStatus.OFFLINE
    assert street.pile(CODES[0]).reason == "silent"
    control.thaw()
    await street.pass_time(120)
    await street.online(CODES[0])
