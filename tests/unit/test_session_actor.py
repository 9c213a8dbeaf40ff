"""The shell around a charge's machine, with the real store, the real services and a provider in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from thespian.actors import ActorExitRequest

from pileward.actors import store as store_module
from pileward.actors.session import AGAIN_S, LEAVE_S
from pileward.actors.store_messages import Refused, Stored
from pileward.messages import downlinks as down
from pileward.messages import sessions as ask
from pileward.messages import uplinks as up
from pileward.messages.charging import RefundStep, SessionState
from pileward.messages.charging_writes import (
    ConfirmPayment,
    CreateSession,
    FailStart,
    HoldSession,
    MoveSession,
    SettleRecord,
)
from pileward.messages.payments import PaymentState
from pileward.ports import session_topic
from pileward.services import sessions
from pileward.services.records import StoreRecord
from pileward.values import ReportedStatus, ResultStatus
from tests.around import speak
from tests.forecourts import Forecourt, court_at, reopened
from tests.piles import uplink
from tests.unit.engine_actors import inside

S = SessionState
FINISHED = ReportedStatus.FINISHED


@pytest.fixture
async def court(sqlite_url: str) -> AsyncIterator[Forecourt]:
    async with court_at(sqlite_url) as opened:
        yield opened


async def in_state(court: Forecourt, state: SessionState) -> str:
    """An order that has come to a state in the usual way; returns its serial."""
    if state is S.CREATED:
        return await court.order()
    if state is S.FUNDED:
        return await court.funded()
    if state is S.STARTING:
        return await court.starting()
    if state is S.START_FAILED:
        serial = await court.starting()
        await court.accept(serial, 3)
        return serial
    serial = await court.charging()
    await court.pass_time(20)
    match state:
        case S.STOPPING:
            await court.stop(serial)
        case S.AWAITING_RECORD:
            await court.say(serial, FINISHED, energy_e4_kwh=5_000)
        case S.INTERRUPTED:
            await court.hang_up()
        case S.REFUNDING:
            await court.send_record(serial)
        case S.DISPUTED:
            await court.send_record(serial, energy_e4_kwh=900_000)
    return serial


STATES = (
    S.CREATED, S.FUNDED, S.STARTING, S.CHARGING, S.STOPPING, S.INTERRUPTED, S.AWAITING_RECORD, S.REFUNDING,
    S.START_FAILED, S.DISPUTED,
)  # fmt: skip


async def ended_well(court: Forecourt, serial: str) -> None:
    """The order is over, its actor gone, every fen where it belongs."""
    row = await court.row(serial)
    assert row.state in (S.CLOSED, S.CANCELLED)
    assert court.known(serial) is None
    assert court.orders is None
    assert court.around.session_states == {}
    assert not any(court.around.metrics.sessions.values())
    await court.proven()
    back = sum(refund.fen for refund in await court.refunds_of(serial) if refund.step is RefundStep.SUCCEEDED)
    used = row.electricity_fen + row.service_fen
    assert row.paid_fen == used - row.excess_fen + back
    assert court.port.back_fen == back


# --- a whole charge -------------------------------------------------------------------------------------


async def test_a_whole_charge(court: Forecourt) -> None:
    serial = await court.order()
    assert (await court.row(serial)).state is S.CREATED
    await court.pay(serial)
    assert (await court.row(serial)).state is S.FUNDED
    assert (await court.start(serial)).status == "accepted"
    [frame] = court.sent(down.RemoteStart)
    assert frame.wire_number == (await court.row(serial)).wire_number
    assert frame.balance_fen == 5_000
    await court.accept(serial)
    await court.say(serial, energy_e4_kwh=0)
    await court.pass_time(300)
    await court.say(serial, energy_e4_kwh=100_000)
    assert (await court.stop(serial)).status == "accepted"
    assert len(court.sent(down.RemoteStop)) == 1
    await court.answer_stop()
    await court.say(serial, FINISHED, energy_e4_kwh=100_000)
    assert (await court.row(serial)).state is S.AWAITING_RECORD
    made = await court.send_record(serial)
    assert court.sent(down.RecordAnswer) == [down.RecordAnswer(made.pile_code, 11, made.wire_number)]
    row = await court.row(serial)
    assert (row.state, row.refund_fen, row.bill is not None) == (S.REFUNDING, 3_800, True)
    await court.refund_arrives(f"R{serial}-1")
    await ended_well(court, serial)


@pytest.mark.parametrize("state", STATES)
async def test_an_order_goes_on_from_every_state(court: Forecourt, state: SessionState) -> None:
    serial = await in_state(court, state)
    assert court.state(serial) is state
    assert (await court.row(serial)).state is state
    if state is S.INTERRUPTED:
        await court.go_online()
    met = await court.finish(serial)
    assert met[0] is state
    await ended_well(court, serial)


# --- durable before told --------------------------------------------------------------------------------


async def test_an_order_is_told_when_it_is_stored_and_not_before(court: Forecourt) -> None:
    court.backend.gate.clear()
    answer = asyncio.create_task(court.reserve())
    await court.rest()
    assert not answer.done()
    assert court.orders is not None
    assert court.orders.serials == []
    court.backend.gate.set()
    reserved = await answer
    assert isinstance(reserved, ask.Reserved)
    assert court.known(reserved.serial) is not None
    assert (await court.row(reserved.serial)).state is S.CREATED


async def test_the_start_frame_and_the_answer_wait_for_the_store(court: Forecourt) -> None:
    serial = await court.funded()
    async with court.around.bus.subscribe(session_topic(serial)):
        court.backend.gate.clear()
        answer = asyncio.create_task(court.command(ask.StartSession(serial, None)))
        await court.rest()
        assert court.state(serial) is S.STARTING
        assert court.sent() == []
        assert not answer.done()
        assert court.pile.orders == ((1, serial, S.FUNDED),)
        assert court.around.bus.stats.published == 0
        told = await court.command(ask.DescribeSession(serial))
        assert (told.data["state"], told.data["pending_writes"]) == ("funded", ["MoveSession"])
        court.backend.gate.set()
        assert (await answer).status == "accepted"
        assert [type(frame) for frame in court.sent()] == [down.RemoteStart]
        assert isinstance(court.backend.written[-1], MoveSession)
        assert court.pile.orders == ((1, serial, S.STARTING),)
        assert (await court.row(serial)).state is S.STARTING


async def test_a_stop_goes_out_at_once_and_its_answer_when_it_is_stored(court: Forecourt) -> None:
    serial = await court.charging()
    court.backend.gate.clear()
    answer = asyncio.create_task(court.command(ask.StopSession(serial, None)))
    await court.rest()
    assert len(court.sent(down.RemoteStop)) == 1
    assert not answer.done()
    court.backend.gate.set()
    assert (await answer).status == "accepted"
    assert (await court.row(serial)).stop_reason == "remote"


async def test_what_is_told_is_what_was_stored_and_not_what_came_since(court: Forecourt) -> None:
    serial = await court.funded()
    async with court.around.bus.subscribe(session_topic(serial)) as feed:
        court.backend.gate.clear()
        asked = asyncio.create_task(court.command(ask.StartSession(serial, None)))
        await court.rest()
        await court.accept(serial, 3)
        assert court.state(serial) is S.START_FAILED
        court.backend.gate.set()
        await asked
        await court.rest()
        states = [msgspec.json.decode((await anext(feed))[1])["state"] for _ in range(2)]
    assert states == ["starting", "start_failed"]


async def test_a_start_that_was_given_up_while_the_store_was_away_is_never_sent(court: Forecourt) -> None:
    serial = await court.funded()
    court.backend.gate.clear()
    asked = asyncio.create_task(court.command(ask.StartSession(serial, None)))
    await court.rest()
    await court.pass_time(120, step=5)
    assert court.state(serial) is S.START_FAILED
    court.backend.gate.set()
    await asked
    await court.rest()
    assert court.sent(down.RemoteStart) == []
    assert (await court.row(serial)).state is S.START_FAILED
    await court.finish(serial)
    await ended_well(court, serial)


# --- what the store refuses -----------------------------------------------------------------------------


async def test_a_refused_order_has_not_happened(court: Forecourt) -> None:
    court.backend.refused = (CreateSession,)
    answer = await court.reserve()
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "store_busy")
    court.backend.refused = ()
    assert isinstance(await court.reserve(), ask.Reserved)


async def test_a_refused_start_sends_nothing_and_may_be_asked_for_again(court: Forecourt) -> None:
    serial = await court.funded()
    court.backend.refused = (MoveSession,)
    answer = await court.start(serial)
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "store_busy")
    assert court.state(serial) is S.FUNDED
    assert court.sent() == []
    assert "session_stuck" in court.alarms()
    court.backend.refused = ()
    assert (await court.start(serial)).status == "accepted"
    assert "session_stuck" not in court.alarms()
    await court.finish(serial)
    await ended_well(court, serial)


async def test_under_pressure_it_is_busy_and_no_alarm(court: Forecourt, monkeypatch: Any) -> None:
    serial = await court.funded()
    monkeypatch.setattr(store_module, "QUEUE_MAX", 0)
    answer = await court.start(serial)
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "store_busy")
    assert court.alarms() == set()
    monkeypatch.undo()
    assert (await court.start(serial)).status == "accepted"
    await court.finish(serial)
    await ended_well(court, serial)


async def test_a_settlement_that_is_refused_is_tried_again_ever_more_slowly(court: Forecourt) -> None:
    serial = await in_state(court, S.AWAITING_RECORD)
    tried: list[Any] = []
    write = court.backend.write

    async def counting(writes: list[Any]) -> list[Any]:
        tried.extend(entry for entry in writes if isinstance(entry, SettleRecord))
        return await write(writes)

    court.backend.write = counting  # type: ignore[method-assign]
    court.backend.refused = (SettleRecord,)
    await court.send_record(serial)
    assert court.state(serial) is S.AWAITING_RECORD
    assert "session_stuck" in court.alarms()
    counts = []
    for seconds in (0, AGAIN_S, AGAIN_S, AGAIN_S, 300, 300):
        await court.pass_time(seconds)
        counts.append(len(tried) // 2)  # in its batch, then singly
    assert counts == [1, 2, 2, 3, 7, 8]  # after 5, 10, 20, 40, 80, 160 and then every 300 s
    court.backend.refused = ()
    await court.pass_time(301)
    assert court.state(serial) is S.REFUNDING
    assert "session_stuck" not in court.alarms()
    await court.finish(serial)
    await ended_well(court, serial)


# --- when the row is elsewhere --------------------------------------------------------------------------


async def test_a_start_of_an_order_that_was_ended_behind_its_actor(court: Forecourt) -> None:
    serial = await court.funded()
    await court.till.write(FailStart(serial, "not_started", court.clock.utc()))
    answer = await court.start(serial)
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "order_moved")
    assert court.sent() == []
    assert court.state(serial) is S.START_FAILED
    await court.pass_time(AGAIN_S)
    await court.finish(serial)
    await ended_well(court, serial)


async def test_an_order_that_is_closed_unpaid_turns_out_to_be_paid(court: Forecourt) -> None:
    serial = await court.order()
    paid = ConfirmPayment(f"P{serial}-1", "42000", 5_000, "openid-1", court.clock.utc(), court.clock.utc())
    await court.till.write(paid)
    await court.hear(ask.PaymentOver(serial, f"P{serial}-1"))
    assert court.state(serial) is S.FUNDED
    assert (await court.row(serial)).state is S.FUNDED


async def test_a_frozen_order_that_settles_waits_for_a_person(court: Forecourt) -> None:
    serial = await in_state(court, S.AWAITING_RECORD)
    await court.till.write(HoldSession(serial, "complaint", court.clock.utc()))
    await court.send_record(serial)
    assert court.state(serial) is S.DISPUTED
    assert "session_held" in court.alarms()
    await court.finish(serial)
    assert court.alarms() == set()
    await ended_well(court, serial)


# --- failing handlers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
async def test_a_failed_actor_goes_on_from_its_row(court: Forecourt, state: SessionState) -> None:
    serial = await in_state(court, state)
    before = await court.row(serial)
    await court.fail(serial)
    assert court.state(serial) is state
    assert await court.row(serial) == before
    if state is S.INTERRUPTED:
        await court.go_online()
    met = await court.finish(serial)
    assert met[0] is state
    await ended_well(court, serial)


async def test_a_failed_actor_asks_how_the_gun_stands_and_stops_again(court: Forecourt) -> None:
    serial = await court.charging()
    await court.fail(serial)
    assert len(court.sent(down.ReadTelemetry)) == 1
    await court.stop(serial)
    await court.fail(serial)
    assert len(court.sent(down.RemoteStop)) == 2
    assert court.state(serial) is S.STOPPING


async def test_who_waits_for_an_actor_that_fails_is_told(court: Forecourt) -> None:
    serial = await court.funded()
    court.backend.gate.clear()
    answer = asyncio.create_task(court.command(ask.StartSession(serial, None)))
    await court.rest()
    await court.fail(serial)
    assert (await answer).status == ResultStatus.FAILED
    court.backend.gate.set()
    await court.rest()
    assert court.state(serial) is S.STARTING  # it was on its way to the store
    assert court.sent(down.RemoteStart) == []
    await court.pass_time(101, step=1)
    assert (await court.row(serial)).start_failure == "no_answer"
    await court.finish(serial)
    await ended_well(court, serial)


async def test_an_actor_that_fails_too_often_rests_and_begins_again(court: Forecourt) -> None:
    serial = await court.charging()
    for _ in range(6):
        await court.fail(serial)
    known = court.known(serial)
    assert known is not None
    assert inside(known.address) is None
    assert "session_quarantined" in court.alarms()
    answer = await court.stop(serial)
    assert (answer.status, answer.reason) == (ResultStatus.FAILED, "session_failed")
    await court.send_record(serial)  # nobody hears it; it is stored
    await court.pass_time(301)
    assert "session_quarantined" not in court.alarms()
    assert court.state(serial) is S.REFUNDING
    await court.finish(serial)
    await ended_well(court, serial)


@pytest.mark.parametrize("state", STATES)
async def test_a_failed_pile_actor_keeps_its_orders(court: Forecourt, state: SessionState) -> None:
    serial = await in_state(court, state)
    orders = court.pile.orders
    await court.fail_pile()
    assert court.pile.orders == orders
    assert court.state(serial) is state
    if state is S.INTERRUPTED:
        await court.go_online()
    await court.hear(up.TariffCheck(court.pile.code, 9, court.pile.config.billing_model_no or ""))
    await court.finish(serial)
    await ended_well(court, serial)


# --- another process ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "away_s"),
    [(state, away_s) for state in STATES for away_s in (1.0, 3_600.0)
     if away_s == 1.0 or state not in (S.CREATED, S.FUNDED)],
)  # fmt: skip
async def test_a_process_goes_on_where_the_last_one_was_killed(
    court: Forecourt, state: SessionState, away_s: float
) -> None:
    serial = await in_state(court, state)
    before = await court.row(serial)
    async with reopened(court, away_s) as second:
        expected = S.INTERRUPTED if state in (S.CHARGING, S.STOPPING) else state
        assert second.state(serial) is expected
        assert (await second.row(serial)).stop_reason == before.stop_reason
        await second.go_online()
        await second.tell_guns()
        await second.pass_time(2)
        met = await second.finish(serial)
        assert met[0] in (state, expected, S.AWAITING_RECORD)
        await ended_well(second, serial)


async def test_an_unpaid_order_is_closed_at_the_provider_when_its_time_passed_meanwhile(
    court: Forecourt,
) -> None:
    serial = await court.order()
    async with reopened(court, 3_600) as second:
        await second.pass_time(2)
        assert (await second.row(serial)).state is S.CANCELLED
        assert second.port.payments[f"P{serial}-1"].state is PaymentState.CLOSED


async def test_a_paid_order_whose_time_passed_meanwhile_goes_back(court: Forecourt) -> None:
    serial = await court.funded()
    async with reopened(court, 3_600) as second:
        await second.pass_time(2)
        row = await second.row(serial)
        assert (row.state, row.start_failure) == (S.START_FAILED, "not_started")
        await second.finish(serial)
        await ended_well(second, serial)


async def test_a_pile_charges_on_through_the_restart_of_the_process(court: Forecourt) -> None:
    serial = await court.starting()
    async with reopened(court, 600) as second:
        await second.pass_time(30)
        assert second.state(serial) is S.STARTING  # it may be charging: its return is waited for
        await second.go_online()
        await second.say(serial, energy_e4_kwh=50_000)
        assert second.state(serial) is S.CHARGING
        await second.finish(serial)
        await ended_well(second, serial)


async def test_a_pile_that_does_not_return_gives_the_money_back(court: Forecourt) -> None:
    serial = await court.starting()
    async with reopened(court, 600) as second:
        await second.pass_time(302)
        row = await second.row(serial)
        assert (row.state, row.start_failure) == (S.START_FAILED, "pile_offline")


@pytest.mark.parametrize("state", [S.CHARGING, S.STOPPING, S.INTERRUPTED, S.AWAITING_RECORD, S.START_FAILED])
async def test_a_record_that_was_stored_and_not_settled_is_settled_at_the_start(
    court: Forecourt, state: SessionState
) -> None:
    serial = await in_state(court, state)
    if state is S.INTERRUPTED:
        await court.go_online()
    court.backend.refused = (SettleRecord,)
    await court.send_record(serial)
    assert (await court.row(serial)).record_id is None
    async with reopened(court, 60) as second:
        row = await second.row(serial)
        assert row.record_id is not None
        if state is S.START_FAILED:
            assert (row.state, row.debt_fen) == (
                S.REFUNDING,
                0,
            ) or row.is_held  # everything was on its way back
        else:
            assert (row.state, row.refund_fen) == (S.REFUNDING, 3_800)


async def test_a_provisional_bill_is_corrected_by_a_record_that_was_only_stored(court: Forecourt) -> None:
    serial = await in_state(court, S.AWAITING_RECORD)
    await court.pass_time(86_500, step=43_250, is_silent=True)
    assert court.state(serial) is S.DISPUTED
    await court.go_online()
    court.backend.refused = (SettleRecord,)
    await court.send_record(serial, energy_e4_kwh=50_000)
    async with reopened(court, 60) as second:
        row = await second.row(serial)
        assert (row.state, row.is_provisional, row.is_held, row.refund_fen) == (
            S.REFUNDING,
            False,
            False,
            4_400,
        )
        await second.finish(serial)
        assert (await second.row(serial)).state is S.CLOSED


@pytest.mark.parametrize("call", ["refund", "query_refund"])
async def test_a_refund_on_its_way_is_followed_up(court: Forecourt, call: str) -> None:
    gate = court.port.gates[call] = asyncio.Event()
    serial = await court.charging()
    await court.send_record(serial)
    if call == "query_refund":
        await court.pass_time(60)
    async with reopened(court, 120) as second:
        del second.port.gates[call]
        gate.set()
        await second.pass_time(120, step=30)
        await second.finish(serial)
        assert len(second.port.refunds) == 1
        await ended_well(second, serial)


async def test_wishes_survive_the_process(court: Forecourt) -> None:
    serial = await court.charging()
    await court.hang_up()
    assert (await court.stop(serial)).status == "accepted"
    async with reopened(court, 10) as second:
        await second.go_online()
        await second.say(serial, energy_e4_kwh=10_000)
        assert second.state(serial) is S.STOPPING
        assert len(second.sent(down.RemoteStop)) == 1


async def test_a_start_that_was_taken_back_stays_taken_back(court: Forecourt) -> None:
    serial = await court.starting()
    assert (await court.cancel(serial)).status == "accepted"
    async with reopened(court, 5) as second:
        await second.go_online()
        await second.say(serial, energy_e4_kwh=0)
        assert second.state(serial) is S.STOPPING
        await second.send_record(serial, energy_e4_kwh=0)
        await second.finish(serial)
        row = await second.row(serial)
        assert (row.state, row.refund_fen) == (S.CLOSED, 5_000)


async def test_live_values_and_words_of_the_vehicle_survive(court: Forecourt) -> None:
    serial = await court.charging()
    await court.pass_time(60)
    row = await court.row(serial)
    await court.say(serial, energy_e4_kwh=70_000, amount_e4_yuan=84_000, soc_pct=55)
    await court.hear(uplink(up.BmsHandshake, wire_number=row.wire_number, vin="LSVAU2180N2183294"))
    async with reopened(court, 10) as second:
        row = second.actor(serial).session.row
        assert (row.energy_e4_kwh, row.rate_energy_e4_kwh[1], row.live_amount_e4_yuan) == (
            70_000,
            70_000,
            84_000,
        )
        assert row.soc_pct == 55
        facts = await sessions.facts_of(second.till.database.connection, serial)
        assert facts["BmsHandshake"]["vin"] == "LSVAU2180N2183294"


async def test_alarms_of_an_order_survive_and_end_with_its_record(court: Forecourt) -> None:
    serial = await in_state(court, S.AWAITING_RECORD)
    await court.pass_time(31)
    assert "record_missing" in court.alarms()
    async with reopened(court, 60) as second:
        assert "record_missing" in second.alarms()
        assert second.around.metrics.alarms_open == len(second.alarms())
        await second.go_online()
        await second.send_record(serial)
        assert "record_missing" not in second.alarms()
        await second.finish(serial)
        await ended_well(second, serial)


async def test_a_cancelled_order_is_closed_after_the_restart(court: Forecourt) -> None:
    serial = await court.order()
    gate = court.port.gates["close"] = asyncio.Event()
    assert (await court.cancel(serial)).status == "accepted"
    assert (await court.row(serial)).state is S.CREATED
    async with reopened(court, 5) as second:
        del second.port.gates["close"]
        gate.set()
        await second.pass_time(2)
        row = await second.row(serial)
        assert (row.state, row.start_failure) == (S.CANCELLED, "cancelled")


# --- paying ---------------------------------------------------------------------------------------------


async def test_cancelled_unpaid(court: Forecourt) -> None:
    serial = await court.order()
    assert (await court.cancel(serial)).status == "accepted"
    row = await court.row(serial)
    assert (row.state, row.start_failure) == (S.CANCELLED, "cancelled")
    await ended_well(court, serial)
    assert isinstance(await court.reserve(), ask.Reserved)  # gun and driver are free


async def test_cancelled_and_paid_at_the_same_moment(court: Forecourt) -> None:
    serial = await court.order()
    court.port.pay(f"P{serial}-1")
    assert (await court.cancel(serial)).status == "accepted"
    row = await court.row(serial)
    assert (row.state, row.start_failure, row.paid_fen) == (S.START_FAILED, "cancelled", 5_000)
    await court.finish(serial)
    await ended_well(court, serial)


async def test_cancelled_after_it_was_paid_but_before_that_was_known(court: Forecourt) -> None:
    serial = await court.order()
    now = court.clock.utc()
    await court.till.write(ConfirmPayment(f"P{serial}-1", "42000", 5_000, "openid-1", now, now))
    answer = await court.cancel(serial)
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "order_moved")
    assert (await court.cancel(serial)).status == "accepted"
    assert (await court.row(serial)).state is S.START_FAILED


async def test_money_that_comes_after_the_order_was_cancelled_goes_back(court: Forecourt) -> None:
    serial = await court.order()
    await court.cancel(serial)
    now = court.clock.utc()
    [confirmed] = await court.till.write(
        ConfirmPayment(f"P{serial}-1", f"42000P{serial}-1", 5_000, "openid-1", now, now)
    )
    assert (str(confirmed.verdict), confirmed.out_refund_no) == ("late", f"R{serial}-1")
    await court.proven()


async def test_a_payment_of_another_amount_holds_the_order_and_frees_the_gun(court: Forecourt) -> None:
    serial = await court.order()
    await court.pay(serial, fen=4_999)
    assert court.state(serial) is S.DISPUTED
    assert "session_held" in court.alarms()
    assert court.pile.orders == ()
    answer = await court.start(serial)
    assert answer.reason == "already_started"
    await court.finish(serial)
    await court.proven()
    assert court.port.back_fen == 4_999
    assert court.alarms() == set()


async def test_an_order_that_nobody_pays_is_closed(court: Forecourt) -> None:
    serial = await court.order()
    await court.pass_time(700, step=50)
    row = await court.row(serial)
    assert (row.state, row.start_failure) == (S.CANCELLED, "unpaid")
    await ended_well(court, serial)


# --- who may ask, and what is told ----------------------------------------------------------------------


@pytest.mark.parametrize("command", [ask.StartSession, ask.StopSession, ask.CancelOrder])
async def test_other_drivers_have_no_say(court: Forecourt, command: Any) -> None:
    serial = await court.funded()
    answer = await court.command(command(serial, court.till.driver_id + 1))
    assert (answer.status, answer.reason) == (ResultStatus.REJECTED, "not_yours")
    assert court.state(serial) is S.FUNDED
    assert court.actor(serial).asked == {}


async def test_unknown_orders_are_not_known(court: Forecourt) -> None:
    for command in (ask.StartSession("1" * 20, None), ask.DescribeSession("1" * 20)):
        assert (await court.command(command)).reason == "unknown_session"
    assert court.orders is None


async def test_starting_and_stopping_twice(court: Forecourt) -> None:
    serial = await court.funded()
    assert (await court.start(serial)).status == "accepted"
    assert (await court.start(serial)).reason == "already_started"
    await court.say(serial, energy_e4_kwh=0)
    assert (await court.stop(serial)).status == "accepted"
    assert (await court.stop(serial)).status == "accepted"
    assert len(court.sent(down.RemoteStart)) == len(court.sent(down.RemoteStop)) == 1


async def test_a_description_names_what_is_waited_for(court: Forecourt) -> None:
    serial = await court.starting()
    data = (await court.command(ask.DescribeSession(serial))).data
    assert (data["state"], data["detail"], data["is_pile_online"]) == ("starting", "start_sent", True)
    assert [timer["name"] for timer in data["timers"]] == ["answer", "charging"]
    assert [timer["due_in_s"] for timer in data["timers"]] == [70.0, 90.0]
    assert [row["to"] for row in data["transitions"]] == ["funded", "starting"]
    assert (data["pending_writes"], data["waiting_commands"], data["refused_writes"]) == ([], 0, 0)
    assert msgspec.json.encode(data)
    info = court.engine.info(court.known(serial).address)  # type: ignore[union-attr]
    assert info is not None
    assert info.state == "starting"


async def test_live_values_are_published_to_whoever_watches(court: Forecourt) -> None:
    serial = await court.charging()
    async with court.around.bus.subscribe(session_topic(serial)) as feed:
        await court.say(serial, energy_e4_kwh=12_345, soc_pct=66)
        event = msgspec.json.decode((await anext(feed))[1])
    assert (event["type"], event["serial"]) == ("session", serial)
    assert (event["energy_e4_kwh"], event["soc_pct"]) == (12_345, 66)


# --- the end --------------------------------------------------------------------------------------------


async def test_an_actor_whose_end_was_not_heard_says_so_again(court: Forecourt) -> None:
    serial = await in_state(court, S.REFUNDING)
    pile = inside(court.pile_address)
    court.port.end(f"R{serial}-1")
    pile._session_moved = lambda *_: (_ for _ in ()).throw(RuntimeError("on purpose"))
    await court.pass_time(120, step=30)
    assert (await court.row(serial)).state is S.CLOSED
    await court.pass_time(LEAVE_S)
    await ended_well(court, serial)


async def test_a_record_that_meets_an_actor_about_to_leave_is_settled(court: Forecourt) -> None:
    serial = await in_state(court, S.START_FAILED)
    known = court.known(serial)
    assert known is not None
    made = court.make_record(await court.row(serial), energy_e4_kwh=0)
    # the record is on its way to the actor when its last refund arrives
    pile = inside(court.pile_address)
    moved = pile._session_moved
    stored: list[Any] = []

    def late(message: Any, sender: Any) -> None:
        if message.is_over and not stored:
            stored.append(message)
            pile.sessions.record_kept(made, kept)
        moved(message, sender)

    [kept] = await court.till.write(_store(made))
    pile._session_moved = late
    await court.finish(serial)
    await court.rest()
    assert stored
    assert (await court.row(serial)).record_id == kept.record_id


def _store(made: Any) -> StoreRecord:
    words = {
        "started_at": made.started_at.isoformat(),
        "ended_at": made.ended_at.isoformat(),
        "energy_e4_kwh": made.energy_e4_kwh,
        "amount_e4_yuan": made.amount_e4_yuan,
        "meter_start_e4_kwh": made.meter_start_e4_kwh,
        "meter_end_e4_kwh": made.meter_end_e4_kwh,
        "stop_reason": made.stop_reason,
        "periods": [],
    }
    return StoreRecord("ykc", made.pile_code, 1, made.wire_number, made.body, words, made.ended_at)


async def test_an_order_whose_actor_exits_is_not_counted_any_more(court: Forecourt) -> None:
    serial = await court.charging()
    assert court.around.session_states == {serial: S.CHARGING}
    known = court.known(serial)
    assert known is not None
    court.engine.tell(known.address, ActorExitRequest())
    await court.rest()
    assert court.around.session_states == {}
    assert court.orders is None


async def test_messages_of_an_earlier_life_change_nothing(court: Forecourt) -> None:
    serial = await court.charging()
    actor = court.actor(serial)
    speak(court.engine, court.edge, court.known(serial).address, *_strays())  # type: ignore[union-attr]
    await court.rest()
    assert court.actor(serial) is actor
    assert court.state(serial) is S.CHARGING


def _strays() -> list[Any]:
    return [Stored(1, None), Refused(2, "late", is_pressure=True)]
