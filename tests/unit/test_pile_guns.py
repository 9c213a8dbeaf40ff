"""Actions of the pile's machine that concern its guns and their records, effect by effect."""

from __future__ import annotations

from typing import Any

import pytest

from pileward.actors.effects import Arm, Clear, ClearFamily, Count, Disarm, Persist, Raise, Sample, ShowGun
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_guns import SAMPLE_EVERY_MS
from pileward.actors.pile_machine import step
from pileward.actors.pile_state import PileStatus, ReadDue, RecordDue, SilenceChecked
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.faults import FAULTS
from pileward.services.records import RecordState, StoreRecord
from pileward.values import ReportedStatus
from tests.piles import (
    CODE,
    MOMENT,
    NOW,
    WIRE,
    after,
    asked,
    charging,
    effects_of,
    in_status,
    kept,
    names,
    of,
    online,
    record,
    telemetry,
    unknown,
    uplink,
)

LATER = NOW + SAMPLE_EVERY_MS
"""When a telemetry is kept for charts again."""

BEATS = [
    # gun  faulty  last telemetry  other effects behind the answer
    (1,    False,  0,              []),
    (1,    True,   31_000,         [down.ReadTelemetry(CODE, None, 1)]),
    (1,    True,   29_000,         []),
    (3,    False,  0,              [Count("unknown_gun")]),
    (0,    False,  0,              [Count("unknown_gun")]),
]  # fmt: skip


@pytest.mark.parametrize(("gun_no", "is_faulty", "age_ms", "others"), BEATS)
def test_a_heartbeat_is_answered_first(gun_no: int, is_faulty: bool, age_ms: int, others: list[Any]) -> None:
    effects = effects_of(online(), up.Heartbeat(CODE, 300, gun_no, is_faulty), NOW + age_ms)
    assert effects == [down.HeartbeatAnswer(CODE, 300, gun_no), *others]


def test_a_gun_known_to_be_faulty_is_not_asked_again_for_its_fault() -> None:
    pile = after(online(), telemetry(1, ReportedStatus.FAULT))
    assert len(effects_of(pile, up.Heartbeat(CODE, 1, 1, True), NOW + 60_000)) == 1


def test_a_silent_gun_raises_one_alarm_and_comes_back_with_its_heartbeat() -> None:
    pile = after(online(), SilenceChecked(5.0, (31.0, 5.0)))
    assert not of(Raise, effects_of(pile, SilenceChecked(5.0, (41.0, 5.0))))
    pile, effects = step(pile, up.Heartbeat(CODE, 21, 1, False), NOW)
    assert pile.guns[0].state is GunState.UNKNOWN
    assert list(effects) == [
        down.HeartbeatAnswer(CODE, 21, 1),
        Clear("gun_silent", 1),
        ShowGun(1),
        down.ReadTelemetry(CODE, None, 1),
    ]


def test_guns_that_have_not_reported_are_asked() -> None:
    pile = after(unknown(), asked(), telemetry(2))
    assert effects_of(pile, ReadDue()) == [down.ReadTelemetry(CODE, None, 1)]
    assert effects_of(online(), ReadDue()) == []


def test_telemetry_is_shown_and_kept_for_charts() -> None:
    said = telemetry(2, is_plugged=True)
    pile, effects = step(online(), said, NOW + 9)
    gun = pile.guns[1]
    assert (gun.state, gun.since_ms) == (GunState.PLUGGED, NOW + 9)
    assert (gun.telemetry, gun.telemetry_ms) == (said, NOW + 9)
    assert list(effects) == [ShowGun(2), Sample(said)]
    pile, effects = step(pile, said, LATER)
    assert (pile.guns[1].since_ms, pile.guns[1].telemetry_ms) == (NOW + 9, LATER)
    assert list(effects) == [ShowGun(2)]  # charts need it no more often
    assert effects_of(pile, said, LATER + 9) == [ShowGun(2), Sample(said)]


@pytest.mark.parametrize("gun_no", [0, 3, 77])
def test_telemetry_of_a_gun_that_is_not_there_is_counted(gun_no: int) -> None:
    pile = online()
    assert step(pile, telemetry(gun_no), NOW) == (pile, (Count("unknown_gun"),))


def test_faults_become_alarms_and_end() -> None:
    said = telemetry(1, ReportedStatus.FAULT, fault_codes=("door_open", "fan_board"))
    pile, effects = step(online(), said, NOW)
    raised = of(Raise, effects)
    assert [alarm.kind for alarm in raised] == ["fault:door_open", "fault:fan_board"]
    assert (raised[0].gun_no, raised[0].text_zh) == (1, FAULTS["door_open"].text_zh)
    assert names(effects_of(pile, said)) == ["ShowGun"]
    ended = effects_of(pile, telemetry(1, fault_codes=("fan_board", "ykc_bit_15")))
    assert [alarm.kind for alarm in of(Raise, ended)] == ["fault:ykc_bit_15"]
    assert of(Clear, ended) == [Clear("fault:door_open", 1)]


