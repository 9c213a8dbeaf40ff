"""The orders of one pile: who gets a gun, who hears what the pile says, whose record it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors import store as store_module
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_sessions import BY_NUMBER, CREATING_MAX, HEARD, RELEASE_S, SETTLE_AGAIN_S
from pileward.actors.pile_state import LoginAsked, PileStatus
from pileward.actors.pile_view import pile_view
from pileward.actors.store_messages import PileLoaded
from pileward.messages import downlinks as down
from pileward.messages import sessions as ask
from pileward.messages import uplinks as up
from pileward.messages.charging import ReviewKind, SessionState
from pileward.messages.charging_writes import CreateSession, OrderOpen, SettleRecord
from pileward.messages.commands import Outcome
from pileward.services import piles, reviews, stations
from pileward.services.audit import Who
from pileward.services.drivers import login_driver
from pileward.services.record_settlement import unsettled_records
from pileward.services.settlement import settlements_of
from pileward.values import ReportedStatus, ResultStatus
from tests.around import noted
from tests.business import NOW, PILE_CODE
from tests.forecourts import Forecourt, court_at, reopened
from tests.piles import PEER, login, telemetry

S = SessionState
CHARGING, FAULT, FINISHED = ReportedStatus.CHARGING, ReportedStatus.FAULT, ReportedStatus.FINISHED
STRANGE = "9" * 32


@pytest.fixture
async def court(sqlite_url: str) -> AsyncIterator[Forecourt]:
    async with court_at(sqlite_url) as opened:
        yield opened


async def second_driver(court: Forecourt) -> int:
    operator_id = court.till.business.who.operator_id
    return (await login_driver(operator_id, "wechat", "wx1", "openid-2", "", NOW)).id


def shown(court: Forecourt, gun_no: int = 1) -> str:
    """How everybody sees a gun."""
    return pile_view(court.pile).guns[gun_no - 1].state


# --- who gets a gun -------------------------------------------------------------------------------------


async def test_a_gun_that_does_not_exist(court: Forecourt) -> None:
    for gun_no in (0, 3):
        answer = await court.reserve(gun_no=gun_no)
        assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "unknown_gun")
    assert court.orders is None


async def test_a_pile_that_is_away(court: Forecourt) -> None:
    await court.hang_up()
    answer = await court.reserve()
    assert (answer.status, answer.reason) == (ResultStatus.OFFLINE, "pile_offline")


@pytest.mark.parametrize(("status", "reason"), [(FAULT, "gun_fault"), (CHARGING, "gun_busy")])
async def test_a_gun_that_cannot_be_charged_at(court: Forecourt, status: ReportedStatus, reason: str) -> None:
    await court.hear(telemetry(1, status, is_plugged=True, wire_number=STRANGE))
    answer = await court.reserve()
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, reason)
    assert answer.detail
    assert isinstance(await court.reserve(gun_no=2), ask.Reserved)


async def test_a_pile_in_maintenance_and_one_without_its_tariff(court: Forecourt) -> None:
    who = Who(court.till.business.who.operator_id, "token:test", NOW)
    await piles.change_pile(who, PILE_CODE, piles.PileChange(is_in_maintenance=True))
    await reload(court)
    assert (await court.reserve()).reason == "in_maintenance"
    await piles.change_pile(who, PILE_CODE, piles.PileChange(is_in_maintenance=False))
    await stations.change_station(who, court.till.business.station.id, stations.StationChange(tariff_id=None))
    await reload(court)
    assert (await court.reserve()).reason == "tariff_pending"


async def reload(court: Forecourt) -> None:
    """Staff changed something: the pile's actor is told, as the node does."""
    loaded = await court.backend.load_pile(PILE_CODE)
    court.engine.tell(court.pile_address, PileLoaded(PILE_CODE, loaded.config, loaded.open_alarms))
    await court.rest()


