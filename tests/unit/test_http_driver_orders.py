"""Ordering and paying over the driver API: done once whatever is repeated, refused with what to do next."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pileward.http.driver import prepays
from pileward.http.driver.refusals import ADVICE
from pileward.messages.charging import SessionState
from tests.drivers import Market, Rider
from tests.nodes import CODES


def test_the_documentation_lists_every_refusal() -> None:
    """docs/http-api.md, between the marks: one row for each."""
    rows = [f"| `{code}` ({row.status}) | `{row.next}` | {row.message} |" for code, row in ADVICE.items()]
    text = Path("docs/http-api.md").read_text(encoding="utf-8")
    told = text.partition("<!-- refusals: begin -->\n")[2].partition("<!-- refusals: end -->")[0]
    assert told.splitlines() == ["| code | `next` | when |", "| --- | --- | --- |", *rows]


async def test_the_same_request_is_the_same_order(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    first = await rider.order(gun, key="key-00000001")
    assert "Idempotent-Replay" not in rider.headers
    again = await rider.order(gun, key="key-00000001")
    assert rider.headers["Idempotent-Replay"] == "true"
    assert again == first
    assert len((await rider("GET", "/sessions"))["items"]) == 1


async def test_a_key_is_for_one_request(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    await rider.order(gun, 5_000, key="key-00000001")
    for more in ({"fen": 6_000}, {"limit": {"kind": "energy", "value": 10_000}}):
        problem = await rider.order(gun, **more, key="key-00000001", status=409)
        assert (problem["code"], problem["detail"]["next"]) == ("key_reused", "new_key")
    other = await market.rider("bert")  # keys are each driver's own
    problem = await other.order(gun, 5_000, key="key-00000001", status=409)
    assert problem["code"] == "gun_taken"
    assert "serial" not in problem["detail"]


async def test_many_at_once_are_one_order(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    same = await asyncio.gather(*(rider.order(gun, key="key-00000001") for _ in range(5)))
    assert len({ordered["serial"] for ordered in same}) == 1
    assert len((await rider("GET", "/sessions"))["items"]) == 1


async def test_a_driver_orders_so_often_and_no_more(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepays, "ORDERS_BURST", 2)
    monkeypatch.setattr(prepays, "ORDERS_PER_S", 0.001)
    rider, gun = await market.rider("anna"), f"{CODES[0]}01"
    for _ in range(2):
        assert (await rider.order(gun, status=409))["code"] == "pile_offline"
    assert (await rider.order(gun, status=429))["code"] == "too_many_requests"
    assert (await (await market.rider("bert")).order(gun, status=409))["code"] == "pile_offline"


async def test_a_key_is_required_where_money_moves(market: Market) -> None:
    rider = await market.rider("anna")
    body = {"gun_code": f"{CODES[0]}01", "amount_fen": 5_000}
    problem = await rider("POST", "/prepays", body, 400)
    assert problem["detail"] == {"field": "Idempotency-Key", "where": "header"}
    problem = await rider("POST", "/prepays", body, 400, key="short")
    assert problem["detail"] == {"field": "Idempotency-Key", "where": "header"}


async def test_a_refusal_is_repeated_too(market: Market) -> None:
    rider = await market.rider("anna")
    gun = f"{CODES[0]}01"
    first = await rider.order(gun, key="key-00000001", status=409)
    assert (first["code"], first["detail"]["next"]) == ("pile_offline", "choose_gun")
    await market.plugged(CODES[0])
    again = await rider.order(gun, key="key-00000001", status=409)
    assert again["code"] == "pile_offline"
    assert again["request_id"] == rider.headers["X-Request-Id"] != first["request_id"]
    await rider.order(gun, key="key-00000002")


async def test_the_second_order_leads_to_the_first(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    anna, bert = await market.rider("anna"), await market.rider("bert")
    ordered = await anna.order(gun)
    for other_gun in (gun, f"{CODES[0]}02"):
        problem = await anna.order(other_gun, status=409)
        assert problem["code"] == "order_open"
        assert problem["detail"] == {"next": "open_session", "serial": ordered["serial"], "state": "created"}
    problem = await bert.order(gun, status=409)
    assert (problem["code"], problem["detail"]) == ("gun_taken", {"next": "choose_gun"})
    seen = (await bert("GET", f"/guns/by-code?text={gun}"))["gun"]
    assert (seen["state"], seen["can_order"]) == ("reserved", False)
    assert (await anna("GET", "/sessions/current"))["session"]["serial"] == ordered["serial"]
    assert await bert("GET", "/sessions/current") == {"session": None}


async def test_a_provider_that_does_not_answer_costs_nothing(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    await market.control("faults", on="prepay", kind="500", times=9, seconds=0.0)
    problem = await rider.order(gun, key="key-00000001", status=503)
    assert (problem["code"], problem["detail"]["next"]) == ("payment_unknown", "retry_same_key")
    await clear_faults(market)
    ordered = await rider.order(gun, key="key-00000001")
    assert ordered["serial"] == problem["detail"]["serial"]
    assert len((await rider("GET", "/sessions"))["items"]) == 1


async def clear_faults(market: Market) -> None:
    """All is well again at the provider."""
    async with market.http.delete(f"{market.wechat.url}/control/faults") as answer:
        assert answer.status == 200, await answer.text()


async def test_an_unpaid_order_can_be_paid_later(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun)
    serial = ordered["serial"]
    fresh = await rider("POST", f"/prepays/{serial}/pay-params")
    assert (fresh["serial"], fresh["amount_fen"]) == (serial, 5_000)
    assert fresh["pay_params"]["package"] == ordered["pay_params"]["package"]
    check = await rider("POST", f"/prepays/{serial}/paid-check")
    assert check == {"serial": serial, "is_paid": False, "state": "created"}
    await rider.pay(fresh)
    problem = await rider("POST", f"/prepays/{serial}/pay-params", status=409)
    assert (problem["code"], problem["detail"]["next"]) == ("already_paid", "start")


async def test_the_apps_word_is_checked_with_the_provider(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun)
    await market.control("faults", on="notify", kind="drop", times=9, seconds=0.0)
    await market.control("pay", **ordered["pay_params"])
    check = await rider("POST", f"/prepays/{ordered['serial']}/paid-check")
    assert check == {"serial": ordered["serial"], "is_paid": True, "state": "funded"}


WRONG: list[tuple[dict[str, Any], str | None, int, str]] = [
    ({"amount_fen": 99}, "amount_fen", 400, "invalid_field"),
    ({"amount_fen": 100_001}, "amount_fen", 400, "invalid_field"),
    ({"amount_fen": 50.5}, "amount_fen", 400, "invalid_field"),
    ({"amount_fen": -5_000}, "amount_fen", 400, "invalid_field"),
    ({"gun_code": "a b"}, "gun_code", 400, "invalid_field"),
    ({"limit": {"kind": "sun", "value": 1}}, "limit.kind", 400, "invalid_field"),
    ({"limit": {"kind": "energy", "value": 0}}, "limit.value", 400, "invalid_field"),
    ({"limit": {"kind": "time", "value": 86_401}}, "limit.value", 400, "invalid_field"),
    ({"limit": {"kind": "money", "value": 6_000}}, "limit.value", 400, "limit_beyond_prepaid"),
    ({"price_fen": 1}, "price_fen", 400, "invalid_field"),
    ({"gun_code": "3201060000000990"}, None, 404, "gun_not_found"),
]


async def test_wrong_orders_name_what_is_wrong(market: Market) -> None:
    rider = await market.rider("anna")
    for number, (changes, field, status, code) in enumerate(WRONG):
        body: dict[str, Any] = {"gun_code": f"{CODES[0]}01", "amount_fen": 5_000}
        body.update(changes)
        problem = await rider("POST", "/prepays", body, status, key=f"key-0000-{number}")
        assert (problem["code"], problem["detail"].get("field")) == (code, field), changes
    assert (await rider("GET", "/sessions"))["items"] == []


async def test_another_drivers_order_is_not_found(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    anna, bert = await market.rider("anna"), await market.rider("bert")
    serial = await anna.charging(gun)
    nobody = "9" * 20
    for method, path in (
        ("GET", "/sessions/{}"),
        ("POST", "/sessions/{}/start"),
        ("POST", "/sessions/{}/stop"),
        ("POST", "/sessions/{}/cancel"),
        ("POST", "/prepays/{}/pay-params"),
        ("POST", "/prepays/{}/paid-check"),
    ):
        theirs = await bert(method, path.format(serial), status=404)
        none = await bert(method, path.format(nobody), status=404)
        assert {**theirs, "request_id": ""} == {**none, "request_id": ""}
        assert theirs["code"] == "session_not_found"
    assert (await bert("GET", "/sessions"))["items"] == []
    assert (await anna.look(serial))["state"] == "charging"


async def refusal(rider: Rider, method: str, path: str) -> tuple[str, str]:
    """Code and advice of a refusal with 409."""
    problem: Any = await rider(method, path, status=409)
    assert " / " in problem["message"]
    return problem["code"], problem["detail"]["next"]


async def test_every_step_out_of_turn_is_refused_with_advice(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun)
    path = f"/sessions/{ordered['serial']}"
    assert await refusal(rider, "POST", f"{path}/start") == ("not_funded", "pay")
    assert await refusal(rider, "POST", f"{path}/stop") == ("not_charging", "open_session")
    await rider.pay(ordered)
    assert await refusal(rider, "POST", f"{path}/stop") == ("not_charging", "open_session")
    assert await refusal(rider, "POST", f"/prepays/{ordered['serial']}/pay-params") == (
        "already_paid",
        "start",
    )
    await rider("POST", f"{path}/start", status=202)
    assert await refusal(rider, "POST", f"{path}/start") == ("already_started", "open_session")
    await rider.reaches(ordered["serial"], "charging")
    assert await refusal(rider, "POST", f"{path}/start") == ("already_started", "open_session")
    assert await refusal(rider, "POST", f"{path}/cancel") == ("already_started", "open_session")
    await market.pass_time(30)
    for _ in range(2):  # asking twice is no error
        stopped = await rider("POST", f"{path}/stop", status=202)
        assert stopped["state"] in ("stopping", "awaiting_record", "settling", "refunding")
    await rider.reaches(ordered["serial"], "closed")
    assert await refusal(rider, "POST", f"{path}/stop") == ("not_charging", "open_session")
    assert await refusal(rider, "POST", f"{path}/start") == ("order_over", "order_again")
    assert await refusal(rider, "POST", f"{path}/cancel") == ("order_over", "order_again")
    await market.prove_books()


async def test_a_start_with_a_key_is_answered_the_same(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    path = f"/sessions/{serial}/start"
    first = await rider("POST", path, status=202, key="start-0001")
    assert await rider("POST", path, status=202, key="start-0001") == first
    assert (await rider("POST", path, status=409, key="start-0002"))["code"] == "already_started"
    assert (await rider("POST", f"/sessions/{serial}/stop", status=409, key="start-0001"))[
        "code"
    ] == "key_reused"


async def test_giving_up_before_and_after_paying(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    unpaid = (await rider.order(gun))["serial"]
    assert (await rider("POST", f"/sessions/{unpaid}/cancel", status=202))["state"] == "created"
    await rider.reaches(unpaid, "cancelled")
    assert (await rider("POST", f"/sessions/{unpaid}/cancel", status=202))["state"] == "cancelled"
    paid = await rider.paid(gun)
    await rider("POST", f"/sessions/{paid}/cancel", status=202)
    shown = await rider.reaches(paid, "closed")
    assert (shown["failure"], shown["refund_fen"]) == ("cancelled", 5_000)
    assert [refund["stage"] for refund in shown["refunds"]] == ["arrived"]
    assert (await rider("GET", "/sessions/current"))["session"] is None
    await market.prove_books()


async def test_open_and_closed_orders_are_told_apart(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    gone = (await rider.order(gun))["serial"]
    await rider("POST", f"/sessions/{gone}/cancel", status=202)
    await rider.reaches(gone, "cancelled")
    there = (await rider.order(gun))["serial"]

    async def serials(query: str) -> list[str]:
        return [row["serial"] for row in (await rider("GET", f"/sessions{query}"))["items"]]

    assert await serials("") == [there, gone]
    assert await serials("?state=open") == [there]
    assert await serials("?state=closed") == [gone]
    page = await rider("GET", "/sessions?limit=1")
    assert [row["serial"] for row in page["items"]] == [there]
    assert await serials(f"?limit=1&cursor={page['next']}") == [gone]
    assert (await rider("GET", "/sessions?state=lost", status=400))["code"] == "invalid_field"
    assert SessionState.of((await rider.look(gone))["state"]) is SessionState.CANCELLED
