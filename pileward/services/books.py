"""The unit of work of money: charges with their payments and refunds, changed in memory, written at once.

A bulk function opens the books of all charges that its writes name, applies the writes one after another to
structs, and writes what has changed in a handful of bulk statements. Rules are then plain code on values, and
several writes about one charge in one batch see each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging import (
    ACTIVE,
    OVER,
    PaymentRow,
    RefundCause,
    RefundRow,
    RefundStep,
    ReviewKind,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import OpenReview
from pileward.services import charge_rows as rows
from pileward.services.ledger import Movement, channel_account, post, prepaid_account, transit_account
from pileward.services.reviews import open_reviews
from pileward.services.serials import refund_no
from pileward.services.sql import among, execute_many, for_update, listed, select

REFUNDS_MAX: Final = 50
"""Partial refunds that WeChat Pay allows for one payment."""
REFUND_SPACING: Final = timedelta(seconds=61)
"""Between two refunds of one payment: at least a minute."""
REFUND_WINDOW: Final = timedelta(days=365)
"""A payment can be refunded for so long."""

_SESSIONS = f"SELECT {', '.join(rows.SESSION_COLUMNS)} FROM charging_session WHERE {{among}} ORDER BY serial"  # noqa: S608
_PAYMENTS = f"SELECT {', '.join(rows.PAYMENT_COLUMNS)} FROM payment WHERE {{among}} ORDER BY id"  # noqa: S608
_REFUNDS = f"SELECT {', '.join(rows.REFUND_COLUMNS)} FROM refund WHERE {{among}} ORDER BY id"  # noqa: S608
_TAKE = "INSERT INTO open_order (key, serial) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"


class Books:
    """Some charges and the money that moved for them."""

    def __init__(self, connection: BaseDBAsyncClient) -> None:
        self.connection = connection
        self.sessions: dict[str, SessionRow] = {}
        self.payments: dict[str, PaymentRow] = {}
        self.refunds: dict[str, RefundRow] = {}
        self.movements: list[Movement] = []
        self.reviews: list[OpenReview] = []
        self._payments_of: dict[str, list[str]] = defaultdict(list)
        self._refunds_of: dict[str, list[str]] = defaultdict(list)
        self._before: dict[str, Any] = {}

    @classmethod
    async def open(cls, connection: BaseDBAsyncClient, serials: Iterable[str]) -> Books:
        """Load charges with their payments and refunds; unknown serials are not there."""
        books = cls(connection)
        wanted = listed(connection, sorted(set(serials)))
        condition = {"among": among(connection, "serial")}
        for columns in await select(
            connection, _SESSIONS.format(**condition) + for_update(connection), wanted
        ):
            session = rows.session_row(columns)
            books.sessions[session.serial] = session
            books._before[session.serial] = session
        if not books.sessions:
            return books
        for columns in await select(connection, _PAYMENTS.format(**condition), wanted):
            payment = rows.payment_row(columns)
            books.payments[payment.out_trade_no] = payment
            books._payments_of[payment.serial].append(payment.out_trade_no)
            books._before[payment.out_trade_no] = payment
        for columns in await select(connection, _REFUNDS.format(**condition), wanted):
            refund = rows.refund_row(columns)
            books.refunds[refund.out_refund_no] = refund
            books._refunds_of[refund.serial].append(refund.out_refund_no)
            books._before[refund.out_refund_no] = refund
        return books

    # --- what is there ------------------------------------------------------------------------------------

    def payments_of(self, serial: str) -> list[PaymentRow]:
        """Payments of a charge, oldest first."""
        return [self.payments[number] for number in self._payments_of[serial]]

    def refunds_of(self, serial: str) -> list[RefundRow]:
        """Refunds of a charge, oldest first."""
        return [self.refunds[number] for number in self._refunds_of[serial]]

    def funding(self, session: SessionRow) -> PaymentRow | None:
        """The payment that funds a charge; None while it is not paid, or paid by no provider."""
        payment = self.payments.get(session.out_trade_no)
        return payment if payment is not None and session.paid_fen else None

    def left_fen(self, session: SessionRow) -> int:
        """What was paid for a charge and is neither back nor on its way back."""
        payment = self.funding(session)
        return session.paid_fen - (payment.refunded_fen if payment is not None else 0)

    # --- what happens -------------------------------------------------------------------------------------

    def change(self, session: SessionRow, **changes: Any) -> SessionRow:
        """A session with other values."""
        changed = replace(session, **changes)
        self.sessions[session.serial] = changed
        return changed

    def change_payment(self, payment: PaymentRow, **changes: Any) -> PaymentRow:
        """A payment with other values."""
        changed = replace(payment, **changes)
        self.payments[payment.out_trade_no] = changed
        return changed

    def change_refund(self, refund: RefundRow, **changes: Any) -> RefundRow:
        """A refund with other values."""
        changed = replace(refund, **changes)
        self.refunds[refund.out_refund_no] = changed
        return changed

    def move(self, session: SessionRow, state: SessionState, at: datetime, **changes: Any) -> SessionRow:
        """A session in another state; its deadline ends with the state unless a new one is given."""
        if state is not session.state:
            changes = {"deadline_at": None, "deadline_kind": "", **changes}
            if state in OVER:
                changes.setdefault("closed_at", at)
        return self.change(session, state=state, **changes)

    def enter(self, key: str, debit: str, credit: str, fen: int, session: SessionRow, at: datetime) -> None:
        """Move money for a charge; 0 fen is no movement."""
        if fen:
            self.movements.append(Movement(key, debit, credit, fen, at, session.serial))

    def review(self, kind: ReviewKind, session: SessionRow, reason: str, at: datetime, **more: Any) -> None:
        """Put a charge before a person."""
        self.reviews.append(
            OpenReview(kind, reason, at, serial=session.serial, operator_id=session.operator_id, **more)
        )

    def refund(
        self,
        payment: PaymentRow,
        fen: int,
        cause: RefundCause,
        at: datetime,
        replaces: str = "",
        is_frozen: bool = False,
    ) -> RefundRow:
        """Put money on its way back: a row in the outbox, and the ledger, from `prepaid:` to `transit:`.

        Keeps the provider's rules: never more than was paid, a minute between two, not too many, not too
        late; what the provider would refuse goes to a person. A frozen one waits until it is released.
        """
        assert 0 < fen <= payment.paid_fen - payment.refunded_fen, (payment, fen)
        number = 1 + max((refund.number for refund in self.refunds_of(payment.serial)), default=0)
        due = at
        if payment.last_refund_at is not None:
            due = max(at, payment.last_refund_at + REFUND_SPACING)
        problem = ""
        if payment.refund_count >= REFUNDS_MAX:
            problem = "too_many_refunds"
        elif payment.paid_at is not None and at - payment.paid_at > REFUND_WINDOW:
            problem = "payment_too_old"
        row = RefundRow(
            out_refund_no=refund_no(payment.serial, number),
            out_trade_no=payment.out_trade_no,
            serial=payment.serial,
            operator_id=payment.operator_id,
            channel=payment.channel,
            merchant=payment.merchant,
            number=number,
            fen=fen,
            total_fen=payment.paid_fen,
            cause=cause,
            created_at=at,
            step=RefundStep.MANUAL if problem else RefundStep.NEW,
            next_attempt_at=None if problem or is_frozen else due,
            error=problem,
            replaces=replaces,
        )
        self.refunds[row.out_refund_no] = row
        self._refunds_of[row.serial].append(row.out_refund_no)
        self.change_payment(
            payment,
            refunded_fen=payment.refunded_fen + fen,
            refund_count=payment.refund_count + 1,
            last_refund_at=due,
        )
        session = self.sessions[payment.serial]
        transit = transit_account(payment.channel, payment.merchant)
        key = f"refund:{payment.serial}:{number}:transit"
        self.enter(key, prepaid_account(payment.driver_id), transit, fen, session, at)
        if problem:
            self.review(ReviewKind.REFUND_STUCK, session, problem, at, about=row.out_refund_no)
        return row

    def refunded(self, refund: RefundRow, at: datetime) -> None:
        """The money of a refund has left the provider."""
        transit = transit_account(refund.channel, refund.merchant)
        key = f"refunded:{refund.serial}:{refund.number}:channel"
        channel = channel_account(refund.channel, refund.merchant)
        self.enter(key, transit, channel, refund.fen, self.sessions[refund.serial], at)

    def returned(self, refund: RefundRow, at: datetime) -> PaymentRow:
        """A refund came to nothing: its money is the driver's prepaid money again."""
        payment = self.payments[refund.out_trade_no]
        transit = transit_account(refund.channel, refund.merchant)
        key = f"reopened:{refund.serial}:{refund.number}:prepaid"
        prepaid = prepaid_account(payment.driver_id)
        self.enter(key, transit, prepaid, refund.fen, self.sessions[refund.serial], at)
        return self.change_payment(payment, refunded_fen=payment.refunded_fen - refund.fen)

    # --- writing it ---------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Write all that has changed."""
        await self._update("charging_session", "serial", self.sessions)
        await self._update("payment", "out_trade_no", self.payments)
        await self._update("refund", "out_refund_no", self.refunds)
        new = [refund for number, refund in self.refunds.items() if number not in self._before]
        await insert(self.connection, "refund", [rows.refund_columns(refund) for refund in new])
        await post(self.connection, self.movements)
        await open_reviews(self.connection, self.reviews)
        await self._guard()

    async def _update(self, table: str, key: str, current: Mapping[str, rows.Row]) -> None:
        groups: dict[tuple[str, ...], list[list[Any]]] = defaultdict(list)
        for name, row in current.items():
            before = self._before.get(name)
            if before is not None and before is not row and (columns := rows.changed_columns(before, row)):
                groups[tuple(columns)].append([*columns.values(), name])
        for changed, values in groups.items():
            settings = ", ".join(f"{column} = ?" for column in changed)
            await execute_many(self.connection, f"UPDATE {table} SET {settings} WHERE {key} = ?", values)  # noqa: S608

    async def _guard(self) -> None:
        """Free gun and driver of what is no longer active; what is active again takes what is free."""
        freed, taken = [], []
        for serial, session in self.sessions.items():
            was_active = self._before[serial].state in ACTIVE
            if was_active and session.state not in ACTIVE:
                freed.append([serial])
            elif session.state in ACTIVE and not was_active:
                taken += [[key, serial] for key in guard_keys(session)]
        await execute_many(self.connection, "DELETE FROM open_order WHERE serial = ?", freed)
        await execute_many(self.connection, _TAKE, taken)


def guard_keys(session: SessionRow) -> list[str]:
    """What an active order occupies."""
    keys = [f"gun:{session.pile_code}/{session.gun_no}"]
    if session.driver_id is not None:
        keys.append(f"driver:{session.driver_id}")
    return keys


async def insert(connection: BaseDBAsyncClient, table: str, values: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    if values:
        names = list(values[0])
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        await execute_many(connection, statement, [[row[name] for name in names] for row in values])