@pytest.mark.parametrize("state", [S.CREATED, S.STARTING, S.CHARGING, S.STOPPING])
async def test_a_second_scan_leads_to_the_running_order(court: Forecourt, state: SessionState) -> None:
    serial = await (court.order() if state is S.CREATED else court.starting())
    if state in (S.CHARGING, S.STOPPING):
        await court.say(serial, energy_e4_kwh=0)
    if state is S.STOPPING:
        await court.stop(serial)
    assert await court.reserve() == OrderOpen(serial, "driver", is_own=True)
    answer = await court.reserve(driver_id=await second_driver(court))
    assert answer == OrderOpen(serial, "gun", is_own=False)
    assert await court.reserve(gun_no=2) == OrderOpen(serial, "driver", is_own=True)


async def test_of_two_who_order_at_once_one_gets_the_gun(court: Forecourt) -> None:
    other = await second_driver(court)
    answers = await asyncio.gather(court.reserve(), court.reserve(driver_id=other))
    assert [type(answer) for answer in answers] == [ask.Reserved, OrderOpen]
    assert court.orders is not None
    assert court.orders.serials == [answers[0].serial]


async def test_orders_that_wait_for_the_store_are_bounded(court: Forecourt) -> None:
    court.backend.gate.clear()
    tasks = [asyncio.create_task(court.reserve()) for _ in range(CREATING_MAX + 1)]
    await court.rest()
    done = [task.result() for task in tasks if task.done()]
    assert [(answer.status, answer.reason) for answer in done] == [(ResultStatus.REJECTED, "store_busy")]
    court.backend.gate.set()
    answers = await asyncio.gather(*tasks)
    assert sum(isinstance(answer, ask.Reserved) for answer in answers) == 1


async def test_an_order_that_was_stored_twice_has_one_actor(court: Forecourt) -> None:
    order = court.till.order(at=court.clock.utc())
    asked = ask.ReserveGun(order.row, order.payment)
    first, again = await court.command(asked), await court.command(asked)
    assert first == again == ask.Reserved(order.row.serial)
    assert court.orders is not None
    assert court.orders.serials == [order.row.serial]


async def test_a_gun_looks_as_its_order_makes_it(court: Forecourt) -> None:
    assert shown(court) == "idle"
    serial = await court.order()
    assert (shown(court), shown(court, 2)) == ("reserved", "idle")
    await court.pay(serial)
    assert shown(court) == "reserved"
    await court.start(serial)
    assert shown(court) == "starting"
    await court.say(serial, energy_e4_kwh=0)
    assert shown(court) == "charging"
    await court.stop(serial)
    assert shown(court) == "stopping"
    await court.say(serial, FINISHED)
    assert shown(court) == "finished"
    assert court.pile.orders == ()
    await court.send_record(serial)
    await court.hear(telemetry(1))
    assert shown(court) == "idle"


# --- what is sent ---------------------------------------------------------------------------------------


async def test_nothing_is_sent_before_a_login_has_settled(court: Forecourt) -> None:
    """A pile that waits for admission has a connection, and hears nothing on it."""
    serial = await court.funded()
    court.backend.gate.clear()
    answer = asyncio.create_task(court.command(ask.StartSession(serial, None)))
    await court.rest()
    await court.hear(LoginAsked(login(), court.edge, PEER, wait_s=5.0), link=court.edge)
    assert court.pile.status is PileStatus.REGISTERING
    court.backend.gate.set()
    assert (await answer).status == "accepted"
    await court.rest()
    assert noted(court.edge, down.RemoteStart) == court.sent(down.RemoteStart) == []
    row = await court.row(serial)
    assert (row.state, row.start_failure) == (S.START_FAILED, "pile_offline")


async def test_a_start_is_refused_for_what_the_pile_says_now(court: Forecourt) -> None:
    serial = await court.funded()
    await court.hear(telemetry(1, FAULT))
    answer = await court.start(serial)
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "gun_fault")
    assert (await court.row(serial)).state is S.START_FAILED
    assert await court.finish(serial) == [S.START_FAILED]
    assert court.port.back_fen == 5_000


async def test_a_start_while_the_tariff_is_on_its_way_may_be_repeated(court: Forecourt) -> None:
    serial = await court.funded()
    await court.hear(up.TariffCheck(PILE_CODE, 9, "9999"))
    assert (await court.start(serial)).reason == "tariff_pending"
    number = court.pile.config.billing_model_no
    assert number is not None
    await court.hear(up.TariffCheck(PILE_CODE, 9, number))
    assert (await court.start(serial)).status == "accepted"


