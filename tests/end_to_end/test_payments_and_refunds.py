"""Money through the real client, the emulator and the callbacks, with everything going wrong in turn.

After each story the ledger, the emulator's own books and our rows agree to the fen.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from pileward.messages.charging import PaymentVerdict
from pileward.messages.sessions import CheckPayment, ClosePayment
from pileward.services import ledger
from tests.books import read
from tests.drivers import Market, Rider
from tests.nodes import CODES
from tests.waiting import until

FEN = 5_000


def mostly_slow(*kinds: Any) -> list[Any]:
    """The first two of many alike always run, the rest with the slow tests."""
    return [*kinds[:2], *(pytest.param(kind, marks=pytest.mark.slow) for kind in kinds[2:])]


class Till:
    """One driver with an order at a gun, and the numbers of its money."""

    def __init__(self, market: Market, rider: Rider, gun: str) -> None:
        self.market = market
        self.rider = rider
        self.gun = gun

    @classmethod
    async def open(cls, market: Market, name: str = "anna", code: str = CODES[0]) -> Till:
        """A driver before a plugged gun."""
        return cls(market, await market.rider(name), await market.plugged(code))

    async def order(self) -> Any:
        """An order that can be paid."""
        return await self.rider.order(self.gun, FEN)

    async def confirm(self, ordered: Any) -> None:
        """The driver pays; whether the platform hears of it is another matter."""
        told = await self.market.control("pay", **ordered["pay_params"])
        assert told["errMsg"] == "requestPayment:ok", told

    async def paid(self) -> str:
        """An order that is paid; returns its serial."""
        ordered = await self.order()
        await self.rider.pay(ordered)
        return str(ordered["serial"])

    async def cancel(self, serial: str) -> None:
        """Give a paid order up: everything has to come back."""
        await self.rider("POST", f"/sessions/{serial}/cancel", status=202)

    async def fault(self, on: str, kind: str, times: int = 1, seconds: float = 0.0) -> None:
        """Make something go wrong at the provider."""
        await self.market.control("faults", on=on, kind=kind, times=times, seconds=seconds)

    def verdicts(self) -> list[str]:
        """What each payment was found to be."""
        return [row[0] for row in read(self.market, "SELECT verdict FROM payment ORDER BY id")]

    def refunds(self) -> list[tuple[str, str, int]]:
        """Number, step and amount of each refund, as we have them."""
        return read(self.market, "SELECT out_refund_no, step, fen FROM refund ORDER BY id")

    def calls(self, name: str) -> int:
        """Requests of one kind that reached the provider."""
        return sum(1 for item in self.market.wechat.emulator.requests if item["name"] == name)

    async def agree(self) -> None:
        """Ledger, rows and the provider's books say the same."""
        market = self.market
        await market.prove_books()
        books = await books_of(market)
        [(paid, back)] = read(
            market,
            "SELECT (SELECT COALESCE(SUM(paid_fen), 0) FROM payment),"
            " (SELECT COALESCE(SUM(fen), 0) FROM refund WHERE step = 'succeeded')",
        )
        [(transit,)] = read(
            market, "SELECT COALESCE(SUM(fen), 0) FROM refund WHERE step NOT IN ('succeeded', 'closed')"
        )
        mchid = market.node.settings.wechat.mchid
        connection = market.database.connection
        assert books["sum_fen"] == 0
        assert paid == books["paid_fen"]
        assert back == books["refunded_fen"]
        assert await ledger.balance(connection, f"channel:wechat:{mchid}") == paid - back
        assert await ledger.balance(connection, f"transit:wechat:{mchid}") == -transit


async def books_of(market: Market) -> Any:
    """The provider's own sums; none of them is null."""
    async with market.http.get(f"{market.wechat.url}/control/books") as answer:
        told = await answer.json()
    return {name: value or 0 for name, value in told.items()}


@pytest.fixture
async def till(market: Market) -> Till:
    return await Till.open(market)


async def ask(market: Market, message: Any) -> Any:
    return await market.node.engine.ask_async(market.node.payments, message, 10.0)