def test_the_first_word_of_a_gun_ends_alarms_of_an_earlier_life() -> None:
    effects = effects_of(after(unknown(), asked()), telemetry(1, fault_codes=("door_open",)))
    assert [alarm.kind for alarm in of(Raise, effects)] == ["fault:door_open"]
    assert of(ClearFamily, effects) == [ClearFamily("fault:", 1, ("fault:door_open",))]


# --- records --------------------------------------------------------------------------------------------

ENDS = [
    # what the gun says after charging                         state
    (telemetry(1, is_plugged=True),                            GunState.STOPPING),
    (telemetry(1),                                             GunState.STOPPING),
    (telemetry(1, ReportedStatus.FINISHED, is_plugged=True),   GunState.FINISHED),
    (telemetry(1, ReportedStatus.FAULT, is_plugged=True),      GunState.FAULT),
]  # fmt: skip


@pytest.mark.parametrize(("said", "state"), ENDS)
def test_a_charge_that_ends_waits_for_its_record(said: up.Telemetry, state: GunState) -> None:
    pile, effects = step(after(online(), charging()), said, NOW)
    assert pile.guns[0].state is state
    assert Arm("record:1", 30.0) in effects
    assert [alarm.kind for alarm in of(Raise, effects_of(pile, RecordDue(1)))] == ["record_missing"]
    stored = effects_of(pile, kept())
    assert Disarm("record:1") in stored
    assert Clear("record_missing", 1) in stored


def test_a_charge_that_goes_on_after_all_waits_for_no_record() -> None:
    pile = after(online(), charging(), telemetry(1, is_plugged=True))
    assert Disarm("record:1") in effects_of(pile, charging())


def test_a_record_that_does_not_come_leaves_the_gun_as_its_pile_sees_it() -> None:
    for is_plugged, state in ((True, GunState.PLUGGED), (False, GunState.IDLE)):
        pile = after(online(), charging(), telemetry(1, is_plugged=is_plugged), RecordDue(1))
        assert pile.guns[0].state is state
    assert effects_of(online(), RecordDue(9)) == []


def test_a_record_is_stored_before_it_is_confirmed() -> None:
    said = record()
    pile = online()
    same, effects = step(pile, said, NOW)
    assert same is pile
    write, answer = effects
    assert isinstance(write, Persist)
    assert write.about is said
    stored = write.write
    assert isinstance(stored, StoreRecord)
    assert (stored.protocol, stored.pile_code, stored.gun_no) == ("ykc", CODE, 1)
    assert (stored.wire_number, stored.body, stored.received_at) == (WIRE, b"body", MOMENT)
    assert stored.decoded["started_at"] == "2026-03-01T04:05:06+00:00"
    assert stored.decoded["ended_at"] is None
    assert [period["rate"] for period in stored.decoded["periods"]] == ["peak", None]
    assert answer == down.RecordAnswer(CODE, 11, WIRE)


@pytest.mark.parametrize("state", list(RecordState))
def test_a_record_that_is_durable_ends_the_charge(state: RecordState) -> None:
    pile, effects = step(after(online(), charging()), kept(state), NOW)
    assert pile.guns[0].state is GunState.FINISHED
    assert of(Clear, effects)[-2:] == [Clear("record_missing", 1), Clear("record_unconfirmed")]
    alarms = [alarm.kind for alarm in of(Raise, effects)]
    assert alarms == (["record_differs"] if state is RecordState.DIFFERENT else [])


def test_a_record_of_an_impossible_gun_is_kept_and_counted() -> None:
    assert isinstance(effects_of(online(), record(gun_no=0))[0], Persist)
    assert effects_of(online(), kept(gun_no=0))[0] == Count("unknown_gun")


@pytest.mark.parametrize("status", list(PileStatus))
def test_a_record_that_is_durable_counts_in_every_state(status: PileStatus) -> None:
    effects = effects_of(in_status(status), kept(RecordState.DIFFERENT))
    assert [alarm.kind for alarm in of(Raise, effects)] == ["record_differs"]
    assert not of(down.Downlink, effects)


def test_nobody_starts_at_the_pile() -> None:
    said = uplink(up.LocalStartRequest, parallel_no="000123")
    assert effects_of(online(), said) == [
        down.LocalStartAnswer(CODE, 3, 1, "0" * 32, False, 0x01, 0, parallel_no="000123")
    ]
