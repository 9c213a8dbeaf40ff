"""Charges: made, moved from state to state, given up, looked at.

Bulk functions of the writes that move no money, and the reads that edges and starting nodes use. One open
order a gun and a driver is kept by rows of `open_order`: whoever comes second is led to the open order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import (
    ACTIVE,
    OVER,
    OpenSession,
    PaymentRow,
    RefundRow,
    RefundStep,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import (
    SESSION_COLUMNS,
    CancelSession,
    CreateSession,
    HoldSession,
    KeepFact,
    MoveSession,
    OrderOpen,
    SaveLive,
    SessionCreated,
    SessionMoved,
)
from pileward.models.sessions import ChargingSession
from pileward.services import charge_rows as rows
from pileward.services.books import Books, guard_keys, insert
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import among, execute_many, listed, select, utc
from pileward.services.wire_numbers import keep_wire_numbers

_MONEY_STATES = frozenset(
    {
        SessionState.FUNDED,
        SessionState.SETTLING,
        SessionState.START_FAILED,
        SessionState.REFUNDING,
    }
)
_SERIALS = "SELECT serial, driver_id FROM charging_session WHERE {among}"
_GUARDS = "SELECT key, serial FROM open_order WHERE {among}"
_GUARD = "INSERT INTO open_order (key, serial) VALUES (?, ?)"
_LIVE = """
UPDATE charging_session SET energy_e4_kwh = ?, live_amount_e4_yuan = ?, soc_pct = ?, sharp_e4_kwh = ?,
  peak_e4_kwh = ?, flat_e4_kwh = ?, valley_e4_kwh = ?, live_at = ?