class TestPaying:
    async def test_notification_and_queries_race_and_the_money_is_booked_once(self, till: Till) -> None:
        ordered = await till.order()
        number = ordered["out_trade_no"]
        await till.fault("notify", "duplicate")
        await asyncio.gather(
            till.confirm(ordered), *(ask(till.market, CheckPayment(number)) for _ in range(5))
        )
        await till.rider.reaches(ordered["serial"], "funded")
        await till.market.pass_time(20)
        assert till.verdicts() == ["paid"]
        [(entries,)] = read(till.market, "SELECT COUNT(*) FROM ledger_entry")
        assert entries == 1
        await till.agree()

    async def test_a_payment_nobody_told_of_is_found_by_the_schedule(self, till: Till) -> None:
        ordered = await till.order()
        await till.fault("notify", "drop")
        await till.confirm(ordered)
        await till.rider.reaches(ordered["serial"], "funded", within_s=40)
        await till.agree()

    async def test_a_payment_that_is_told_of_before_the_prepay_is_answered(self, till: Till) -> None:
        await till.fault("prepay", "paid_before_reply")
        await till.rider.order(till.gun, FEN, status=409)
        await till.market.pass_time(10)
        shown = await till.rider("GET", "/sessions/current")
        assert shown["session"]["state"] == "funded"
        assert till.verdicts() == ["paid"]
        await till.agree()

    @pytest.mark.parametrize(
        "kind", mostly_slow("cut_after", "500", "500_after", "garbled", "bad_signature", "cut")
    )
    async def test_a_prepay_whose_answer_is_lost_is_the_same_order_again(self, till: Till, kind: str) -> None:
        await till.fault("prepay", kind, times=2)
        ordered = await till.order()
        assert till.calls("prepay") == 3
        await till.confirm(ordered)
        await till.rider.reaches(ordered["serial"], "funded")
        orders = till.market.wechat.emulator.books.number("SELECT count(*) FROM orders")
        assert orders == 1
        await till.agree()

    @pytest.mark.parametrize(
        "kind",
        [
            "stale",
            "bad_signature",
            "probe_signature",
            "no_headers",
            "unknown_key",
            "other_merchant",
            "v2_xml",
        ],
    )
    async def test_what_is_not_proven_is_refused_and_its_genuine_repetition_taken(
        self, till: Till, kind: str
    ) -> None:
        ordered = await till.order()
        await till.fault("query", "500", times=3)
        await till.fault("notify", kind)
        await till.confirm(ordered)
        await till.market.pass_time(3)
        assert till.verdicts() == [None]
        await till.rider.reaches(ordered["serial"], "funded", within_s=60)
        counts = till.market.node.metrics.money.notifications
        assert sum(counts.values()) == 2
        assert counts["proven"] == 1
        await till.agree()

    async def test_a_proven_notification_of_another_amount_is_held_for_a_person(self, till: Till) -> None:
        ordered = await till.order()
        await till.fault("notify", "other_amount")
        await till.confirm(ordered)
        await till.rider.reaches(ordered["serial"], "disputed")
        assert till.verdicts() == [str(PaymentVerdict.MISMATCH)]
        await till.market.prove_books()

    async def test_what_is_paid_after_the_order_was_given_up_comes_back_whole(self, till: Till) -> None:
        ordered = await till.order()
        serial = ordered["serial"]
        await till.fault("close", "500", times=2)
        await till.fault("query", "500", times=2)
        await till.rider("POST", f"/sessions/{serial}/cancel", status=202)
        await till.fault("notify", "drop")
        await till.confirm(ordered)
        await till.rider.reaches(serial, "closed", within_s=900)
        await till.market.pass_time(20)
        assert [(step, fen) for _, step, fen in till.refunds()] == [("succeeded", FEN)]
        await till.agree()

    async def test_an_unpaid_order_is_closed_at_the_provider_too(self, till: Till) -> None:
        ordered = await till.order()
        till.market.node.engine.tell(till.market.node.payments, ClosePayment(ordered["out_trade_no"]))
        await till.rider.reaches(ordered["serial"], "cancelled", within_s=30)
        told = await till.market.control("pay", **ordered["pay_params"])
        assert told["errMsg"] != "requestPayment:ok"
        await till.agree()


