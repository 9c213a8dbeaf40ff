"""Debts (欠款): what drivers owe for charges that used more than was paid; a row each, waived by a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.errors import NotFoundError
from pileward.messages.charging import SessionRow
from pileward.models.ledger import Debt
from pileward.services.audit import Who, note
from pileward.services.books import Books
from pileward.services.ledger import debt_account, loss_account
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import execute_many, utc


class DebtView(msgspec.Struct, frozen=True):
    """What is owed for one charge as shown."""

    serial: str
    driver_id: int
    fen: int
    waived_fen: int
    is_open: bool
    created_at: datetime
    closed_at: datetime | None


_KEEP = """
INSERT INTO debt (serial, operator_id, driver_id, fen, waived_fen, is_open, created_at, closed_at)
VALUES (?, ?, ?, ?, 0, ?, ?, ?)
ON CONFLICT (serial) DO UPDATE SET fen = excluded.fen, is_open = excluded.is_open,
  closed_at = excluded.closed_at
"""


async def keep_debts(connection: BaseDBAsyncClient, settled: Sequence[tuple[SessionRow, datetime]]) -> None:
    """Keep what the drivers of some charges owe now, in the transaction of its ledger entries."""
    values = []
    for session, at in settled:
        assert session.driver_id is not None
        about = [session.serial, session.operator_id, session.driver_id]
        is_open = session.debt_fen > 0
        values.append([*about, session.debt_fen, is_open, utc(at), None if is_open else utc(at)])
    await execute_many(connection, _KEEP, values)


async def waive_debt(connection: BaseDBAsyncClient, who: Who, serial: str) -> DebtView:
    """The operator bears a debt; waiving it again changes nothing. Raises NotFoundError."""
    row = await Debt.get_or_none(serial=serial, operator_id=who.operator_id)
    if row is None:
        raise NotFoundError("debt_not_found", "没有这笔欠款", f"nothing is owed for session {serial}")
    if not row.is_open:
        return _view(row)
    before = _view(row)
    books = await Books.open(connection, [serial])
    session = books.sessions[serial]
    key = f"waive:{serial}:{session.settlements}:debt"
    books.enter(key, loss_account(row.operator_id), debt_account(row.driver_id), row.fen, session, who.at)
    books.change(session, debt_fen=session.debt_fen - row.fen)
    await books.write()
    row.waived_fen, row.fen, row.is_open, row.closed_at = row.waived_fen + row.fen, 0, False, utc(who.at)
    await row.save(update_fields=["waived_fen", "fen", "is_open", "closed_at"])
    await note(who, "debt.waive", "session", serial, before, _view(row))
    return _view(row)


async def debts_of_driver(driver_id: int) -> list[DebtView]:
    """What a driver owes, oldest first; open debts only."""
    return [_view(row) for row in await Debt.filter(driver_id=driver_id, is_open=True).order_by("id")]


async def list_debts(
    operator_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[DebtView]:
    """What is owed to an operator, newest first; open debts only."""
    rows = Debt.filter(operator_id=operator_id, is_open=True)
    found, following = await page(rows, "debt", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


def _view(row: Debt) -> DebtView:
    return DebtView(
        row.serial, row.driver_id, row.fen, row.waived_fen, row.is_open, row.created_at, row.closed_at
    )
