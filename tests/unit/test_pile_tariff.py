"""How a pile comes by its tariff: checked, delivered, pushed, refused, never while a gun is busy."""

from __future__ import annotations

from typing import Any

import pytest

from pileward.actors.effects import Arm, Clear, Disarm, Note, Raise, Reply, ShowPile
from pileward.actors.pile_machine import step
from pileward.actors.pile_state import CommandAsked, ConfigChanged, LinkLost, Pile, ReplyDue, TariffDue
from pileward.actors.pile_tariff import holds_wanted
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.commands import Outcome, PushTariff
from pileward.services.pile_facts import ConfirmTariff
from pileward.values import ResultStatus
from tests.piles import (
    CODE,
    LINK,
    MOMENT,
    NOW,
    after,
    asked,
    charging,
    config,
    effects_of,
    kept,
    names,
    of,
    online,
    tariff,
    telemetry,
    unknown,
)

OLD, NEW = "0100", "0101"


def logged_in(**changes: Any) -> Pile:
    """A pile that has logged in, answered its clock, and said nothing of its tariff."""
    return after(unknown(**changes), asked(), up.ClockAnswer(CODE, 8, MOMENT), telemetry(1), telemetry(2))


def check(number: str) -> up.TariffCheck:
    return up.TariffCheck(CODE, 40, number)


def confirmed(number: str) -> Note:
    return Note(ConfirmTariff(CODE, number, MOMENT))


def alarms(effects: Any) -> list[str]:
    return [alarm.kind for alarm in of(Raise, effects)]


CHECKS = [
    # wanted  pile says  answered          current  tariff_ok
    (OLD,     OLD,       OLD,              True,    True),
    (OLD,     NEW,       OLD,              False,   False),
    (OLD,     "0000",    OLD,              False,   False),
    (None,    "0042",    "0042",           False,   False),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "said", "answered", "is_current", "is_ok"), CHECKS)
def test_a_check_is_answered_first(
    wanted: str | None, said: str, answered: str, is_current: bool, is_ok: bool
) -> None:
    pile = logged_in(tariff=None if wanted is None else tariff(wanted))
    pile, effects = step(pile, check(said), NOW)
    assert effects[0] == down.TariffCheckAnswer(CODE, 40, answered, is_current)
    assert (pile.tariff_ok, pile.held_model_no) == (is_ok, said)
    assert len(of(down.Downlink, effects)) == 1
    if is_ok:
        assert list(effects[1:]) == [
            *(Clear("no_tariff"), Clear("tariff_failed"), Disarm("tariff")),
            confirmed(OLD),
            ShowPile("tariff"),
        ]
    elif wanted is None:
        assert alarms(effects) == ["no_tariff"]
    else:
        assert effects[1:] == (Arm("tariff", 60.0),)


def test_what_was_confirmed_before_is_not_written_again() -> None:
    pile = logged_in(confirmed_billing_model_no=OLD)
    assert not of(Note, effects_of(pile, check(OLD)))
    assert of(Note, effects_of(logged_in(confirmed_billing_model_no="0099"), check(OLD))) == [confirmed(OLD)]


def test_a_pile_that_held_its_tariff_and_says_it_holds_another_is_shown() -> None:
    pile, effects = step(online(), check("0007"), NOW)
    assert not pile.tariff_ok
    assert list(effects[1:]) == [Arm("tariff", 60.0), ShowPile("tariff")]


def test_a_request_gets_the_tariff() -> None:
    pile, effects = step(logged_in(), up.TariffRequest(CODE, 41), NOW)
    assert (pile.tariff_ok, pile.held_model_no) == (True, OLD)
    assert effects[0] == down.TariffDelivery(CODE, 41, tariff(OLD))
    assert confirmed(OLD) in effects


def test_without_a_tariff_a_request_gets_silence_and_an_alarm() -> None:
    pile, effects = step(logged_in(tariff=None), up.TariffRequest(CODE, 41), NOW)
    assert not pile.tariff_ok
    assert (names(effects), alarms(effects)) == (["Raise"], ["no_tariff"])


def test_no_check_within_a_minute_pushes_the_tariff() -> None:
    pile, effects = step(logged_in(), TariffDue(), NOW)
    assert list(effects) == [
        down.SetTariff(CODE, None, tariff(OLD)),
        Arm("reply:tariff", 10.0),
        Arm("tariff", 300.0),
    ]
    pile, effects = step(pile, up.TariffAnswer(CODE, 42, True), NOW)
    assert pile.tariff_ok
    assert list(effects) == [
        *(Disarm("reply:tariff"), Clear("no_tariff"), Clear("tariff_failed"), Disarm("tariff")),
        confirmed(OLD),
        ShowPile("tariff"),
    ]
    assert effects_of(pile, TariffDue()) == [Clear("no_tariff")]


def test_after_a_login_only_the_piles_own_word_counts() -> None:
    held = logged_in(confirmed_billing_model_no=OLD)
    assert holds_wanted(held)
    assert not held.tariff_ok
    assert names(of(down.Downlink, effects_of(held, TariffDue()))) == ["SetTariff"]


def test_a_tariff_is_never_pushed_to_a_busy_pile() -> None:
    busy = after(logged_in(), charging())
    pile, effects = step(busy, TariffDue(), NOW)
    assert (list(effects), pile.tariff_ok) == ([Arm("tariff", 60.0)], False)
    held = after(logged_in(confirmed_billing_model_no=OLD), charging())
    pile, effects = step(held, TariffDue(), NOW)
    assert pile.tariff_ok
    assert list(effects) == [Arm("tariff", 60.0), ShowPile("tariff")]


