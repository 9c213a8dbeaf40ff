"""Who may connect: unknown piles are discovered and adopted; maintenance; retirement of a connected pile."""

from __future__ import annotations

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.messages.commands import SyncClock
from pileward.services import alarms, discovered, piles
from tests import books
from tests.hand import FAULTY, HandPile, knock, online_by_hand, pile_by_hand, record
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]
UNKNOWN = "32010600000077"


async def change(street: Street, values: piles.PileChange) -> None:
    """Change the pile as staff do."""
    await piles.change_pile(street.who_now(), CODE, values)
    await street.node.fleet_changed("pile", CODE)


async def test_an_unknown_pile_is_refused_and_listed_with_what_it_said(street: Street) -> None:
    stranger = await pile_by_hand(street, UNKNOWN, guns=4)
    stranger.log_in()
    await stranger.peer.hear(frames.LoginAnswer, pile_no=UNKNOWN, result=1)
    assert street.node.metrics.logins_refused["unknown_pile"] == 1
    await until(lambda: books.read(street, "SELECT attempts FROM discovered_pile") == [(1,)])
    (found,) = (await discovered.list_discovered()).items
    assert (found.pile_code, found.protocol, found.facts.gun_count) == (UNKNOWN, "ykc", 4)
    assert found.facts.software_version == "H1.0"
    assert found.facts.remote_address.startswith("127.0.0.1:")
    assert UNKNOWN not in street.node.around.piles


async def test_an_unknown_pile_gets_nothing_but_the_refusal(street: Street) -> None:
    stranger = HandPile(await knock(street), UNKNOWN)
    stranger.log_in()
    await stranger.peer.hear(frames.LoginAnswer, result=1)
    stranger.beat()
    stranger.check_tariff("0000")
    stranger.peer.say(record(UNKNOWN))
    await until(lambda: street.node.metrics.misplaced["before_login"] == 4)
    assert len(stranger.peer.packets) == 1
    assert books.records(street) == []


async def test_an_adopted_pile_is_accepted_at_its_next_try(street: Street) -> None:
    (control,) = street.power_on(UNKNOWN, guns=3)
    await street.eventually(lambda: books.read(street, "SELECT 1 FROM discovered_pile"))
    adopted = await piles.adopt_pile(street.who_now(), UNKNOWN, piles.AdoptedPile(station_id=1))
    assert adopted.gun_count == 3
    await street.node.fleet_changed("pile", UNKNOWN)
    assert street.pile(UNKNOWN).status is PileStatus.UNKNOWN
    tried_at = street.clock.monotonic()
    await street.online(UNKNOWN)
    assert street.clock.monotonic() - tried_at <= 70, "piles try again about once a minute"
    assert control.is_online
    assert len(street.pile(UNKNOWN).guns) == 3
    assert books.read(street, "SELECT 1 FROM discovered_pile") == []
    assert street.alarms(UNKNOWN) == set()


async def test_each_try_is_counted_and_a_registered_pile_leaves_the_list(street: Street) -> None:
    for _ in range(3):
        stranger = await pile_by_hand(street, UNKNOWN)
        stranger.log_in()
        await stranger.peer.hear(frames.LoginAnswer, result=1)
    await until(lambda: books.read(street, "SELECT attempts FROM discovered_pile") == [(3,)])
    new = piles.NewPile(pile_code=UNKNOWN, station_id=1, rated_power_w=60_000, gun_count=2)
    await piles.add_pile(street.who_now(), new)
    await street.node.fleet_changed("pile", UNKNOWN)
    await online_by_hand(street, UNKNOWN)
    assert books.read(street, "SELECT 1 FROM discovered_pile") == []


async def test_a_pile_that_is_not_what_was_registered_is_a_warning_until_it_is(street: Street) -> None:
    pile = await pile_by_hand(street, CODE, guns=1)
    await pile.be_accepted()
    await until(lambda: street.alarms(CODE) == {"login_mismatch"})
    await change(street, piles.PileChange(gun_count=1))
    assert street.alarms(CODE) == set()
    assert len(street.pile(CODE).guns) == 1


async def test_maintenance_is_shown_and_the_pile_stays_supervised(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await change(street, piles.PileChange(is_in_maintenance=True))
    (station,) = street.node.snapshot()
    assert station.piles[0].state == "maintenance"
    assert [gun.state for gun in station.piles[0].guns] == ["maintenance"] * 2
    pile.report(1, FAULTY, hardware_fault=1)
    await until(lambda: street.pile(CODE).guns[0].state is GunState.FAULT)
    assert street.alarms(CODE) == {"fault:emergency_stop"}
    pile.report(1)
    await change(street, piles.PileChange(is_in_maintenance=False))
    (station,) = street.node.snapshot()
    assert station.piles[0].state == "online"
    assert [gun.state for gun in station.piles[0].guns] == ["idle"] * 2


async def test_a_retired_pile_is_hung_up_on_forgotten_and_refused(street: Street) -> None:
    other = await online_by_hand(street, CODES[1])
    pile = await online_by_hand(street, CODE)
    pile.report(1, FAULTY, hardware_fault=1)
    await until(lambda: books.open_alarms(street, CODE) == {"fault:emergency_stop"})
    address = street.node.around.piles[CODE]
    await change(street, piles.PileChange(is_retired=True))
    await pile.peer.hear_close()
    await until(lambda: street.node.fleet.address_of(CODE) is None)
    assert CODE not in street.node.around.seen
    assert street.node.engine.info(address) is None
    await until(lambda: books.open_alarms(street, CODE) == set(), what="its alarms' end")
    assert street.node.metrics.alarms_open == 0
    assert sum(street.node.metrics.piles.values()) == 2
    again = await pile_by_hand(street, CODE)
    again.log_in()
    await again.peer.hear(frames.LoginAnswer, result=1)
    other.beat(1)
    await other.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)


async def test_a_retired_pile_that_is_taken_back_may_connect_again(street: Street) -> None:
    await change(street, piles.PileChange(is_retired=True))
    await until(lambda: CODE not in street.node.around.piles)
    await change(street, piles.PileChange(is_retired=False))
    await until(lambda: CODE in street.node.around.piles)
    pile = await online_by_hand(street, CODE)
    asking = street.asking(CODE, SyncClock())
    await pile.peer.hear(frames.SetTime, 2)
    pile.tell_time(None)
    assert (await asking).status.value == "accepted"


async def test_alarms_of_all_piles_are_listed_newest_first(street: Street) -> None:
    for code in CODES:
        pile = await online_by_hand(street, code)
        pile.report(1, FAULTY, hardware_fault=1)
        await until(lambda code=code: books.open_alarms(street, code) == {"fault:emergency_stop"})  # type: ignore[misc]
    shown = (await alarms.list_alarms(street.who.operator_id)).items
    assert [alarm.pile_code for alarm in shown] == list(reversed(CODES))
    assert {alarm.gun_no for alarm in shown} == {1}
