"""Money on its way, as whoever watches it needs it: what is open, for how long, and when something is due.

Reads of a few indexed rows, cheap enough to be repeated all day. Nothing here changes anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging import PaymentStep, RefundStep, SessionState
from pileward.services.sql import moment, select

OPEN_REFUNDS: Final = tuple(
    step for step in RefundStep if step not in (RefundStep.SUCCEEDED, RefundStep.CLOSED)
)
"""Steps of refunds whose money is in transit."""


class Whereabouts(msgspec.Struct, frozen=True):
    """Which pile a charge belongs to, and how far it is."""

    pile_code: str
    state: SessionState


class RefundsOpen(msgspec.Struct, frozen=True):
    """The refunds that are not over."""

    count: dict[str, int]
    """By step."""
    fen: int
    """In transit: decided, not yet back."""
    oldest_at: datetime | None
    """When the oldest of those was made that should have been asked for; None: there is none."""
    next_at: datetime | None
    """When something is to be done next."""


class PaymentsOpen(msgspec.Struct, frozen=True):
    """The payments that the provider is asked about."""

    count: dict[str, int]
    """By step."""
    next_at: datetime | None
    """When the next question is due."""


_WHEREABOUTS = "SELECT pile_code, state FROM charging_session WHERE serial = ?"
_REFUNDS = f"""
SELECT step, COUNT(*) AS number, SUM(fen) AS fen FROM refund
WHERE step IN ({", ".join("?" * len(OPEN_REFUNDS))}) GROUP BY step
"""  # noqa: S608
_OLDEST = """
SELECT MIN(created_at) AS at FROM refund
WHERE step IN ('new', 'submitted') AND next_attempt_at IS NOT NULL
"""
_NEXT_REFUND = "SELECT MIN(next_attempt_at) AS at FROM refund"
_PAYMENTS = "SELECT step, COUNT(*) AS number FROM payment WHERE next_query_at IS NOT NULL GROUP BY step"
_NEXT_PAYMENT = "SELECT MIN(next_query_at) AS at FROM payment"


async def whereabouts(connection: BaseDBAsyncClient, serial: str) -> Whereabouts | None:
    """Pile and state of a charge; None: there is no such charge."""
    found = await select(connection, _WHEREABOUTS, serial)
    return Whereabouts(found[0]["pile_code"], SessionState.of(found[0]["state"])) if found else None


async def refunds_open(connection: BaseDBAsyncClient) -> RefundsOpen:
    """What is in the outbox, and what is on its way."""
    found = await select(connection, _REFUNDS, *(str(step) for step in OPEN_REFUNDS))
    count = {str(step): 0 for step in OPEN_REFUNDS}
    count.update({row["step"]: int(row["number"]) for row in found})
    return RefundsOpen(
        count=count,
        fen=sum(int(row["fen"]) for row in found),
        oldest_at=await _at(connection, _OLDEST),
        next_at=await _at(connection, _NEXT_REFUND),
    )


async def payments_open(connection: BaseDBAsyncClient) -> PaymentsOpen:
    """What drivers may still pay."""
    found = await select(connection, _PAYMENTS)
    count = {str(step): 0 for step in (PaymentStep.NEW, PaymentStep.WAITING)}
    count.update({row["step"]: int(row["number"]) for row in found})
    return PaymentsOpen(count, await _at(connection, _NEXT_PAYMENT))


async def _at(connection: BaseDBAsyncClient, query: str) -> datetime | None:
    return moment((await select(connection, query))[0]["at"])
