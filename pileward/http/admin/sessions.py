"""Charges: list, one with its money, hold, decide."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.engine import ActorGone, Cell
from pileward.errors import ConflictError
from pileward.http.admin.common import PREFIX, Code, RowId, change, operator_of
from pileward.http.api import Api
from pileward.http.auth import who
from pileward.http.driver.showing import bill_rows, refund_shown
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery
from pileward.http.schemas.sessions import (
    Charge,
    ChargeBill,
    ChargeRow,
    ChartPoint,
    OutboxRow,
    PaymentShown,
    SettlementShown,
)
from pileward.http.words import SESSION_STATES, start_failure_words, stop_words
from pileward.messages.charging import Bill, PaymentRow, RefundRow, SessionRow, SessionState
from pileward.messages.charging_writes import DecideHeld, Decision, HoldSession
from pileward.messages.commands import Command, Outcome
from pileward.messages.sessions import DecideSession, RefundsWaiting, StopSession
from pileward.services import sessions
from pileward.services.audit import note
from pileward.services.ledger import entries_of
from pileward.services.reviews import reviews_of
from pileward.services.session_points import points_of
from pileward.services.settlement import SettlementView, decide_held, settlements_of
from pileward.values import ResultStatus

api = Api(PREFIX, tag="充电订单 / charges")

COMMAND_S: Final = 10.0
"""Real seconds; the answer comes as soon as the step is durable."""

Serial = Annotated[str, Meta(pattern="^[0-9]{20}$", description="交易流水号 / serial")]
StateWord = Annotated[
    str,
    Meta(
        pattern=f"^({'|'.join(state.word for state in SessionState)})$",
        description="订单状态 / state of the charge",
    ),
]
Note = Annotated[str, Meta(max_length=200)]


class SerialPath(msgspec.Struct, frozen=True):
    """A charge by its serial."""

    serial: Serial


class ChargesQuery(PageQuery, frozen=True, kw_only=True):
    """Which charges; conditions that are left out do not narrow."""

    state: StateWord | None = None
    station_id: RowId | None = None
    pile_code: Code | None = None
    driver_id: RowId | None = None
    is_held: Annotated[bool, Meta(description="待人工处理 / held for a person")] | None = None


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person decides: accept the bill, never more than was prepaid, or nothing is charged."""

    decision: Decision
    note: Note = ""


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=40)]


@api.get("/sessions", summary="充电订单列表 / list charges")
async def list_charges(request: web.Request, query: ChargesQuery) -> Page[ChargeRow]:
    """Charges of all drivers, newest first."""
    found = await sessions.list_sessions(
        operator_of(request),
        station_id=query.station_id,
        pile_code=query.pile_code,
        driver_id=query.driver_id,
        state=None if query.state is None else SessionState.of(query.state),
        is_held=query.is_held,
        cursor=query.cursor,
        limit=query.limit,
    )
    return Page([charge_row(row) for row in found.items], found.next_cursor)


@api.get("/sessions/{serial}", summary="一个充电订单 / one charge")
async def get_charge(request: web.Request, path: SerialPath) -> Charge:
    """One charge with its payments, refunds, settlements and ledger entries."""
    row = await sessions.session_by_serial(path.serial, operator_id=operator_of(request))
    return await charge_of(request, row)


@api.post(
    "/sessions/{serial}/decide", summary="裁定待处理订单 / decide a held charge", problems=(409, 503, 504)
)
async def decide_charge(request: web.Request, path: SerialPath, body: Verdict) -> Charge:
    """End the hold of a charge; what the decision leaves over goes back by itself."""
    row = await sessions.session_by_serial(path.serial, operator_id=operator_of(request))
    if not row.is_held:
        raise _not_held(row)
    by = who(request)
    outcome = None
    if row.state is SessionState.DISPUTED:
        command = DecideSession(row.serial, body.decision.value, by.actor, body.note)
        outcome = await _ask(request, row, command)
    if outcome is not None and outcome.status is not ResultStatus.ACCEPTED:
        raise ConflictError(outcome.reason, *_both(outcome.detail or outcome.reason))
    async with change(request) as person:
        if outcome is None:  # no actor lives that this would concern
            write = DecideHeld(row.serial, body.decision, person.actor, person.at, body.note)
            await decide_held(request.app[NODE].database.connection, [write])
        await note(person, "session.decide", "session", row.serial, charge_row(row), body)
    wake_refunds(request)
    return await charge_of(request, await sessions.session_by_serial(row.serial))


