"""Staff and money over the admin API: charges, ledger, reviews, refunds, debts, reconciliation."""

from __future__ import annotations

from pileward.messages.charging import ReviewKind
from pileward.messages.charging_writes import OpenReview
from pileward.services.reviews import open_reviews
from tests.drivers import Market
from tests.nodes import CODES


async def one_charge(market: Market, name: str = "anna") -> str:
    """A charge from order to refund; its serial."""
    gun = await market.plugged(CODES[0])
    rider = await market.rider(name)
    serial = await rider.charging(gun)
    await market.pass_time(90)
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    await rider.reaches(serial, "closed")
    return serial


async def test_a_charge_with_all_its_money(market: Market) -> None:
    serial = await one_charge(market)
    charge = await market.staff("GET", f"/sessions/{serial}")
    row, bill = charge["row"], charge["bill"]
    assert (row["state"], row["prepaid_fen"], row["paid_fen"]) == ("closed", 5_000, 5_000)
    assert row["total_fen"] + row["refund_fen"] == 5_000
    assert bill["total_fen"] == row["total_fen"] == sum(line["total_fen"] for line in bill["lines"])
    assert [paid["verdict"] for paid in charge["payments"]] == ["paid"]
    assert [(back["step"], back["stage"]) for back in charge["refunds"]] == [("succeeded", "arrived")]
    assert [done["reason"] for done in charge["settlements"]] == [""]
    causes = [entry["key"].split(":")[0] for entry in charge["entries"]]
    assert causes[0] == "pay"
    assert causes[-2:] == ["refund", "refunded"]
    assert await market.staff("GET", f"/sessions/{serial}/entries") == charge["entries"]
    assert "openid" not in str(charge)


async def test_the_books_add_up_and_say_so(market: Market) -> None:
    assert (await market.staff("GET", "/ledger/balances"))["sum_fen"] == 0
    serial = await one_charge(market)
    total = (await market.staff("GET", f"/sessions/{serial}"))["row"]["total_fen"]
    books = await market.staff("GET", "/ledger/balances")
    assert (books["sum_fen"], books["prepaid_fen"], books["debt_fen"]) == (0, 0, 0)
    of = {account["account"]: account["fen"] for account in books["accounts"]}
    merchant = market.wechat.emulator.identity.mchid
    assert of[f"channel:wechat:{merchant}"] == total
    assert of[f"transit:wechat:{merchant}"] == 0
    assert of["revenue-electricity:1"] + of["revenue-service:1"] == -total
    assert await market.staff("POST", "/ledger/check") == {"is_right": True, "differences": []}


async def test_charges_are_listed_by_what_is_asked(market: Market) -> None:
    serial = await one_charge(market)
    rider = await market.rider("bert")
    waiting = (await rider.order(f"{CODES[0]}02"))["serial"]

    async def serials(query: str) -> list[str]:
        return [row["serial"] for row in (await market.staff("GET", f"/sessions?{query}"))["items"]]

    assert await serials("") == [waiting, serial]
    assert await serials("state=closed") == [serial]
    assert await serials(f"driver_id={rider.id}") == [waiting]
    assert await serials(f"pile_code={CODES[1]}") == []
    assert await serials("station_id=1&state=created") == [waiting]
    assert await serials("is_held=true") == []
    assert (await market.staff("GET", "/sessions?state=lost", status=400))["code"] == "invalid_field"
    missing = await market.staff("GET", f"/sessions/{'9' * 20}", status=404)
    assert missing["code"] == "session_not_found"


async def test_a_charge_is_held_until_somebody_decides(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun)
    path = f"/sessions/{serial}"
    problem = await market.staff("POST", f"{path}/decide", {"decision": "accept"}, 409)
    assert problem["code"] == "not_held"
    held = await market.staff("POST", f"{path}/hold", {"reason": "complaint"})
    assert (held["row"]["is_held"], held["row"]["held_reason"]) == (True, "complaint")
    await market.pass_time(90)
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    await market.pass_time(120)
    shown = await rider.look(serial)
    assert (shown["state"] != "closed", shown["is_held"]) == (True, True)
    assert all(refund["stage"] == "sent" for refund in shown["refunds"])
    decided = await market.staff("POST", f"{path}/decide", {"decision": "free", "note": "说得对"})
    assert decided["row"]["is_held"] is False
    done = await rider.reaches(serial, "closed")
    assert sum(refund["fen"] for refund in done["refunds"] if refund["stage"] == "arrived") == 5_000
    actions = [entry["action"] for entry in (await market.staff("GET", "/audit?kind=session"))["items"]]
    assert actions == ["session.decide", "session.hold"]
    await market.prove_books()


