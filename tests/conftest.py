"""Fixtures for every test: real servers, started when first asked for."""

pytest_plugins = [
    "tests.databases",
    "tests.redis_server",
    "tests.nodes",
    "tests.browser",
    "tests.wechat_emulator",
    "tests.drivers",
]
