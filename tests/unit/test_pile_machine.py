"""The pile's table: every pair decided, rows reachable, steps pure; actions of link, clock and staff."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from msgspec.structs import replace

from pileward.actors.effects import (
    Arm,
    Clear,
    ClearFamily,
    Disarm,
    Note,
    Persist,
    Raise,
    Reply,
    ShowGun,
    ShowPile,
    Unlink,
)
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_machine import BY_PAIR, EVENTS, IGNORED, RULES, UPLINKS, always, step
from pileward.actors.pile_state import (
    AbsenceDue,
    AdmissionDue,
    ClockDue,
    CommandAsked,
    ConfigChanged,
    LinkLost,
    LoginAsked,
    PileStatus,
    Resumed,
    SilenceChecked,
    new_pile,
)
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.commands import RebootPile
from pileward.models.kinds import PileKind
from pileward.services.pile_configs import PileSettings
from pileward.services.pile_facts import LoginFacts, SaveLogin, SaveSeen
from tests.piles import (
    CODE,
    LINK,
    MOMENT,
    NOW,
    OTHER_LINK,
    PEER,
    after,
    asked,
    charging,
    config,
    effects_of,
    in_status,
    login,
    names,
    of,
    online,
    sample_events,
    unknown,
)

S = PileStatus
PAIRS = list(itertools.product(PileStatus, EVENTS))
EVENT_OF = sample_events()
UNWATCHED = [Disarm("silence"), Disarm("tariff"), Disarm("clock"), Disarm("read")]


# --- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "event"), PAIRS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_pair_has_exactly_one_decision(status: PileStatus, event: type) -> None:
    assert ((status, event) in BY_PAIR) is not ((status, event) in IGNORED)


def test_the_table_knows_no_other_pairs() -> None:
    assert set(BY_PAIR) | set(IGNORED) == set(PAIRS)
    assert all(reason.strip() for reason in IGNORED.values())


def test_every_uplink_but_the_login_is_an_event() -> None:
    kinds = {kind for kind in vars(up).values() if isinstance(kind, type) and issubclass(kind, up.Uplink)}
    assert set(UPLINKS) == kinds - {up.Uplink, up.Login}


@pytest.mark.parametrize("pair", BY_PAIR, ids=lambda pair: f"{pair[0].name}-{pair[1].__name__}")
def test_no_row_is_unreachable_and_no_event_falls_through(pair: tuple[PileStatus, type]) -> None:
    guards = [rule.guard for rule in BY_PAIR[pair]]
    assert guards[-1] is always
    assert always not in guards[:-1]
    assert len(set(guards)) == len(guards)


def test_rows_of_a_pair_stand_together_in_one_table() -> None:
    assert sum(len(rules) for rules in BY_PAIR.values()) == len(RULES)
    assert len(set(RULES)) == len(RULES)


@pytest.mark.parametrize(("status", "event"), PAIRS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_step_is_pure_and_goes_where_its_row_says(status: PileStatus, event: type) -> None:
    pile, happened = in_status(status), EVENT_OF[event]
    before = repr(pile)
    first, again = step(pile, happened, NOW), step(pile, happened, NOW)
    assert first == again
    assert repr(pile) == before
    if (status, event) in IGNORED:
        assert first == (pile, ())
        assert first[0] is pile
    else:
        assert first[0].status in {rule.target for rule in BY_PAIR[status, event]}


@pytest.mark.parametrize(("status", "event"), PAIRS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_at_most_one_write_is_waited_for_in_a_step(status: PileStatus, event: type) -> None:
    assert len(of(Persist, effects_of(in_status(status), EVENT_OF[event]))) <= 1


def test_a_hole_in_the_table_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="no rule for int in ONLINE"):
        step(online(), 5, NOW)


# --- login ----------------------------------------------------------------------------------------------


def test_a_login_is_answered_then_the_clock_is_set_then_the_watches_begin() -> None:
    pile, effects = step(unknown(), asked(), NOW)
    assert (pile.status, pile.link, pile.remote_address, pile.reason) == (S.ONLINE, LINK, PEER, "login")
    assert pile.since_ms == NOW
    assert [gun.state for gun in pile.guns] == [GunState.UNKNOWN] * 2
    facts = LoginFacts("dc", 2, "1.6", "v4.1", "sim", "", "mobile", PEER)
    assert list(effects) == [
        *(Disarm("record:1"), ShowGun(1), Disarm("record:2"), ShowGun(2)),
        down.LoginAnswer(CODE, 7, True),
        down.SetClock(CODE, None, MOMENT),
        Arm("reply:clock", 10.0),
        Arm("silence", 30.0),
        Arm("tariff", 60.0),
        Arm("clock", 86_400.0),
        Arm("read", 20.0),
        Disarm("absence"),
        Disarm("admission"),
        Note(SaveLogin(CODE, facts, MOMENT)),
        Clear("login_mismatch"),
        *(Clear("gun_silent", 1), ShowGun(1), Clear("gun_silent", 2), ShowGun(2)),
        Clear("offline"),
        ShowPile("login"),
    ]


def test_deadlines_follow_the_model_of_the_pile() -> None:
    settings = PileSettings(offline_after_s=90, time_sync_s=3_600)
    effects = effects_of(unknown(settings=settings), asked())
    assert Arm("silence", 90.0) in effects
    assert Arm("clock", 3_600.0) in effects
    assert Arm("absence", 90.0) in effects_of(online(settings=settings), LinkLost(LINK, "gone"))


def test_a_newer_connection_takes_the_place_of_an_older_one() -> None:
    busy = after(online(), CommandAsked(5, RebootPile()))
    pile, effects = step(busy, asked(OTHER_LINK), NOW)
    assert (pile.status, pile.link, pile.tariff_ok) == (S.ONLINE, OTHER_LINK, False)
    assert [entry.kind for entry in pile.pending] == ["clock"]
    assert effects[0] == Unlink(LINK, "replaced")
    assert effects[1] == Disarm("reply:reboot")
    assert isinstance(effects[2], Reply)
    assert (effects[2].command_id, effects[2].outcome.status) == (5, "offline")
    downlinks = of(down.Downlink, effects)
    assert names(downlinks) == ["LoginAnswer", "SetClock"]


def test_a_repeated_login_on_the_same_connection_drops_no_connection() -> None:
    effects = effects_of(online(), asked())
    assert not of(Unlink, effects)
    assert names(of(down.Downlink, effects)) == ["LoginAnswer", "SetClock"]


def test_a_login_that_has_to_wait_is_not_answered_until_its_turn() -> None:
    pile, effects = step(unknown(), asked(wait_s=2.5), NOW)
    assert (pile.status, pile.link, pile.reason) == (S.REGISTERING, LINK, "waiting")
    assert not of(down.Downlink, effects)
    assert effects[-2:] == (Arm("admission", 2.5), ShowPile("waiting"))
    pile, effects = step(pile, AdmissionDue(), NOW + 2_500)
    assert (pile.status, pile.since_ms) == (S.ONLINE, NOW + 2_500)
    assert names(of(down.Downlink, effects)) == ["LoginAnswer", "SetClock"]
    assert Disarm("admission") in effects


def test_a_login_that_waits_gives_up_what_belonged_to_the_connection_before() -> None:
    pile, effects = step(after(online(), charging()), asked(OTHER_LINK, wait_s=2.5), NOW)
    assert (pile.status, pile.link, pile.tariff_ok) == (S.REGISTERING, OTHER_LINK, False)
    assert {gun.state for gun in pile.guns} == {GunState.OFFLINE}
    assert effects[0] == Unlink(LINK, "replaced")
    assert [effect for effect in effects if effect in UNWATCHED] == UNWATCHED


def test_a_pile_that_repeats_its_login_keeps_its_turn() -> None:
    waiting = after(unknown(), asked(wait_s=2.5))
    again = login(wire_seq=8)
    pile, effects = step(waiting, asked(wait_s=9.0, said=again), NOW + 1_000)
    assert (pile.status, effects) == (S.REGISTERING, ())
    assert down.LoginAnswer(CODE, 8, True) in effects_of(pile, AdmissionDue())
    elsewhere = effects_of(waiting, asked(OTHER_LINK, wait_s=9.0))
    assert elsewhere[0] == Unlink(LINK, "replaced")
    assert Arm("admission", 9.0) in elsewhere


MISMATCHES = [
    # registered         guns  says       guns  alarm
    (PileKind.DC,        2,    "dc",      2,    None),
    (PileKind.DC,        2,    "unknown", 2,    None),
    (PileKind.AC,        1,    "ac",      1,    None),
    (PileKind.AC,        1,    "dc",      1,    "login says dc/1, registered as ac/1"),
    (PileKind.DC,        2,    "dc",      1,    "login says dc/1, registered as dc/2"),
    (PileKind.DC,        2,    "dc",      0,    "login says dc/0, registered as dc/2"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "guns", "said_kind", "said_guns", "text"), MISMATCHES)
def test_a_pile_that_is_not_what_was_registered(
    kind: PileKind, guns: int, said_kind: str, said_guns: int, text: str | None
) -> None:
    said = asked(said=login(said_guns, said_kind))
    pile, effects = step(unknown(kind=kind, gun_count=guns), said, NOW)
    assert pile.status is S.ONLINE
    raised = [effect for effect in of(Raise, effects) if effect.kind == "login_mismatch"]
    assert [effect.text_en for effect in raised] == ([] if text is None else [text])
    assert (Clear("login_mismatch") in effects) is (text is None)


# --- away and back --------------------------------------------------------------------------------------


def test_a_lost_link_takes_the_pile_offline() -> None:
    pile, effects = step(after(online(), charging(2)), LinkLost(LINK, "peer_closed"), NOW + 5)
    assert (pile.status, pile.link, pile.reason) == (S.OFFLINE, None, "peer_closed")
    assert (pile.since_ms, pile.tariff_ok, pile.pending) == (NOW + 5, False, ())
    assert [gun.state for gun in pile.guns] == [GunState.OFFLINE] * 2
    assert list(effects) == [
        *(*UNWATCHED, Disarm("admission"), Arm("absence", 30.0)),
        Note(SaveSeen(CODE, MOMENT + timedelta(milliseconds=5))),
        *(Disarm("record:1"), ShowGun(1), Disarm("record:2"), ShowGun(2)),
        ShowPile("peer_closed"),
    ]


@pytest.mark.parametrize("status", [S.ONLINE, S.REGISTERING])
def test_the_late_close_of_another_link_changes_nothing(status: PileStatus) -> None:
    pile = in_status(status)
    assert step(pile, LinkLost(OTHER_LINK, "peer_closed"), NOW) == (pile, ())


SILENCES = [
    # pile, guns             status     unlinked  next look, s  silent guns
    (0.0,   (0.0, 0.0),      S.ONLINE,  False,    30.0,         ()),
    (10.0,  (10.0, 12.0),    S.ONLINE,  False,    18.0,         ()),
    (29.5,  (29.5, 29.9),    S.ONLINE,  False,    1.0,          ()),
    (5.0,   (31.0, 5.0),     S.ONLINE,  False,    25.0,         (1,)),
    (5.0,   (31.0, 30.0),    S.ONLINE,  False,    25.0,         (1, 2)),
    (30.0,  (30.0, 30.0),    S.OFFLINE, True,     None,         ()),
    (45.0,  (45.0, 45.0),    S.OFFLINE, True,     None,         ()),
]  # fmt: skip


@pytest.mark.parametrize(("pile_s", "guns_s", "status", "is_unlinked", "again_s", "silent"), SILENCES)
def test_silence(
    pile_s: float,
    guns_s: tuple[float, ...],
    status: PileStatus,
    is_unlinked: bool,
    again_s: float | None,
    silent: tuple[int, ...],
) -> None:
    pile, effects = step(online(), SilenceChecked(pile_s, guns_s), NOW)
    assert pile.status is status
    assert of(Unlink, effects) == ([Unlink(LINK, "silent")] if is_unlinked else [])
    armed = [effect.after_s for effect in of(Arm, effects) if effect.timer == "silence"]
    assert armed == ([] if again_s is None else [pytest.approx(again_s)])
    alarms = [effect.gun_no for effect in of(Raise, effects) if effect.kind == "gun_silent"]
    assert tuple(alarms) == silent
    for number in silent:
        assert pile.guns[number - 1].state is GunState.OFFLINE


@pytest.mark.parametrize("status", [S.UNKNOWN, S.REGISTERING, S.OFFLINE])
def test_a_pile_that_stays_away_is_an_alarm(status: PileStatus) -> None:
    pile = in_status(status)
    (alarm,) = effects_of(pile, AbsenceDue())
    assert (alarm.kind, alarm.severity) == ("offline", "warning")
    assert pile.reason in alarm.text_en
    assert Clear("offline") in effects_of(pile, asked(OTHER_LINK))


def test_a_restarted_actor_goes_on_with_its_connection() -> None:
    fresh = unknown(confirmed_billing_model_no="0100")
    pile, effects = step(fresh, Resumed(LINK, PEER), NOW)
    assert (pile.status, pile.link, pile.remote_address, pile.reason) == (S.ONLINE, LINK, PEER, "restarted")
    assert pile.tariff_ok
    assert names(effects) == ["Arm"] * 4 + ["Disarm"] * 2 + ["ReadTelemetry"] * 2 + ["ShowPile"]
    assert not step(unknown(confirmed_billing_model_no="0099"), Resumed(LINK), NOW)[0].tariff_ok


# --- clock ----------------------------------------------------------------------------------------------

CLOCKS = [
    # off by, s  drift kept, ms  alarm
    (0,          0,              False),
    (60,         60_000,         False),
    (-60,        -60_000,        False),
    (61,         61_000,         True),
    (-86_400,    -86_400_000,    True),
    (None,       None,           True),
]  # fmt: skip


@pytest.mark.parametrize(("off_s", "drift_ms", "is_alarm"), CLOCKS)
def test_the_clock_after_it_was_set(off_s: int | None, drift_ms: int | None, is_alarm: bool) -> None:
    told = None if off_s is None else MOMENT + timedelta(seconds=off_s)
    pile, effects = step(after(unknown(), asked()), up.ClockAnswer(CODE, 8, told), NOW)
    assert pile.clock_drift_ms == drift_ms
    assert pile.pending == ()
    assert list(effects[:2]) == [Disarm("reply:clock"), Clear("clock_unset")]
    assert [alarm.kind for alarm in of(Raise, effects)] == (["clock_drift"] if is_alarm else [])
    assert (Clear("clock_drift") in effects) is not is_alarm


def test_the_clock_is_set_every_day() -> None:
    assert effects_of(online(), ClockDue()) == [
        down.SetClock(CODE, None, MOMENT),
        Arm("reply:clock", 10.0),
        Arm("clock", 86_400.0),
    ]
    waiting = after(unknown(), asked())
    assert effects_of(waiting, ClockDue()) == [Arm("clock", 86_400.0)]


# --- configuration --------------------------------------------------------------------------------------


def test_a_changed_pile_is_adopted_and_shown() -> None:
    pile, effects = step(online(), ConfigChanged(config(name="新名字")), NOW)
    assert (pile.config.name, pile.tariff_ok) == ("新名字", True)
    assert list(effects) == [Clear("login_mismatch"), Clear("no_tariff"), ShowPile("changed")]
    assert effects_of(unknown(), ConfigChanged(config())) == [ShowPile("started")]


def test_guns_that_are_added_are_asked() -> None:
    before = after(online(), charging(1))
    pile, effects = step(before, ConfigChanged(config(gun_count=4)), NOW)
    assert pile.guns[:2] == before.guns
    assert [gun.gun_no for gun in pile.guns] == [1, 2, 3, 4]
    asked_for = of(down.ReadTelemetry, effects)
    assert [question.gun_no for question in asked_for] == [3, 4]
    assert [alarm.kind for alarm in of(Raise, effects)] == ["login_mismatch"]
    assert not of(down.Downlink, effects_of(in_status(S.OFFLINE), ConfigChanged(config(gun_count=4))))


def test_with_a_gun_that_is_gone_its_alarms_end() -> None:
    before = online()
    pile, effects = step(before, ConfigChanged(config(gun_count=1)), NOW)
    assert pile.guns == before.guns[:1]
    assert list(effects[:2]) == [Disarm("record:2"), ClearFamily("", 2, ())]


def test_maintenance_shows_on_every_gun() -> None:
    effects = effects_of(online(), ConfigChanged(config(is_in_maintenance=True)))
    assert of(ShowGun, effects) == [ShowGun(1), ShowGun(2)]


def test_what_staff_changed_ends_a_mismatch() -> None:
    pile = after(unknown(), asked(said=login(gun_count=1)))
    assert Clear("login_mismatch") in effects_of(pile, ConfigChanged(config(gun_count=1)))


# --- values ---------------------------------------------------------------------------------------------


def test_a_new_pile_knows_what_its_row_knows() -> None:
    pile = new_pile(config(gun_count=3, confirmed_billing_model_no="0042"))
    assert (pile.status, pile.code, pile.link, pile.held_model_no) == (S.UNKNOWN, CODE, None, "0042")
    assert [gun.gun_no for gun in pile.guns] == [1, 2, 3]
    assert not pile.is_busy
    assert replace(pile, guns=(replace(pile.guns[0], state=GunState.CHARGING),)).is_busy


def test_events_come_with_no_hidden_identity() -> None:
    assert LoginAsked(login(), LINK, PEER) == asked()
