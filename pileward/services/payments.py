"""Payments of orders: what the provider says of them, verified, and what that means for the order.

Money that arrived is booked in every case, from `channel:` to `prepaid:`; then it funds its order, or goes
back whole, or waits for a person. Notification and query may come both, in any order, any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import (
    PaymentRow,
    PaymentStep,
    PaymentVerdict,
    RefundCause,
    RefundRow,
    ReviewKind,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import (
    ConfirmPayment,
    MovePayment,
    OpenReview,
    PaymentConfirmed,
    PaymentMoved,
    RefundPayment,
)
from pileward.services import charge_rows as rows
from pileward.services.books import Books
from pileward.services.ledger import channel_account, prepaid_account
from pileward.services.reviews import open_reviews
from pileward.services.sql import among, execute_many, listed, select, utc

_SERIALS = "SELECT out_trade_no, serial FROM payment WHERE {among}"
_TRANSACTIONS = "SELECT transaction_id, out_trade_no FROM payment WHERE {among}"
_NOTED = """
INSERT INTO payment_notification (notification_id, about, received_at) VALUES (?, ?, ?)
ON CONFLICT (notification_id) DO NOTHING
"""
_ONE = f"SELECT {', '.join(rows.PAYMENT_COLUMNS)} FROM payment WHERE out_trade_no = ?"  # noqa: S608
_DUE = f"""
SELECT {", ".join(rows.PAYMENT_COLUMNS)} FROM payment WHERE next_query_at <= ? ORDER BY next_query_at LIMIT ?
"""  # noqa: S608


async def confirm_payments(
    connection: BaseDBAsyncClient, writes: Sequence[ConfirmPayment]
) -> list[PaymentConfirmed]:
    """Bulk form of ConfirmPayment."""
    books = await _books(connection, [write.out_trade_no for write in writes])
    query = _TRANSACTIONS.format(among=among(connection, "transaction_id"))
    ids = listed(connection, sorted({write.transaction_id for write in writes}))
    known = {row["transaction_id"]: row["out_trade_no"] for row in await select(connection, query, ids)}
    results = []
    unknown: list[OpenReview] = []
    for write in writes:
        owner = known.setdefault(write.transaction_id, write.out_trade_no)
        payment = books.payments.get(write.out_trade_no)
        if payment is None or owner != write.out_trade_no:
            reason = "no_such_order" if payment is None else f"transaction_of:{owner}"
            unknown.append(OpenReview(ReviewKind.PAYMENT_UNKNOWN, reason, write.at, about=write.out_trade_no))
            results.append(PaymentConfirmed("", False, PaymentVerdict.UNKNOWN, None, reason=reason))
        else:
            results.append(_confirm(books, payment, write))
    await books.write()
    await open_reviews(connection, unknown)
    await note_notifications(
        connection, [(write.notification_id, write.out_trade_no, write.at) for write in writes]
    )
    return results


def _confirm(books: Books, payment: PaymentRow, write: ConfirmPayment) -> PaymentConfirmed:
    session = books.sessions[payment.serial]
    if payment.verdict is not None:
        return _repeated(books, session, payment, write)
    verdict, reason = _verdict(session, payment, write)
    payment = books.change_payment(
        payment,
        step=PaymentStep.PAID,
        verdict=verdict,
        transaction_id=write.transaction_id,
        paid_fen=write.fen,
        paid_at=write.paid_at,
        confirmed_at=write.at,
        next_query_at=None,
        error=reason,
    )
    number = payment.out_trade_no.rpartition("-")[2]
    channel = channel_account(payment.channel, payment.merchant)
    key = f"pay:{payment.serial}:{number}:prepaid"
    books.enter(key, channel, prepaid_account(payment.driver_id), write.fen, session, write.at)
    refund: RefundRow | None = None
    if verdict is PaymentVerdict.PAID:
        funded = {"paid_fen": write.fen, "out_trade_no": payment.out_trade_no, "funded_at": write.at}
        session = books.move(session, SessionState.FUNDED, write.at, **funded)
    elif verdict is PaymentVerdict.MISMATCH:
        books.review(ReviewKind.PAYMENT_MISMATCH, session, reason, write.at, about=payment.out_trade_no)
        if session.state is SessionState.CREATED:
            session = books.move(
                session,
                SessionState.DISPUTED,
                write.at,
                paid_fen=write.fen,
                out_trade_no=payment.out_trade_no,
                is_held=True,
                held_reason="payment_mismatch",
            )
    else:
        cause = RefundCause.LATE_PAYMENT
        if verdict is PaymentVerdict.DUPLICATE:
            cause = RefundCause.DUPLICATE_PAYMENT
        refund = books.refund(payment, write.fen, cause, write.at)
    refund_no = None if refund is None else refund.out_refund_no
    return PaymentConfirmed(session.serial, True, verdict, session.state, refund_no, reason)


def _verdict(session: SessionRow, payment: PaymentRow, write: ConfirmPayment) -> tuple[PaymentVerdict, str]:
    assert write.fen > 0, write
    if write.fen != payment.fen:
        return PaymentVerdict.MISMATCH, f"amount:{write.fen}:{payment.fen}"
    if payment.openid and write.openid != payment.openid:
        return PaymentVerdict.MISMATCH, "payer"
    if session.state is SessionState.CREATED:
        return PaymentVerdict.PAID, ""
    if session.paid_fen:
        return PaymentVerdict.DUPLICATE, f"funded_by:{session.out_trade_no}"
    return PaymentVerdict.LATE, f"order_is:{session.state.word}"


def _repeated(
    books: Books, session: SessionRow, payment: PaymentRow, write: ConfirmPayment
) -> PaymentConfirmed:
    assert payment.verdict is not None
    reason = ""
    if (write.transaction_id, write.fen) != (payment.transaction_id, payment.paid_fen):
        # one order paid by two transactions, or by two amounts: providers promise that this never happens
        reason = f"differs_from_first:{write.transaction_id}:{write.fen}"
        books.review(ReviewKind.PAYMENT_MISMATCH, session, reason, write.at, about=payment.out_trade_no)
    back = [row for row in books.refunds_of(session.serial) if row.out_trade_no == payment.out_trade_no]
    goes_back = payment.verdict in (PaymentVerdict.LATE, PaymentVerdict.DUPLICATE) and back
    return PaymentConfirmed(
        serial=session.serial,
        is_first=False,
        verdict=payment.verdict,
        session_state=session.state,
        out_refund_no=back[0].out_refund_no if goes_back else None,
        reason=reason,
    )


async def move_payments(connection: BaseDBAsyncClient, writes: Sequence[MovePayment]) -> list[PaymentMoved]:
    """Bulk form of MovePayment; what is paid is paid."""
    books = await _books(connection, [write.out_trade_no for write in writes])
    results = []
    for write in writes:
        assert write.step is not PaymentStep.PAID, "ConfirmPayment does that"
        payment = books.payments.get(write.out_trade_no)
        if payment is None or payment.verdict is not None:
            results.append(PaymentMoved(is_done=False, step=None if payment is None else payment.step))
            continue
        books.change_payment(
            payment,
            step=write.step,
            prepay_id=write.prepay_id or payment.prepay_id,
            error=write.error[:200],
            next_query_at=write.next_query_at,
            queries=payment.queries + 1,
        )
        results.append(PaymentMoved(is_done=True, step=write.step))
    await books.write()
    return results


async def refund_payments(
    connection: BaseDBAsyncClient, writes: Sequence[RefundPayment]
) -> list[RefundRow | None]:
    """Bulk form of RefundPayment; the payment that funds a charge is refunded by its settlement alone."""
    books = await _books(connection, [write.out_trade_no for write in writes])
    results: list[RefundRow | None] = []
    for write in writes:
        payment = books.payments.get(write.out_trade_no)
        left = 0 if payment is None else payment.paid_fen - payment.refunded_fen
        if payment is None or not left or books.funding(books.sessions[payment.serial]) is payment:
            results.append(None)
        else:
            results.append(books.refund(payment, left, RefundCause.DECISION, write.at))
    await books.write()
    return results


async def payment_by_number(connection: BaseDBAsyncClient, out_trade_no: str) -> PaymentRow:
    """One payment; raises NotFoundError."""
    found = await select(connection, _ONE, out_trade_no)
    if not found:
        raise NotFoundError("payment_not_found", "没有这笔支付", f"payment {out_trade_no} does not exist")
    return rows.payment_row(found[0])


async def payments_due(connection: BaseDBAsyncClient, now: datetime, limit: int = 100) -> list[PaymentRow]:
    """Payments that the provider should be asked about, longest due first."""
    return [rows.payment_row(columns) for columns in await select(connection, _DUE, utc(now), limit)]


async def is_known_notification(connection: BaseDBAsyncClient, notification_id: str) -> bool:
    """Whether a notification was taken before: a replay."""
    query = "SELECT 1 AS one FROM payment_notification WHERE notification_id = ?"
    return bool(await select(connection, query, notification_id))


async def note_notifications(
    connection: BaseDBAsyncClient, seen: Sequence[tuple[str | None, str, datetime]]
) -> None:
    """Keep (id, what it was about, when) of notifications that were believed; None: it was a query."""
    values = [[number[:64], about[:64], utc(at)] for number, about, at in seen if number is not None]
    await execute_many(connection, _NOTED, values)


async def _books(connection: BaseDBAsyncClient, numbers: Sequence[str]) -> Books:
    query = _SERIALS.format(among=among(connection, "out_trade_no"))
    found = await select(connection, query, listed(connection, sorted(set(numbers))))
    return await Books.open(connection, (row["serial"] for row in found))
