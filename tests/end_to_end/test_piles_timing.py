"""Timings of the line (YKC 1.6, section 9): heartbeats, silence, the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.services import pile_models
from tests import books
from tests.hand import HandPile, online_by_hand
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def live(street: Street, pile: HandPile, seconds: float, *gun_nos: int, step: float = 1.0) -> None:
    """Let time pass while these guns (or all) beat every ten seconds."""
    left = seconds
    while left > 0:
        pile.beat(*gun_nos)
        await street.pass_time(min(10, left), step=step)
        left -= 10


async def patience(street: Street, offline_after_s: int) -> None:
    """Let the pile model allow so much silence, as staff do."""
    (model,) = (await pile_models.list_models(street.who.operator_id)).items
    values = pile_models.NewPileModel(model.maker, model.name, offline_after_s=offline_after_s)
    await pile_models.change_model(street.who_now(), model.id, values)
    await street.node.fleet_changed("pile_model", str(model.id))


async def test_each_heartbeat_is_answered_at_once_for_its_gun(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    already = {gun_no: len(pile.peer.heard(frames.HeartbeatAnswer, gun_no=gun_no)) for gun_no in (1, 2)}
    for count in range(1, 6):
        for gun_no in (1, 2):
            pile.beat(gun_no)
            await pile.peer.hear(
                frames.HeartbeatAnswer, already[gun_no] + count, pile_no=CODE, gun_no=gun_no, ack=0
            )
            assert pile.peer.packets[-1].sequence == pile.peer.sequence


async def test_three_missed_heartbeats_take_a_pile_offline_and_close_its_socket(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await street.pass_time(29)
    assert street.pile(CODE).status is PileStatus.ONLINE
    await street.pass_time(1)
    seen = street.pile(CODE)
    assert (seen.status, seen.reason) == (PileStatus.OFFLINE, "silent")
    assert {gun.state for gun in seen.guns} == {GunState.OFFLINE}
    await pile.peer.hear_close()
    assert street.alarms(CODE) == set(), "a pile that only reconnects is not worth an alarm"
    await street.pass_time(30)
    assert street.alarms(CODE) == {"offline"}
    again = await online_by_hand(street, CODE)
    assert street.alarms(CODE) == set()
    await until(lambda: books.open_alarms(street, CODE) == set())
    assert not again.peer.is_closed


async def test_any_frame_proves_the_pile_alive(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for _ in range(10):
        await street.pass_time(25)
        pile.check_tariff("0000")
        await street.settle()
    assert street.pile(CODE).status is PileStatus.ONLINE


@pytest.mark.parametrize("limit_s", [60, 90])
async def test_the_silence_allowed_is_a_setting_of_the_pile_model(street: Street, limit_s: int) -> None:
    pile = await online_by_hand(street, CODE)
    await patience(street, limit_s)
    pile.beat()
    await street.settle()
    await street.pass_time(limit_s - 1)
    assert street.pile(CODE).status is PileStatus.ONLINE
    await street.pass_time(1)
    assert street.pile(CODE).status is PileStatus.OFFLINE


async def test_one_silent_gun_alone_goes_offline_with_an_alarm_and_comes_back(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await live(street, pile, 31, 1)
    seen = street.pile(CODE)
    assert seen.status is PileStatus.ONLINE
    assert [gun.state for gun in seen.guns] == [GunState.IDLE, GunState.OFFLINE]
    assert street.alarms(CODE) == {"gun_silent"}
    assert ("gun_silent", 2) in street.node.around.piles[CODE].instance.open_alarms
    pile.beat(2)
    await pile.peer.hear(frames.ReadRealTimeData, gun_no=2)
    pile.report(2)
    await until(lambda: street.pile(CODE).guns[1].state is GunState.IDLE)
    assert street.alarms(CODE) == set()


async def test_the_clock_is_set_after_the_login_and_once_a_day(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await patience(street, 3_600)
    began = street.clock.utc()
    assert [frame.time for frame in pile.peer.heard(frames.SetTime)] == [began]
    for _ in range(48):  # each half hour, but for the last second of the day
        pile.beat()
        await street.settle()
        assert len(pile.peer.heard(frames.SetTime)) == 1
        await street.pass_time(1_800 if street.clock.utc() < began + timedelta(hours=23.5) else 1_799, 1_800)
    assert len(pile.peer.heard(frames.SetTime)) == 1
    await street.pass_time(1)
    second = await pile.peer.hear(frames.SetTime, 2)
    assert second.time == began + timedelta(days=1)
    pile.tell_time(None)
    await until(lambda: not street.pile(CODE).pending)
    assert street.alarms(CODE) == set()


async def test_a_clock_that_stays_wrong_is_a_warning_until_it_is_right(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.tell_time(street.clock.utc() + timedelta(seconds=59))
    await until(lambda: street.pile(CODE).clock_drift_ms == 59_000)
    assert street.alarms(CODE) == set()
    pile.tell_time(street.clock.utc() - timedelta(hours=8))
    await until(lambda: street.alarms(CODE) == {"clock_drift"})
    assert street.pile(CODE).clock_drift_ms == -8 * 3_600_000
    pile.tell_time(street.clock.utc())
    await until(lambda: street.alarms(CODE) == set())


@pytest.mark.parametrize("told", [datetime(2001, 1, 1, tzinfo=UTC), None], ids=["2001", "no date"])
async def test_a_clock_that_shows_no_possible_date_is_a_warning(
    street: Street, told: datetime | None
) -> None:
    pile = await online_by_hand(street, CODE)
    if told is None:
        pile.peer.packets.clear()  # nothing to echo
    pile.tell_time(told)
    await until(lambda: street.alarms(CODE) == {"clock_drift"})
    assert street.pile(CODE).clock_drift_ms is None
    assert street.node.metrics.implausible["device_time"] == 1


async def test_a_pile_that_ignores_the_clock_is_asked_three_times_and_then_alarmed(street: Street) -> None:
    pile = HandPile((await online_by_hand(street, CODE)).peer, CODE)
    pile.peer.packets.clear()
    await pile.be_accepted()
    await live(street, pile, 29)
    times = [frame.time for frame in pile.peer.heard(frames.SetTime)]
    began = street.clock.utc() - timedelta(seconds=29)
    assert times == [began, began + timedelta(seconds=10), began + timedelta(seconds=20)]
    await live(street, pile, 2)
    assert street.alarms(CODE) == {"clock_unset"}
    pile.tell_time(street.clock.utc())
    await until(lambda: street.alarms(CODE) == set(), what="the alarm's end")
