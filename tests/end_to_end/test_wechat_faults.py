"""The WeChat Pay client when things go wrong: every call still ends in one value, and money moves once.

The rule under test: a call that may have moved money and was not answered reliably ends unknown; a query or
the same number again finds out; a new number is never needed.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pileward.emulators.wechat.emulator import Options
from pileward.emulators.wechat.keys import Keyring, openid_of
from pileward.emulators.wechat.notifier import INTERVALS_S
from pileward.integrations.wechat_client import CONNECTIONS_MAX
from pileward.integrations.wechat_login import WeChatLogins
from pileward.integrations.wechat_pay import WeChatPay
from pileward.messages.payments import (
    Config,
    Failure,
    Login,
    NotFound,
    Payment,
    PaymentState,
    Prepay,
    PrepayOrder,
    RateLimited,
    Refund,
    RefundOrder,
    Refused,
    SignatureInvalid,
    Unknown,
    Verdict,
    payment_difference,
    verdict_of,
)
from tests.waiting import until
from tests.wechat_emulator import (
    EmulatorProcess,
    Wechat,
    clients_of,
    control_of,
    little_world,
    receiving,
    running,
)

NOT_DONE = [
    ("cut", Unknown, "NO_REPLY"),
    ("429", RateLimited, "FREQUENCY_LIMITED"),
    ("500", Unknown, "SYSTEM_ERROR"),
    ("502", Unknown, "HTTP_502"),
    ("not_enough", Refused, "NOT_ENOUGH"),
]
DONE = [
    ("cut_after", Unknown, "NO_REPLY"),
    ("500_after", Unknown, "SYSTEM_ERROR"),
    ("429_after", RateLimited, "FREQUENCY_LIMITED"),
    ("garbled", Unknown, "REPLY_UNREADABLE"),
    ("bad_signature", SignatureInvalid, "SIGNATURE_WRONG"),
    ("probe_signature", SignatureInvalid, "SIGNATURE_PROBE"),
    ("no_headers", SignatureInvalid, "HEADERS_MISSING"),
    ("stale", SignatureInvalid, "STALE"),
    ("unknown_key", SignatureInvalid, "SERIAL_UNKNOWN"),
]
"""Faults after the deed: whatever the reply, the verdict is unknown and a query tells."""


@pytest.mark.parametrize(("kind", "expected", "code"), [*NOT_DONE, *DONE])
async def test_a_refund_that_is_not_answered_well(
    wechat: Wechat, kind: str, expected: type[Failure], code: str
) -> None:
    order = wechat.order()
    await wechat.paid(order)
    refund_order = wechat.refund_order("R1", 1_234, order)
    await wechat.fault("refund", kind)
    result = await wechat.pay.refund(refund_order)
    assert isinstance(result, expected)
    assert result.code == code
    is_done = (kind, expected, code) in DONE
    assert verdict_of(result) is (Verdict.REFUSED if expected is Refused else Verdict.UNKNOWN)
    asked = await wechat.pay.query_refund("R1")
    assert isinstance(asked, Refund if is_done else NotFound)
    # the same number again, as often as one likes
    for _ in range(2):
        again = await wechat.pay.refund(refund_order)
        assert isinstance(again, Refund)
        assert verdict_of(again) is Verdict.DONE
    await wechat.refund_told("R1")
    assert (await wechat.get("books"))["refunded_fen"] == 1_234


@pytest.mark.parametrize(("kind", "expected", "code"), [*NOT_DONE[:4], *DONE])
async def test_a_prepay_that_is_not_answered_well(
    wechat: Wechat, kind: str, expected: type[Failure], code: str
) -> None:
    order = wechat.order()
    await wechat.fault("prepay", kind)
    result = await wechat.pay.create_prepay(order)
    assert isinstance(result, expected)
    assert result.code == code
    assert verdict_of(result) is Verdict.UNKNOWN
    again = await wechat.pay.create_prepay(order)
    assert isinstance(again, Prepay)
    assert len((await wechat.get("orders"))["orders"]) == 1


async def test_a_close_that_is_not_answered_well(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.pay.create_prepay(order)
    await wechat.fault("close", "no_headers")
    result = await wechat.pay.close_payment(order.out_trade_no)
    assert verdict_of(result) is Verdict.UNKNOWN
    state = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(state, Payment)
    assert state.state is PaymentState.CLOSED


async def test_an_answer_that_takes_too_long(wechat_state: Path) -> None:
    async with little_world(Options(state=wechat_state), read_s=0.2) as world:
        order = world.order()
        await world.paid(order)
        await world.fault("refund", "late", seconds=30)
        result = await world.pay.refund(world.refund_order("R1", 100, order))
        assert isinstance(result, Unknown)
        assert result.code == "NO_REPLY"
        assert isinstance(await world.pay.query_refund("R1"), Refund)


async def test_a_call_that_never_had_its_turn_was_not_sent(wechat: Wechat) -> None:
    await wechat.fault("query", "delay", times=CONNECTIONS_MAX, seconds=5)
    pay = WeChatPay(wechat.pay.account, deadline_s=2)
    await pay.start()
    first = [asyncio.create_task(pay.query_payment("P20260101-1")) for _ in range(CONNECTIONS_MAX)]
    await asyncio.sleep(0)
    pay.client._deadline_s = 0.1
    late = await pay.query_payment("P20260101-1")
    results = await asyncio.gather(*first)
    await pay.close()
    assert isinstance(late, Unknown)
    assert late.code == "NOT_SENT"
    assert {result.code for result in results if isinstance(result, Unknown)} == {"NO_REPLY"}


async def test_a_gateway_that_is_gone(wechat_process: EmulatorProcess) -> None:
    pay = client_of(wechat_process)
    await pay.start()
    wechat_process.end()
    result = await pay.query_payment("P20260101000000000001")
    assert isinstance(result, Unknown)
    assert result.code == "NOT_SENT"
    wechat_process.start()
    assert isinstance(await pay.query_payment("P20260101000000000001"), NotFound)
    await pay.close()
    await pay.close()


FORGED = [
    ("stale", "STALE"),
    ("bad_signature", "SIGNATURE_WRONG"),
    ("probe_signature", "SIGNATURE_PROBE"),
    ("no_headers", "HEADERS_MISSING"),
    ("unknown_key", "SERIAL_UNKNOWN"),
]


@pytest.mark.parametrize(("kind", "code"), FORGED)
async def test_a_notification_that_is_not_proven_is_refused_and_its_repetition_taken(
    wechat: Wechat, kind: str, code: str
) -> None:
    await wechat.fault("notify", kind)
    order = wechat.order()
    prepay = await wechat.pay.create_prepay(order)
    assert isinstance(prepay, Prepay)
    await wechat.confirm(prepay.pay_params)
    await until(lambda: wechat.merchant.received)
    refused = wechat.merchant.received[0].parsed
    assert isinstance(refused, SignatureInvalid)
    assert refused.code == code
    await wechat.settled()
    await wechat.advance(INTERVALS_S[0])
    assert payment_difference(await wechat.told_of(order), order) is None


async def test_a_genuine_notification_of_another_amount_does_not_pay_the_order(wechat: Wechat) -> None:
    await wechat.fault("notify", "other_amount")
    order = wechat.order()
    told = await wechat.paid(order)
    assert payment_difference(told, order) == "total_fen"
    asked = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(asked, Payment)
    assert payment_difference(asked, order) is None


async def test_a_genuine_notification_of_another_merchant_is_refused(wechat: Wechat) -> None:
    await wechat.fault("notify", "other_merchant")
    prepay = await wechat.pay.create_prepay(wechat.order())
    assert isinstance(prepay, Prepay)
    await wechat.confirm(prepay.pay_params)
    await until(lambda: wechat.merchant.received)
    refused = wechat.merchant.received[0].parsed
    assert isinstance(refused, Refused)
    assert refused.code == "MERCHANT_MISMATCH"


async def test_a_refund_told_in_xml_is_refused_and_the_query_tells(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    await wechat.fault("notify", "v2_xml")
    await wechat.pay.refund(wechat.refund_order("R1", 100, order))
    await until(lambda: len(wechat.merchant.received) == 2)
    refused = wechat.merchant.received[1].parsed
    assert isinstance(refused, Refused)
    assert refused.code == "NOT_JSON"
    assert isinstance(await wechat.pay.query_refund("R1"), Refund)


async def test_the_same_notification_twice_has_the_same_id(wechat: Wechat) -> None:
    await wechat.fault("notify", "duplicate")
    await wechat.paid(wechat.order())
    await until(lambda: len(wechat.merchant.genuine) == 2)
    first, second = wechat.merchant.genuine
    assert first == second


async def test_a_recorded_notification_is_the_same_again_until_it_is_stale(wechat: Wechat) -> None:
    """Whoever records one can send it again for five minutes: the id tells, not the signature."""
    await wechat.paid(wechat.order())
    item = wechat.merchant.received[0]
    assert wechat.pay.parse_notification(item.headers, item.raw) == item.parsed
    later = WeChatPay(wechat.pay.account, unix_time=lambda: 10**10)
    refused = later.parse_notification(item.headers, item.raw)
    assert isinstance(refused, SignatureInvalid)
    assert refused.code == "STALE"


async def test_notifications_in_another_order(wechat: Wechat) -> None:
    await wechat.fault("notify", "reorder")
    first, second = wechat.order(), wechat.order("P20260101000000000002-1")
    prepay = await wechat.pay.create_prepay(first)
    assert isinstance(prepay, Prepay)
    await wechat.confirm(prepay.pay_params)
    await until(
        lambda: wechat.server.emulator.books.number("SELECT n FROM notifications WHERE state = 'held'")
    )
    await wechat.paid(second)
    await wechat.told_of(first)
    numbers = [item.content.out_trade_no for item in wechat.merchant.genuine if item.content is not None]
    assert numbers == [second.out_trade_no, first.out_trade_no]


async def test_a_notification_that_is_lost(wechat: Wechat) -> None:
    await wechat.fault("notify", "drop")
    order = wechat.order()
    prepay = await wechat.pay.create_prepay(order)
    assert isinstance(prepay, Prepay)
    await wechat.confirm(prepay.pay_params)
    asked = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(asked, Payment)
    assert payment_difference(asked, order) is None
    await wechat.advance(48 * 3600)
    await wechat.settled()
    assert not wechat.merchant.received


async def test_a_notification_that_is_late(wechat: Wechat) -> None:
    await wechat.fault("notify", "delay", seconds=0.1)
    await wechat.paid(wechat.order())


async def test_a_payment_before_the_prepay_is_answered(wechat: Wechat) -> None:
    await wechat.fault("prepay", "paid_before_reply")
    order = wechat.order()
    arrived: list[int] = []
    prepaying = asyncio.create_task(wechat.pay.create_prepay(order))
    prepaying.add_done_callback(lambda _: arrived.append(len(wechat.merchant.received)))
    assert isinstance(await prepaying, Prepay)
    assert arrived == [1]
    assert payment_difference(await wechat.told_of(order), order) is None


async def test_a_merchant_that_does_not_answer_is_told_again_for_a_day(wechat: Wechat) -> None:
    wechat.merchant.answers = [500] * 100
    order = wechat.order()
    await wechat.paid(order)
    for count, interval in enumerate(INTERVALS_S, start=1):
        await until(lambda count=count: len(wechat.merchant.received) == count)  # type: ignore[misc]
        await wechat.settled()
        await wechat.advance(interval - 1)
        await wechat.settled()
        assert len(wechat.merchant.received) == count
        await wechat.advance(1)
    await until(lambda: len(wechat.merchant.received) == len(INTERVALS_S) + 1)
    await wechat.settled()
    (row,) = (await wechat.get("notifications"))["notifications"]
    assert (row["state"], row["attempts"]) == ("given_up", 16)
    assert [attempt["status"] for attempt in row["tries"]] == [500] * 16
    assert len({item.id for item in wechat.merchant.genuine}) == 1
    assert sum(INTERVALS_S) == timedelta(hours=24, minutes=4).total_seconds()


async def test_logins(wechat: Wechat) -> None:
    told = await wechat.control("login", user="driver-1")
    assert await wechat.logins.login(told["code"]) == Login(wechat.openid)
    used = await wechat.logins.login(told["code"])
    assert isinstance(used, Refused)
    assert used.code == "CODE_USED"
    assert await wechat.logins.login("sim.driver-1.once") == Login(told["openid"])
    other = await wechat.logins.login("sim.driver-2.once")
    assert isinstance(other, Login)
    assert other.openid != wechat.openid
    for wrong in ("nonsense", "", "a b", "码", "x" * 300, "sim..x"):
        refused = await wechat.logins.login(wrong)
        assert isinstance(refused, Refused)
        assert refused.code == "CODE_INVALID"


@pytest.mark.parametrize(
    ("kind", "expected", "code"),
    [
        ("busy", Unknown, "BUSY"),
        ("code_invalid", Refused, "CODE_INVALID"),
        ("user_blocked", Refused, "USER_BLOCKED"),
        ("too_frequent", RateLimited, "TOO_FREQUENT"),
        ("cut", Unknown, "NO_REPLY"),
        ("500", Unknown, "HTTP_500"),
        ("garbled", Unknown, "REPLY_UNREADABLE"),
    ],
)
async def test_a_login_that_fails(wechat: Wechat, kind: str, expected: type[Failure], code: str) -> None:
    await wechat.fault("login", kind)
    result = await wechat.logins.login("sim.driver-1.x")
    assert isinstance(result, expected)
    assert result.code == code


async def test_a_wrong_secret_is_our_fault(wechat: Wechat) -> None:
    identity = wechat.server.emulator.identity
    for appid, secret, code in (
        (identity.appid, "wrong", "SECRET_INVALID"),
        ("wx0000000000000000", identity.app_secret, "APPID_INVALID"),
    ):
        logins = WeChatLogins(appid, secret, api_url=wechat.server.url)
        await logins.start()
        result = await logins.login("sim.driver-1.x")
        await logins.close()
        assert isinstance(result, Config)
        assert result.code == code


@pytest.mark.slow
async def test_the_books_survive_a_kill(wechat_state: Path) -> None:
    """Paid, refunded in part, notifications not yet taken: killed, started again, nothing lost or doubled."""
    async with receiving() as merchant:
        options = ("--notify-base", merchant.url, "--refund-after", "3600")
        with running(EmulatorProcess(wechat_state, *options)) as process:
            pay = merchant.pay = clients_of(wechat_state / "merchant.toml")[0]
            await pay.start()
            merchant.answers = [500] * 3
            orders = [order_of(process, f"P2026010100000000000{number}-1") for number in range(3)]
            for order in orders:
                prepay = await pay.create_prepay(order)
                assert isinstance(prepay, Prepay)
                sent = await control_of(process.url, "pay", **msgspec.to_builtins(prepay.pay_params))
                assert sent["errMsg"] == "requestPayment:ok"
            refund_order = RefundOrder("R1", orders[0].out_trade_no, 400, 1_000)
            assert isinstance(await pay.refund(refund_order), Refund)
            await until(lambda: len(merchant.received) == 3)
            before = await control_of(process.url, "books", "GET")
            process.end()
            process.start()
            assert await control_of(process.url, "books", "GET") == before
            assert isinstance(await pay.refund(refund_order), Refund)
            await control_of(process.url, "time/advance", seconds=3_600)
            # the three of before again, and the refund
            await until(lambda: len({item.id for item in merchant.genuine}) == 4, within_s=20)
            after = await control_of(process.url, "books", "GET")
            assert (after["paid_fen"], after["refunded_fen"], after["sum_fen"]) == (3_000, 400, 0)
            await pay.close()
            assert process.end(signal.SIGTERM) == 0
            process.start()


def client_of(process: EmulatorProcess) -> WeChatPay:
    """A client of an emulator in a process of its own."""
    return clients_of(process.state / "merchant.toml")[0]


def order_of(process: EmulatorProcess, number: str) -> PrepayOrder:
    """An order of a thousand fen."""
    openid = openid_of(Keyring(process.state).identity.appid, "driver-1")
    return PrepayOrder(number, "充电", 1_000, openid, datetime.now(UTC) + timedelta(minutes=10))
