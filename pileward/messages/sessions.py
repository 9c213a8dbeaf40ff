"""What edges and actors say to each other about a charge while it happens.

Edges ask the pile's actor (it owns its guns) or the payments actor; outcomes come back as `Outcome` or one of
the answers named here. Money and energy as in `charging`; times are aware UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pileward.messages.charging import PaymentRow, RefundStep, SessionRow, SessionState
from pileward.messages.charging_writes import PaymentConfirmed, RefundMoved
from pileward.messages.commands import Command

# --- asked of a pile actor ------------------------------------------------------------------------------


class ReserveGun(Command, frozen=True):
    """Take an order for a gun, before anything is paid.

    Answered with Reserved, OrderOpen (there is an open one of this driver or on this gun) or an Outcome:
    offline, or rejected with `unknown_gun`, `gun_fault`, `in_maintenance`, `tariff_pending`.
    """

    row: SessionRow
    payment: PaymentRow | None


class Reserved(msgspec.Struct, frozen=True):
    """The order is durable and its session actor lives."""

    serial: str


class StartSession(Command, frozen=True):
    """Start a funded order. Accepted: stored as starting and the start frame is written.

    Rejected: `not_funded`, `already_started`, `not_yours`, `unknown_session`, `gun_busy`, `gun_fault`,
    `tariff_pending`, `store_busy`.
    """

    serial: str
    driver_id: int | None
    """None: staff."""


class StopSession(Command, frozen=True):
    """Stop a charge. Accepted: the stop is on its way (repeating it is accepted too).

    Rejected: `not_charging`, `not_yours`, `unknown_session`.
    """

    serial: str
    driver_id: int | None
    reason: str = "user"
    """`user` or `operator`."""


class CancelOrder(Command, frozen=True):
    """Give up an order that does not charge yet; what was paid goes back.

    Rejected: `already_started`, `not_yours`, `unknown_session`.
    """

    serial: str
    driver_id: int | None


class DecideSession(Command, frozen=True):
    """A person ends the hold of a session that still has its actor; see `charging_writes.DecideHeld`."""

    serial: str
    decision: str
    actor: str
    note: str = ""


class DescribeSession(Command, frozen=True):
    """Ask for everything about one session: answered with SessionDescription, or `unknown_session`."""

    serial: str


class SessionDescription(msgspec.Struct, frozen=True):
    """State of one session as plain JSON-able data: row, live values, transitions, timers, BMS values."""

    data: dict[str, Any]


# --- asked of the payments actor ------------------------------------------------------------------------


class Prepay(msgspec.Struct, frozen=True):
    """Ask the provider for the means to pay a stored payment. Answered with PrepayReady or PrepayFailed.

    Repeating it gives the same order at the provider, with fresh parameters.
    """

    out_trade_no: str


class PrepayReady(msgspec.Struct, frozen=True):
    """What the mini-program hands to `wx.requestPayment`."""

    out_trade_no: str
    params: dict[str, str]


class PrepayFailed(msgspec.Struct, frozen=True):
    """The provider refused (`refused:<code>`), did not answer (`unknown`), or there is no such payment."""

    out_trade_no: str
    reason: str


class CheckPayment(msgspec.Struct, frozen=True):
    """The driver's app says that paying is over: ask the provider now. Answered with PaymentChecked."""

    out_trade_no: str


class PaymentChecked(msgspec.Struct, frozen=True):
    """What is known for certain now."""

    out_trade_no: str
    is_paid: bool
    session_state: SessionState | None


class ClosePayment(msgspec.Struct, frozen=True):
    """The order waits no longer: close it at the provider, unless it turns out to be paid."""

    out_trade_no: str


class NotificationReceived(msgspec.Struct, frozen=True):
    """A callback arrived: raw, as received. Answered with NotificationTaken once it is durable."""

    headers: dict[str, str]
    body: bytes


class NotificationTaken(msgspec.Struct, frozen=True):
    """Whether it was proven and stored; `reason` is for the log (`bad_signature`, `stale`, `replayed`, …).

    A repetition of one that was taken is taken again.
    """

    is_ok: bool
    reason: str = ""


# --- said to a pile actor about one of its sessions -----------------------------------------------------


class Funded(msgspec.Struct, frozen=True):
    """Money for an order arrived and is in the ledger."""

    serial: str
    confirmed: PaymentConfirmed


class PaymentOver(msgspec.Struct, frozen=True):
    """The payment of an order was closed unpaid."""

    serial: str
    out_trade_no: str


class RefundChanged(msgspec.Struct, frozen=True):
    """A refund of an order moved."""

    serial: str
    out_refund_no: str
    step: RefundStep
    moved: RefundMoved


# --- said to the refunds actor --------------------------------------------------------------------------


class RefundsWaiting(msgspec.Struct, frozen=True):
    """Something stands in the outbox: look now instead of at the next turn."""
