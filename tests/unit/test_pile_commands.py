"""Commands to a pile: one downlink, a deadline, a few repeats, exactly one outcome."""

from __future__ import annotations

from typing import Any

import pytest

from pileward.actors import pile_asked
from pileward.actors.effects import Arm, Disarm, Raise, Reply
from pileward.actors.pile_commands import moment
from pileward.actors.pile_machine import step
from pileward.actors.pile_state import (
    ATTEMPTS_MAX,
    CommandAsked,
    LinkLost,
    Pile,
    PileStatus,
    ReplyDue,
    SilenceChecked,
)
from pileward.messages import commands as ask
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.commands import Command, Outcome
from pileward.values import ResultStatus
from tests.piles import (
    CODE,
    LINK,
    MOMENT,
    NOW,
    OTHER_LINK,
    after,
    asked,
    effects_of,
    in_status,
    of,
    online,
    tariff,
    telemetry,
)

ACCEPTED = Outcome(ResultStatus.ACCEPTED)
REFUSED = Outcome(ResultStatus.REJECTED, "refused_by_pile")

COMMANDS = [
    # command                            kind         on the wire
    (ask.RebootPile(),                   "reboot",    down.Reboot(CODE, None, True)),
    (ask.RebootPile(False),              "reboot",    down.Reboot(CODE, None, False)),
    (ask.SetService(True, 100),          "service",   down.SetWorkSettings(CODE, None, True, 100)),
    (ask.SetService(False, 30),          "service",   down.SetWorkSettings(CODE, None, False, 30)),
    (ask.SyncClock(),                    "clock",     down.SetClock(CODE, None, MOMENT)),
    (ask.PushTariff(),                   "tariff",    down.SetTariff(CODE, None, tariff())),
    (ask.ReadGun(2),                     "read:2",    down.ReadTelemetry(CODE, None, 2)),
    (ask.SendQrPrefix("https://c/", False), "qr_prefix", down.SetQrPrefix(CODE, None, "https://c/", False)),
]  # fmt: skip

ANSWERS = [
    # command                answer of the pile                    outcome
    (ask.RebootPile(),       up.RebootAnswer(CODE, 1, True),       ACCEPTED),
    (ask.RebootPile(),       up.RebootAnswer(CODE, 1, False),      REFUSED),
    (ask.SetService(True),   up.WorkSettingsAnswer(CODE, 1, True), ACCEPTED),
    (ask.SetService(True),   up.WorkSettingsAnswer(CODE, 1, False), REFUSED),
    (ask.SyncClock(),        up.ClockAnswer(CODE, 1, MOMENT),      ACCEPTED),
    (ask.SyncClock(),        up.ClockAnswer(CODE, 1, None),        ACCEPTED),
    (ask.PushTariff(),       up.TariffAnswer(CODE, 1, True),       ACCEPTED),
    (ask.PushTariff(),       up.TariffAnswer(CODE, 1, False),      REFUSED),
    (ask.ReadGun(2),         telemetry(2),                         ACCEPTED),
    (ask.SendQrPrefix("x"),  up.QrPrefixAnswer(CODE, 1, 0),        ACCEPTED),
    (ask.SendQrPrefix("x"),  up.QrPrefixAnswer(CODE, 1, 1),        ACCEPTED),
]  # fmt: skip

REFUSALS = [
    # command                     reason
    (ask.SetService(True, 29),    "out_of_range"),
    (ask.SetService(True, 101),   "out_of_range"),
    (ask.ReadGun(0),              "unknown_gun"),
    (ask.ReadGun(3),              "unknown_gun"),
]  # fmt: skip


def replies(effects: Any) -> list[Reply]:
    return of(Reply, effects)


@pytest.mark.parametrize(("command", "kind", "downlink"), COMMANDS)
def test_a_command_is_sent_once_with_a_deadline(command: Command, kind: str, downlink: down.Downlink) -> None:
    pile, effects = step(online(), CommandAsked(5, command), NOW)
    assert list(effects) == [downlink, Arm(f"reply:{kind}", 10.0)]
    (entry,) = pile.pending
    assert (entry.kind, entry.command_id, entry.attempts_left) == (kind, 5, ATTEMPTS_MAX - 1)


@pytest.mark.parametrize(("command", "said", "outcome"), ANSWERS)
def test_the_answer_of_the_pile_is_the_outcome(command: Command, said: up.Uplink, outcome: Outcome) -> None:
    pile, effects = step(after(online(), CommandAsked(5, command)), said, NOW)
    assert pile.pending == ()
    assert replies(effects) == [Reply(5, outcome)]
    assert len([effect for effect in of(Disarm, effects) if effect.timer.startswith("reply:")]) == 1
    assert not replies(effects_of(pile, said))  # a second answer is an answer to nothing


@pytest.mark.parametrize(("command", "reason"), REFUSALS)
def test_what_cannot_be_is_refused_at_once(command: Command, reason: str) -> None:
    pile = online()
    same, effects = step(pile, CommandAsked(5, command), NOW)
    (reply,) = effects
    assert same is pile
    assert (reply.command_id, reply.outcome.status, reply.outcome.reason) == (5, "rejected", reason)
    assert reply.outcome.detail


