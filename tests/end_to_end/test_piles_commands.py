"""Commands to piles: every one ends with exactly one outcome, whatever the pile does."""

from __future__ import annotations

from typing import Any

import pytest

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.table import Frame
from pileward.messages import commands as ask
from pileward.messages.commands import Command
from tests.hand import CHARGING, HandPile, online_by_hand, real_time, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]
CASES: list[Any] = [
    pytest.param(ask.RebootPile(), frames.Reboot, id="reboot"),
    pytest.param(ask.SetService(False, 50), frames.WorkingParameters, id="service"),
    pytest.param(ask.SyncClock(), frames.SetTime, id="clock"),
    pytest.param(ask.PushTariff(), frames.SetBillingModel, id="tariff"),
    pytest.param(ask.ReadGun(2), frames.ReadRealTimeData, id="read"),
    pytest.param(ask.SendQrPrefix("https://e.cn/"), frames.QrCodePrefix, id="qr prefix"),
]
GOOD: dict[type[Frame], Frame] = {
    frames.Reboot: frames.RebootAnswer(CODE, 1),
    frames.WorkingParameters: frames.WorkingParametersAnswer(CODE, 1),
    frames.SetBillingModel: frames.SetBillingModelAnswer(CODE, 1),
    frames.ReadRealTimeData: real_time(CODE, 2),
    frames.QrCodePrefix: frames.QrCodePrefixAnswer(CODE, 0),
}
BAD: dict[type[Frame], Frame] = {
    frames.Reboot: frames.RebootAnswer(CODE, 0),
    frames.WorkingParameters: frames.WorkingParametersAnswer(CODE, 0),
    frames.SetBillingModel: frames.SetBillingModelAnswer(CODE, 0),
}


async def ready(street: Street) -> HandPile:
    """A pile that is online and of which nothing is wanted any more."""
    pile = await online_by_hand(street, CODE)
    await until(lambda: not street.pile(CODE).pending, what="the clock's answer")
    pile.peer.packets.clear()
    return pile


def answer(street: Street, pile: HandPile, kind: type[Frame]) -> None:
    """Say yes to a command."""
    if kind is frames.SetTime:
        pile.tell_time(street.clock.utc())
    else:
        pile.peer.say(GOOD[kind])


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_accepted(street: Street, command: Command, kind: type[Frame]) -> None:
    pile = await ready(street)
    asking = street.asking(CODE, command)
    await pile.peer.hear(kind)
    assert not asking.done()
    answer(street, pile, kind)
    assert (await asking).status.value == "accepted"
    await street.pass_time(29)
    assert len(pile.peer.heard(kind)) == 1
    assert street.node.metrics.commands == {"accepted": 1}


@pytest.mark.parametrize(("command", "kind"), [case for case in CASES if case.values[1] in BAD])
async def test_rejected_by_the_pile(street: Street, command: Command, kind: type[Frame]) -> None:
    pile = await ready(street)
    asking = street.asking(CODE, command)
    await pile.peer.hear(kind)
    pile.peer.say(BAD[kind])
    outcome = await asking
    assert (outcome.status.value, outcome.reason) == ("rejected", "refused_by_pile")


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_timed_out_after_three_attempts(street: Street, command: Command, kind: type[Frame]) -> None:
    pile = await ready(street)
    asking = street.asking(CODE, command)
    for count in (1, 2, 3):
        await pile.peer.hear(kind, count)
        pile.beat()
        await street.pass_time(9)
        assert len(pile.peer.heard(kind)) == count
        assert not asking.done()
        await street.pass_time(1)
    outcome = await asking
    assert (outcome.status.value, outcome.reason) == ("timed_out", "no_answer")
    assert len(pile.peer.heard(kind)) == 3
    answer(street, pile, kind)  # too late: nobody is told twice
    await street.settle()
    assert street.node.metrics.commands == {"timed_out": 1}


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_a_late_attempt_is_answered(street: Street, command: Command, kind: type[Frame]) -> None:
    pile = await ready(street)
    asking = street.asking(CODE, command)
    for count in (1, 2):
        await pile.peer.hear(kind, count)
        pile.beat()
        await street.pass_time(10)
    await pile.peer.hear(kind, 3)
    answer(street, pile, kind)
    assert (await asking).status.value == "accepted"


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_offline_at_once_without_a_connection(
    street: Street, command: Command, kind: type[Frame]
) -> None:
    outcome = await street.command(CODE, command)
    assert (outcome.status.value, outcome.reason) == ("offline", "pile_offline")


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_offline_when_the_connection_is_lost_meanwhile(
    street: Street, command: Command, kind: type[Frame]
) -> None:
    pile = await ready(street)
    asking = street.asking(CODE, command)
    await pile.peer.hear(kind)
    pile.peer.hang_up()
    assert (await asking).status.value == "offline"
    assert street.pile(CODE).pending == ()