class TestRefunds:
    @pytest.mark.parametrize(
        "kind",
        mostly_slow(
            *("cut_after", "429", "cut", "500", "500_after", "502", "429_after", "garbled", "bad_signature"),
            *("no_headers", "stale"),
        ),
    )
    async def test_whatever_becomes_of_the_answer_money_comes_back_once(self, till: Till, kind: str) -> None:
        serial = await till.paid()
        await till.fault("refund", kind)
        await till.cancel(serial)
        await till.rider.reaches(serial, "closed", within_s=200)
        assert [(step, fen) for _, step, fen in till.refunds()] == [("succeeded", FEN)]
        [row] = till.market.wechat.emulator.books.rows("SELECT count(*) AS n, sum(fen) AS fen FROM refunds")
        assert (row["n"], row["fen"]) == (1, FEN)
        await till.agree()

    async def test_a_refund_nobody_told_of_is_found_by_asking(self, till: Till) -> None:
        serial = await till.paid()
        await till.fault("notify", "drop", times=5)
        await till.cancel(serial)
        await till.rider.reaches(serial, "closed", within_s=100)
        await till.agree()

    async def test_too_little_money_waits_for_the_merchant(self, till: Till) -> None:
        serial = await till.paid()
        await till.market.control("balance", fen=0)
        await till.cancel(serial)
        await till.market.pass_time(30)
        assert till.refunds()[0][1] == "new"
        assert ("merchant_funds_short", None) in till.market.node.around.alarms[""]
        await till.market.stop()
        await till.market.restart()
        assert ("merchant_funds_short", None) in till.market.node.around.alarms[""]
        await till.market.control("balance", fen=100_000)
        await till.market.pass_time(31 * 60, step=30)
        await till.rider.reaches(serial, "closed", within_s=100)
        assert ("merchant_funds_short", None) not in till.market.node.around.alarms[""]
        await till.agree()

    async def test_a_refund_that_was_given_up_gets_the_next_number_once(self, till: Till) -> None:
        market = till.market
        await market.control("behaviour", refund_after_s=None)
        serial = await till.paid()
        await till.cancel(serial)
        await market.pass_time(5)
        [(first, step, _)] = till.refunds()
        assert step == "processing"
        await market.control(f"refunds/{first}/end", status="CLOSED")
        await market.pass_time(100, step=5)
        [_, (second, step, fen)] = till.refunds()
        assert (step, fen, second) == ("processing", FEN, first.replace("-1", "-2"))
        await till.agree()
        await market.control(f"refunds/{second}/end", status="SUCCESS")
        await till.rider.reaches(serial, "closed")
        assert [step for _, step, _ in till.refunds()] == ["closed", "succeeded"]
        await till.agree()

    async def test_a_refund_that_cannot_arrive_is_for_a_person_until_it_does(self, till: Till) -> None:
        market = till.market
        await market.control("behaviour", refund_after_s=None)
        serial = await till.paid()
        await till.cancel(serial)
        await market.pass_time(5)
        [(number, _, _)] = till.refunds()
        await market.control(f"refunds/{number}/end", status="ABNORMAL")
        await market.pass_time(5)
        assert [step for _, step, _ in till.refunds()] == ["abnormal"]
        assert ("refunds_need_person", None) in market.node.around.alarms[""]
        await till.agree()
        await market.control(f"refunds/{number}/end", status="SUCCESS")
        await till.rider.reaches(serial, "closed")
        await till.agree()


class TestDying:
    async def test_killed_between_asking_for_a_refund_and_its_answer(self, till: Till) -> None:
        market = till.market
        serial = await till.paid()
        await till.fault("refund", "late", seconds=30.0)
        await till.cancel(serial)
        books = market.wechat.emulator.books
        await until(lambda: books.number("SELECT count(*) FROM refunds"), what="the refund at the provider")
        await market.crash()
        await market.restart()
        assert [step for _, step, _ in till.refunds()] == ["submitted"]
        await till.rider.reaches(serial, "closed", within_s=200)
        assert books.number("SELECT count(*) FROM refunds") == 1
        await till.agree()

    async def test_killed_between_paying_and_the_notification(self, till: Till) -> None:
        market = till.market
        ordered = await till.order()
        await till.fault("notify", "drop")
        await till.confirm(ordered)
        await market.crash()
        await market.restart()
        await till.rider.reaches(ordered["serial"], "funded", within_s=60)
        await till.agree()

    @pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
    async def test_killed_at_any_moment_with_faults_everywhere(self, market: Market, seed: int) -> None:
        random = Random(seed)
        tills = [await Till.open(market, f"driver-{index}", code) for index, code in enumerate(CODES)]
        serials: dict[str, Till] = {}
        faults = {
            "prepay": ("cut_after", "500", "garbled"),
            "query": ("500", "cut"),
            "refund": ("cut_after", "500_after", "429", "bad_signature"),
            "query_refund": ("500", "cut"),
            "notify": ("drop", "duplicate", "stale", "reorder"),
        }
        for till in tills:
            for on, kinds in faults.items():
                if random.random() < 0.7:
                    await till.fault(on, random.choice(kinds))
            serial = await till.paid()
            serials[serial] = till
            await till.cancel(serial)
            for _ in range(random.randrange(12)):
                await asyncio.sleep(0.002)
            if random.random() < 0.6:
                await market.crash()
                await market.restart()
                await market.online(*CODES[: len(serials)])
        for serial, till in serials.items():
            await till.rider.reaches(serial, "closed", within_s=900)
        await market.pass_time(30)
        first = tills[0]
        assert [(step, fen) for _, step, fen in first.refunds()] == [("succeeded", FEN)] * 3
        await first.agree()
