"""A driver charges: from the scan to the last fen of the refund, over HTTP, sockets and WeChat Pay."""

from __future__ import annotations

from tests.drivers import Market
from tests.nodes import CODES


async def test_one_charge_from_scan_to_refund(market: Market) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    found = await rider("GET", f"/guns/by-code?text=https://qr.example/c?no={gun}")
    assert (found["gun"]["gun_code"], found["gun"]["can_order"]) == (gun, True)
    ordered = await rider.order(gun, 5_000)
    assert (await rider.look(ordered["serial"]))["next"] == "pay"
    await rider.pay(ordered)
    serial = ordered["serial"]
    started = await rider("POST", f"/sessions/{serial}/start", status=202)
    assert started["state"] == "starting"
    await rider.reaches(serial, "charging")
    await market.pass_time(120)
    running = await rider.look(serial)
    assert running["live"]["energy_e4_kwh"] > 0
    assert running["live"]["amount_fen"] > 0
    assert running["live"]["age_s"] <= 20
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    done = await rider.reaches(serial, "closed")
    bill = done["bill"]
    assert 0 < bill["total_fen"] < 5_000
    assert bill["electricity_fen"] + bill["service_fen"] == bill["total_fen"]
    assert sum(line["total_fen"] for line in bill["lines"]) == bill["total_fen"]
    assert [refund["stage"] for refund in done["refunds"]] == ["arrived"]
    assert done["refunds"][0]["fen"] == done["refund_fen"] == 5_000 - bill["total_fen"]
    await market.prove_books()
