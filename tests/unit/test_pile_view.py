"""What people see of a pile: words, live values, events."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest

from pileward.actors.pile_state import CommandAsked, LinkLost, Pile, PileStatus
from pileward.actors.pile_view import describe, gun_event, gun_view, pile_event, pile_state, pile_view
from pileward.messages import uplinks as up
from pileward.messages.commands import ReadGun
from pileward.values import ReportedStatus
from tests.piles import CODE, LINK, MOMENT, NOW, PEER, after, charging, in_status, online, telemetry, unknown

LIVE = ("soc_pct", "power_w", "voltage_mv", "current_ma", "energy_e4_kwh", "amount_e4_yuan", "remaining_s")

WORDS = [
    # status                 maintenance  word
    (PileStatus.UNKNOWN,     False,       "unknown"),
    (PileStatus.REGISTERING, False,       "registering"),
    (PileStatus.ONLINE,      False,       "online"),
    (PileStatus.ONLINE,      True,        "maintenance"),
    (PileStatus.OFFLINE,     True,        "offline"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "is_in_maintenance", "word"), WORDS)
def test_the_word_for_a_pile(status: PileStatus, is_in_maintenance: bool, word: str) -> None:
    pile = in_status(status)
    config = msgspec.structs.replace(pile.config, is_in_maintenance=is_in_maintenance)
    assert pile_state(msgspec.structs.replace(pile, config=config)) == word


SEEN = [
    # the last word of the gun                                 then       state       live values
    (telemetry(1),                                             "online",  "idle",     False),
    (telemetry(1, is_plugged=True),                            "online",  "plugged",  False),
    (charging(1),                                              "online",  "charging", True),
    (telemetry(1, ReportedStatus.FAULT),                       "online",  "fault",    False),
    (charging(1),                                              "offline", "offline",  True),
    (telemetry(1),                                             "offline", "offline",  False),
]  # fmt: skip


@pytest.mark.parametrize(("said", "then", "state", "is_live"), SEEN)
def test_live_values_are_shown_while_a_charge_runs(
    said: up.Telemetry, then: str, state: str, is_live: bool
) -> None:
    pile = after(online(), said)
    if then == "offline":
        pile = after(pile, LinkLost(LINK, "gone"))
    view = gun_view(pile, pile.guns[0])
    assert view.state == state
    assert [getattr(view, name) is not None for name in LIVE] == [is_live] * len(LIVE)
    if is_live:
        assert (view.power_w, view.soc_pct, view.energy_e4_kwh) == (37_767, 78, 88_000)
    assert view.at == MOMENT


def test_a_charge_that_ends_keeps_its_last_values_until_its_record() -> None:
    pile = after(online(), charging(1), telemetry(1, is_plugged=True))
    assert gun_view(pile, pile.guns[0]).energy_e4_kwh == 88_000


def test_power_needs_both_of_its_parts() -> None:
    pile = after(online(), msgspec.structs.replace(charging(1), voltage_mv=None))
    view = gun_view(pile, pile.guns[0])
    assert (view.power_w, view.voltage_mv, view.current_ma) == (None, None, 101_200)


def test_a_gun_of_which_nothing_was_heard_has_no_values() -> None:
    view = gun_view(unknown(), unknown().guns[0])
    assert (view.state, view.at, view.since) == ("offline", None, None)


def test_a_pile_is_shown_with_all_its_guns() -> None:
    view = pile_view(online())
    assert (view.pile_code, view.state, view.reason, view.tariff_ok) == (CODE, "online", "login", True)
    assert (view.kind, view.rated_power_w, view.since) == ("dc", 120_000, MOMENT)
    assert [gun.gun_no for gun in view.guns] == [1, 2]
    taken_away = pile_view(online(), "RuntimeError: x")
    assert (taken_away.state, taken_away.reason) == ("quarantined", "RuntimeError: x")


def test_events_say_what_the_page_shows() -> None:
    pile = after(online(), charging(2))
    event = gun_event(pile, 2, NOW + 1_500)
    view = gun_view(pile, pile.guns[1])
    assert event.at == MOMENT + timedelta(seconds=1.5)
    for name in ("state", "is_plugged", "fault_codes", *LIVE):
        assert getattr(event, name) == getattr(view, name)
    told = pile_event(pile, "login", NOW)
    assert (told.pile_code, told.state, told.reason, told.tariff_ok) == (CODE, "online", "login", True)


@pytest.mark.parametrize("status", list(PileStatus))
def test_a_description_is_plain_data_in_every_state(status: PileStatus) -> None:
    data = describe(in_status(status), NOW)
    assert json.loads(json.dumps(data))["state"] == pile_state(in_status(status))


def test_a_description_tells_what_is_on_its_way_and_how_old_the_last_word_is() -> None:
    pile: Pile = after(online(), CommandAsked(5, ReadGun(1)))
    data = describe(pile, NOW + 61_000)
    assert data["pending"] == [{"kind": "read:1", "attempts_left": 2, "asked_by_edge": True}]
    assert data["guns"][0]["telemetry_age_s"] == 61
    assert data["guns"][0]["reported_state"] == "idle"
    assert (data["peer"], data["link"]) == (PEER, LINK)
    assert data["settings"]["crc_order"] == "mirror"
    assert data["wanted_billing_model_no"] == data["held_billing_model_no"] == "0100"
    assert describe(in_status(PileStatus.OFFLINE), NOW)["link"] is None
    assert describe(unknown(), NOW)["guns"][0]["telemetry_age_s"] is None
