"""An order as its driver sees it: the durable row, laid under what its actor knows at this moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from aiohttp import web

from pileward.actors.engine import AskError
from pileward.actors.session_state import PAY_WITHIN_S
from pileward.http.driver.common import now_of, pile_actor
from pileward.http.driver.stations import gun_code
from pileward.http.node import NODE
from pileward.http.schemas.driver import (
    BillRow,
    BillShown,
    Live,
    RefundShown,
    SessionBrief,
    SessionShown,
)
from pileward.http.words import (
    REFUND_STAGES,
    SESSION_STATES,
    WAITING,
    start_failure_words,
    stop_words,
)
from pileward.messages.charging import OVER, Bill, RefundRow, RefundStep, SessionRow, SessionState
from pileward.messages.sessions import DescribeSession, SessionDescription
from pileward.services.day_prices import price_of
from pileward.services.nearby import StationName, station_names
from pileward.services.sessions import refunds_of
from pileward.values import RATE_NAMES_ZH, RatePrice, fen_half_up

DESCRIBE_S: Final = 2.0
"""Real seconds for an actor to say how its charge is; it needs microseconds."""

SEEN_LIVE: Final = frozenset(
    {
        SessionState.STARTING,
        SessionState.CHARGING,
        SessionState.STOPPING,
        SessionState.INTERRUPTED,
        SessionState.AWAITING_RECORD,
    }
)
"""States in which live values are worth showing; before there are none, afterwards there is a bill."""

_NEXT: Final = {
    SessionState.CREATED: "pay",
    SessionState.FUNDED: "start",
    SessionState.STARTING: "wait",
    SessionState.CHARGING: "stop",
    SessionState.STOPPING: "wait",
    SessionState.AWAITING_RECORD: "unplug",
    SessionState.SETTLING: "unplug",
    SessionState.REFUNDING: "unplug",
    SessionState.CLOSED: "nothing",
    SessionState.START_FAILED: "wait",
    SessionState.INTERRUPTED: "stop",
    SessionState.DISPUTED: "wait",
    SessionState.CANCELLED: "nothing",
}


class _Measured(msgspec.Struct):
    """What the pile last told of its gun."""

    voltage_mv: int | None = None
    current_ma: int | None = None
    remaining_s: int | None = None


class _Seen(msgspec.Struct):
    """What the actor of a session adds to its row. Unknown fields of its description are left alone."""

    state: str
    detail: str = ""
    is_pile_online: bool = True
    amount_fen: int = 0
    energy_e4_kwh: int = 0
    soc_pct: int | None = None
    live_at: datetime | None = None
    telemetry: _Measured | None = None


async def show(request: web.Request, row: SessionRow) -> SessionShown:
    """One order whole. States are those that are durable; live values come from the actor, if it lives."""
    node = request.app[NODE]
    seen = await _seen(request, row) if row.state not in OVER else None
    refunds = await refunds_of(node.database.connection, row.serial)
    names = (await station_names([row.station_id])).get(row.station_id, StationName())
    zh, en = SESSION_STATES[row.state]
    # what an actor waits for belongs to its state; one that is further on has not told anybody yet
    detail = seen.detail if seen is not None and seen.state == row.state.word else ""
    detail_zh, detail_en = WAITING.get(detail, ("", ""))
    failure_zh, failure_en = start_failure_words(row) or ("", "")
    stop_zh, stop_en = stop_words(row) or ("", "")
    is_unpaid = row.state is SessionState.CREATED
    return SessionShown(
        serial=row.serial,
        state=row.state.word,
        state_zh=zh,
        state_en=en,
        is_open=row.state not in OVER,
        next=_next(row.state, detail),
        detail=detail,
        detail_zh=detail_zh,
        detail_en=detail_en,
        station_id=row.station_id,
        station_zh=names.zh,
        station_en=names.en,
        phone=names.phone,
        gun_code=gun_code(row.pile_code, row.gun_no),
        pile_code=row.pile_code,
        gun_no=row.gun_no,
        limit=row.limit,
        prepaid_fen=row.prepaid_fen,
        paid_fen=row.paid_fen,
        pay_until=row.requested_at + timedelta(seconds=PAY_WITHIN_S) if is_unpaid else None,
        requested_at=row.requested_at,
        funded_at=row.funded_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        closed_at=row.closed_at,
        failure=row.start_failure,
        failure_zh=failure_zh,
        failure_en=failure_en,
        stop=row.stop_reason,
        stop_zh=stop_zh,
        stop_en=stop_en,
        live=_live(row, seen, now_of(request)) if row.state in SEEN_LIVE else None,
        bill=_bill(row.bill, row.is_provisional) if row.bill is not None else None,
        refunds=[refund_shown(refund) for refund in refunds],
        refund_fen=row.refund_fen,
        debt_fen=row.debt_fen,
        is_held=row.is_held,
    )


def brief(row: SessionRow, names: dict[int, StationName]) -> SessionBrief:
    """One order in a list."""
    zh, en = SESSION_STATES[row.state]
    station = names.get(row.station_id, StationName())
    return SessionBrief(
        serial=row.serial,
        state=row.state.word,
        state_zh=zh,
        state_en=en,
        is_open=row.state not in OVER,
        station_id=row.station_id,
        station_zh=station.zh,
        station_en=station.en,
        gun_code=gun_code(row.pile_code, row.gun_no),
        requested_at=row.requested_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        prepaid_fen=row.prepaid_fen,
        paid_fen=row.paid_fen,
        energy_e4_kwh=row.energy_e4_kwh,
        total_fen=row.bill.total_fen if row.bill is not None else None,
        refund_fen=row.refund_fen,
        debt_fen=row.debt_fen,
    )


def refund_shown(refund: RefundRow) -> RefundShown:
    """A refund in the three states that a driver knows."""
    stage, zh, en = REFUND_STAGES[refund.step]
    is_accepted = refund.step in (RefundStep.PROCESSING, RefundStep.SUCCEEDED)
    return RefundShown(
        out_refund_no=refund.out_refund_no,
        fen=refund.fen,
        stage=stage,
        stage_zh=zh,
        stage_en=en,
        cause=refund.cause.value,
        created_at=refund.created_at,
        accepted_at=refund.submitted_at if is_accepted else None,
        arrived_at=refund.finished_at if refund.step is RefundStep.SUCCEEDED else None,
    )


def _next(state: SessionState, detail: str) -> str:
    if detail == "waiting_plug":
        return "plug_in"
    return "wait" if detail == "cancelling" else _NEXT[state]


async def _seen(request: web.Request, row: SessionRow) -> _Seen | None:
    """What the session's actor says; None when there is none or it does not answer."""
    address = pile_actor(request, row.pile_code)
    if address is None:
        return None
    try:
        answer = await request.app[NODE].engine.ask_async(address, DescribeSession(row.serial), DESCRIBE_S)
    except AskError:
        return None
    if not isinstance(answer, SessionDescription):
        return None
    return msgspec.convert(answer.data, _Seen)


