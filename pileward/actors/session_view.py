"""How a charge is shown: pure functions from its state to the live feed and to plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from pileward.actors.session_state import Session
from pileward.messages.charging import SessionRow
from pileward.messages.events import SessionChanged
from pileward.values import fen_half_up


def session_event(session: Session, now: int) -> SessionChanged:
    """The live feed's word about one charge; old values stay visible with their age."""
    row, telemetry = session.row, session.telemetry
    power_w = None
    if telemetry is not None and telemetry.voltage_mv is not None and telemetry.current_ma is not None:
        power_w = telemetry.voltage_mv * abs(telemetry.current_ma) // 1_000_000
    return SessionChanged(
        serial=row.serial,
        pile_code=row.pile_code,
        gun_no=row.gun_no,
        state=row.state.word,
        at=datetime.fromtimestamp(now / 1000, UTC),
        detail=session.detail,
        soc_pct=row.soc_pct,
        power_w=power_w,
        voltage_mv=telemetry.voltage_mv if telemetry is not None else None,
        current_ma=telemetry.current_ma if telemetry is not None else None,
        energy_e4_kwh=row.energy_e4_kwh,
        amount_fen=amount_fen(session),
        remaining_s=telemetry.remaining_s if telemetry is not None else None,
        live_at=row.live_at,
        is_pile_online=session.is_pile_online,
        refund_fen=row.refund_fen if row.bill is not None or row.start_failure else None,
    )


def amount_fen(session: Session) -> int:
    """Money so far: the bill when there is one, else energy by rate at the order's tariff."""
    if session.row.bill is not None:
        return session.row.bill.total_fen
    return fen_half_up(session.amount_e9_yuan)


def describe(session: Session, now: int) -> dict[str, Any]:
    """All of a charge as plain data, for somebody who looks inside."""
    data = _row(session.row)
    data.update(
        state=session.row.state.word,
        detail=session.detail,
        is_pile_online=session.is_pile_online,
        is_giving_up=session.is_giving_up,
        wants_stop=session.wants_stop,
        stop_attempts=session.stop_attempts,
        amount_fen=amount_fen(session),
        telemetry_age_s=(now - session.telemetry_ms) // 1000 if session.telemetry_ms else None,
        telemetry=msgspec.to_builtins(session.telemetry),
        facts=dict(session.facts),
    )
    return data


def _row(row: SessionRow) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(row)
    return data
