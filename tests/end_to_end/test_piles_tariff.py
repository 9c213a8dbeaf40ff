"""A change of prices (YKC 1.6, 8.9), and a pile and its tariff from the login on."""

from __future__ import annotations

from pileward.actors.gun_machine import GunState
from pileward.codecs.ykc import frames
from pileward.messages.commands import PushTariff
from pileward.services import tariffs
from pileward.values import RatePrice
from tests import books
from tests.hand import CHARGING, HandPile, online_by_hand, pile_by_hand, record, trade_no
from tests.nodes import CODES, TERMS, Street
from tests.waiting import until

CODE = CODES[0]
NEW_TERMS = tariffs.TariffTerms(
    RatePrice(130_000, 30_000), TERMS.peak, TERMS.flat, TERMS.valley, slots=TERMS.slots
)


async def change_prices(street: Street) -> str:
    """Put other prices in force now, and tell the node as staff do; returns the new number."""
    view = await tariffs.add_version(street.who_now(), 1, NEW_TERMS)
    assert view.current is not None
    await street.node.fleet_changed("tariff", "1")
    return view.current.billing_model_no


def pushed(pile: HandPile) -> list[str]:
    """Numbers of the tariffs pushed to a pile so far."""
    return [frame.billing_model_no for frame in pile.peer.heard(frames.SetBillingModel)]


async def start_charge(street: Street, pile: HandPile) -> None:
    """Let gun 1 charge."""
    pile.report(1, CHARGING, trade_no=trade_no(CODE), gun_plugged=1, soc=50)
    await until(lambda: street.pile(CODE).guns[0].state is GunState.CHARGING)


async def test_new_prices_are_pushed_to_an_idle_pile_and_confirmed(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    number = await change_prices(street)
    (sent,) = [await pile.peer.hear(frames.SetBillingModel)]
    assert sent.billing_model_no == number
    assert sent.sharp_electricity_fee_e5_yuan == 130_000
    assert not street.pile(CODE).tariff_ok
    pile.answer_tariff()
    await until(lambda: street.pile(CODE).tariff_ok)
    query = "SELECT confirmed_billing_model_no FROM pile WHERE pile_code = ?"
    await until(lambda: books.read(street, query, CODE) == [(number,)])
    await street.pass_time(400, step=5)
    assert pushed(pile) == [number]


async def test_every_simulated_pile_takes_the_new_prices(street: Street) -> None:
    controls = street.power_on(*CODES)
    await street.online(*CODES)
    number = await change_prices(street)
    await street.online(*CODES)
    held = [control.pile.memory.tariff for control in controls]
    assert [tariff and tariff.billing_model_no for tariff in held] == [number] * 3


async def test_new_prices_wait_while_a_gun_is_charging(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await start_charge(street, pile)
    number = await change_prices(street)
    for _ in range(20):
        pile.beat()
        await street.pass_time(10, step=2)
    assert pushed(pile) == []
    pile.report(1, gun_plugged=1)  # the charge is over; its record is still to come
    await until(lambda: street.pile(CODE).guns[0].state is GunState.STOPPING)
    assert pushed(pile) == []
    pile.peer.say(record(CODE))
    assert (await pile.peer.hear(frames.SetBillingModel)).billing_model_no == number


async def test_an_unanswered_push_is_repeated_alarmed_and_tried_again_later(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    number = await change_prices(street)
    await pile.peer.hear(frames.SetBillingModel, 1)
    for count in (2, 3):
        pile.beat()
        await street.pass_time(10)
        await pile.peer.hear(frames.SetBillingModel, count)
    assert street.alarms(CODE) == set()
    pile.beat()
    await street.pass_time(10)
    assert street.alarms(CODE) == {"tariff_failed"}
    while len(pushed(pile)) == 3:
        pile.beat()
        await street.pass_time(10, step=2)
    assert 300 <= street.clock.monotonic() <= 345
    pile.answer_tariff()
    await until(lambda: street.pile(CODE).tariff_ok)
    assert street.alarms(CODE) == set()
    assert pushed(pile) == [number] * 4


async def test_a_refused_push_is_alarmed_and_tried_again_later(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await change_prices(street)
    await pile.peer.hear(frames.SetBillingModel)
    pile.answer_tariff(result=0)
    await until(lambda: street.alarms(CODE) == {"tariff_failed"})
    while len(pushed(pile)) == 1:
        pile.beat()
        await street.pass_time(10, step=2)
    assert 300 <= street.clock.monotonic() <= 315
    pile.answer_tariff()
    await until(lambda: not street.alarms(CODE))


async def test_an_offline_pile_learns_of_new_prices_by_its_own_check(street: Street) -> None:
    number = await change_prices(street)
    pile = await online_by_hand(street, CODE)
    assert street.pile(CODE).held_model_no == number
    assert pushed(pile) == []


async def test_without_a_billing_check_the_tariff_is_pushed_after_a_minute(street: Street) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    for gun_no in (1, 2):
        pile.report(gun_no)
    for _ in range(59):
        pile.beat()
        await street.pass_time(1)
    assert pushed(pile) == []
    pile.beat()
    await street.pass_time(1)
    await pile.peer.hear(frames.SetBillingModel)
    assert not street.pile(CODE).tariff_ok
    pile.answer_tariff()
    await until(lambda: street.pile(CODE).tariff_ok)


async def test_a_check_with_a_wrong_or_no_number_is_answered_with_the_right_one(street: Street) -> None:
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    number = street.pile(CODE).config.billing_model_no
    for count, held in enumerate(("0000", "F002", "9999"), start=1):
        pile.check_tariff(held)
        await pile.peer.hear(frames.BillingModelCheckAnswer, count, billing_model_no=number, result=1)
        assert not street.pile(CODE).tariff_ok
    for _ in range(60):  # it never asks for the tariff with 0x09: the platform pushes it
        pile.beat()
        await street.pass_time(1)
    await pile.peer.hear(frames.SetBillingModel)


async def test_a_pile_without_a_tariff_gets_silence_and_an_alarm(street: Street) -> None:
    await street.forget_tariff()
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    pile.check_tariff("0000")
    await pile.peer.hear(frames.BillingModelCheckAnswer, result=1)
    pile.peer.say(frames.BillingModelRequest(pile_no=CODE))
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer)
    assert pile.peer.heard(frames.BillingModelAnswer) == []
    assert street.alarms(CODE) == {"no_tariff"}
    await until(lambda: books.open_alarms(street, CODE) == {"no_tariff"})
    outcome = await street.command(CODE, PushTariff())
    assert (outcome.status.value, outcome.reason) == ("rejected", "no_tariff")


async def test_a_tariff_planned_for_later_is_pushed_when_its_time_comes(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    who = street.who_now()
    later = who.at.replace(hour=who.at.hour + 1)
    view = await tariffs.add_version(who, 1, NEW_TERMS, later)
    assert view.planned is not None
    await street.node.fleet_changed("tariff", "1")
    for _ in range(359):
        pile.beat()
        await street.pass_time(10, step=10)
    assert pushed(pile) == []
    pile.beat()
    await street.pass_time(12, step=1)
    sent = await pile.peer.hear(frames.SetBillingModel)
    assert sent.billing_model_no == view.planned.billing_model_no
