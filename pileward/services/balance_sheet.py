"""The books of one operator at one moment: accounts that are few by name, those of drivers as sums."""

from __future__ import annotations

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.services.ledger import ledger_sum
from pileward.services.sql import select


class AccountBalance(msgspec.Struct, frozen=True):
    """Debits minus credits of one account, fen: above 0 for assets and costs, below for what is owed or
    earned.
    """

    account: str
    fen: int


class BalanceSheet(msgspec.Struct, frozen=True):
    """The books at this moment. `sum_fen`, over all accounts of all operators, is 0 at every commit."""

    sum_fen: int
    accounts: list[AccountBalance]
    prepaid_fen: int
    """What drivers have paid ahead and not used; owed, so below 0."""
    debt_fen: int
    """What drivers owe."""


_OWN = """
SELECT account, fen FROM ledger_balance WHERE account IN (?, ?, ?, ?, ?)
  OR SUBSTR(account, 1, 8) IN ('channel:', 'transit:') ORDER BY account
"""
_OF_DRIVERS = """
SELECT COALESCE(SUM(b.fen), 0) AS fen FROM ledger_balance b
  JOIN driver d ON b.account = ? || CAST(d.id AS TEXT) WHERE d.operator_id = ?
"""


async def balance_sheet(connection: BaseDBAsyncClient, operator_id: int) -> BalanceSheet:
    """The operator's own accounts, those at providers, and what is between it and its drivers."""
    own = [
        f"{kind}:{operator_id}"
        for kind in ("revenue-electricity", "revenue-service", "loss", "fee", "suspense")
    ]
    accounts = [
        AccountBalance(row["account"], int(row["fen"])) for row in await select(connection, _OWN, *own)
    ]
    return BalanceSheet(
        sum_fen=await ledger_sum(connection),
        accounts=accounts,
        prepaid_fen=await _of_drivers(connection, "prepaid:", operator_id),
        debt_fen=await _of_drivers(connection, "debt:", operator_id),
    )


async def _of_drivers(connection: BaseDBAsyncClient, kind: str, operator_id: int) -> int:
    [row] = await select(connection, _OF_DRIVERS, kind, operator_id)
    return int(row["fen"])
