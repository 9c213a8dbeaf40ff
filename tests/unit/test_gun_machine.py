"""The table of one gun: every pair decided, every target as written down here a second time."""

from __future__ import annotations

import itertools

import pytest

from pileward.actors.gun_machine import (
    BUSY,
    GONE,
    IGNORED,
    LIVE,
    REPORTED,
    RULES,
    Gun,
    GunEvent,
    GunState,
    heard,
    next_state,
    shown,
)
from pileward.values import ReportedStatus
from tests.piles import telemetry

# Where each event leads (columns, in the order of GunEvent); "-" is an event that is ignored.
TABLE = """
           said                                                   record                      link
           idle      plugged  charging finished fault   offline   kept     late,idle late,plugged silent  heard   lost
UNKNOWN    idle      plugged  charging finished fault   -         -        -         -            offline -       offline
OFFLINE    idle      plugged  charging finished fault   -         -        -         -            -       unknown -
IDLE       idle      plugged  charging finished fault   -         -        -         -            offline -       offline
PLUGGED    idle      plugged  charging finished fault   -         -        -         -            offline -       offline
CHARGING   stopping  stopping charging finished fault   -         finished -         -            offline -       offline
STOPPING   stopping  stopping charging finished fault   -         finished idle      plugged      offline -       offline
FINISHED   idle      finished charging finished fault   -         -        -         -            offline -       offline
FAULT      idle      plugged  charging finished fault   -         -        -         -            offline -       offline
"""  # noqa: E501 - one row a state

PAIRS = list(itertools.product(REPORTED, GunEvent))


def rows() -> list[tuple[GunState, GunEvent, GunState | None]]:
    """The table above as (state, event, target or None)."""
    found: list[tuple[GunState, GunEvent, GunState | None]] = []
    for line in TABLE.strip().splitlines()[2:]:
        name, *targets = line.split()
        for event, target in zip(GunEvent, targets, strict=True):
            found.append((GunState[name], event, None if target == "-" else GunState[target.upper()]))
    return found


@pytest.mark.parametrize(("state", "event", "target"), rows(), ids=str)
def test_where_each_event_leads(state: GunState, event: GunEvent, target: GunState | None) -> None:
    assert RULES.get((state, event)) is target
    assert next_state(state, event) is (state if target is None else target)


def test_the_table_above_names_every_pair() -> None:
    assert [(state, event) for state, event, _ in rows()] == PAIRS


def test_every_pair_has_exactly_one_decision() -> None:
    assert set(RULES) | set(IGNORED) == set(PAIRS)
    assert not set(RULES) & set(IGNORED)
    assert all(reason.strip() for reason in IGNORED.values())


def test_the_table_moves_between_reported_states_only() -> None:
    assert {state for state, _ in RULES} | set(RULES.values()) == set(REPORTED)


def test_every_reported_state_can_be_reached_and_left() -> None:
    moves = {(state, target) for (state, _), target in RULES.items() if target is not state}
    assert {state for state, _ in moves} == {target for _, target in moves} == set(REPORTED)


def test_a_hole_in_the_table_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="no rule for SAID_IDLE in STARTING"):
        next_state(GunState.STARTING, GunEvent.SAID_IDLE)


WORDS = [
    # what the pile reports           plug    what that says
    (ReportedStatus.IDLE,            False,  GunEvent.SAID_IDLE),
    (ReportedStatus.IDLE,            None,   GunEvent.SAID_IDLE),
    (ReportedStatus.IDLE,            True,   GunEvent.SAID_PLUGGED),
    (ReportedStatus.PLUGGED,         False,  GunEvent.SAID_PLUGGED),
    (ReportedStatus.PLUGGED,         True,   GunEvent.SAID_PLUGGED),
    (ReportedStatus.CHARGING,        True,   GunEvent.SAID_CHARGING),
    (ReportedStatus.CHARGING,        False,  GunEvent.SAID_CHARGING),
    (ReportedStatus.FINISHED,        True,   GunEvent.SAID_FINISHED),
    (ReportedStatus.FAULT,           True,   GunEvent.SAID_FAULT),
    (ReportedStatus.FAULT,           False,  GunEvent.SAID_FAULT),
    (ReportedStatus.OFFLINE,         False,  GunEvent.SAID_OFFLINE),
    (ReportedStatus.UNKNOWN,         False,  GunEvent.SAID_OFFLINE),
]  # fmt: skip


@pytest.mark.parametrize(("status", "is_plugged", "event"), WORDS)
def test_what_a_telemetry_says(status: ReportedStatus, is_plugged: bool | None, event: GunEvent) -> None:
    assert heard(telemetry(status=status, is_plugged=is_plugged)) is event


def test_every_word_of_a_pile_is_understood() -> None:
    assert {status for status, _, _ in WORDS} == set(ReportedStatus)


SHOWN = [
    # reported          online  maintenance   shown
    (GunState.IDLE,     True,   False,        GunState.IDLE),
    (GunState.IDLE,     True,   True,         GunState.MAINTENANCE),
    (GunState.FAULT,    True,   True,         GunState.MAINTENANCE),
    (GunState.CHARGING, True,   True,         GunState.CHARGING),
    (GunState.STOPPING, True,   True,         GunState.STOPPING),
    (GunState.UNKNOWN,  True,   False,        GunState.UNKNOWN),
    (GunState.CHARGING, False,  False,        GunState.OFFLINE),
    (GunState.IDLE,     False,  True,         GunState.OFFLINE),
]  # fmt: skip


@pytest.mark.parametrize(("state", "is_online", "is_in_maintenance", "expected"), SHOWN)
def test_how_a_gun_is_shown(
    state: GunState, is_online: bool, is_in_maintenance: bool, expected: GunState
) -> None:
    assert shown(state, is_online=is_online, is_in_maintenance=is_in_maintenance) is expected


def test_groups_of_states() -> None:
    assert LIVE < BUSY
    assert not BUSY & GONE
    assert {GunState.UNKNOWN, GunState.OFFLINE} == GONE
    assert Gun(1).state in GONE


def test_numbers_of_states_and_events_fit_a_packed_transition() -> None:
    assert max(GunState) < 256
    assert [state.value for state in REPORTED] == list(range(8))