@api.post("/sessions/{serial}/stop", summary="停止充电 / stop a charge", problems=(409, 503, 504))
async def stop_charge(request: web.Request, path: SerialPath) -> Charge:
    """Stop a running charge on the operator's behalf; it is billed and the rest goes back as always."""
    row = await sessions.session_by_serial(path.serial, operator_id=operator_of(request))
    outcome = await _ask(request, row, StopSession(row.serial, None, "operator"))
    if outcome is None:
        raise ConflictError("not_charging", "当前没有在充电", f"the charge is {row.state.word}")
    if outcome.status is not ResultStatus.ACCEPTED:
        raise ConflictError(outcome.reason, *_both(outcome.detail or outcome.reason))
    async with change(request) as person:
        await note(person, "session.stop", "session", row.serial, charge_row(row), None)
    return await charge_of(request, await sessions.session_by_serial(row.serial))


@api.get("/sessions/{serial}/points", summary="充电曲线 / chart of a charge")
async def list_points(request: web.Request, path: SerialPath) -> list[ChartPoint]:
    """What the vehicle asked for and got, oldest first; kept for 30 days."""
    row = await sessions.session_by_serial(path.serial, operator_id=operator_of(request))
    return [msgspec.convert(point, ChartPoint, from_attributes=True) for point in await points_of(row.serial)]


@api.post("/sessions/{serial}/hold", summary="冻结订单 / hold a charge")
async def hold_charge(request: web.Request, path: SerialPath, body: Reason) -> Charge:
    """Freeze what would happen by itself: refunds not yet sent wait until somebody decides."""
    row = await sessions.session_by_serial(path.serial, operator_id=operator_of(request))
    async with change(request) as person:
        connection = request.app[NODE].database.connection
        await sessions.hold_sessions(connection, [HoldSession(row.serial, body.reason, person.at)])
        await note(person, "session.hold", "session", row.serial, charge_row(row), body)
    return await charge_of(request, await sessions.session_by_serial(row.serial))


def wake_refunds(request: web.Request) -> None:
    """Something may stand in the outbox: tell the worker, after the commit."""
    node = request.app[NODE]
    node.engine.tell(node.refunds, RefundsWaiting())


async def charge_of(request: web.Request, row: SessionRow) -> Charge:
    """One charge whole."""
    connection = request.app[NODE].database.connection
    payments = await sessions.payments_of(connection, row.serial)
    refunds = await sessions.refunds_of(connection, row.serial)
    settled = await settlements_of(connection, row.serial)
    stop_zh, stop_en = stop_words(row) or ("", "")
    failure_zh, failure_en = start_failure_words(row) or ("", "")
    return Charge(
        row=charge_row(row),
        protocol=row.protocol,
        wire_number=row.wire_number,
        limit=row.limit,
        billing_model_no=row.tariff.billing_model_no,
        stop_code=row.stop_code,
        stop_zh=stop_zh,
        stop_en=stop_en,
        failure_zh=failure_zh,
        failure_en=failure_en,
        deadline_at=row.deadline_at,
        deadline_kind=row.deadline_kind,
        soc_pct=row.soc_pct,
        live_at=row.live_at,
        bill=_bill(row.bill) if row.bill is not None else None,
        payments=[_payment(payment) for payment in payments],
        refunds=[outbox_row(refund) for refund in refunds],
        settlements=[_settlement(view) for view in settled],
        entries=await entries_of(row.serial),
        reviews=await reviews_of(row.serial),
        record_id=row.record_id,
    )


