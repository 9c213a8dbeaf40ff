"""The durable writes that actors make, and the bulk function for each.

The store hands over all writes of one type in a batch inside one transaction that it opened, and gets one
result for each, in order. Every write is idempotent by its natural key, so a batch may be repeated.
"""

from __future__ import annotations

from pileward.services.alarms import CloseAlarm, OpenAlarm
from pileward.services.discovered import SaveDiscovered
from pileward.services.pile_facts import ConfirmTariff, LoginFacts, SaveLogin, SaveSeen
from pileward.services.records import RecordResult, RecordState, StoreRecord

__all__ = [
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
]