@pytest.mark.parametrize(("command", "kind"), CASES)
async def test_a_second_one_of_a_kind_is_in_progress(
    street: Street, command: Command, kind: type[Frame]
) -> None:
    pile = await ready(street)
    first = street.asking(CODE, command)
    await pile.peer.hear(kind)
    second = await street.command(CODE, command)
    assert (second.status.value, second.reason) == ("rejected", "in_progress")
    answer(street, pile, kind)
    assert (await first).status.value == "accepted"


async def test_the_tariff_is_scheduled_while_a_gun_charges_and_sent_afterwards(street: Street) -> None:
    pile = await ready(street)
    pile.report(1, CHARGING, trade_no=trade_no(CODE), gun_plugged=1)
    await until(lambda: street.pile(CODE).is_busy)
    outcome = await street.command(CODE, ask.PushTariff())
    assert (outcome.status.value, outcome.reason) == ("scheduled", "pile_busy")
    assert pile.peer.heard(frames.SetBillingModel) == []
    pile.report(1, gun_plugged=1)
    pile.peer.say(record(CODE))
    await pile.peer.hear(frames.SetBillingModel)


async def test_what_no_pile_could_do_is_refused_here(street: Street) -> None:
    pile = await ready(street)
    for command, reason in (
        (ask.ReadGun(3), "unknown_gun"),
        (ask.ReadGun(0), "unknown_gun"),
        (ask.SetService(True, 29), "out_of_range"),
        (ask.SetService(True, 101), "out_of_range"),
    ):
        outcome = await street.command(CODE, command)
        assert (outcome.status.value, outcome.reason) == ("rejected", reason)
    assert pile.peer.packets == []


async def test_two_guns_are_read_at_the_same_time(street: Street) -> None:
    pile = await ready(street)
    both = [street.asking(CODE, ask.ReadGun(gun_no)) for gun_no in (1, 2)]
    await pile.peer.hear(frames.ReadRealTimeData, 2)
    for gun_no in (2, 1):
        pile.report(gun_no, soc=70)
    assert [(await asking).status.value for asking in both] == ["accepted", "accepted"]


async def test_a_simulated_pile_reboots_and_comes_back_with_what_was_set(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    assert (await street.command(CODE, ask.SetService(False, 60))).status.value == "accepted"
    assert (control.pile.memory.is_locked, control.pile.memory.max_power_pct) == (True, 60)
    assert (await street.command(CODE, ask.RebootPile(is_when_idle=False))).status.value == "accepted"
    await street.eventually(lambda: street.pile(CODE).status is PileStatus.OFFLINE)
    await street.online(CODE)
    assert street.node.metrics.logins_accepted == 2
    assert control.pile.memory.is_locked


async def test_a_pile_may_be_asked_only_so_much_at_a_time(street: Street) -> None:
    pile = await ready(street)
    first = street.asking(CODE, ask.RebootPile())
    await pile.peer.hear(frames.Reboot)
    others = [street.asking(CODE, ask.RebootPile()) for _ in range(200)]
    assert {(await asking).reason for asking in others} == {"in_progress"}
    pile.peer.say(GOOD[frames.Reboot])
    assert (await first).status.value == "accepted"
