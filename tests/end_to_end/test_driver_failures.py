"""What a driver sees when something goes wrong: why, what to do, and the money back without asking."""

from __future__ import annotations

import pytest

from tests.drivers import Market, Rider
from tests.nodes import CODES


async def all_back(rider: Rider, serial: str, fen: int = 5_000) -> dict[str, str]:
    """Wait until everything that was paid is back; the reason in words."""
    done = await rider.reaches(serial, "closed")
    assert [(back["stage"], back["fen"]) for back in done["refunds"]] == [("arrived", fen)]
    assert done["bill"] is None or done["bill"]["total_fen"] == 0
    assert (await rider("GET", "/sessions/current"))["session"] is None
    await rider.market.prove_books()
    return {"code": done["failure"], "zh": done["failure_zh"], "en": done["failure_en"]}


async def unplugged(market: Market) -> tuple[Rider, str]:
    """A paid order at a gun without a car; the driver and the serial."""
    market.power_on(CODES[0])
    await market.online(CODES[0])
    rider = await market.rider("anna")
    return rider, await rider.paid(f"{CODES[0]}01")


async def test_a_car_that_is_plugged_in_late_charges(market: Market) -> None:
    rider, serial = await unplugged(market)
    await rider("POST", f"/sessions/{serial}/start", status=202)
    await market.pass_time(3)
    waiting = await rider.look(serial)
    assert (waiting["state"], waiting["detail"], waiting["next"]) == ("starting", "waiting_plug", "plug_in")
    assert waiting["detail_zh"] == "请插好充电枪，一分钟内有效"
    market.fleet.controls[CODES[0]].plug(1)
    await rider.reaches(serial, "charging")


async def test_without_a_car_everything_comes_back(market: Market) -> None:
    rider, serial = await unplugged(market)
    await rider("POST", f"/sessions/{serial}/start", status=202)
    assert (await all_back(rider, serial))["code"] == "not_plugged"


async def test_a_pile_that_left_before_the_start_costs_nothing(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    market.fleet.controls[CODES[0]].vanish(3_600)
    await market.eventually(lambda: not market.is_online(CODES[0]), what="the pile to be missed")
    problem = await rider("POST", f"/sessions/{serial}/start", status=409)
    assert (problem["code"], problem["detail"]["serial"]) == ("pile_offline", serial)
    if problem["detail"]["next"] == "wait_refund":
        assert "款项已全额退回" in problem["message"]
    else:
        await rider("POST", f"/sessions/{serial}/cancel", status=202)
    reason = await all_back(rider, serial)
    assert reason["zh"]


async def test_a_gun_that_fails_before_the_start_costs_nothing(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    market.fleet.controls[CODES[0]].fault(1 << 1, 1)
    await market.pass_time(5)
    problem = await rider("POST", f"/sessions/{serial}/start", status=409)
    assert (problem["code"], problem["detail"]["next"]) == ("gun_fault", "wait_refund")
    assert (await all_back(rider, serial))["code"] == "gun_fault"


async def test_a_paid_order_that_nobody_starts_comes_back(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.paid(gun)
    await market.pass_time(900, step=10)
    assert await all_back(rider, serial) == {
        "code": "not_started",
        "zh": "支付后未启动充电",
        "en": "paid, but never started",
    }


async def test_an_order_that_is_never_paid_frees_gun_and_driver(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    anna, bert = await market.rider("anna"), await market.rider("bert")
    serial = (await anna.order(gun))["serial"]
    await market.pass_time(600, step=10)
    gone = await anna.reaches(serial, "cancelled")
    assert (gone["failure"], gone["next"], gone["refunds"]) == ("unpaid", "nothing", [])
    problem = await anna("POST", f"/prepays/{serial}/pay-params", status=409)
    assert problem["code"] == "order_over"
    await bert.order(gun)
    await anna.order(f"{CODES[0]}02")


@pytest.mark.parametrize(
    ("limit", "stop"),
    [
        ({"kind": "energy", "value": 5_000}, "已达设定电量"),
        ({"kind": "time", "value": 120}, "已达设定时间"),
        ({"kind": "money", "value": 200}, "预付金额即将用完"),
    ],
)
async def test_a_charge_ends_at_its_limit(market: Market, limit: dict[str, object], stop: str) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun, limit=limit)
    done = await rider.reaches(serial, "closed", within_s=1_200)
    charge = await market.staff("GET", f"/sessions/{serial}")
    moved = [entry["key"].split(":")[0] for entry in charge["entries"]]
    assert moved[0] == "pay"
    assert done["limit"] == limit
    assert 0 < done["bill"]["total_fen"] < 1_500
    assert done["stop_zh"] == stop
    if limit["kind"] == "money":
        assert done["bill"]["total_fen"] <= 200
    await market.prove_books()


async def test_the_app_finds_everything_where_it_was_after_a_crash(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    ordered = await rider.order(gun, key="key-00000001")
    serial = ordered["serial"]
    await rider.pay(ordered)
    await rider("POST", f"/sessions/{serial}/start", status=202)
    await rider.reaches(serial, "charging")
    await market.pass_time(60)
    before = await rider.look(serial)
    await market.crash()
    await market.restart()
    again = await rider.order(gun, key="key-00000001")
    assert (again, rider.headers["Idempotent-Replay"]) == (ordered, "true")
    assert (await rider("GET", "/sessions/current"))["session"]["serial"] == serial
    await market.online(CODES[0])
    await rider.reaches(serial, "charging")
    await market.pass_time(60)
    running = await rider.look(serial)
    assert running["live"]["energy_e4_kwh"] > before["live"]["energy_e4_kwh"]
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    done = await rider.reaches(serial, "closed")
    assert done["bill"]["total_fen"] + done["refund_fen"] == 5_000
    await market.prove_books()
