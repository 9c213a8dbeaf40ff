"""Settlement: who pays what, what goes back, once for each record, corrected by the difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.errors import NotFoundError
from pileward.messages.charging import (
    Bill,
    RefundCause,
    RefundStep,
    ReviewKind,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import (
    DecideHeld,
    Decision,
    FailStart,
    HoldSession,
    MoveRefund,
    RecordUnmatched,
    SaveLive,
    SettleRecord,
    SettleSession,
)
from pileward.models.database import Database
from pileward.models.ledger import LedgerEntry
from pileward.models.operators import Operator
from pileward.models.sessions import OpenOrder
from pileward.services import debts, ledger, reviews, sessions
from pileward.services.audit import Who
from pileward.services.billing import provisional_facts
from pileward.services.ledger import KeyReusedError, Movement, post
from pileward.services.record_settlement import unsettled_records
from pileward.services.settlement import settlements_of
from pileward.services.writes import StoreRecord, write_all
from pileward.values import Rate
from tests.business import NOW, PILE_CODE, later
from tests.charges import CHANNEL, TRANSIT, Till, by_rates, delivered

S = SessionState


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def refunds(till: Till, serial: str) -> list[tuple[str, int, RefundCause]]:
    found = await sessions.refunds_of(till.database.connection, serial)
    return [(refund.out_refund_no, refund.fen, refund.cause) for refund in found]


async def set_overrun(word: str) -> None:
    await Operator.all().update(overrun=word)


async def open_kinds(serial: str) -> set[ReviewKind]:
    return {review.kind for review in await reviews.reviews_of(serial) if review.is_open}


class TestFirstBill:
    async def test_prepaid_50_used_20_back_30(self, till: Till) -> None:
        serial = await till.charging(5_000)
        settled = await till.settle(serial, delivered())
        assert (settled.state, settled.refund_fen, settled.debt_fen, settled.excess_fen, settled.is_held) == (
            S.REFUNDING, 3_000, 0, 0, False
        )  # fmt: skip
        assert settled.bill is not None
        assert (settled.bill.electricity_fen, settled.bill.service_fen) == (1_200, 800)
        assert settled.out_refund_no == f"R{serial}-1"
        operator_id = till.business.who.operator_id
        assert await till.balances() == {
            CHANNEL: 5_000,
            TRANSIT: -3_000,
            f"revenue-electricity:{operator_id}": -1_200,
            f"revenue-service:{operator_id}": -800,
        }
        row = await till.row(serial)
        assert (row.record_id, row.settled_at, row.stop_reason, row.stop_code, row.energy_e4_kwh) == (
            1, later(3_700), "full", 0x40, 200_000
        )  # fmt: skip
        assert await OpenOrder.all().count() == 0
        moved = await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
        assert (moved.is_last, moved.session_state) == (True, S.CLOSED)
        assert await till.balance(CHANNEL) == 2_000 == await till.earned()
        assert (await till.row(serial)).closed_at == later(4_000)

    async def test_all_used_nothing_back(self, till: Till) -> None:
        serial = await till.charging(2_000)
        settled = await till.settle(serial, delivered())
        assert (settled.state, settled.out_refund_no, settled.refund_fen) == (S.CLOSED, None, 0)
        assert (await till.row(serial)).closed_at == later(3_700)

    async def test_by_rates(self, till: Till) -> None:
        serial = await till.charging()
        settled = await till.settle(
            serial, by_rates([(Rate.SHARP, 10_000), (Rate.FLAT, 10_000), (Rate.VALLEY, 33_333)])
        )
        assert settled.bill is not None
        assert [(line.rate, line.total_fen) for line in settled.bill.lines] == [
            (Rate.SHARP, 130), (Rate.FLAT, 110), (Rate.VALLEY, 333)
        ]  # fmt: skip
        assert settled.bill.total_fen == 573 == await till.earned()

    async def test_keys_name_cause_serial_number_and_component(self, till: Till) -> None:
        serial = await till.charging(5_000)
        await till.settle(serial, delivered())
        await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
        entries = [
            (entry.key, entry.debit, entry.credit, entry.fen) for entry in await ledger.entries_of(serial)
        ]
        operator_id = till.business.who.operator_id
        assert entries == [
            (f"pay:{serial}:1:prepaid", CHANNEL, till.prepaid, 5_000),
            (f"settle:{serial}:1:electricity", till.prepaid, f"revenue-electricity:{operator_id}", 1_200),
            (f"settle:{serial}:1:service", till.prepaid, f"revenue-service:{operator_id}", 800),
            (f"refund:{serial}:1:transit", till.prepaid, TRANSIT, 3_000),
            (f"refunded:{serial}:1:channel", TRANSIT, CHANNEL, 3_000),
        ]

    async def test_what_a_settlement_was_made_from_is_kept(self, till: Till) -> None:
        serial = await till.charging()
        settled = await till.settle(serial, delivered())
        [kept] = await settlements_of(till.database.connection, serial)
        assert (kept.facts, kept.result, kept.record_id, kept.at) == (delivered(), settled, 1, later(3_700))

    async def test_many_of_one_batch(self, till: Till) -> None:
        serials = []
        for number in range(5):
            serials.append(await till.charging(gun_no=1))
            await till.move(serials[-1], S.AWAITING_RECORD)
            assert number == len(serials) - 1
        results = await till.write(
            *(
                SettleSession(serial, 10 + place, delivered(100_000), later(4_000))
                for place, serial in enumerate(serials)
            )
        )
        assert {result.refund_fen for result in results} == {4_000}
        assert await till.earned() == 5_000

    async def test_an_unknown_serial_is_a_bug(self, till: Till) -> None:
        with pytest.raises(KeyError):
            await till.settle("0" * 20, delivered())


class TestOnce:
    async def test_the_same_record_again(self, till: Till) -> None:
        serial = await till.charging()
        write = SettleSession(serial, 1, delivered(), later(3_700))
        first, second = await till.write(write, write)
        [third] = await till.write(write)
        assert second == third == replace(first, is_first=False)
        assert await LedgerEntry.all().count() == 4
        assert len(await refunds(till, serial)) == 1

    async def test_a_repetition_after_the_refund_says_closed(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered())
        await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
        again = await till.settle(serial, delivered())
        assert (again.is_first, again.state, again.refund_fen) == (False, S.CLOSED, 3_000)

    async def test_lesson_10_another_record_of_the_same_charge_moves_nothing(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered(), 1)
        before = await till.balances()
        other = await till.settle(serial, delivered(400_000), 2)
        assert (other.reason, other.refund_fen, other.state) == ("different_record", 3_000, S.REFUNDING)
        assert await till.balances() == before
        assert await open_kinds(serial) == {ReviewKind.DIFFERENT_RECORD}
        assert (await till.settle(serial, delivered(400_000), 2)).is_first is False

    async def test_a_provisional_bill_after_the_record_is_nothing(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered(), 1)
        late = await till.settle(serial, delivered(100), None)
        assert (late.is_first, late.reason, late.is_provisional) == (False, "record_settled", False)
        assert await till.earned() == 2_000

    async def test_a_key_with_other_content_is_a_bug_and_changes_nothing(self, till: Till) -> None:
        movement = Movement("k:1:1:x", "a", "b", 5, NOW)
        for other in (replace(movement, fen=6), replace(movement, debit="c"), replace(movement, credit="c")):
            with pytest.raises(KeyReusedError):
                async with till.database.transaction() as connection:
                    await post(connection, [movement, other])
        async with till.database.transaction() as connection:
            assert await post(connection, [movement, movement]) == 1
            assert await post(connection, [movement]) == 0
        with pytest.raises(KeyReusedError):
            async with till.database.transaction() as connection:
                await post(connection, [replace(movement, fen=6)])
        assert await till.balances() == {"a": 5, "b": -5}


class TestExcess:
    """Decision 0008: up to the larger of 2.00 yuan and a tenth it is the driver's debt, or absorbed."""

    async def test_a_debt_is_a_row(self, till: Till) -> None:
        serial = await till.charging(1_800)
        settled = await till.settle(serial, delivered())
        assert (settled.state, settled.debt_fen, settled.excess_fen, settled.refund_fen) == (
            S.CLOSED,
            200,
            200,
            0,
        )
        assert await till.balance(f"debt:{till.driver_id}") == 200
        assert await till.earned() == 2_000
        [debt] = await debts.debts_of_driver(till.driver_id)
        assert (debt.serial, debt.fen, debt.is_open) == (serial, 200, True)
        listed = await debts.list_debts(till.business.who.operator_id)
        assert listed.items == [debt]

    async def test_absorbed_it_is_a_loss(self, till: Till) -> None:
        await set_overrun("absorb")
        serial = await till.charging(1_800)
        settled = await till.settle(serial, delivered())
        assert (settled.debt_fen, settled.excess_fen) == (0, 200)
        assert await till.balance(f"loss:{till.business.who.operator_id}") == 200
        assert await debts.debts_of_driver(till.driver_id) == []

    async def test_who_pays_electricity_and_service(self, till: Till) -> None:
        serial = await till.charging(1_800)
        await till.settle(serial, delivered())
        entries = {entry.key: entry.fen for entry in await ledger.entries_of(serial)}
        assert entries == {
            f"pay:{serial}:1:prepaid": 1_800,
            f"settle:{serial}:1:electricity": 1_200,
            f"settle:{serial}:1:service": 600,
            f"debt:{serial}:1:service": 200,
        }

    @pytest.mark.parametrize(("paid", "energy", "is_held"), [
        (1_800, 200_000, False), (1_799, 200_000, True), (5_000, 550_000, False), (5_000, 550_100, True)
    ])  # fmt: skip
    async def test_beyond_the_bound_a_person_decides(
        self, till: Till, paid: int, energy: int, is_held: bool
    ) -> None:
        serial = await till.charging(paid)
        settled = await till.settle(serial, delivered(energy))
        assert settled.is_held is is_held
        if is_held:
            assert (settled.state, settled.reason, settled.out_refund_no) == (S.DISPUTED, "excess", None)
            assert await till.earned() == 0
            assert await till.balance(till.prepaid) == -paid
            assert await open_kinds(serial) == {ReviewKind.EXCESS}

    async def test_a_waived_debt_is_a_loss(self, till: Till) -> None:
        serial = await till.charging(1_800)
        await till.settle(serial, delivered())
        who = till.business.who
        for _ in range(2):
            async with till.database.transaction() as connection:
                view = await debts.waive_debt(connection, who, serial)
            assert (view.fen, view.waived_fen, view.is_open) == (0, 200, False)
            await till.prove()
        assert await till.balance(f"loss:{who.operator_id}") == 200
        assert (await till.row(serial)).debt_fen == 0
        assert await debts.debts_of_driver(till.driver_id) == []
        with pytest.raises(NotFoundError):
            async with till.database.transaction() as connection:
                await debts.waive_debt(connection, Who(who.operator_id + 1, "x", NOW), serial)


