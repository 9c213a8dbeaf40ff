"""Orders: one open order a gun and a driver, states, live values, numbers, what a node finds on its start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError

from pileward.errors import NotFoundError
from pileward.messages.charging import ACTIVE, PaymentStep, SessionState
from pileward.messages.charging_writes import (
    CancelSession,
    CreateSession,
    FailStart,
    KeepFact,
    MovePayment,
    MoveSession,
    OrderOpen,
    ReserveSerials,
    SaveLive,
    SavePoint,
    SessionCreated,
    SessionMoved,
)
from pileward.messages.uplinks import BmsDemand, BmsInfo
from pileward.models.database import Database
from pileward.models.sessions import ChargingSession, OpenOrder, WireNumber
from pileward.services import session_points, sessions
from pileward.services.drivers import login_driver
from pileward.services.serials import SerialBlock, make_serial
from pileward.services.wire_numbers import make_wire_number, serial_of
from pileward.services.writes import StoreRecord, write_all
from tests.business import NOW, PILE_CODE, add_piles, later
from tests.charges import Till, delivered

S = SessionState


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def second_driver(till: Till) -> int:
    return (await login_driver(till.business.who.operator_id, "wechat", "wx1", "openid-2", "", NOW)).id


class TestOrders:
    async def test_an_order_is_stored_with_its_payment_and_number(self, till: Till) -> None:
        order = till.order()
        assert await till.write(order) == [SessionCreated(order.row.serial, is_first=True)]
        assert await till.row(order.row.serial) == order.row
        assert await sessions.payments_of(till.database.connection, order.row.serial) == [order.payment]
        number = make_wire_number("ykc", PILE_CODE, 1, order.row.serial)
        assert len(number) == 32
        assert await serial_of(till.database.connection, "ykc", PILE_CODE, number) == order.row.serial
        assert await serial_of(till.database.connection, "ykc", PILE_CODE, "0" * 32) is None

    async def test_the_same_order_again_changes_nothing(self, till: Till) -> None:
        order = till.order()
        first, second = await till.write(order, order)
        [third] = await till.write(order)
        assert (first.is_first, second.is_first, third.is_first) == (True, False, False)
        assert await ChargingSession.all().count() == await WireNumber.all().count() == 1

    async def test_lesson_20_a_second_scan_leads_to_the_open_order(self, till: Till) -> None:
        first = await till.ordered()
        assert await till.write(till.order()) == [OrderOpen(first, by="driver", is_own=True)]
        other = await second_driver(till)
        assert await till.write(till.order(driver_id=other)) == [OrderOpen(first, by="gun", is_own=False)]
        assert await till.write(till.order(gun_no=2)) == [OrderOpen(first, by="driver", is_own=True)]
        assert await ChargingSession.all().count() == 1

    async def test_two_orders_of_one_batch_are_one(self, till: Till) -> None:
        results = await till.write(till.order(), till.order())
        assert [type(result) for result in results] == [SessionCreated, OrderOpen]
        assert results[1].serial == results[0].serial

    async def test_two_drivers_at_two_guns(self, till: Till) -> None:
        other = await second_driver(till)
        results = await till.write(till.order(), till.order(gun_no=2, driver_id=other))
        assert all(result.is_first for result in results)
        assert await sessions.open_serial_of_driver(till.database.connection, other) == results[1].serial
        assert await sessions.open_serial_of_gun(till.database.connection, PILE_CODE, 1) == results[0].serial

    async def test_nodes_that_race_for_a_gun_end_with_one_order(self, pg_url: str) -> None:
        from pileward.models.database import open_database

        database = await open_database(pg_url)
        till = await Till.open(database)

        async def order() -> str:
            wanted = till.order()
            while True:
                try:
                    async with database.transaction() as connection:
                        [result] = await write_all(connection, [wanted])
                except IntegrityError:
                    continue
                serial: str = result.serial
                return serial

        serials = await asyncio.gather(*(order() for _ in range(6)))
        assert len(set(serials)) == 1
        assert await ChargingSession.all().count() == 1
        await database.close()

    @pytest.mark.parametrize("state", [state for state in S if state not in ACTIVE])
    async def test_whatever_is_no_longer_active_frees_gun_and_driver(
        self, till: Till, state: SessionState
    ) -> None:
        serial = await till.ordered()
        assert await OpenOrder.all().count() == 2
        if state in (S.SETTLING, S.START_FAILED, S.REFUNDING):
            return  # entered by the writes that move money; tested there
        await till.move(serial, state)
        assert await OpenOrder.all().count() == 0
        assert (await till.write(till.order()))[0].is_first

    async def test_what_is_active_again_takes_its_gun_again(self, till: Till) -> None:
        serial = await till.charging()
        await till.move(serial, S.AWAITING_RECORD)
        await till.move(serial, S.CHARGING)
        assert {row.serial for row in await OpenOrder.all()} == {serial}

    async def test_what_is_active_again_takes_nothing_from_others(self, till: Till) -> None:
        serial = await till.charging()
        await till.move(serial, S.AWAITING_RECORD)
        second = await till.ordered()
        await till.move(serial, S.CHARGING)
        assert {row.serial for row in await OpenOrder.all()} == {second}


class TestMoves:
    async def test_only_from_where_it_is_expected(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        step = MoveSession(serial, frozenset({S.FUNDED}), S.STARTING, later(30), {"deadline_kind": "reply"})
        assert await till.write(step) == [SessionMoved(is_done=True, state=S.STARTING)]
        assert await till.write(step) == [SessionMoved(is_done=True, state=S.STARTING)]
        wrong = MoveSession(serial, frozenset({S.FUNDED}), S.CHARGING, later(30))
        assert await till.write(wrong) == [SessionMoved(is_done=False, state=S.STARTING)]
        nobody = MoveSession("0" * 20, frozenset({S.FUNDED}), S.CHARGING, later(30))
        assert await till.write(nobody) == [SessionMoved(is_done=False, state=None)]

    async def test_several_steps_of_one_batch_in_their_order(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        await till.write(
            MoveSession(serial, frozenset({S.FUNDED}), S.STARTING, later(30), {"deadline_at": later(100)}),
            MoveSession(serial, frozenset({S.STARTING}), S.CHARGING, later(40), {"started_at": later(40)}),
            MoveSession(serial, frozenset({S.CHARGING}), S.STOPPING, later(50), {"stop_reason": "driver"}),
        )
        row = await till.row(serial)
        assert (row.state, row.started_at, row.stop_reason) == (S.STOPPING, later(40), "driver")
        assert row.deadline_at is None  # a deadline ends with its state

    async def test_a_deadline_lasts_as_long_as_its_state(self, till: Till) -> None:
        serial = await till.ordered()
        deadline = {"deadline_at": later(600), "deadline_kind": "pay"}
        await till.write(MoveSession(serial, frozenset({S.CREATED}), S.CREATED, NOW, deadline))
        await till.write(MoveSession(serial, frozenset({S.CREATED}), S.CREATED, NOW, {"soc_pct": 5}))
        row = await till.row(serial)
        assert (row.deadline_at, row.deadline_kind, row.soc_pct) == (later(600), "pay", 5)

    @pytest.mark.parametrize("state", [S.FUNDED, S.SETTLING, S.START_FAILED, S.REFUNDING])
    async def test_states_of_money_are_entered_by_money_alone(self, till: Till, state: SessionState) -> None:
        serial = await till.ordered()
        with pytest.raises(AssertionError):
            await till.write(MoveSession(serial, frozenset({S.CREATED}), state, NOW))

    async def test_money_is_no_change_of_a_move(self, till: Till) -> None:
        serial = await till.ordered()
        with pytest.raises(AssertionError):
            await till.write(MoveSession(serial, frozenset({S.CREATED}), S.CREATED, NOW, {"paid_fen": 1}))

    async def test_an_unpaid_order_is_cancelled(self, till: Till) -> None:
        serial = await till.ordered()
        cancel = CancelSession(serial, "expired", later(600))
        assert await till.write(cancel, cancel) == [SessionMoved(True, S.CANCELLED)] * 2
        row = await till.row(serial)
        assert (row.closed_at, row.start_failure) == (later(600), "expired")

    async def test_a_paid_order_is_not_cancelled(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        assert await till.write(CancelSession(serial, "expired", NOW)) == [SessionMoved(False, S.FUNDED)]

    async def test_a_payment_and_a_cancelling_of_one_batch_leave_it_paid(self, till: Till) -> None:
        serial = await till.ordered()
        cancelled, paid = await till.write(CancelSession(serial, "expired", NOW), till.confirmation(serial))
        assert (cancelled.is_done, paid.session_state) == (False, S.FUNDED)


class TestPrepay:
    async def test_a_prepay_is_kept_until_it_is_paid(self, till: Till) -> None:
        serial = await till.ordered()
        number = f"P{serial}-1"
        [moved] = await till.write(
            MovePayment(number, PaymentStep.WAITING, NOW, prepay_id="wx123", next_query_at=later(5))
        )
        assert moved.is_done
        from pileward.services import payments

        connection = till.database.connection
        assert (await payments.payment_by_number(connection, number)).prepay_id == "wx123"
        assert [row.out_trade_no for row in await payments.payments_due(connection, later(5))] == [number]
        assert await payments.payments_due(connection, later(4)) == []
        await till.pay(serial)
        assert await payments.payments_due(connection, later(500)) == []
        [late] = await till.write(MovePayment(number, PaymentStep.CLOSED, NOW))
        assert (late.is_done, late.step) == (False, PaymentStep.PAID)
        with pytest.raises(NotFoundError):
            await payments.payment_by_number(connection, "P0-1")


class TestLive:
    async def test_live_values_never_go_back(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(
            SaveLive(serial, later(70), 300, 30, 41, (0, 0, 100, 200)), SaveLive(serial, later(60), 200, 20)
        )
        await till.write(SaveLive(serial, later(65), 250, 25))
        row = await till.row(serial)
        assert (row.energy_e4_kwh, row.live_amount_e4_yuan, row.soc_pct, row.live_at) == (
            300, 30, 41, later(70)
        )  # fmt: skip
        assert row.rate_energy_e4_kwh == (0, 0, 100, 200)

    async def test_after_the_bill_live_values_change_nothing(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered())
        await till.write(SaveLive(serial, later(9_000), 1, 1))
        assert (await till.row(serial)).energy_e4_kwh == 200_000

    async def test_facts_are_kept_once_a_kind(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(KeepFact(serial, "bms_handshake", {"vin": "L\x00SV"}, NOW))
        await till.write(
            KeepFact(serial, "bms_handshake", {"vin": "LSV"}, later(9)), KeepFact(serial, "end", {}, NOW)
        )
        assert await sessions.facts_of(till.database.connection, serial) == {
            "bms_handshake": {"vin": "LSV"}, "end": {}
        }  # fmt: skip


class TestChart:
    async def test_what_the_vehicle_says_becomes_points(self, till: Till) -> None:
        serial = await till.charging()
        demand = BmsDemand(
            PILE_CODE, 1, 1, "n", 500_000, 120_000, 1, 498_000, 119_000, 4_100, 1, 60, 1_800, 1, 1, 300
        )
        info = BmsInfo(PILE_CODE, 1, 1, "n", 1, 35, 1, 28, 2, (), True)
        await till.write(
            session_points.point_of(serial, info, later(70)),
            session_points.point_of(serial, demand, later(60)),
        )
        first, second = await session_points.points_of(serial)
        assert first == SavePoint(
            serial, later(60), 500_000, 120_000, 498_000, 119_000, 60, 4_100, None, None, 1_800
        )
        assert second == SavePoint(serial, later(70), max_temp_c=35, min_temp_c=28)
        await session_points.drop_old_points(later(86_400 * 29))
        assert len(await session_points.points_of(serial)) == 2
        await session_points.drop_old_points(later(86_400 * 31))
        assert await session_points.points_of(serial) == []


class TestReads:
    async def test_a_driver_sees_only_his_own(self, till: Till) -> None:
        serial = await till.ordered()
        other = await second_driver(till)
        assert (await sessions.session_by_serial(serial, driver_id=till.driver_id)).serial == serial
        for scope in ({"driver_id": other}, {"operator_id": till.business.who.operator_id + 1}):
            with pytest.raises(NotFoundError):
                await sessions.session_by_serial(serial, **scope)
        assert (await sessions.sessions_of_driver(other)).items == []

    async def test_lists_are_paged_newest_first(self, till: Till) -> None:
        serials = []
        for _ in range(5):
            serials.append(await till.ordered())
            await till.write(CancelSession(serials[-1], "expired", NOW))
        first = await sessions.sessions_of_driver(till.driver_id, limit=3)
        second = await sessions.sessions_of_driver(till.driver_id, limit=3, cursor=first.next_cursor)
        assert [row.serial for row in first.items + second.items] == serials[::-1]
        operator_id = till.business.who.operator_id
        found = await sessions.list_sessions(
            operator_id,
            station_id=till.business.station.id,
            pile_code=PILE_CODE,
            state=S.CANCELLED,
            driver_id=till.driver_id,
        )
        assert len(found.items) == 5
        assert (await sessions.list_sessions(operator_id, state=S.CLOSED)).items == []

    async def test_a_node_finds_what_is_open(self, till: Till) -> None:
        done, unpaid = await till.ordered(), None
        await till.write(CancelSession(done, "expired", NOW))
        charging = await till.charging()
        unpaid = await till.ordered(gun_no=2, driver_id=await second_driver(till))
        connection = till.database.connection
        found = {opened.row.serial: opened for opened in await sessions.open_sessions(connection)}
        assert list(found) == [charging, unpaid]
        assert [payment.paid_fen for payment in found[charging].payments] == [5_000]
        assert found[charging].refunds == ()
        assert found[charging].waiting_record_id is None
        assert await sessions.open_sessions(connection, ["0" * 14]) == []
        assert len(await sessions.open_sessions(connection, [PILE_CODE])) == 2
        assert await sessions.open_session(connection, charging) == found[charging]
        assert await sessions.open_session(connection, done) is None
        assert await sessions.open_session(connection, "0" * 20) is None

    async def test_a_record_that_was_stored_but_not_settled_is_named(self, till: Till) -> None:
        serial = await till.charging()
        number = (await till.row(serial)).wire_number
        [stored] = await till.write(StoreRecord("ykc", PILE_CODE, 1, number, b"x", {}, NOW))
        [opened] = await sessions.open_sessions(till.database.connection)
        assert opened.waiting_record_id == stored.record_id
        await till.settle(serial, delivered(), stored.record_id)
        [opened] = await sessions.open_sessions(till.database.connection)
        assert opened.waiting_record_id is None
        assert [refund.fen for refund in opened.refunds] == [3_000]


class TestNumbers:
    async def test_a_block_is_given_out_once(self, till: Till) -> None:
        assert await till.write(ReserveSerials(1, 100), ReserveSerials(1, 50), ReserveSerials(2, 10)) == [
            0, 100, 0
        ]  # fmt: skip
        assert await till.write(ReserveSerials(1, 1)) == [150]

    def test_a_serial_says_when_where_and_which(self) -> None:
        block = SerialBlock(7, 999_999, 2)
        assert [block.take(NOW), block.take(NOW)] == ["26030112050607999999", "26030112050607000000"]
        assert len(block) == 0
        with pytest.raises(AssertionError):
            block.take(NOW)
        assert make_wire_number("ykc", PILE_CODE, 2, "26030112050607991234") == (
            f"{PILE_CODE}02260301120506{1234}"
        )
        assert make_wire_number("aaf5", PILE_CODE, 2, make_serial(NOW, 1, 5)) == make_serial(NOW, 1, 5)

    async def test_another_pile_may_use_the_same_number(self, till: Till) -> None:
        [code] = await add_piles(till.business, 1)
        order = till.order()
        await till.write(order)
        assert await serial_of(till.database.connection, "ykc", code, order.row.wire_number) is None


async def test_nothing_costs_nothing(database: Database) -> None:
    from pileward.services.writes import WRITES

    async with database.transaction() as connection:
        for bulk in WRITES.values():
            empty: list[Any] = []
            assert list(await bulk(connection, empty)) == []


async def test_a_failed_start_frees_the_gun(database: Database) -> None:
    till = await Till.open(database)
    serial = await till.ordered()
    await till.pay(serial)
    await till.write(FailStart(serial, "gun_fault", later(30)))
    assert (await till.write(CreateSession(till.order().row, None)))[0].is_first
