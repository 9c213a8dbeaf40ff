"""Hardware faults that piles report (YKC 1.6, 0x13): an alarm each, opened once, closed when it is over."""

from __future__ import annotations

import pytest

from pileward.actors.gun_machine import GunState
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.enums import fault_codes
from pileward.messages import faults
from pileward.messages.events import AlarmChanged
from tests import books
from tests.hand import FAULTY, HandPile, online_by_hand, pile_by_hand
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]
ALL_BITS = 0xFFFF


def kinds(mask: int) -> set[str]:
    """Alarms of the faults in a mask."""
    return {f"fault:{code}" for code in fault_codes(mask)}


async def break_down(street: Street, pile: HandPile, mask: int) -> None:
    """Report faults of gun 1, a second later, and wait until they are on record."""
    await street.pass_time(1)
    pile.report(1, FAULTY if mask else 2, hardware_fault=mask)
    await until(lambda: books.open_alarms(street, CODE) == kinds(mask), what=f"alarms of {mask:04X}")


@pytest.mark.parametrize("bit", range(16))
async def test_each_fault_bit_is_an_alarm_until_it_is_gone(street: Street, bit: int) -> None:
    pile = await online_by_hand(street, CODE)
    (code,) = fault_codes(1 << bit)
    await break_down(street, pile, 1 << bit)
    assert street.pile(CODE).guns[0].state is GunState.FAULT
    query = "SELECT gun_no, severity, text_zh, text_en, count FROM alarm"
    (row,) = books.read(street, query)
    assert row == (1, "fault", *faults.texts(code), 1)
    pile.report(1, FAULTY, hardware_fault=1 << bit)  # the same again is no other alarm
    await break_down(street, pile, 0)
    await until(lambda: street.pile(CODE).guns[0].state is GunState.IDLE)
    assert len(books.read(street, query)) == 1
    assert street.node.metrics.alarms_open == 0


async def test_faults_come_and_go_one_by_one(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for mask in (0b0001, 0b0101, 0b0110, ALL_BITS, 0b1000, 0):
        await break_down(street, pile, mask)
    assert street.alarms(CODE) == set()


async def test_the_guns_of_a_pile_have_their_own_alarms(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for gun_no in (1, 2):
        pile.report(gun_no, FAULTY, hardware_fault=1)
    query = "SELECT gun_no FROM alarm WHERE end_at IS NULL ORDER BY gun_no"
    await until(lambda: books.read(street, query) == [(1,), (2,)])
    pile.report(1)
    await until(lambda: books.read(street, query) == [(2,)])
    assert street.pile(CODE).guns[1].state is GunState.FAULT


async def test_an_alarm_is_on_the_feed_when_it_opens_and_when_it_closes(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await break_down(street, pile, 1)
    await break_down(street, pile, 0)
    shown = [event for event in street.node.recent_events() if isinstance(event, AlarmChanged)]
    assert [(event.kind, event.is_open) for event in shown] == [
        ("fault:emergency_stop", True),
        ("fault:emergency_stop", False),
    ]
    assert "急停" in shown[0].text


async def test_an_alarm_left_open_by_an_earlier_process_is_closed_by_the_first_telemetry(
    street: Street,
) -> None:
    pile = await online_by_hand(street, CODE)
    await break_down(street, pile, ALL_BITS)
    await street.crash()
    await street.restart()
    assert street.node.metrics.alarms_open == 16
    assert street.alarms(CODE) == kinds(ALL_BITS)
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    await break_down(street, pile, 0b10)
    await break_down(street, pile, 0)
    assert street.node.metrics.alarms_open == 0
    query = "SELECT count(*), min(count), max(count) FROM alarm"
    assert books.read(street, query) == [(16, 1, 1)], "none was opened a second time"


async def test_a_heartbeat_that_says_fault_asks_for_the_fault(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    pile.beat(1, gun_status=1)
    pile.beat(2, gun_status=0)
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=2)
    assert pile.peer.heard(frames.ReadRealTimeData) == [], "its real-time data is fresh"
    for _ in range(4):
        await street.pass_time(8)
        pile.beat()
    pile.beat(1, gun_status=1)
    await pile.peer.hear(frames.ReadRealTimeData, gun_no=1)
    assert street.pile(CODE).guns[0].state is GunState.IDLE
    await break_down(street, pile, 0b100)


async def test_faults_of_simulated_piles_are_seen_and_mended(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    control.fault(0b11)
    await street.eventually(lambda: street.alarms(CODE) == kinds(0b11))
    assert {gun.state for gun in street.pile(CODE).guns} == {GunState.FAULT}
    control.mend()
    await street.eventually(lambda: street.alarms(CODE) == set())
    assert {gun.state for gun in street.pile(CODE).guns} == {GunState.IDLE}