@pytest.mark.parametrize(("command", "kind", "downlink"), COMMANDS)
def test_one_of_a_kind_is_on_its_way_at_a_time(command: Command, kind: str, downlink: down.Downlink) -> None:
    pile = after(online(), CommandAsked(5, command))
    same, effects = step(pile, CommandAsked(6, command), NOW)
    assert same is pile
    assert list(effects) == [Reply(6, pile_asked.IN_PROGRESS)]


def test_commands_of_different_kinds_do_not_wait_for_each_other() -> None:
    pile = online()
    for number, command in enumerate((ask.RebootPile(), ask.ReadGun(1), ask.ReadGun(2), ask.SyncClock())):
        pile, effects = step(pile, CommandAsked(number, command), NOW)
        assert len(of(down.Downlink, effects)) == 1
    assert [entry.kind for entry in pile.pending] == ["reboot", "read:1", "read:2", "clock"]


@pytest.mark.parametrize(("command", "kind", "downlink"), COMMANDS)
def test_a_command_without_an_answer_is_repeated_then_times_out(
    command: Command, kind: str, downlink: down.Downlink
) -> None:
    pile, first = step(online(), CommandAsked(5, command), NOW)
    sent = of(down.Downlink, first)
    for attempt in range(1, ATTEMPTS_MAX):
        now = NOW + attempt * 10_000
        pile, effects = step(pile, ReplyDue(kind), now)
        sent += of(down.Downlink, effects)
        assert effects[1:] == (Arm(f"reply:{kind}", 10.0),)
        if isinstance(effects[0], down.SetClock):
            assert effects[0].time == moment(now)  # a repeated time would be wrong by now
        else:
            assert effects[0] == downlink
    pile, effects = step(pile, ReplyDue(kind), NOW + ATTEMPTS_MAX * 10_000)
    assert len(sent) == ATTEMPTS_MAX
    assert not of(down.Downlink, effects)
    assert [reply.outcome.status for reply in replies(effects)] == ["timed_out"]
    assert pile.pending == ()
    assert effects_of(pile, ReplyDue(kind)) == []


GIVEN_UP = [
    # kind        alarm
    ("clock",     "clock_unset"),
    ("tariff",    "tariff_failed"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "alarm"), GIVEN_UP)
def test_what_the_platform_itself_wanted_and_did_not_get_is_an_alarm(kind: str, alarm: str) -> None:
    command = ask.SyncClock() if kind == "clock" else ask.PushTariff()
    pile = after(online(), CommandAsked(5, command), *[ReplyDue(kind)] * (ATTEMPTS_MAX - 1))
    assert [raised.kind for raised in of(Raise, effects_of(pile, ReplyDue(kind)))] == [alarm]


@pytest.mark.parametrize("status", [PileStatus.UNKNOWN, PileStatus.REGISTERING, PileStatus.OFFLINE])
@pytest.mark.parametrize(("command", "kind", "downlink"), COMMANDS)
def test_a_pile_that_is_not_online_gets_nothing(
    status: PileStatus, command: Command, kind: str, downlink: down.Downlink
) -> None:
    pile = in_status(status)
    same, effects = step(pile, CommandAsked(5, command), NOW)
    assert same is pile
    assert [reply.outcome.status for reply in effects] == ["offline"]


ENDS = [
    LinkLost(LINK, "gone"),
    SilenceChecked(60.0, (60.0, 60.0)),
    asked(OTHER_LINK),
    asked(),
    asked(wait_s=1.0),
]


@pytest.mark.parametrize("event", ENDS, ids=lambda event: type(event).__name__)
def test_when_the_connection_ends_every_command_ends_as_offline(event: Any) -> None:
    pile = online()
    for number, (command, _, _) in enumerate(COMMANDS, start=1):
        pile = after(pile, CommandAsked(number, command))
    waiting = {entry.command_id: entry.kind for entry in pile.pending}
    pile, effects = step(pile, event, NOW)
    ended = {reply.command_id: reply.outcome.status for reply in replies(effects)}
    assert ended == dict.fromkeys(waiting, ResultStatus.OFFLINE)
    stopped = {effect.timer for effect in of(Disarm, effects)}
    assert stopped >= {f"reply:{kind}" for kind in waiting.values()}
    assert not [entry for entry in pile.pending if entry.command_id is not None]


def test_a_clock_that_is_being_set_after_the_login_is_not_set_twice() -> None:
    pile: Pile = after(in_status(PileStatus.UNKNOWN), asked())
    (reply,) = replies(effects_of(pile, CommandAsked(5, ask.SyncClock())))
    assert reply.outcome.reason == "in_progress"


def test_every_command_has_its_beginning() -> None:
    kinds = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, Command)}
    of_the_shell = {Command, ask.DescribePile, ask.WatchFrames}
    assert set(pile_asked._BEGIN) == kinds - of_the_shell
    assert {type(command) for command, _, _ in COMMANDS} == kinds - of_the_shell
