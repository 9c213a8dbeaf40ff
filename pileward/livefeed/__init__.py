"""The live feed, the debug tail and the rate limits: one port (`pileward.ports.Bus`), two implementations."""

from __future__ import annotations

from pileward.livefeed.memory import MemoryBus
from pileward.ports import Bus

__all__ = ["make_bus"]


def make_bus(redis_url: str = "") -> Bus:
    """Build the bus that the settings ask for; it still has to be started.

    Raises RuntimeError when a Redis is asked for and the client library is not installed.
    """
    if not redis_url:
        return MemoryBus()
    try:
        from pileward.livefeed.redis_bus import RedisBus  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "redis.url is set, but the client is missing: pip install 'pileward[redis]'"
        ) from error
    return RedisBus(redis_url)