IMPLAUSIBLE: list[tuple[str, Any]] = [
    ("end_before_start", {"seconds": -1}),
    ("energy_beyond_power", {"seconds": 300}),
    ("no_time", {"ended_at": None}),
    ("clock_shifted", {"started_at": later(-700)}),
    ("negative_energy", {"energy_e4_kwh": -5}),
]


DECISIONS = [
    # paid   decision           earned  debt  loss  back
    (5_000, Decision.ACCEPT, 2_000, 0, 0, 3_000),
    (5_000, Decision.FREE, 0, 0, 0, 5_000),
    (1_000, Decision.ACCEPT, 2_000, 1_000, 0, 0),
    (1_000, Decision.PREPAID, 2_000, 0, 1_000, 0),
    (1_000, Decision.FREE, 0, 0, 0, 1_000),
]


class TestHeld:
    @pytest.mark.parametrize(("reason", "change"), IMPLAUSIBLE)
    async def test_an_implausible_record_moves_nothing(
        self, till: Till, reason: str, change: dict[str, Any]
    ) -> None:
        serial = await till.charging()
        settled = await till.settle(serial, delivered(**change))
        assert (settled.is_held, settled.reason, settled.state) == (True, reason, S.DISPUTED)
        assert await till.balances() == {CHANNEL: 5_000, till.prepaid: -5_000}
        assert await open_kinds(serial) == {ReviewKind.IMPLAUSIBLE_RECORD}
        row = await till.row(serial)
        assert (row.is_held, row.held_reason, row.record_id) == (True, reason, 1)
        assert await OpenOrder.all().count() == 0

    @pytest.mark.parametrize(("paid", "decision", "earned", "debt", "loss", "back"), DECISIONS)
    async def test_a_person_decides(
        self, till: Till, paid: int, decision: Decision, earned: int, debt: int, loss: int, back: int
    ) -> None:
        serial = await till.charging(paid)
        await till.settle(serial, delivered(seconds=300))
        write = DecideHeld(serial, decision, "token:anna", later(5_000), "checked the meter")
        [decided] = await till.write(write)
        assert decided.is_first
        assert (decided.debt_fen, decided.refund_fen, decided.is_held) == (debt, back, False)
        assert decided.state is (S.REFUNDING if back else S.CLOSED)
        assert await till.earned() == earned
        assert await till.balance(f"debt:{till.driver_id}") == debt
        assert await till.balance(f"loss:{till.business.who.operator_id}") == loss
        assert [fen for _, fen, _ in await refunds(till, serial)] == ([back] if back else [])
        assert await open_kinds(serial) == set()
        [again] = await till.write(write)
        assert (again.is_first, again.reason) == (False, "not_held")
        kept = await settlements_of(till.database.connection, serial)
        assert [item.actor for item in kept] == ["", "token:anna"]
        [closed] = await reviews.reviews_of(serial)
        assert (closed.closed_by, closed.resolution) == ("token:anna", f"{decision}: checked the meter")

    async def test_a_dispute_freezes_what_was_not_asked_for(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered())
        await till.write(HoldSession(serial, "complaint", later(3_800)))
        [refund] = await sessions.refunds_of(till.database.connection, serial)
        assert refund.next_attempt_at is None
        [decided] = await till.write(DecideHeld(serial, Decision.FREE, "token:anna", later(5_000)))
        assert (decided.state, decided.refund_fen, decided.out_refund_no) == (
            S.REFUNDING,
            5_000,
            f"R{serial}-2",
        )
        first, second = await sessions.refunds_of(till.database.connection, serial)
        assert (first.next_attempt_at, second.fen) == (later(5_000), 2_000)
        assert await till.earned() == 0

    async def test_a_dispute_during_the_charge_holds_its_settlement(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(HoldSession(serial, "complaint", later(50)))
        settled = await till.settle(serial, delivered())
        assert (settled.state, settled.reason, settled.out_refund_no) == (S.DISPUTED, "complaint", None)
        assert await till.balance(till.prepaid) == -3_000
        [decided] = await till.write(DecideHeld(serial, Decision.ACCEPT, "token:anna", later(5_000)))
        assert (decided.state, decided.out_refund_no) == (S.REFUNDING, f"R{serial}-1")

    async def test_a_hold_lifted_before_the_record_was_nothing(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(HoldSession(serial, "complaint", later(50)))
        [resumed] = await till.write(DecideHeld(serial, Decision.FREE, "token:anna", later(60)))
        assert (resumed.reason, resumed.state) == ("resumed", S.CHARGING)
        assert (await till.settle(serial, delivered())).state is S.REFUNDING

    async def test_a_frozen_refund_of_a_failed_start_is_released(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        await till.write(HoldSession(serial, "complaint", later(25)))
        await till.write(FailStart(serial, "gun_fault", later(30)))
        [refund] = await sessions.refunds_of(till.database.connection, serial)
        assert refund.next_attempt_at is None
        await till.write(DecideHeld(serial, Decision.ACCEPT, "token:anna", later(60)))
        moved = await till.refund(refund.out_refund_no, RefundStep.SUCCEEDED)
        assert moved.session_state is S.CLOSED


CORRECTIONS = [
    # record energy  earned  back by now           debt
    (100_000, 1_000, [4_000], 0),
    (60_000, 600, [4_000, 400], 0),
    (0, 0, [4_000, 1_000], 0),
    (150_000, 1_500, [4_000], 500),
    (120_000, 1_200, [4_000], 200),
]


class TestProvisional:
    """Decision 0008: no record for a day, then the last live values; the record has the last word."""

    async def test_its_refund_waits_for_a_person(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(SaveLive(serial, later(1_800), 100_000, 100_000, 50, (0, 0, 0, 100_000)))
        facts = provisional_facts(await till.row(serial))
        settled = await till.settle(serial, facts, None, later(90_000))
        assert (settled.is_provisional, settled.is_held, settled.reason, settled.state) == (
            True, True, "provisional", S.DISPUTED
        )  # fmt: skip
        assert (settled.refund_fen, settled.out_refund_no) == (4_000, None)
        assert await till.balance(till.prepaid) == -4_000
        assert await open_kinds(serial) == {ReviewKind.PROVISIONAL}
        [decided] = await till.write(DecideHeld(serial, Decision.ACCEPT, "token:anna", later(91_000)))
        assert (decided.state, decided.out_refund_no, decided.is_provisional) == (
            S.REFUNDING, f"R{serial}-1", True
        )  # fmt: skip

    async def test_or_is_paid_by_itself(self, till: Till) -> None:
        await Operator.all().update(provisional_refund="auto")
        serial = await till.charging()
        settled = await till.settle(serial, delivered(100_000), None)
        assert (settled.is_held, settled.state, settled.out_refund_no) == (False, S.REFUNDING, f"R{serial}-1")

    async def test_without_live_values_everything_goes_back(self, till: Till) -> None:
        await Operator.all().update(provisional_refund="auto")
        serial = await till.charging()
        settled = await till.settle(serial, provisional_facts(await till.row(serial)), None)
        assert (settled.refund_fen, await till.earned()) == (5_000, 0)

    @pytest.mark.parametrize(("energy", "earned", "back", "debt"), CORRECTIONS)
    async def test_lesson_08_the_real_record_corrects_by_the_difference(
        self, till: Till, energy: int, earned: int, back: list[int], debt: int
    ) -> None:
        await Operator.all().update(provisional_refund="auto")
        serial = await till.charging()
        await till.settle(serial, delivered(100_000), None)
        await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
        settled = await till.settle(serial, delivered(energy), 7, later(99_000))
        assert (settled.is_first, settled.is_provisional, settled.debt_fen) == (True, False, debt)
        assert await till.earned() == earned
        assert [fen for _, fen, _ in await refunds(till, serial)] == back
        assert settled.state is (S.REFUNDING if len(back) == 2 else S.CLOSED)
        assert ("provisional_corrected" in settled.warnings) is (energy != 100_000)
        assert (ReviewKind.LATE_RECORD in await open_kinds(serial)) is bool(debt)
        if len(back) == 2:
            second = (await sessions.refunds_of(till.database.connection, serial))[1]
            assert second.cause is RefundCause.CORRECTION

    async def test_a_record_ends_the_wait_for_a_person(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered(100_000), None)
        settled = await till.settle(serial, delivered(150_000), 7)
        assert (settled.is_held, settled.refund_fen, settled.debt_fen) == (False, 3_500, 0)
        assert [fen for _, fen, _ in await refunds(till, serial)] == [3_500]
        assert await open_kinds(serial) == set()

    async def test_a_record_ends_the_doubt_about_live_values(self, till: Till) -> None:
        serial = await till.charging()
        settled = await till.settle(serial, delivered(9_000_000), None)
        assert (settled.is_held, settled.reason) == (True, "energy_beyond_power")
        settled = await till.settle(serial, delivered(150_000), 7)
        assert (settled.is_held, settled.refund_fen, settled.state) == (False, 3_500, S.REFUNDING)
        assert await open_kinds(serial) == set()

    async def test_a_frozen_charge_stays_frozen_through_bill_and_record(self, till: Till) -> None:
        serial = await till.charging()
        await till.write(HoldSession(serial, "complaint", later(60)))
        await till.settle(serial, delivered(100_000), None)
        settled = await till.settle(serial, delivered(150_000), 7)
        assert (settled.is_held, settled.reason, settled.out_refund_no) == (True, "complaint", None)

    async def test_a_waived_debt_stays_waived(self, till: Till) -> None:
        await Operator.all().update(provisional_refund="auto")
        serial = await till.charging(1_000)
        await till.settle(serial, delivered(110_000), None)
        async with till.database.transaction() as connection:
            await debts.waive_debt(connection, till.business.who, serial)
        settled = await till.settle(serial, delivered(120_000), 7)
        assert (settled.excess_fen, settled.debt_fen) == (200, 100)
        assert await till.balance(f"loss:{till.business.who.operator_id}") == 100
        assert await till.balance(f"debt:{till.driver_id}") == 100


class TestFailedStarts:
    async def test_everything_goes_back_by_itself(self, till: Till) -> None:
        serial = await till.ordered()
        await till.pay(serial)
        await till.move(serial, S.STARTING)
        write = FailStart(serial, "pile_refused", later(30))
        first, second = await till.write(write, write)
        assert (first.state, first.refund_fen, first.out_refund_no) == (S.START_FAILED, 5_000, f"R{serial}-1")
        assert second == first
        assert await refunds(till, serial) == [(f"R{serial}-1", 5_000, RefundCause.START_FAILED)]
        moved = await till.refund(f"R{serial}-1", RefundStep.SUCCEEDED)
        assert moved.session_state is S.CLOSED
        assert await till.balances() == {}
        [again] = await till.write(write)
        assert (again.is_done, again.state, again.out_refund_no) == (True, S.CLOSED, f"R{serial}-1")
        assert (await till.row(serial)).start_failure == "pile_refused"

    async def test_unpaid_it_is_cancelled(self, till: Till) -> None:
        serial = await till.ordered()
        [failed] = await till.write(FailStart(serial, "pile_refused", later(30)))
        assert (failed.is_done, failed.state, failed.refund_fen) == (True, S.CANCELLED, 0)

    async def test_after_the_bill_it_is_too_late(self, till: Till) -> None:
        serial = await till.charging()
        await till.settle(serial, delivered())
        [failed] = await till.write(FailStart(serial, "pile_refused", later(4_000)))
        assert (failed.is_done, failed.state) == (False, S.REFUNDING)
        [nobody] = await till.write(FailStart("0" * 20, "x", NOW))
        assert (nobody.is_done, nobody.state) == (False, None)


class TestRecords:
    """Records that no actor waits for."""

    async def stored(self, till: Till, number: str, **more: Any) -> int:
        words = {
            "started_at": later(40).isoformat(), "ended_at": later(3_640).isoformat(),
            "energy_e4_kwh": 200_000, "amount_e4_yuan": 200_000, "meter_start_e4_kwh": 0,
            "meter_end_e4_kwh": 200_000, "stop_reason": 0x40,
            "periods": [{"rate": "valley", "energy_e4_kwh": 200_000, "amount_e4_yuan": 200_000}],
        }  # fmt: skip
        body = number.encode()
        write = StoreRecord("ykc", PILE_CODE, 1, number, body, {**words, **more}, later(3_650))
        [result] = await till.write(write)
        record_id: int = result.record_id
        return record_id

    async def test_by_its_number(self, till: Till) -> None:
        serial = await till.charging()
        record_id = await self.stored(till, (await till.row(serial)).wire_number)
        [settled] = await till.write(SettleRecord(record_id, later(3_700)))
        assert (settled.serial, settled.refund_fen, settled.state) == (serial, 3_000, S.REFUNDING)
        [again] = await till.write(SettleRecord(record_id, later(3_900)))
        assert again == replace(settled, is_first=False)

    async def test_by_gun_and_time_when_the_pile_made_its_own_number(self, till: Till) -> None:
        serial = await till.charging()
        await till.move(serial, S.INTERRUPTED)
        record_id = await self.stored(till, "9" * 32)
        [settled] = await till.write(SettleRecord(record_id, later(3_700)))
        assert settled.serial == serial
        assert (await till.row(serial)).record_id == record_id
        [again] = await till.write(SettleRecord(record_id, later(3_900)))
        assert again == replace(settled, is_first=False)
        assert (await reviews.list_reviews(till.business.who.operator_id)).items == []

    async def test_a_node_that_starts_finds_what_was_stored_and_not_settled(self, till: Till) -> None:
        connection = till.database.connection
        unknown = await self.stored(till, "9" * 32)
        serial = await till.charging()
        await self.stored(till, (await till.row(serial)).wire_number)
        assert await unsettled_records(connection) == [unknown]  # the other one is its charge's own business
        await till.write(SettleRecord(unknown, later(3_700)))
        assert await unsettled_records(connection) == []

    async def test_a_node_that_starts_finds_records_of_charges_that_are_over(self, till: Till) -> None:
        connection = till.database.connection
        serial = await till.ordered()
        await till.pay(serial)
        [failed] = await till.write(FailStart(serial, "no_start", later(60)))
        await till.refund(failed.out_refund_no, RefundStep.SUCCEEDED)
        record_id = await self.stored(till, (await till.row(serial)).wire_number)
        assert await unsettled_records(connection) == [record_id]
        await till.write(SettleRecord(record_id, later(3_700)))
        assert await unsettled_records(connection) == []

    async def test_a_charge_under_way_is_not_ended_by_a_strangers_record(self, till: Till) -> None:
        await till.charging()
        record_id = await self.stored(till, "9" * 32)
        assert await till.write(SettleRecord(record_id, later(3_700))) == [RecordUnmatched(record_id)]

    async def test_of_an_unknown_order(self, till: Till) -> None:
        record_id = await self.stored(till, "9" * 32)
        write = SettleRecord(record_id, later(3_700))
        assert await till.write(write, write) == [RecordUnmatched(record_id)] * 2
        [review] = (await reviews.list_reviews(till.business.who.operator_id)).items
        assert (review.kind, review.record_id, review.serial) == (ReviewKind.UNKNOWN_RECORD, record_id, None)
        assert await till.balances() == {}

    async def test_without_times_nothing_is_guessed(self, till: Till) -> None:
        serial = await till.charging()
        await till.move(serial, S.AWAITING_RECORD)
        record_id = await self.stored(till, "9" * 32, ended_at=None)
        assert await till.write(SettleRecord(record_id, later(3_700))) == [RecordUnmatched(record_id)]

    async def test_a_record_that_does_not_exist_is_a_bug(self, till: Till) -> None:
        with pytest.raises(LookupError):
            await till.write(SettleRecord(12_345, NOW))


async def test_a_bill_survives_the_database(till: Till) -> None:
    serial = await till.charging()
    settled = await till.settle(serial, delivered(pile_amount_e4_yuan=190_000))
    row: SessionRow = await till.row(serial)
    assert row.bill == settled.bill
    assert isinstance(row.bill, Bill)
    assert row.bill.differs
    assert settled.warnings == ("rate_out_of_time", "amount_differs")


async def test_nodes_that_settle_the_same_record_settle_it_once(pg_url: str) -> None:
    """Two nodes must never own one pile; if they do all the same, the rows of the database take turns."""
    from pileward.models.database import open_database

    database = await open_database(pg_url)
    till = await Till.open(database)
    serial = await till.charging()

    async def settle() -> bool:
        async with database.transaction() as connection:
            [settled] = await write_all(connection, [SettleSession(serial, 1, delivered(), later(3_700))])
        is_first: bool = settled.is_first
        return is_first

    async def refund() -> bool:
        async with database.transaction() as connection:
            [moved] = await write_all(
                connection, [MoveRefund(f"R{serial}-1", RefundStep.SUCCEEDED, later(4_000))]
            )
        is_first: bool = moved.is_first
        return is_first

    assert sorted(await asyncio.gather(*(settle() for _ in range(6)))) == [False] * 5 + [True]
    assert sorted(await asyncio.gather(*(refund() for _ in range(6)))) == [False] * 5 + [True]
    await till.prove()
    assert await till.balance(CHANNEL) == 2_000
    await database.close()


async def test_the_books_are_proven_while_money_moves(database: Database) -> None:
    """One picture of all tables, whatever is committed in between."""
    till = await Till.open(database)
    serials = []
    for _ in range(6):
        serials.append(await till.charging())
        await till.move(serials[-1], S.AWAITING_RECORD)

    async def settle() -> None:
        for number, serial in enumerate(serials):
            for write in (
                SettleSession(serial, number, delivered(), later(3_700)),
                MoveRefund(f"R{serial}-1", RefundStep.SUCCEEDED, later(4_000)),
            ):
                async with database.transaction() as connection:
                    await write_all(connection, [write])

    settling = asyncio.create_task(settle())
    proofs = 0
    while not settling.done():
        async with database.transaction() as connection:
            assert await ledger.check_books(connection) == []
        proofs += 1
    await settling
    assert proofs > 1
