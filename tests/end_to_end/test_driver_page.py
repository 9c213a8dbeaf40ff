"""Running charges on the pages, in a real browser: beside the guns for everybody, from inside for staff."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser import shoot
from tests.drivers import Market
from tests.nodes import CODES, TOKEN

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_a_running_charge_beside_its_gun(market: Market, page: Page) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    await page.goto(market.url)
    tile = page.locator(f'[data-pile="{CODES[0]}"] [data-gun="1"]')
    await rider.charging(gun)
    await expect(tile).to_have_attribute("data-group", "charging")
    await market.pass_time(120)
    for shown in ("充电中", "kWh", "¥", "%", "kW"):
        await expect(tile).to_contain_text(shown)
    await shoot(page, "charging")


async def test_one_charge_from_inside(market: Market, page: Page) -> None:
    gun = await market.plugged(CODES[0])
    rider = await market.rider("anna")
    serial = await rider.charging(gun)
    await market.pass_time(60)
    await page.goto(f"{market.url}/debug?session={serial}&token={TOKEN}")
    root = page.locator("#actor")
    await expect(root.locator("h2")).to_contain_text(serial)
    await expect(root.locator("svg .node.now")).to_have_text("charging")
    for shown in ("FundedBy", "starting → charging", f"P{serial}-1", f"pay:{serial}:1:prepaid"):
        await expect(root).to_contain_text(shown)
    await shoot(page, "session_running")
    await rider("POST", f"/sessions/{serial}/stop", status=202)
    await rider.reaches(serial, "closed")
    await expect(root.locator("svg .node.now")).to_have_text("closed")
    for shown in (f"R{serial}-1", "succeeded", "revenue-electricity:", "已退出 exited"):
        await expect(root).to_contain_text(shown)
    await shoot(page, "session_closed")
    await page.fill("#find input", CODES[0])
    await page.keyboard.press("Enter")
    await expect(root.locator("h2")).to_contain_text(CODES[0])
