"""Waiting for a condition in tests, with a deadline, instead of sleeping for luck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within_s: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` holds; fail when it does not within `within_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        assert loop.time() < deadline, f"{what} did not come within {within_s:g} s"
        await asyncio.sleep(0.005)