def _live(row: SessionRow, seen: _Seen | None, now: datetime) -> Live | None:
    """The last values, from the actor or else from the row; None before the first."""
    if seen is None or seen.live_at is None:
        if row.live_at is None:
            return None
        prices = zip(row.rate_energy_e4_kwh, row.tariff.prices, strict=True)
        amount = fen_half_up(sum(energy * price.total_e5_yuan for energy, price in prices))
        seen = _Seen(row.state.word, "", False, amount, row.energy_e4_kwh, row.soc_pct, row.live_at)
    assert seen.live_at is not None
    told = seen.telemetry or _Measured()
    power_w = None
    if told.voltage_mv is not None and told.current_ma is not None:
        power_w = told.voltage_mv * abs(told.current_ma) // 1_000_000
    return Live(
        at=seen.live_at,
        age_s=max(int((now - seen.live_at).total_seconds()), 0),
        is_pile_online=seen.is_pile_online,
        soc_pct=seen.soc_pct,
        power_w=power_w,
        voltage_mv=told.voltage_mv,
        current_ma=told.current_ma,
        energy_e4_kwh=seen.energy_e4_kwh,
        amount_fen=seen.amount_fen,
        remaining_s=told.remaining_s,
    )


def bill_rows(bill: Bill) -> list[BillRow]:
    """The lines of a bill, one a rate."""
    return [
        BillRow(
            rate=line.rate.name.lower(),
            rate_zh=RATE_NAMES_ZH[line.rate],
            energy_e4_kwh=line.energy_e4_kwh,
            price=price_of(line.rate, RatePrice(line.energy_e5_yuan, line.service_e5_yuan)),
            electricity_fen=line.electricity_fen,
            service_fen=line.service_fen,
            total_fen=line.total_fen,
        )
        for line in bill.lines
    ]


def _bill(bill: Bill, is_provisional: bool) -> BillShown:
    return BillShown(
        total_fen=bill.total_fen,
        electricity_fen=bill.electricity_fen,
        service_fen=bill.service_fen,
        energy_e4_kwh=bill.energy_e4_kwh,
        lines=bill_rows(bill),
        is_provisional=is_provisional,
    )