# --- who hears ------------------------------------------------------------------------------------------


def test_uplinks_with_a_number_are_routed_by_it() -> None:
    kinds = {kind for kind in vars(up).values() if isinstance(kind, type) and issubclass(kind, up.Uplink)}
    numbered = {kind for kind in kinds if "wire_number" in kind.__struct_fields__}
    assert numbered - {up.TransactionRecord} == BY_NUMBER
    assert {up.StopAnswer} == HEARD - BY_NUMBER


async def test_a_report_reaches_its_order_by_number_or_by_gun(court: Forecourt) -> None:
    serial = await court.charging()
    await court.pass_time(20)
    await court.say(serial, energy_e4_kwh=1_000)
    await court.say(serial, energy_e4_kwh=2_000, number="")  # contradicts itself: charges without a number
    assert court.actor(serial).session.row.energy_e4_kwh == 1_000
    await court.hear(telemetry(2, CHARGING, wire_number=STRANGE, energy_e4_kwh=9_000))
    assert court.state(serial) is S.CHARGING
    await court.say(serial, ReportedStatus.IDLE, number="")
    assert court.state(serial) is S.AWAITING_RECORD


async def test_an_answer_without_a_number_belongs_to_the_order_of_its_gun(court: Forecourt) -> None:
    serial = await court.charging()
    await court.stop(serial)
    await court.answer_stop(gun_no=2)
    assert [timer["name"] for timer in court.actor(serial).inspect()["timers"]] == ["stop", "live"]
    await court.answer_stop(gun_no=1)
    assert "stop_watch" in court.actor(serial).due


async def test_reports_are_the_pile_s_own_business_as_well(court: Forecourt) -> None:
    serial = await court.charging()
    states = [court.pile.guns[0].state]
    await court.say(serial, FINISHED)
    states.append(court.pile.guns[0].state)
    assert states == [GunState.CHARGING, GunState.FINISHED]


async def test_an_order_waits_for_its_record_beside_a_new_one(court: Forecourt) -> None:
    first = await court.charging()
    await court.pass_time(20)
    await court.say(first, FINISHED, energy_e4_kwh=5_000)
    await court.hear(telemetry(1))
    await court.pass_time(31)
    assert "record_missing" in court.alarms()
    second = await court.charging()
    assert court.orders is not None
    assert court.orders.serials == [first, second]
    assert court.pile.orders == ((1, second, S.CHARGING),)
    await court.say(second, energy_e4_kwh=3_000)
    await court.send_record(first)
    assert (court.state(first), court.state(second)) == (S.REFUNDING, S.CHARGING)
    assert court.actor(second).session.row.energy_e4_kwh == 3_000
    await court.finish(first)
    await court.say(second, ReportedStatus.IDLE, number="")
    assert court.state(second) is S.AWAITING_RECORD
    await court.finish(second)
    assert court.orders is None


async def test_a_charge_thought_ended_that_goes_on_takes_its_gun_back(court: Forecourt) -> None:
    first = await court.charging()
    await court.say(first, ReportedStatus.IDLE, number="")
    await court.hear(telemetry(1))
    await court.pass_time(31)
    second = await court.funded()
    await court.say(first, energy_e4_kwh=1_000)
    assert (court.state(first), court.state(second)) == (S.CHARGING, S.FUNDED)
    answer = await court.start(second)
    assert answer.reason == "gun_busy"
    assert (await court.row(second)).state is S.START_FAILED
    await court.finish(second)
    await court.finish(first)
    assert court.orders is None


async def test_orders_hear_that_their_pile_is_lost_and_back(court: Forecourt) -> None:
    charging, waiting = (
        await court.charging(),
        await court.order(gun_no=2, driver_id=await second_driver(court)),
    )
    await court.hang_up()
    assert court.state(charging) is S.INTERRUPTED
    assert not court.actor(waiting).session.is_pile_online
    assert shown(court) == "offline"
    await court.go_online()
    assert "live" in court.actor(charging).due  # it was asked how its gun stands
    assert court.actor(waiting).session.is_pile_online
    await court.say(charging, energy_e4_kwh=10)
    assert court.state(charging) is S.CHARGING