def charge_row(row: SessionRow) -> ChargeRow:
    """A charge in a list."""
    zh, en = SESSION_STATES[row.state]
    return ChargeRow(
        serial=row.serial,
        state=row.state.word,
        state_zh=zh,
        state_en=en,
        driver_id=row.driver_id,
        station_id=row.station_id,
        pile_code=row.pile_code,
        gun_no=row.gun_no,
        requested_at=row.requested_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        closed_at=row.closed_at,
        prepaid_fen=row.prepaid_fen,
        paid_fen=row.paid_fen,
        energy_e4_kwh=row.energy_e4_kwh,
        total_fen=row.bill.total_fen if row.bill is not None else None,
        refund_fen=row.refund_fen,
        debt_fen=row.debt_fen,
        excess_fen=row.excess_fen,
        start_failure=row.start_failure,
        stop_reason=row.stop_reason,
        is_provisional=row.is_provisional,
        is_held=row.is_held,
        held_reason=row.held_reason,
    )


def outbox_row(refund: RefundRow) -> OutboxRow:
    """A refund as staff see it."""
    return OutboxRow(
        **msgspec.structs.asdict(refund_shown(refund)),
        serial=refund.serial,
        out_trade_no=refund.out_trade_no,
        step=refund.step.value,
        attempts=refund.attempts,
        next_attempt_at=refund.next_attempt_at,
        refund_id=refund.refund_id,
        replaces=refund.replaces,
        error=refund.error,
    )


async def _ask(request: web.Request, row: SessionRow, command: Command) -> Outcome | None:
    """What the charge's actor makes of a command; None where there is none any more."""
    node = request.app[NODE]
    address = node.fleet.address_of(row.pile_code)
    if address is None:
        return None
    cell: Cell = node.engine.local(address)
    try:
        answer: Any = await node.engine.ask_async(cell, command, COMMAND_S)
    except ActorGone:
        return None
    assert isinstance(answer, Outcome), answer
    return None if answer.reason == "unknown_session" else answer


def _not_held(row: SessionRow) -> ConflictError:
    state = row.state.word
    return ConflictError("not_held", "订单没有待处理事项", f"the charge is {state} and not held for a person")


def _both(text: str) -> tuple[str, str]:
    zh, _, en = text.partition(" / ")
    return zh, en or zh


def _bill(bill: Bill) -> ChargeBill:
    return ChargeBill(
        total_fen=bill.total_fen,
        electricity_fen=bill.electricity_fen,
        service_fen=bill.service_fen,
        energy_e4_kwh=bill.energy_e4_kwh,
        lines=bill_rows(bill),
        pile_amount_e4_yuan=bill.pile_amount_e4_yuan,
        differs=bill.differs,
    )


def _payment(payment: PaymentRow) -> PaymentShown:
    return PaymentShown(
        out_trade_no=payment.out_trade_no,
        channel=payment.channel,
        merchant=payment.merchant,
        fen=payment.fen,
        step=payment.step.value,
        verdict=payment.verdict.value if payment.verdict is not None else None,
        transaction_id=payment.transaction_id,
        paid_fen=payment.paid_fen,
        paid_at=payment.paid_at,
        refunded_fen=payment.refunded_fen,
        expires_at=payment.expires_at,
        next_query_at=payment.next_query_at,
        error=payment.error,
    )


def _settlement(view: SettlementView) -> SettlementShown:
    settled = view.result
    return SettlementShown(
        record_id=view.record_id,
        actor=view.actor,
        at=view.at,
        state=settled.state.word,
        total_fen=settled.bill.total_fen if settled.bill is not None else None,
        refund_fen=settled.refund_fen,
        debt_fen=settled.debt_fen,
        excess_fen=settled.excess_fen,
        is_held=settled.is_held,
        is_provisional=settled.is_provisional,
        reason=settled.reason,
        warnings=list(settled.warnings),
    )