WHERE serial = ? AND settled_at IS NULL AND (live_at IS NULL OR live_at <= ?)
"""
_FACT = """
INSERT INTO session_fact (serial, kind, data, at) VALUES (?, ?, ?, ?)
ON CONFLICT (serial, kind) DO UPDATE SET data = excluded.data, at = excluded.at
WHERE session_fact.at <= excluded.at
"""


async def create_sessions(
    connection: BaseDBAsyncClient, writes: Sequence[CreateSession]
) -> list[SessionCreated | OrderOpen]:
    """Bulk form of CreateSession. Nodes that race are an IntegrityError for the slower one: write again."""
    serials = await _drivers(connection, [write.row.serial for write in writes])
    guards = await _guards(connection, [key for write in writes for key in guard_keys(write.row)])
    drivers = {**await _drivers(connection, guards.values()), **serials}
    results: list[SessionCreated | OrderOpen] = []
    new: list[CreateSession] = []
    for write in writes:
        row = write.row
        if row.serial in serials:
            results.append(SessionCreated(row.serial, is_first=False))
            continue
        taken = [(key, guards[key]) for key in guard_keys(row) if key in guards]
        if row.state in ACTIVE and taken:
            # the driver's own order first: that is where the driver has to go
            key, serial = taken[-1]
            own = row.driver_id is not None and drivers.get(serial) == row.driver_id
            results.append(OrderOpen(serial, key.partition(":")[0], own))
            continue
        serials[row.serial] = drivers[row.serial] = row.driver_id
        guards.update(dict.fromkeys(guard_keys(row), row.serial))
        new.append(write)
        results.append(SessionCreated(row.serial, is_first=True))
    await _insert(connection, new)
    return results


async def _insert(connection: BaseDBAsyncClient, new: Sequence[CreateSession]) -> None:
    await insert(connection, "charging_session", [rows.session_columns(write.row) for write in new])
    payments = [write.payment for write in new if write.payment is not None]
    await insert(connection, "payment", [rows.payment_columns(payment) for payment in payments])
    active = [write.row for write in new if write.row.state in ACTIVE]
    await execute_many(connection, _GUARD, [[key, row.serial] for row in active for key in guard_keys(row)])
    await keep_wire_numbers(
        connection,
        [
            (row.protocol, row.pile_code, row.wire_number, row.gun_no, row.serial)
            for row in (write.row for write in new)
            if row.wire_number
        ],
    )


async def _drivers(connection: BaseDBAsyncClient, serials: Any) -> dict[str, int | None]:
    wanted = sorted(set(serials))
    if not wanted:
        return {}
    query = _SERIALS.format(among=among(connection, "serial"))
    found = await select(connection, query, listed(connection, wanted))
    return {row["serial"]: row["driver_id"] for row in found}


async def _guards(connection: BaseDBAsyncClient, keys: Sequence[str]) -> dict[str, str]:
    query = _GUARDS.format(among=among(connection, "key"))
    found = await select(connection, query, listed(connection, sorted(set(keys))))
    return {row["key"]: row["serial"] for row in found}


async def move_sessions(connection: BaseDBAsyncClient, writes: Sequence[MoveSession]) -> list[SessionMoved]:
    """Bulk form of MoveSession; several for one session are applied in their order.

    A session that is in the wanted state already, and not expected to leave it, was moved by the same write
    before: done, and left as it is.
    """
    books = await Books.open(connection, (write.serial for write in writes))
    results = []
    for write in writes:
        assert write.state not in _MONEY_STATES, (
            f"{write.state.name} is entered by the write that moves money"
        )
        assert write.changes.keys() <= SESSION_COLUMNS, write.changes
        session = books.sessions.get(write.serial)
        if session is None:
            results.append(SessionMoved(is_done=False, state=None))
        elif session.state in write.from_states:
            books.move(session, write.state, write.at, **write.changes)
            results.append(SessionMoved(is_done=True, state=write.state))
        else:
            results.append(SessionMoved(is_done=session.state is write.state, state=session.state))
    await books.write()
    return results


async def cancel_sessions(
    connection: BaseDBAsyncClient, writes: Sequence[CancelSession]
) -> list[SessionMoved]:
    """Bulk form of CancelSession: only what nobody has paid."""
    books = await Books.open(connection, (write.serial for write in writes))
    results = []
    for write in writes:
        session = books.sessions.get(write.serial)
        if session is not None and session.state is SessionState.CREATED:
            session = books.move(session, SessionState.CANCELLED, write.at, start_failure=write.reason[:40])
        state = None if session is None else session.state
        results.append(SessionMoved(is_done=state is SessionState.CANCELLED, state=state))
    await books.write()
    return results


async def hold_sessions(connection: BaseDBAsyncClient, writes: Sequence[HoldSession]) -> list[SessionMoved]:
    """Bulk form of HoldSession: refunds that were not asked for yet wait until a person has decided.

    A charge that is still under way goes on; what its settlement would pay back then waits too.
    """
    books = await Books.open(connection, (write.serial for write in writes))
    results = []
    for write in writes:
        session = books.sessions.get(write.serial)
        if session is None:
            results.append(SessionMoved(is_done=False, state=None))
            continue
        for refund in books.refunds_of(session.serial):
            if refund.step is RefundStep.NEW:
                books.change_refund(refund, next_attempt_at=None)
        books.change(session, is_held=True, held_reason=session.held_reason or write.reason[:40])
        results.append(SessionMoved(is_done=True, state=session.state))
    await books.write()
    return results


async def save_live(connection: BaseDBAsyncClient, writes: Sequence[SaveLive]) -> list[None]:
    """Bulk form of SaveLive; of several for a session only the last is written."""
    newest: dict[str, SaveLive] = {}
    for write in writes:
        if write.serial not in newest or newest[write.serial].at <= write.at:
            newest[write.serial] = write
    values = []
    for serial, write in newest.items():
        at = utc(write.at)
        live = [write.energy_e4_kwh, write.amount_e4_yuan, write.soc_pct, *write.rate_energy_e4_kwh]
        values.append([*live, at, serial, at])
    await execute_many(connection, _LIVE, values)
    return [None] * len(writes)


async def keep_facts(connection: BaseDBAsyncClient, writes: Sequence[KeepFact]) -> list[None]:
    """Bulk form of KeepFact."""
    values = [
        [write.serial, write.kind[:24], _json(write.data), utc(write.at)]
        for write in {(write.serial, write.kind): write for write in writes}.values()
    ]
    await execute_many(connection, _FACT, values)
    return [None] * len(writes)


def _json(data: Any) -> str:
    return msgspec.json.encode(data).decode().replace("\\u0000", "")


# --- reads ------------------------------------------------------------------------------------------------

_OPEN = f"""
SELECT {", ".join(f"s.{name}" for name in rows.SESSION_COLUMNS)}, (
  SELECT r.id FROM pile_record r WHERE r.wire_number = s.wire_number AND r.pile_code = s.pile_code
    AND r.protocol = s.protocol AND r.variant = 0
) AS waiting_record_id
FROM charging_session s WHERE
"""  # noqa: S608
_ANY_OPEN = f"{_OPEN} s.state IN ({', '.join('?' * (len(SessionState) - len(OVER)))})"
_ONE_OPEN = f"{_OPEN} s.serial = ?"
_ONE = f"SELECT {', '.join(rows.SESSION_COLUMNS)} FROM charging_session WHERE serial = ?"  # noqa: S608
_PAYMENTS = f"SELECT {', '.join(rows.PAYMENT_COLUMNS)} FROM payment WHERE {{among}} ORDER BY id"  # noqa: S608
_REFUNDS = f"SELECT {', '.join(rows.REFUND_COLUMNS)} FROM refund WHERE {{among}} ORDER BY id"  # noqa: S608


async def open_sessions(
    connection: BaseDBAsyncClient,
    pile_codes: Sequence[str] | None = None,
) -> list[OpenSession]:
    """All charges that are not over, or those of some piles, oldest first: what a node rebuilds on its start.

    Those whose record was stored but not settled carry its id.
    """
    states = [state.word for state in SessionState if state not in OVER]
    found = await select(connection, _ANY_OPEN, *states)
    if pile_codes is not None:
        wanted = set(pile_codes)
        found = [columns for columns in found if columns["pile_code"] in wanted]
    return await _opened(connection, sorted(found, key=lambda columns: str(columns["serial"])))


async def open_session(connection: BaseDBAsyncClient, serial: str) -> OpenSession | None:
    """One charge that is not over; None when it is, or never was."""
    found = await select(connection, _ONE_OPEN, serial)
    opened = await _opened(connection, found)
    return opened[0] if opened and opened[0].row.state not in OVER else None


async def _opened(connection: BaseDBAsyncClient, found: Sequence[dict[str, Any]]) -> list[OpenSession]:
    serials = [columns["serial"] for columns in found]
    payments = await _payments(connection, serials)
    refunds = await _refunds(connection, serials)
    opened = []
    for columns in found:
        row = rows.session_row(columns)
        opened.append(
            OpenSession(
                row=row,
                payments=tuple(payments.get(row.serial, ())),
                refunds=tuple(refunds.get(row.serial, ())),
                waiting_record_id=columns["waiting_record_id"] if row.record_id is None else None,
            )
        )
    return opened


async def session_by_serial(
    serial: str, *, operator_id: int | None = None, driver_id: int | None = None
) -> SessionRow:
    """One charge, of an operator or a driver if one is given; raises NotFoundError."""
    found = await select(ChargingSession._meta.db, _ONE, serial)
    row = rows.session_row(found[0]) if found else None
    if row is None or operator_id not in (None, row.operator_id) or driver_id not in (None, row.driver_id):
        raise NotFoundError("session_not_found", "没有这个充电订单", f"session {serial} does not exist")
    return row


async def sessions_of_driver(
    driver_id: int, *, is_over: bool | None = None, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[SessionRow]:
    """A driver's charges, newest first: all, those that are over, or those that are not."""
    query = ChargingSession.filter(driver_id=driver_id)
    over = [state.word for state in OVER]
    if is_over is not None:
        query = query.filter(state__in=over) if is_over else query.exclude(state__in=over)
    return await _list(query, cursor, limit)