async def test_a_new_connection_of_a_pile_that_was_not_missed(court: Forecourt) -> None:
    """A power cut shorter than the silence that counts: the gun's first word tells."""
    serial = await court.charging()
    await court.go_online()
    assert court.state(serial) is S.CHARGING
    await court.tell_guns()
    assert court.state(serial) is S.AWAITING_RECORD
    await court.send_record(serial)
    assert court.state(serial) is S.REFUNDING


# --- whose record ---------------------------------------------------------------------------------------


async def test_a_record_of_nobody_is_kept_for_a_person(court: Forecourt) -> None:
    serial = await court.charging()
    row = await court.row(serial)
    made = court.make_record(replace(row, wire_number=STRANGE, started_at=None), energy_e4_kwh=5_000)
    await court.hear(made)
    assert len(court.sent(down.RecordAnswer)) == 1
    assert court.state(serial) is S.CHARGING
    [review] = (await reviews.list_reviews(row.operator_id)).items
    assert (review.kind, review.serial) == (ReviewKind.UNKNOWN_RECORD, None)


async def test_a_record_without_any_order_leaves_nothing_behind(court: Forecourt) -> None:
    made = court.make_record(court.till.order().row)
    await court.hear(made, made)
    assert len(court.sent(down.RecordAnswer)) == 2
    assert court.orders is None
    assert court.around.sessions_of == {}
    assert len((await reviews.list_reviews(court.till.business.who.operator_id)).items) == 1


async def test_a_record_under_a_number_of_the_pile_s_own_finds_its_order_by_time(court: Forecourt) -> None:
    serial = await court.charging()
    await court.pass_time(20)
    await court.hang_up()
    await court.pass_time(700)
    await court.go_online()
    row = await court.row(serial)
    made = court.make_record(replace(row, wire_number=STRANGE))
    await court.hear(made)
    assert court.state(serial) is S.REFUNDING
    assert (await court.row(serial)).refund_fen == 3_800
    await court.hear(made)  # again, and it is still the same order's
    assert (await reviews.list_reviews(row.operator_id)).items == []
    await court.finish(serial)
    assert court.orders is None


async def test_a_record_that_comes_again_changes_nothing(court: Forecourt) -> None:
    serial = await court.charging()
    made = await court.send_record(serial)
    for _ in range(3):
        await court.hear(made)
    assert court.state(serial) is S.REFUNDING
    assert len(court.sent(down.RecordAnswer)) == 4
    await court.finish(serial)
    await court.hear(made)
    assert len(await settlements_of(court.till.database.connection, serial)) == 1
    assert (await court.row(serial)).state is S.CLOSED
    assert court.port.back_fen == 3_800


async def test_a_different_record_is_confirmed_kept_and_told(court: Forecourt) -> None:
    serial = await court.charging()
    await court.send_record(serial)
    await court.send_record(serial, energy_e4_kwh=50_000)
    assert len(court.sent(down.RecordAnswer)) == 2
    assert "record_differs" in court.alarms() or "different_record" in court.alarms()
    await court.finish(serial)
    assert court.port.back_fen == 3_800


@pytest.mark.parametrize(("energy", "back", "debt"), [
    (5_000,  4_940, 0),   # as was thought: attached
    (2_500,  4_970, 0),   # lower: more goes back
    (10_000, 4_940, 60),  # higher: by the operator's rule
])  # fmt: skip
async def test_a_late_record_of_an_order_that_is_over_corrects_it(
    court: Forecourt, energy: int, back: int, debt: int
) -> None:
    serial = await court.charging()
    await court.pass_time(60)
    await court.say(serial, FINISHED, energy_e4_kwh=5_000)
    await court.pass_time(86_500, step=43_250, is_silent=True)
    assert court.state(serial) is S.DISPUTED
    await court.finish(serial)
    assert court.orders is None
    row = await court.row(serial)
    assert (row.state, row.is_provisional, court.port.back_fen) == (S.CLOSED, True, 4_940)
    await court.go_online()
    made = court.make_record(row, energy, started_at=row.started_at, ended_at=row.ended_at)
    await court.hear(made)
    assert len(court.sent(down.RecordAnswer)) == 1
    for refund in (await court.refunds_of(serial))[1:]:
        await court.refund_arrives(refund.out_refund_no)
    row = await court.row(serial)
    assert (row.state, row.is_provisional, row.debt_fen) == (S.CLOSED, False, debt)
    assert court.port.back_fen == back


