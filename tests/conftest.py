"""Fixtures for every test: real servers, started when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = [
    "tests.databases",
    "tests.redis_server",
    "tests.nodes",
    "tests.browser",
    "tests.wechat_emulator",
    "tests.drivers",
]


@pytest.fixture(autouse=True)
def log_as_found() -> Iterator[None]:
    """Whatever a test does to the settings of the log, the next one finds it as it was."""
    root = logging.getLogger()
    known, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in known:
            root.removeHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()
