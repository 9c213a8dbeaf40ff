"""The pages in a real browser against a whole node with simulated piles on real sockets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from pileward.codecs.ykc.frames import RealTimeData
from pileward.http.app import GROUPS, make_app
from pileward.messages.live import GunView, PileView, StationView
from tests.browser import shoot
from tests.nodes import CODES, TOKEN, Street

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Site:
    """The node's web server, which a test may stop and start again on the same port."""

    def __init__(self, street: Street) -> None:
        self._street = street
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen."""
        self._runner = web.AppRunner(make_app(self._street.node), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@pytest.fixture
async def site(street: Street) -> AsyncIterator[Site]:
    """The served node."""
    served = Site(street)
    await served.start()
    yield served
    await served.stop()


def charging(code: str, gun_no: int, soc: int) -> RealTimeData:
    """What a pile says of a gun that charges with 66.5 kW."""
    return RealTimeData(
        trade_no=f"{code}{gun_no:02d}2603011200000001",
        pile_no=code,
        gun_no=gun_no,
        status=3,
        gun_homed=0,
        gun_plugged=1,
        output_voltage_e1_v=6021,
        output_current_e1_a=1105,
        cable_temp_c=30,
        cable_code="00" * 8,
        soc=soc,
        battery_max_temp_c=31,
        charge_minutes=22,
        remaining_minutes=33,
        energy_e4_kwh=224_310,
        loss_energy_e4_kwh=0,
        amount_e4_yuan=226_400,
        hardware_fault=0,
    )


async def test_every_gun_is_shown_and_changes_live(page: Page, site: Site, street: Street) -> None:
    await page.goto(site.url)
    guns = page.locator(".gun")
    await expect(guns).to_have_count(6)
    await expect(page.locator(".gun[data-state=offline]")).to_have_count(6)
    await expect(page.locator(".station h2")).to_contain_text("一号站")

    first, second, third = street.power_on(*CODES)
    await street.online(*CODES)
    await expect(page.locator(".gun[data-state=idle]")).to_have_count(6)
    await expect(page.locator("[data-counter=online] b")).to_have_text("3 / 3")

    first.plug(1)
    second.send(charging(CODES[1], 2, soc=37))
    third.fault(1, gun_no=1)
    await street.pass_time(2)
    plugged = page.locator(f"[data-pile='{CODES[0]}'] [data-gun='1']")
    await expect(plugged).to_contain_text("已插枪 plugged")
    live = page.locator(f"[data-pile='{CODES[1]}'] [data-gun='2']")
    await expect(live).to_contain_text("充电中 charging")
    await expect(live.locator("b")).to_have_text("37 %")
    await expect(live).to_contain_text("66.5 kW")
    await expect(live).to_contain_text("22.43 kWh · ¥22.64")
    await expect(page.locator("[data-counter=power] b")).to_have_text("66.5 kW")
    faulty = page.locator(f"[data-pile='{CODES[2]}'] [data-gun='1']")
    await expect(faulty).to_contain_text("急停按钮动作 emergency stop pressed")
    await expect(page.locator("#ticker li").first).to_contain_text("急停按钮动作")
    await expect(page.locator("[data-counter=fault] b")).to_have_text("1")
    await shoot(page, "live")

    third.freeze()
    await street.pass_time(35)
    await expect(page.locator(f"[data-pile='{CODES[2]}'] .state")).to_contain_text("心跳中断")
    await expect(page.locator(f"[data-pile='{CODES[2]}'] [data-group=offline]")).to_have_count(2)
    await expect(page.locator("[data-counter=online] b")).to_have_text("2 / 3")


async def test_filter_and_search_narrow_the_page(page: Page, site: Site, street: Street) -> None:
    (control, _) = street.power_on(*CODES[:2])
    await street.online(*CODES[:2])
    control.plug(1)
    await street.pass_time(1)
    await page.goto(site.url)
    await page.locator("button[data-counter=occupied]").click()
    await expect(page.locator(".gun:visible")).to_have_count(1)
    await page.locator("button[data-counter=occupied]").click()
    await expect(page.locator(".gun:visible")).to_have_count(6)
    await page.locator("#search").fill(f"号桩 {CODES[1][-3:]}")
    await expect(page.locator(".pile:visible")).to_have_count(1)
    await page.locator("#search").fill("nowhere")
    await expect(page.locator(".station:visible")).to_have_count(0)


async def test_a_lost_server_is_told_and_found_again(page: Page, site: Site, street: Street) -> None:
    await page.goto(site.url)
    await expect(page.locator("#dot")).to_have_class("dot up")
    await site.stop()
    await expect(page.locator("#banner")).to_contain_text("与服务器的连接已断开")
    await expect(page.locator("#dot")).to_have_class("dot down")
    await shoot(page, "lost")
    street.power_on(CODES[0])
    await street.online(CODES[0])
    await site.start()
    await expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
    await expect(page.locator(".gun[data-state=idle]")).to_have_count(2)


async def test_a_phone_shows_all_without_scrolling_sideways(page: Page, site: Site, street: Street) -> None:
    street.power_on(*CODES)
    await street.online(*CODES)
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.emulate_media(color_scheme="dark")
    await page.goto(site.url)
    await expect(page.locator(".gun[data-state=idle]")).to_have_count(6)
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    await shoot(page, "phone")


async def test_two_thousand_guns_stay_usable(
    page: Page, site: Site, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(street.node, "snapshot", lambda: many_stations(20, 50))
    await page.goto(site.url)
    await expect(page.locator(".gun")).to_have_count(2_000)
    assert await page.evaluate("document.body.classList.contains('dense')")
    code = "32010600190049"
    for state in ("plugged", "charging", "idle", "plugged"):
        event = msgspec.json.encode({"type": "gun", "pile_code": code, "gun_no": 2, "state": state})
        street.node.bus.publish("gun", event)
        await expect(page.locator(f"[data-pile='{code}'] [data-gun='2']")).to_have_attribute(
            "data-state", state
        )
    took_ms = await page.evaluate(
        "new Promise(done => { const began = performance.now();"
        " requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))); })"
    )
    assert took_ms < 1_000
    await shoot(page, "dense")


async def test_the_debug_page_shows_an_actor_and_its_frames(page: Page, site: Site, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    await page.goto(f"{site.url}/debug?pile={CODES[0]}")
    await page.locator("input[name=token]").fill(TOKEN)
    await page.get_by_role("button").click()
    await expect(page).to_have_url(re.compile(rf"/debug\?pile={CODES[0]}$"))
    await expect(page.locator("#actor h2")).to_contain_text(CODES[0])
    await expect(page.locator("svg .node.now").first).to_contain_text("online")
    await expect(page.locator("#frames")).to_contain_text("Login")
    await expect(page.locator("#tree")).to_contain_text("FleetActor")
    control.plug(1)
    await street.pass_time(1)
    await expect(page.locator("#frames tbody tr").first).to_contain_text("Real-time data")
    await page.locator("#frames tbody summary").first.click()
    await expect(page.locator("#frames tbody tr").first).to_contain_text("是否插枪")
    await expect(page.locator("svg .node.now").nth(1)).to_contain_text("plugged")
    await page.locator("#decode textarea").fill("68 0d 00 01")
    await page.locator("#decode button").click()
    await expect(page.locator("#decoded")).to_contain_text("不是报文")
    await shoot(page, "debug")


async def test_the_api_page_shows_every_group(page: Page, site: Site) -> None:
    await page.goto(f"{site.url}/docs")
    await expect(page.locator(".opblock-tag").first).to_contain_text("stations")
    told = [op for group in GROUPS for op in group.operations if not op.is_hidden]
    await expect(page.locator(".opblock")).to_have_count(len(told))
    await shoot(page, "docs")


def many_stations(stations: int, piles: int) -> list[StationView]:
    """Stations full of idle guns, two a pile."""
    return [
        StationView(
            station_id=number,
            code=f"S{number}",
            name_zh=f"{number} 号站",
            name_en=f"Station {number}",
            address="",
            piles=tuple(
                PileView(
                    pile_code=f"320106{number:04d}{pile:04d}",
                    name=f"{pile:02d} 号桩",
                    kind="dc",
                    rated_power_w=120_000,
                    state="online",
                    reason="login",
                    since=None,
                    tariff_ok=True,
                    guns=(GunView(1, "idle"), GunView(2, "idle")),
                )
                for pile in range(piles)
            ),
        )
        for number in range(stations)
    ]