async def test_a_settlement_that_the_store_does_not_take_is_offered_again(court: Forecourt) -> None:
    made = court.make_record(court.till.order().row)
    court.backend.refused = (SettleRecord,)
    await court.hear(made)
    assert len(court.sent(down.RecordAnswer)) == 1
    await court.pass_time(RELEASE_S + 1)
    assert court.around.sessions_of
    court.backend.refused = ()
    await court.pass_time(RELEASE_S + 1)
    assert not court.around.sessions_of
    assert len((await reviews.list_reviews(court.till.business.who.operator_id)).items) == 1


async def test_a_settlement_that_waits_survives_the_pile_s_actor_and_the_process(court: Forecourt) -> None:
    made = court.make_record(court.till.order().row)
    court.backend.refused = (SettleRecord,)
    await court.hear(made)
    await court.fail_pile()
    assert court.orders is not None
    assert not court.orders.is_empty
    connection = court.till.database.connection
    assert len(await unsettled_records(connection)) == 1
    court.backend.refused = ()
    await court.pass_time(SETTLE_AGAIN_S + 1)
    assert await unsettled_records(connection) == []


# --- what is kept, and what is not ----------------------------------------------------------------------


async def test_a_pile_without_orders_keeps_nothing(court: Forecourt) -> None:
    assert not court.around.sessions_of
    serial = await court.order()
    assert court.around.sessions_of
    await court.cancel(serial)
    assert not court.around.sessions_of
    serial = await court.charging()
    await court.finish(serial)
    assert court.around.sessions_of == {}


async def test_refused_orders_leave_nothing(court: Forecourt, monkeypatch: Any) -> None:
    court.backend.refused = (CreateSession,)
    assert isinstance(await court.reserve(), Outcome)
    assert court.orders is None
    court.backend.refused = ()
    monkeypatch.setattr(store_module, "QUEUE_MAX", 0)
    assert (await court.reserve()).reason == "store_busy"
    assert court.orders is None


async def test_a_pile_actor_that_fails_while_an_order_is_being_stored(court: Forecourt) -> None:
    court.backend.gate.clear()
    answer = asyncio.create_task(court.reserve())
    await court.rest()
    await court.fail_pile()
    with pytest.raises(Exception, match="on purpose"):
        await answer
    court.backend.gate.set()
    await court.rest()
    assert court.orders is not None
    [serial] = court.orders.serials
    assert court.state(serial) is S.CREATED
    assert await court.reserve() == OrderOpen(serial, "driver", is_own=True)


async def test_a_restarted_process_knows_which_gun_is_whose(court: Forecourt) -> None:
    charging = await court.charging()
    waiting = await court.funded(gun_no=2, driver_id=await second_driver(court))
    async with reopened(court, 5) as second:
        assert {(gun_no, serial) for gun_no, serial, _ in second.pile.orders} == {(1, charging), (2, waiting)}
        await second.go_online()
        await second.tell_guns()
        assert second.state(charging) is S.AWAITING_RECORD  # by its gun alone
        assert shown(second, 2) == "reserved"
        assert (await second.start(waiting)).status in ("accepted", "rejected")


async def test_alarms_of_orders_are_counted_with_those_of_their_pile(court: Forecourt) -> None:
    serial = await court.charging()
    await court.say(serial, FINISHED)
    before = court.around.metrics.alarms_open
    await court.pass_time(31)
    assert court.around.metrics.alarms_open == before + 1
    assert court.alarms() == {"record_missing"}
    await court.send_record(serial, energy_e4_kwh=0)
    assert court.around.metrics.alarms_open == before
