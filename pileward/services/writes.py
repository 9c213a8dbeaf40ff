"""The durable writes that actors make, and the bulk function for each.

The store opens a transaction, hands over a batch and commits. A bulk function takes all writes of its type
and returns one result for each, in order. Every write is idempotent by its natural key, so a batch whose
commit was never answered may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging_writes import (
    CancelSession,
    ClaimRefunds,
    ConfirmPayment,
    CreateSession,
    DecideHeld,
    FailStart,
    HoldSession,
    KeepFact,
    MovePayment,
    MoveRefund,
    MoveSession,
    OpenReview,
    RefundPayment,
    ReserveSerials,
    RetryRefund,
    SaveLive,
    SavePoint,
    SettleRecord,
    SettleSession,
)
from pileward.services.alarms import CloseAlarm, OpenAlarm, close_alarms, open_alarms
from pileward.services.discovered import SaveDiscovered, save_discovered
from pileward.services.failed_starts import fail_starts
from pileward.services.payments import confirm_payments, move_payments, refund_payments
from pileward.services.pile_facts import (
    ConfirmTariff,
    LoginFacts,
    SaveLogin,
    SaveSeen,
    confirm_tariffs,
    save_logins,
    save_seen,
)
from pileward.services.record_settlement import settle_records
from pileward.services.records import RecordResult, RecordState, StoreRecord, store_records
from pileward.services.refunds import claim_refunds, move_refunds, retry_refunds
from pileward.services.reviews import open_reviews
from pileward.services.serials import reserve_serials
from pileward.services.session_points import save_points
from pileward.services.sessions import (
    cancel_sessions,
    create_sessions,
    hold_sessions,
    keep_facts,
    move_sessions,
    save_live,
)
from pileward.services.settlement import decide_held, settle_sessions

__all__ = [
    "WRITES",
    "CancelSession",
    "ClaimRefunds",
    "CloseAlarm",
    "ConfirmPayment",
    "ConfirmTariff",
    "CreateSession",
    "DecideHeld",
    "FailStart",
    "HoldSession",
    "KeepFact",
    "LoginFacts",
    "MovePayment",
    "MoveRefund",
    "MoveSession",
    "OpenAlarm",
    "OpenReview",
    "RecordResult",
    "RecordState",
    "RefundPayment",
    "ReserveSerials",
    "RetryRefund",
    "SaveDiscovered",
    "SaveLive",
    "SaveLogin",
    "SavePoint",
    "SaveSeen",
    "SettleRecord",
    "SettleSession",
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
    ReserveSerials: reserve_serials,
    CreateSession: create_sessions,
    MovePayment: move_payments,
    ConfirmPayment: confirm_payments,
    CancelSession: cancel_sessions,
    SaveLive: save_live,
    KeepFact: keep_facts,
    SavePoint: save_points,
    MoveSession: move_sessions,
    FailStart: fail_starts,
    HoldSession: hold_sessions,
    SettleSession: settle_sessions,
    SettleRecord: settle_records,
    DecideHeld: decide_held,
    RetryRefund: retry_refunds,
    RefundPayment: refund_payments,
    MoveRefund: move_refunds,
    ClaimRefunds: claim_refunds,
    OpenReview: open_reviews,
}
"""In the order in which the types of one batch are written: an alarm is opened before it is closed, and a
report later than a closing keeps it open, so that grouping by type never leaves a wrong alarm open. The
writes of a charge stand in the order of its life, for the same reason.
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
