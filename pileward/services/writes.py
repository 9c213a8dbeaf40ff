"""The durable writes that actors make, and the bulk function for each.

The store opens a transaction, hands over a batch and commits. A bulk function takes all writes of its type
and returns one result for each, in order. Every write is idempotent by its natural key, so a batch whose
commit was never answered may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.services.alarms import CloseAlarm, OpenAlarm, close_alarms, open_alarms
from pileward.services.discovered import SaveDiscovered, save_discovered
from pileward.services.pile_facts import (
    ConfirmTariff,
    LoginFacts,
    SaveLogin,
    SaveSeen,
    confirm_tariffs,
    save_logins,
    save_seen,
)
from pileward.services.records import RecordResult, RecordState, StoreRecord, store_records

__all__ = [
    "WRITES",
    "CloseAlarm",
    "ConfirmTariff",
    "LoginFacts",
    "OpenAlarm",
    "RecordResult",
    "RecordState",
    "SaveDiscovered",
    "SaveLogin",
    "SaveSeen",
    "StoreRecord",
    "write_all",
]

Bulk = Callable[[BaseDBAsyncClient, Sequence[Any]], Awaitable[Sequence[Any]]]

WRITES: Final[dict[type[Any], Bulk]] = {
    SaveLogin: save_logins,
    SaveSeen: save_seen,
    ConfirmTariff: confirm_tariffs,
    OpenAlarm: open_alarms,
    CloseAlarm: close_alarms,
    SaveDiscovered: save_discovered,
    StoreRecord: store_records,
}
"""In the order in which the types of one batch are written: an alarm is opened before it is closed, and a
report later than a closing keeps it open, so that grouping by type never leaves a wrong alarm open.
"""


async def write_all(connection: BaseDBAsyncClient, writes: Sequence[Any]) -> list[Any]:
    """Write a batch of any types, each type in bulk; returns one result for each write, in order.

    The caller has begun the transaction. Raises KeyError for what is no write.
    """
    places: dict[type[Any], list[int]] = {}
    for place, write in enumerate(writes):
        places.setdefault(type(write), []).append(place)
    results: list[Any] = [None] * len(writes)
    for kind in sorted(places, key=_ORDER.__getitem__):
        found = await WRITES[kind](connection, [writes[place] for place in places[kind]])
        for place, result in zip(places[kind], found, strict=True):
            results[place] = result
    return results


_ORDER: Final = {kind: number for number, kind in enumerate(WRITES)}