@pytest.mark.parametrize("numbers", [(1,), (1, 2)])
def test_the_push_comes_when_the_last_gun_is_free(numbers: tuple[int, ...]) -> None:
    pile = after(
        online(), *(charging(number) for number in numbers), ConfigChanged(config(tariff=tariff(NEW)))
    )
    assert not pile.tariff_ok
    for number in numbers:
        assert not of(
            down.SetTariff, effects_of(pile, telemetry(number, is_plugged=True))
        )  # its record waits
        pile, effects = step(after(pile, telemetry(number, is_plugged=True)), kept(gun_no=number), NOW)
        is_last = number == numbers[-1]
        assert len(of(down.SetTariff, effects)) == is_last
    assert effects_of(pile, TariffDue()) == [Arm("tariff", 60.0)]  # one on its way is enough


def test_a_changed_tariff_goes_to_an_idle_pile_at_once() -> None:
    pile, effects = step(online(), ConfigChanged(config(tariff=tariff(NEW))), NOW)
    assert not pile.tariff_ok
    assert of(down.Downlink, effects) == [down.SetTariff(CODE, None, tariff(NEW))]
    assert effects[-2:] == (ShowPile("tariff"), ShowPile("changed"))


def test_a_tariff_that_changes_while_another_is_on_its_way_follows_it() -> None:
    pile = after(logged_in(), TariffDue(), ConfigChanged(config(tariff=tariff(NEW))))
    pile, effects = step(pile, up.TariffAnswer(CODE, 42, True), NOW)
    assert (pile.held_model_no, pile.tariff_ok) == (OLD, False)
    assert Arm("tariff", 1.0) in effects
    assert of(down.Downlink, effects_of(pile, TariffDue())) == [down.SetTariff(CODE, None, tariff(NEW))]


def test_a_tariff_that_is_taken_away_is_an_alarm() -> None:
    pile, effects = step(online(), ConfigChanged(config(tariff=None)), NOW)
    assert not pile.tariff_ok
    assert alarms(effects) == ["no_tariff"]
    assert not of(down.Downlink, effects)
    back = effects_of(pile, ConfigChanged(config()))
    assert names(of(down.Downlink, back)) == ["SetTariff"]


def test_a_refused_tariff_is_an_alarm_and_tried_again_later() -> None:
    pile, effects = step(after(logged_in(), TariffDue()), up.TariffAnswer(CODE, 42, False), NOW)
    assert not pile.tariff_ok
    assert names(effects) == ["Disarm", "Raise", "Arm"]
    assert (alarms(effects), effects[-1]) == (["tariff_failed"], Arm("tariff", 300.0))
    assert names(of(down.Downlink, effects_of(pile, TariffDue()))) == ["SetTariff"]


def test_a_tariff_that_is_never_answered_is_an_alarm_and_tried_again_later() -> None:
    pile = after(logged_in(), TariffDue(), ReplyDue("tariff"), ReplyDue("tariff"))
    pile, effects = step(pile, ReplyDue("tariff"), NOW)
    assert pile.pending == ()
    assert (alarms(effects), effects[-1]) == (["tariff_failed"], Arm("tariff", 300.0))


def test_an_answer_to_nothing_changes_nothing() -> None:
    pile = logged_in()
    assert step(pile, up.TariffAnswer(CODE, 42, True), NOW) == (pile, ())


def test_a_lost_link_ends_what_the_pile_has_proven() -> None:
    pile = after(online(), LinkLost(LINK, "gone"))
    assert (pile.tariff_ok, pile.held_model_no) == (False, OLD)
    assert not after(pile, asked()).tariff_ok


# --- staff want it pushed -------------------------------------------------------------------------------

PUSH = CommandAsked(5, PushTariff())


def outcome(effects: Any) -> tuple[str, str] | None:
    replies = of(Reply, effects)
    return (replies[0].outcome.status, replies[0].outcome.reason) if replies else None


def test_staff_may_push_a_tariff_that_the_pile_holds_already() -> None:
    pile, effects = step(online(), PUSH, NOW)
    assert list(effects) == [down.SetTariff(CODE, None, tariff(OLD)), Arm("reply:tariff", 10.0)]
    assert pile.tariff_ok
    effects = tuple(effects_of(pile, up.TariffAnswer(CODE, 42, True)))
    assert of(Reply, effects) == [Reply(5, Outcome(ResultStatus.ACCEPTED))]


def test_a_second_push_is_refused_while_one_is_on_its_way() -> None:
    pile = after(online(), PUSH)
    assert outcome(effects_of(pile, CommandAsked(6, PushTariff()))) == ("rejected", "in_progress")


def test_a_push_without_a_tariff_is_refused() -> None:
    assert outcome(effects_of(online(tariff=None), PUSH)) == ("rejected", "no_tariff")


def test_the_pile_may_refuse_a_push() -> None:
    effects = effects_of(after(online(), PUSH), up.TariffAnswer(CODE, 42, False))
    assert outcome(effects) == ("rejected", "refused_by_pile")


def test_a_push_to_a_busy_pile_is_promised_and_kept() -> None:
    pile, effects = step(after(online(), charging()), PUSH, NOW)
    assert outcome(effects) == ("scheduled", "pile_busy")
    assert not of(down.Downlink, effects)
    assert pile.tariff_ok  # it holds the tariff: charges may begin meanwhile
    assert effects_of(pile, TariffDue()) == [Arm("tariff", 60.0)]
    pile, effects = step(pile, kept(), NOW)
    assert names(of(down.Downlink, effects)) == ["SetTariff"]
    assert not pile.is_push_wanted
    pile = after(pile, up.TariffAnswer(CODE, 42, True), charging())
    assert not of(down.Downlink, effects_of(pile, kept()))
