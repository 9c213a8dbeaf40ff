"""What the inside asks of the outside: small Protocol classes, each with the few methods its users call.

A port knows no driver, no URL and no thread. Everything here is used from the event loop's thread only. The
parts are built once by the command line and handed over; nobody looks one up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol, Self, runtime_checkable

from pileward.messages.payments import (
    Bill,
    BillNotReady,
    Failure,
    Login,
    NoBill,
    Notification,
    Payment,
    PaymentClosed,
    PayParams,
    Prepay,
    PrepayOrder,
    Refund,
    RefundOrder,
)

GUN_TOPIC = "gun"
"""State changes and live values of guns, JSON."""
PILE_TOPIC = "pile"
"""State changes of piles, JSON."""
ALARM_TOPIC = "alarm"
"""Alarms raised and cleared, JSON."""


def session_topic(serial: str) -> str:
    """Name the topic that carries the live values of one charge."""
    return f"session:{serial}"


DEFAULT_QUEUE = 256
"""Events that wait for one slow subscriber before the oldest is dropped."""


def tail_topic(pile_code: str) -> str:
    """Name the topic that carries the frames of one watched pile."""
    return f"tail:{pile_code}"


class BusStats:
    """Plain counters of one bus; read when metrics are scraped, never reset."""

    __slots__ = (
        "delivered",
        "dropped",
        "interruptions",
        "lagged",
        "published",
        "refused",
        "subscribers",
        "up",
    )

    def __init__(self) -> None:
        self.published = 0
        """Events taken for somebody; what nobody listens to is not counted."""
        self.delivered = 0
        """Events put before subscribers of this process."""
        self.lagged = 0
        """Events lost because a subscriber of this process was too slow."""
        self.dropped = 0
        """Events lost on the way out: the outgoing queue was full or the other side was gone."""
        self.interruptions = 0
        """Times the connection behind the bus was lost."""
        self.refused = 0
        """Rate-limited calls that were not allowed."""
        self.subscribers = 0
        """Subscriptions open now in this process."""
        self.up = True
        """False while the feed is paused because the other side is gone."""


class Subscription(Protocol):
    """One listener's bounded queue: `async with bus.subscribe(...) as events: async for topic, payload in
    events`.

    Entering waits until the subscription is in force (or the bus is known to be down, and then it comes into
    force when the bus is back). A subscriber that lags loses the oldest events and is told how many.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> tuple[str, bytes]:
        """Wait for the next event; stops the iteration when the subscription or the bus is closed."""
        ...

    def take_lost(self) -> int:
        """Events lost since this was last asked; an interruption of the bus counts as at least one."""
        ...


@runtime_checkable
class Bus(Protocol):
    """The live feed, the debug tail and the rate limits.

    What goes through it may be lost: it is for people who watch, never for records or money.
    """

    stats: BusStats

    async def start(self) -> None:
        """Begin; a bus whose other side is not there yet starts all the same and connects when it can."""
        ...

    async def close(self) -> None:
        """End all subscriptions and let go of connections; may be called twice."""
        ...

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody may be listening; ask before building a costly payload."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand an event to whoever listens; never blocks, never raises, costs next to nothing when nobody
        does.
        """
        ...

    def subscribe(self, *topics: str, limit: int = DEFAULT_QUEUE) -> Subscription:
        """Listen to topics with a queue of `limit` events of its own."""
        ...

    async def allow(self, key: str, rate_per_s: float, burst: int) -> bool:
        """Take one token from the bucket of `key`, which holds `burst` and refills at `rate_per_s`; real
        time.

        Never raises: when the shared bucket cannot be reached, one of this process decides.
        """
        ...


class Payments(Protocol):
    """A payment provider: money in, the rest back, and a bill of every day.

    Nothing here raises: each call ends, within its own deadline (real time), with one value of
    `pileward.messages.payments`. A call that moves money may end unknown; then query, or repeat it with the
    same number and the same content.
    """

    async def start(self) -> None:
        """Open connections; no call is possible before."""
        ...

    async def close(self) -> None:
        """Let go of connections; may be called twice."""
        ...

    async def create_prepay(self, order: PrepayOrder) -> Prepay | Failure:
        """Make an order payable; repeating an equal order gives a valid id again."""
        ...

    def pay_params(self, prepay_id: str) -> PayParams:
        """Sign what the mini-program needs to pay an order that is ready."""
        ...

    async def query_payment(self, out_trade_no: str) -> Payment | Failure:
        """Ask what became of an order; the only way to know when no notification came."""
        ...

    async def close_payment(self, out_trade_no: str) -> PaymentClosed | Failure:
        """Make an unpaid order unpayable; refused with `ORDER_PAID` when it was paid meanwhile."""
        ...

    async def refund(self, order: RefundOrder) -> Refund | Failure:
        """Return money of a payment; however often repeated, one number moves money once."""
        ...

    async def query_refund(self, out_refund_no: str) -> Refund | Failure:
        """Ask what became of a refund; `NotFound` means that it was never accepted."""
        ...

    async def download_bill(self, day: date) -> Bill | NoBill | BillNotReady | Failure:
        """Get the bill of one China day that has ended."""
        ...

    def parse_notification(self, headers: Mapping[str, str], raw: bytes) -> Notification | Failure:
        """Prove where a notification comes from, and read it; `raw` is the body as it arrived.

        `SignatureInvalid` and `Refused` are answered with 401 and 400, so that a genuine one is repeated.
        Whether the id is new, and whether the amount is right, is for the caller to see.
        """
        ...


class Logins(Protocol):
    """Who a driver is at the provider of the mini-program."""

    async def start(self) -> None:
        """Open connections; no call is possible before."""
        ...

    async def close(self) -> None:
        """Let go of connections; may be called twice."""
        ...

    async def login(self, code: str) -> Login | Failure:
        """Exchange the code of `wx.login`, good once and for five minutes, for the driver's identity."""
        ...
