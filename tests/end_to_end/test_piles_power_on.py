"""Power-on and reconnection (YKC 1.6, 8.1): login, clock, stored records, tariff, first reports."""

from __future__ import annotations

import pytest

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from tests import books
from tests.hand import CHARGING, HandPile, knock, online_by_hand, pile_by_hand, record, trade_no
from tests.nodes import CODES, ORIGIN, Street
from tests.waiting import until

CODE = CODES[0]


async def test_the_login_is_answered_first_and_then_the_clock_is_set(street: Street) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    asked = await pile.peer.hear(frames.SetTime)
    assert asked.time == ORIGIN
    assert [type(packet.frame) for packet in pile.peer.packets[:2]] == [frames.LoginAnswer, frames.SetTime]
    answer = pile.peer.packets[0]
    assert answer.sequence == pile.peer.sequence, "the answer carries the number of the login"


async def test_the_flow_of_a_blank_pile_ends_with_the_tariff_and_its_guns(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    seen = street.pile(CODE)
    (delivered,) = pile.peer.heard(frames.BillingModelAnswer)
    assert seen.config.tariff is not None
    assert delivered.billing_model_no == seen.config.billing_model_no == seen.held_model_no
    assert delivered.slots == tuple(seen.config.tariff.slots)
    prices = [
        (delivered.sharp_electricity_fee_e5_yuan, delivered.sharp_service_fee_e5_yuan),
        (delivered.peak_electricity_fee_e5_yuan, delivered.peak_service_fee_e5_yuan),
        (delivered.flat_electricity_fee_e5_yuan, delivered.flat_service_fee_e5_yuan),
        (delivered.valley_electricity_fee_e5_yuan, delivered.valley_service_fee_e5_yuan),
    ]
    assert prices == [(price.energy_e5_yuan, price.service_e5_yuan) for price in seen.config.tariff.prices]
    assert [gun.state for gun in seen.guns] == [GunState.IDLE, GunState.IDLE]
    await pile.peer.hear(frames.HeartbeatAnswer, gun_no=2)
    assert street.alarms(CODE) == set()


async def test_a_pile_that_holds_the_tariff_is_told_so_and_gets_no_other(street: Street) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    number = street.pile(CODE).config.billing_model_no
    assert number is not None
    pile.check_tariff(number)
    await pile.peer.hear(frames.BillingModelCheckAnswer, result=0, billing_model_no=number)
    await until(lambda: street.pile(CODE).tariff_ok)
    assert pile.peer.heard(frames.BillingModelAnswer) == []


@pytest.mark.parametrize("is_before_check", [True, False], ids=["before the check", "after the check"])
async def test_stored_records_are_confirmed_one_by_one(street: Street, is_before_check: bool) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    if not is_before_check:
        await pile.hold_tariff()
    numbers = [trade_no(CODE, number) for number in range(1, 6)]
    pile.peer.say(*(record(CODE, number) for number in range(1, 6)))
    for wire_number in numbers:
        await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=wire_number, result=0)
    if is_before_check:
        await pile.hold_tariff()
    assert [kept.wire_number for kept in books.records(street)] == numbers
    assert len(pile.peer.heard(frames.TransactionRecordAnswer)) == len(numbers)


async def test_a_record_is_confirmed_only_when_it_is_durable(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    with books.locked(street):
        pile.peer.say(record(CODE))
        await until(lambda: street.node.waiting.in_flight, what="the write")
        for count in range(1, 4):  # the database is shut, and the pile is kept alive all the same
            pile.beat(1)
            await pile.peer.hear(frames.HeartbeatAnswer, count + 1, gun_no=1)
        assert pile.peer.heard(frames.TransactionRecordAnswer) == []
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE), result=0)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 0)]


async def test_a_simulated_pile_delivers_what_it_stored_while_it_was_away(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    control.drop()
    control.keep_record(record(CODE, 1))
    control.keep_record(record(CODE, 2))
    await street.eventually(lambda: not control.pile.memory.records, what="both records confirmed")
    assert [kept.wire_number for kept in books.records(street)] == [trade_no(CODE, 1), trade_no(CODE, 2)]
    await street.online(CODE)


async def test_guns_that_did_not_report_are_asked_and_the_others_are_not(street: Street) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    pile.report(1)
    await until(lambda: street.pile(CODE).guns[0].state is GunState.IDLE)
    await street.pass_time(19)
    assert pile.peer.heard(frames.ReadRealTimeData) == []
    await street.pass_time(1)
    await pile.peer.hear(frames.ReadRealTimeData, gun_no=2)
    assert pile.peer.heard(frames.ReadRealTimeData, gun_no=1) == []
    pile.report(2, CHARGING, trade_no=trade_no(CODE, gun_no=2), gun_plugged=1, soc=40)
    await until(lambda: street.pile(CODE).guns[1].state is GunState.CHARGING)


async def test_nothing_counts_before_the_login_and_no_command_is_sent(street: Street) -> None:
    pile = HandPile(await knock(street), CODE)
    pile.beat()
    pile.report(1)
    pile.peer.say(record(CODE))
    await until(lambda: street.node.metrics.misplaced["before_login"] == 4)
    assert street.pile(CODE).status is PileStatus.UNKNOWN
    assert pile.peer.packets == []
    await pile.be_accepted()
    assert books.records(street) == []


async def test_the_prefix_of_qr_codes_follows_the_login_where_it_is_set(street: Street) -> None:
    await street.database.connection.execute_query("UPDATE operator SET qr_prefix = 'https://e.cn/c?no='")
    await street.node.fleet_changed("pile", CODE)
    pile, other = await pile_by_hand(street, CODE), await pile_by_hand(street, CODES[1])
    for each in (pile, other):
        await each.be_accepted()
    sent = await pile.peer.hear(frames.QrCodePrefix, pile_no=CODE)
    assert sent.prefix == "https://e.cn/c?no="
    pile.peer.say(frames.QrCodePrefixAnswer(CODE, 0))
    await street.settle()
    pile.beat()
    await street.pass_time(20)
    assert len(pile.peer.heard(frames.QrCodePrefix)) == 1
    assert other.peer.heard(frames.QrCodePrefix) == [], "it has not been told of the change"
