"""The real WeChat Pay client against the emulator over loopback HTTP: the money's way, and its limits."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pileward.emulators.wechat.emulator import Options
from pileward.integrations.wechat_pay import WeChatPay
from pileward.messages.payments import (
    PAYMENT_NOTIFY_PATH,
    REFUND_NOTIFY_PATH,
    Bill,
    BillNotReady,
    Config,
    NoBill,
    NotFound,
    Payment,
    PaymentClosed,
    PaymentState,
    PayParams,
    Prepay,
    RateLimited,
    Refund,
    RefundState,
    Refused,
    Unknown,
    payment_difference,
    refund_difference,
)
from pileward.values import CHINA
from tests.waiting import until
from tests.wechat_emulator import Wechat, little_world

OK = "requestPayment:ok"


async def test_a_payment_and_its_refund(wechat: Wechat) -> None:
    order = wechat.order()
    prepay = await wechat.pay.create_prepay(order)
    assert isinstance(prepay, Prepay)
    before = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(before, Payment)
    assert before.state is PaymentState.UNPAID
    assert payment_difference(before, order) == "state"
    assert await wechat.confirm(prepay.pay_params) == OK
    told = await wechat.told_of(order)
    assert payment_difference(told, order) is None
    asked = await wechat.pay.query_payment(order.out_trade_no)
    assert asked == told
    assert wechat.merchant.received[0].path == PAYMENT_NOTIFY_PATH

    refund_order = wechat.refund_order("R20260101000000000001-1", 1_234, order)
    accepted = await wechat.pay.refund(refund_order)
    assert isinstance(accepted, Refund)
    assert refund_difference(accepted, refund_order) is None
    ended = await wechat.refund_told(refund_order.out_refund_no)
    assert (ended.state, ended.refund_fen) == (RefundState.SUCCEEDED, 1_234)
    queried = await wechat.pay.query_refund(refund_order.out_refund_no)
    assert isinstance(queried, Refund)
    assert queried.state is RefundState.SUCCEEDED
    assert wechat.merchant.received[-1].path == REFUND_NOTIFY_PATH
    after = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(after, Payment)
    assert (after.state, after.is_refunded) == (PaymentState.PAID, True)
    books = await wechat.get("books")
    assert (books["paid_fen"], books["refunded_fen"], books["refunding_fen"]) == (5_000, 1_234, 0)
    payer = books["accounts"][f"payer:{wechat.openid}"]
    assert (payer["debited_fen"], payer["credited_fen"]) == (5_000, 1_234)
    assert books["fees_fen"] == 23  # 0.6 % of 37.66, half up
    assert books["sum_fen"] == 0


async def test_an_equal_order_gives_the_same_prepay_and_another_one_is_refused(wechat: Wechat) -> None:
    order = wechat.order(expires_at=wechat.now() + timedelta(hours=5))
    first, second = [await wechat.pay.create_prepay(order) for _ in range(2)]
    assert isinstance(first, Prepay)
    assert isinstance(second, Prepay)
    assert first.prepay_id == second.prepay_id
    for changes in ({"total_fen": 5_001}, {"description": "other"}, {"attach": "other"}):
        changed = await wechat.pay.create_prepay(msgspec.structs.replace(order, **changes))
        assert isinstance(changed, Refused)
        assert changed.code == "OUT_TRADE_NO_USED"
        assert changed.request_id
    await wechat.advance(2 * 3600 + 1)
    third = await wechat.pay.create_prepay(order)
    assert isinstance(third, Prepay)
    assert third.prepay_id != first.prepay_id
    assert await wechat.confirm(first.pay_params) == "requestPayment:fail prepay_id 已过期"
    assert await wechat.confirm(third.pay_params) == OK
    again = await wechat.pay.create_prepay(order)
    assert isinstance(again, Refused)
    assert again.code == "ORDER_PAID"


async def test_an_order_that_ran_out_is_closed(wechat: Wechat) -> None:
    order = wechat.order()
    prepay = await wechat.pay.create_prepay(order)
    assert isinstance(prepay, Prepay)
    await wechat.advance(601)
    assert await wechat.confirm(prepay.pay_params) == "requestPayment:fail 订单已关闭"
    state = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(state, Payment)
    assert state.state is PaymentState.CLOSED
    again = await wechat.pay.create_prepay(order)
    assert isinstance(again, Refused)
    assert again.code == "ORDER_CLOSED"


async def test_a_payment_window_of_less_than_a_minute_is_our_fault(wechat: Wechat) -> None:
    result = await wechat.pay.create_prepay(wechat.order(expires_at=wechat.now() + timedelta(seconds=50)))
    assert isinstance(result, Config)
    assert result.code == "PARAM_ERROR"


async def test_closing(wechat: Wechat) -> None:
    order = wechat.order()
    unknown = await wechat.pay.close_payment(order.out_trade_no)
    assert isinstance(unknown, NotFound)
    prepay = await wechat.pay.create_prepay(order)
    assert isinstance(prepay, Prepay)
    for _ in range(2):
        assert await wechat.pay.close_payment(order.out_trade_no) == PaymentClosed(order.out_trade_no)
    assert await wechat.confirm(prepay.pay_params) == "requestPayment:fail 订单已关闭"
    paid = wechat.order("P20260101000000000002-1")
    await wechat.paid(paid)
    refused = await wechat.pay.close_payment(paid.out_trade_no)
    assert isinstance(refused, Refused)
    assert refused.code == "ORDER_PAID"


async def test_the_mini_program_checks_what_it_is_given(wechat: Wechat) -> None:
    prepay = await wechat.pay.create_prepay(wechat.order())
    assert isinstance(prepay, Prepay)
    params = prepay.pay_params
    forged = "requestPayment:fail 支付验证签名失败"
    assert await wechat.confirm(params, package="prepay_id=wx1") == forged
    assert await wechat.confirm(params, timeStamp="1") == forged
    assert await wechat.confirm(params, signType="MD5") == forged
    other = "o" + "x" * 27
    assert await wechat.confirm(params, openid=other) == "requestPayment:fail 支付者与下单用户不一致"
    nobody = wechat.pay.pay_params("wx-nothing")
    assert await wechat.confirm(nobody) == "requestPayment:fail 支付订单不存在"
    shown = msgspec.to_builtins(params)
    assert set(shown) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    cancelled = await wechat.control("cancel", **shown)
    assert cancelled == {"errMsg": "requestPayment:fail cancel"}
    assert not wechat.merchant.received
    # signed again later, the same prepay can still be paid, once
    assert await wechat.confirm(wechat.pay.pay_params(prepay.prepay_id)) == OK
    assert await wechat.confirm(params) == "requestPayment:fail 该订单已支付"
    assert isinstance(params, PayParams)


async def test_one_refund_number_moves_money_once(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    refund_order = wechat.refund_order("R1", 1_000, order)
    results = [await wechat.pay.refund(refund_order) for _ in range(3)]
    assert all(isinstance(result, Refund) for result in results)
    assert len({result.refund_id for result in results if isinstance(result, Refund)}) == 1
    await wechat.refund_told("R1")
    assert (await wechat.get("books"))["refunded_fen"] == 1_000
    reused = await wechat.pay.refund(msgspec.structs.replace(refund_order, refund_fen=1_001))
    assert isinstance(reused, Config)
    assert reused.code == "REFUND_NUMBER_REUSED"


async def test_the_limits_of_refunds(wechat: Wechat) -> None:
    order = wechat.order()
    unpaid = await wechat.pay.refund(wechat.refund_order("R0", 1, order))
    assert isinstance(unpaid, NotFound)
    await wechat.paid(order)
    assert isinstance(await wechat.pay.refund(wechat.refund_order("R1", 2_000, order)), Refund)
    too_soon = await wechat.pay.refund(wechat.refund_order("R2", 2_000, order))
    assert isinstance(too_soon, RateLimited)
    assert isinstance(await wechat.pay.query_refund("R2"), NotFound)
    await wechat.advance(60)
    assert isinstance(await wechat.pay.refund(wechat.refund_order("R2", 2_000, order)), Refund)
    await wechat.advance(60)
    too_much = await wechat.pay.refund(wechat.refund_order("R3", 1_001, order))
    assert isinstance(too_much, Refused)
    assert too_much.code == "INVALID_REQUEST"
    wrong_total = msgspec.structs.replace(wechat.refund_order("R4", 1, order), total_fen=6_000)
    assert isinstance(await wechat.pay.refund(wrong_total), Refused)
    await wechat.advance(365 * 24 * 3600)
    too_late = await wechat.pay.refund(wechat.refund_order("R5", 1, order))
    assert isinstance(too_late, Refused)
    assert too_late.code == "TRADE_OVERDUE"


async def test_fifty_refunds_of_one_payment(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    for number in range(50):
        assert isinstance(await wechat.pay.refund(wechat.refund_order(f"R{number}", 1, order)), Refund)
        await wechat.advance(60)
    assert isinstance(await wechat.pay.refund(wechat.refund_order("R50", 1, order)), Refused)
    assert (await wechat.get("books"))["refunded_fen"] == 50


async def test_a_merchant_without_funds(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    await wechat.control("balance", fen=100)
    refund_order = wechat.refund_order("R1", 5_000, order)
    refused = await wechat.pay.refund(refund_order)
    assert isinstance(refused, Refused)
    assert refused.code == "NOT_ENOUGH"
    # the fee comes back with the refund, so the merchant needs what he got
    await wechat.control("balance", fen=4_970)
    assert isinstance(await wechat.pay.refund(refund_order), Refund)
    await wechat.refund_told("R1")
    books = await wechat.get("books")
    assert books["accounts"]["merchant"]["balance_fen"] == 0
    assert (books["fees_fen"], books["sum_fen"]) == (0, 0)


async def test_refunds_that_end_otherwise(wechat: Wechat) -> None:
    await wechat.control("behaviour", refund_after_s=None)
    order = wechat.order()
    await wechat.paid(order)
    await wechat.pay.refund(wechat.refund_order("R1", 1_000, order))
    waiting = await wechat.pay.query_refund("R1")
    assert isinstance(waiting, Refund)
    assert waiting.state is RefundState.PROCESSING
    await wechat.control("refunds/R1/end", status="CLOSED")
    assert (await wechat.refund_told("R1")).state is RefundState.CLOSED
    await wechat.advance(60)
    await wechat.pay.refund(wechat.refund_order("R2", 5_000, order))
    await wechat.control("refunds/R2/end", status="ABNORMAL")
    assert (await wechat.refund_told("R2")).state is RefundState.ABNORMAL
    assert (await wechat.get("books"))["refunding_fen"] == 5_000
    await wechat.control("refunds/R2/end")
    await wechat.settled()
    assert (await wechat.refund_told("R2")).state is RefundState.SUCCEEDED
    books = await wechat.get("books")
    assert (books["refunded_fen"], books["refunding_fen"], books["fees_fen"]) == (5_000, 0, 0)
    assert books["sum_fen"] == 0


async def test_the_bill_of_a_day(wechat: Wechat) -> None:
    day = wechat.now().astimezone(CHINA).date()
    orders = [wechat.order(f"P2026010100000000000{n}-1", 1_000 * (n + 1)) for n in range(3)]
    for order in orders:
        await wechat.paid(order)
    await wechat.pay.refund(wechat.refund_order("R1", 777, orders[0]))
    await wechat.refund_told("R1")
    today = await wechat.pay.download_bill(day)
    assert isinstance(today, Refused)
    assert today.code == "INVALID_REQUEST"
    await next_morning(wechat, hour=8)
    assert isinstance(await wechat.pay.download_bill(day), BillNotReady)
    await wechat.advance(3600)
    bill = await wechat.pay.download_bill(day)
    assert isinstance(bill, Bill)
    assert {row.out_trade_no: row.total_fen for row in bill.payments} == {
        order.out_trade_no: order.total_fen for order in orders
    }
    (refund,) = bill.refunds
    assert (refund.out_refund_no, refund.refund_fen, refund.status) == ("R1", 777, "SUCCESS")
    assert {row.openid for row in bill.payments} == {wechat.openid}
    fees = sum(row.fee_e5_yuan for row in bill.payments) + refund.fee_e5_yuan
    assert fees == (await wechat.get("books"))["fees_fen"] * 1_000
    assert await wechat.pay.download_bill(day - timedelta(days=1)) == NoBill(day - timedelta(days=1))
    assert isinstance(await wechat.pay.download_bill(date(2020, 1, 1)), Refused)


@pytest.mark.parametrize(
    ("on", "kind", "code"),
    [
        ("bill", "bad_hash", "BILL_INVALID"),
        ("bill", "500", "SYSTEM_ERROR"),
        ("bill", "garbled", "REPLY_UNREADABLE"),
        ("download", "cut", "NO_REPLY"),
        ("download", "garbled", "BILL_INVALID"),
        ("download", "502", "HTTP_502"),
    ],
)
async def test_a_bill_that_comes_badly_is_asked_for_again(
    wechat: Wechat, on: str, kind: str, code: str
) -> None:
    day = wechat.now().astimezone(CHINA).date()
    await wechat.paid(wechat.order())
    await next_morning(wechat, hour=10)
    await wechat.fault(on, kind)
    result = await wechat.pay.download_bill(day)
    assert isinstance(result, Unknown)
    assert result.code == code
    assert isinstance(await wechat.pay.download_bill(day), Bill)


async def test_a_bill_that_is_being_made(wechat: Wechat) -> None:
    await wechat.fault("bill", "statement_creating")
    assert isinstance(await wechat.pay.download_bill(date(2026, 1, 1)), BillNotReady)


async def test_a_refund_by_hand_is_in_the_bill_and_in_the_payment(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.paid(order)
    day = wechat.now().astimezone(CHINA).date()
    by_hand = await wechat.control("refunds", out_trade_no=order.out_trade_no, fen=300)
    state = await wechat.pay.query_payment(order.out_trade_no)
    assert isinstance(state, Payment)
    assert state.is_refunded
    await next_morning(wechat, hour=10)
    bill = await wechat.pay.download_bill(day)
    assert isinstance(bill, Bill)
    assert [row.out_refund_no for row in bill.refunds] == [by_hand["out_refund_no"]]
    assert isinstance(await wechat.pay.query_refund(by_hand["out_refund_no"]), Refund)


@pytest.mark.parametrize("mode", ["certificate", "mixed"])
async def test_the_second_signer_is_believed_while_merchants_change_over(wechat: Wechat, mode: str) -> None:
    await wechat.control("behaviour", signer=mode)
    for n in range(2):
        await wechat.paid(wechat.order(f"P2026010100000000000{n}-1"))
    serials = {item.headers["Wechatpay-Serial"] for item in wechat.merchant.received}
    assert len(serials) == (2 if mode == "mixed" else 1)


async def test_a_certificate_that_we_do_not_have_is_not_fetched(wechat: Wechat) -> None:
    """Anybody could make us fetch one otherwise, and the library would forget the one it has."""
    await wechat.control("behaviour", signer="certificate")
    await wechat.paid(wechat.order())
    await wechat.control("certificates/rotate")
    result = await wechat.pay.query_payment(wechat.order().out_trade_no)
    assert type(result).__name__ == "SignatureInvalid"
    names = {request["name"] for request in (await wechat.get("requests"))["requests"]}
    assert "certificates" not in names
    await wechat.control("behaviour", signer="public_key")
    await wechat.paid(wechat.order("P20260101000000000002-1"))


async def test_a_wrong_merchant_key_is_our_fault_and_said_to_be(wechat: Wechat) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    stranger = WeChatPay(dataclasses.replace(wechat.pay.account, merchant_key_pem=pem))
    await stranger.start()
    result = await stranger.create_prepay(wechat.order())
    await stranger.close()
    assert isinstance(result, Config)
    assert result.code == "SIGN_ERROR"


async def test_clocks_that_differ_by_more_than_five_minutes(wechat_state: Path) -> None:
    options = Options(state=wechat_state)
    async with little_world(options, unix_time=lambda: time.time() + 400) as world:
        result = await world.pay.create_prepay(world.order())
        assert isinstance(result, Config)
        assert result.code == "SIGN_ERROR"


async def test_many_calls_at_once_and_one_that_is_cancelled(wechat: Wechat) -> None:
    order = wechat.order()
    await wechat.pay.create_prepay(order)
    await wechat.fault("query", "delay", seconds=30.0)
    slow = asyncio.create_task(wechat.pay.query_payment(order.out_trade_no))
    await until(lambda: not wechat.server.emulator.faults.list(), what="the slow call's arrival")
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    results = await asyncio.gather(*(wechat.pay.query_payment(order.out_trade_no) for _ in range(100)))
    assert all(isinstance(result, Payment) for result in results)


@pytest.mark.parametrize(
    "number", ["short", "a" * 33, "P2026/../../x", "P2026?mchid=1", "订单订单订单订单", "P2026|*"]
)
async def test_a_number_that_would_change_the_address_is_never_sent(wechat: Wechat, number: str) -> None:
    order = wechat.order(number)
    results = [
        await wechat.pay.create_prepay(order),
        await wechat.pay.query_payment(number),
        await wechat.pay.close_payment(number),
        await wechat.pay.refund(wechat.refund_order("R1", 1, order)),
        await wechat.pay.query_refund(f"{number}/" + "a" * 40),
    ]
    assert all(isinstance(result, Config) for result in results)
    assert not (await wechat.get("requests"))["requests"]


async def test_orders_that_cannot_be_are_never_sent(wechat: Wechat) -> None:
    order = wechat.order()
    wrong = [
        wechat.order(total_fen=0),
        wechat.order(attach="x" * 129),
        wechat.order(description=""),
        wechat.order(openid=""),
        wechat.order(expires_at=order.expires_at.replace(tzinfo=None)),
    ]
    results = [await wechat.pay.create_prepay(item) for item in wrong]
    results_of_refunds = [
        await wechat.pay.refund(wechat.refund_order("R1", fen, order)) for fen in (0, -1, 5_001)
    ]
    assert all(isinstance(result, Config) for result in [*results, *results_of_refunds])
    assert not (await wechat.get("requests"))["requests"]


async def test_long_texts_are_cut_to_what_fits(wechat: Wechat) -> None:
    order = wechat.order(description="站" * 300, device_id="9" * 50, client_ip="127.0.0.1")
    await wechat.paid(order)
    refund_order = msgspec.structs.replace(wechat.refund_order("R1", 5, order), reason="因" * 300)
    assert isinstance(await wechat.pay.refund(refund_order), Refund)
    kept = await wechat.get(f"orders/{order.out_trade_no}")
    assert (kept["description"], kept["device_id"]) == ("站" * 127, "9" * 32)
    assert kept["refunds"][0]["reason"] == "因" * 80


async def next_morning(wechat: Wechat, hour: int) -> None:
    """Let business time pass until an hour of the next China day."""
    now = wechat.now().astimezone(CHINA)
    morning = (now + timedelta(days=1)).replace(hour=hour, minute=0, second=0, microsecond=0)
    await wechat.advance((morning - now).total_seconds())