async def test_staff_stop_a_charge_and_see_its_chart(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun)
    await market.pass_time(90)
    points = await market.staff("GET", f"/sessions/{serial}/points")
    assert points == sorted(points, key=lambda point: str(point["at"]))
    await market.staff("POST", f"/sessions/{serial}/stop")
    done = await rider.reaches(serial, "closed")
    assert done["bill"]["total_fen"] > 0
    assert done["stop_zh"]
    problem = await market.staff("POST", f"/sessions/{serial}/stop", status=409)
    assert problem["code"] in ("not_charging", "unknown_session")
    [entry] = (await market.staff("GET", "/audit?kind=session"))["items"]
    assert (entry["action"], entry["target_id"]) == ("session.stop", serial)


async def test_reviews_are_resolved_once(market: Market) -> None:
    review = OpenReview(
        ReviewKind.UNKNOWN_RECORD, "nobody knows it", market.clock.utc(), about="x", operator_id=1
    )
    async with market.database.transaction() as connection:
        [number] = await open_reviews(connection, [review])
    [row] = (await market.staff("GET", "/reviews"))["items"]
    assert (row["id"], row["kind"], row["is_open"]) == (number, "unknown_record", True)
    done = await market.staff("POST", f"/reviews/{number}/resolve", {"resolution": "按现金收取"})
    assert (done["is_open"], done["resolution"], done["closed_by"]) == (False, "按现金收取", "token:settings")
    assert (await market.staff("GET", "/reviews"))["items"] == []
    assert len((await market.staff("GET", "/reviews?only_open=false"))["items"]) == 1
    assert (await market.staff("GET", "/reviews/99", status=404))["code"] == "review_not_found"


async def test_a_stuck_refund_is_tried_again(market: Market) -> None:
    await market.control("behaviour", refund_after_s=None)
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    await rider("POST", f"/sessions/{serial}/cancel", status=202)
    number = f"R{serial}-1"
    await market.pass_time(5)
    assert [row["stage"] for row in (await rider.look(serial))["refunds"]] == ["accepted"]
    problem = await market.staff("POST", f"/refunds/{number}/retry", status=409)
    assert problem["code"] == "refund_not_stuck"
    await market.control(f"refunds/{number}/end", status="ABNORMAL")
    for _ in range(20):
        await market.pass_time(5)
        if (await rider.look(serial))["refunds"][0]["stage"] == "checked_by_staff":
            break
    [stuck] = (await market.staff("GET", "/refunds?step=abnormal"))["items"]
    assert stuck["out_refund_no"] == number
    following = await market.staff("POST", f"/refunds/{number}/retry")
    assert (following["out_refund_no"], following["replaces"]) == (f"R{serial}-2", number)
    stages = [row["stage"] for row in (await rider.look(serial))["refunds"]]
    assert stages[0] == "replaced"
    assert (await market.staff("POST", "/refunds/resume")) == {"was_stopped": False}
    missing = f"R{'9' * 20}-1"
    assert (await market.staff("POST", f"/refunds/{missing}/retry", status=404))["code"] == "refund_not_found"
    await market.prove_books()


async def test_a_day_is_compared_with_the_providers_bill(market: Market) -> None:
    serial = await one_charge(market)
    day = "2026-03-01"
    problem = await market.staff("POST", f"/reconciliations/{day}", status=400)
    assert (problem["code"], problem["detail"]["field"]) == ("bad_day", "day")
    assert (await market.staff("GET", f"/reconciliations/{day}", status=404))[
        "code"
    ] == "reconciliation_not_found"
    market.fleet.controls[CODES[0]].cut_power()
    await market.pass_time(36 * 3600, step=1_800)
    found = await market.staff("POST", f"/reconciliations/{day}")
    assert (found["findings"], found["matched"]) == ([], 2)
    assert found["fee_e5_yuan"] > 0
    again = await market.staff("POST", f"/reconciliations/{day}")
    assert (again["findings"], again["id"]) == ([], found["id"])
    assert [row["day"] for row in (await market.staff("GET", "/reconciliations"))["items"]] == [day]
    assert (await market.staff("GET", f"/sessions/{serial}"))["row"]["is_held"] is False
    await market.prove_books()


async def test_nobody_owes_anything(market: Market) -> None:
    assert (await market.staff("GET", "/debts"))["items"] == []
    problem = await market.staff("POST", f"/debts/{'9' * 20}/waive", status=404)
    assert problem["code"] == "debt_not_found"