async def list_sessions(
    operator_id: int,
    *,
    station_id: int | None = None,
    pile_code: str | None = None,
    driver_id: int | None = None,
    state: SessionState | None = None,
    is_held: bool | None = None,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[SessionRow]:
    """An operator's charges, newest first, all or some."""
    scope: dict[str, Any] = {"operator_id": operator_id}
    if station_id is not None:
        scope["station_id"] = station_id
    if pile_code is not None:
        scope["pile_code"] = pile_code
    if driver_id is not None:
        scope["driver_id"] = driver_id
    if state is not None:
        scope["state"] = state.word
    if is_held is not None:
        scope["is_held"] = is_held
    return await _list(ChargingSession.filter(**scope), cursor, limit)


async def _list(query: Any, cursor: str | None, limit: int) -> Page[SessionRow]:
    found, following = await page(query, "session", cursor, limit, newest_first=True)
    return Page([_of_model(model) for model in found], following)


def _of_model(model: Any) -> SessionRow:
    return rows.session_row({name: getattr(model, name) for name in rows.SESSION_COLUMNS})


async def open_serial_of_driver(connection: BaseDBAsyncClient, driver_id: int) -> str | None:
    """The open order of a driver."""
    return (await _guards(connection, [f"driver:{driver_id}"])).get(f"driver:{driver_id}")


async def open_serial_of_gun(connection: BaseDBAsyncClient, pile_code: str, gun_no: int) -> str | None:
    """The open order at a gun."""
    key = f"gun:{pile_code}/{gun_no}"
    return (await _guards(connection, [key])).get(key)


async def payments_of(connection: BaseDBAsyncClient, serial: str) -> list[PaymentRow]:
    """Payments of one charge, oldest first."""
    return (await _payments(connection, [serial])).get(serial, [])


async def refunds_of(connection: BaseDBAsyncClient, serial: str) -> list[RefundRow]:
    """Refunds of one charge, oldest first."""
    return (await _refunds(connection, [serial])).get(serial, [])


async def facts_of(connection: BaseDBAsyncClient, serial: str) -> dict[str, Any]:
    """What was said once in a charge, by kind."""
    found = await select(connection, "SELECT kind, data FROM session_fact WHERE serial = ?", serial)
    return {row["kind"]: msgspec.json.decode(row["data"]) for row in found}


async def _payments(connection: BaseDBAsyncClient, serials: Sequence[str]) -> dict[str, list[PaymentRow]]:
    grouped: dict[str, list[PaymentRow]] = {}
    query = _PAYMENTS.format(among=among(connection, "serial"))
    for columns in await select(connection, query, listed(connection, serials)):
        grouped.setdefault(columns["serial"], []).append(rows.payment_row(columns))
    return grouped


async def _refunds(connection: BaseDBAsyncClient, serials: Sequence[str]) -> dict[str, list[RefundRow]]:
    grouped: dict[str, list[RefundRow]] = {}
    query = _REFUNDS.format(among=among(connection, "serial"))
    for columns in await select(connection, query, listed(connection, serials)):
        grouped.setdefault(columns["serial"], []).append(rows.refund_row(columns))
    return grouped
