"""The process dies at any moment and begins again on the same database: what was confirmed is there."""

from __future__ import annotations

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from tests import books
from tests.hand import HandPile, online_by_hand, pile_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

CODE = CODES[0]


async def deliver(pile: HandPile, number: int, **values: int) -> None:
    """Send a record and hear that it is confirmed."""
    confirmed = len(pile.peer.heard(frames.TransactionRecordAnswer))
    pile.peer.say(record(pile.code, number, **values))
    await pile.peer.hear(frames.TransactionRecordAnswer, confirmed + 1)
    receipt = pile.peer.heard(frames.TransactionRecordAnswer)[-1]
    assert (receipt.trade_no, receipt.result) == (trade_no(pile.code, number), 0)


async def again(street: Street) -> HandPile:
    """The process dies and begins anew; the pile logs in again."""
    await street.crash()
    await street.restart()
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    return pile


async def test_confirmed_records_survive_and_their_repeats_change_nothing(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    for number in (1, 2, 3):
        await deliver(pile, number)
    pile = await again(street)
    kept = [books.KeptRecord(trade_no(CODE, number), 0, 0) for number in (1, 2, 3)]
    assert books.records(street) == kept
    await deliver(pile, 2)
    kept[1] = kept[1]._replace(repeats=1)
    assert books.records(street) == kept
    assert street.alarms(CODE) == set()


async def test_other_content_under_a_known_number_is_kept_beside_it_with_an_alarm(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    await deliver(pile, 1)
    pile = await again(street)
    await deliver(pile, 1, total_amount_e4_yuan=99_999)
    number = trade_no(CODE, 1)
    assert books.records(street) == [books.KeptRecord(number, 0, 0), books.KeptRecord(number, 1, 0)]
    await until(lambda: books.open_alarms(street, CODE) == {"record_differs"})
    query = "SELECT text_en FROM alarm"
    assert number in books.read(street, query)[0][0]


async def test_a_record_that_was_not_durable_yet_was_not_confirmed_and_comes_again(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    with books.locked(street):
        pile.peer.say(record(CODE))
        await until(lambda: street.node.waiting.in_flight, what="the write")
        await street.crash()
    assert pile.peer.heard(frames.TransactionRecordAnswer) == []
    assert books.records(street) == []
    await street.restart()
    pile = await pile_by_hand(street, CODE)
    await pile.be_accepted()
    await deliver(pile, 1)
    assert books.records(street) == [books.KeptRecord(trade_no(CODE), 0, 0)]


async def test_simulated_piles_come_back_with_all_their_records(street: Street) -> None:
    controls = street.power_on(*CODES)
    await street.online(*CODES)
    for round_no in range(3):
        for control in controls:
            for number in range(5):
                control.keep_record(record(control.code, 10 * round_no + number))
        await street.crash()
        await street.pass_time(5)
        await street.restart()
        await street.online(*CODES)
    await street.eventually(lambda: not any(control.pile.memory.records for control in controls))
    expected = {trade_no(code, 10 * r + n) for code in CODES for r in range(3) for n in range(5)}
    rows = books.records(street)
    assert {row.wire_number for row in rows} == expected
    assert len(rows) == len(expected)
    assert {row.variant for row in rows} == {0}


async def test_what_a_pile_proved_is_remembered_and_proved_again_after_the_login(street: Street) -> None:
    pile = await online_by_hand(street, CODE)
    number = street.pile(CODE).held_model_no
    query = (
        "SELECT confirmed_billing_model_no, protocol_version, software_version FROM pile WHERE pile_code = ?"
    )
    await until(lambda: books.read(street, query, CODE) == [(number, "1.6", "H1.0")])
    pile = await again(street)
    assert street.pile(CODE).held_model_no == number
    assert not street.pile(CODE).tariff_ok
    pile.check_tariff(number)
    await pile.peer.hear(frames.BillingModelCheckAnswer, result=0)
    await until(lambda: street.pile(CODE).tariff_ok)


async def test_a_pile_that_does_not_come_back_after_a_restart_is_alarmed(street: Street) -> None:
    await online_by_hand(street, CODE)
    await street.crash()
    await street.restart()
    assert street.pile(CODE).status is PileStatus.UNKNOWN
    await street.pass_time(119)
    assert street.alarms(CODE) == set()
    await street.pass_time(1)
    assert street.alarms(CODE) == {"offline"}
    await online_by_hand(street, CODE)
    assert street.alarms(CODE) == set()


async def test_an_orderly_end_writes_everything_and_the_next_start_knows_it(street: Street) -> None:
    (control,) = street.power_on(CODE)
    await street.online(CODE)
    control.fault(1)
    await street.eventually(lambda: street.alarms(CODE))
    await street.stop()
    assert books.open_alarms(street, CODE) == {"fault:emergency_stop"}
    assert books.read(street, "SELECT count(*) FROM pile WHERE last_seen_at IS NOT NULL") == [(1,)]
    await street.restart()
    assert street.alarms(CODE) == {"fault:emergency_stop"}
    await street.online(CODE)
    control.mend()
    await street.eventually(lambda: not street.alarms(CODE))
