"""Chromium for tests, driven by Playwright's async API; skipped where it is not installed.

The browser lives as long as one test: tests here have a loop of their own each, and a browser belongs to one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""No sandbox: the tests may run as root; nothing asks the network."""

SHOTS = Path("build/screenshots")
"""Where pictures of the pages are left, for people."""


def find_chromium() -> str:
    """The browser's program; skips the test where there is none."""
    named = os.environ.get("CHROMIUM")
    found = (
        named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if not found:
        pytest.skip("Chromium is missing: apt-get install chromium, or CHROMIUM=/path/to/it")
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of this test's own."""
    from playwright.async_api import async_playwright  # half a second that other tests need not spend

    program = find_chromium()
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of desktop size in which no script may fail and nothing comes from another site."""
    context = await browser.new_context(viewport={"width": 1280, "height": 860}, locale="zh-CN")
    opened = await context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(f"script: {error}"))
    opened.on("request", lambda request: troubles.extend(_foreign(request.url)))
    yield opened
    await context.close()
    assert troubles == []


async def shoot(page: Page, name: str) -> None:
    """Leave a picture of the page."""
    await page.screenshot(path=SHOTS / f"{name}.png")


def _foreign(url: str) -> list[str]:
    is_ours = url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:"))
    return [] if is_ours else [f"asks elsewhere: {url}"]
