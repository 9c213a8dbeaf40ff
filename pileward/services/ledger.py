"""The ledger: movements of money between accounts, each recorded once, and the proof that all adds up.

One entry is one debit and one credit of the same fen, so the books balance by construction. Entries are
found by their key: the same movement asked for again changes nothing, another movement under the same key is
our bug. Balances move in the transaction of the entries. Nothing is ever updated or deleted here but
balances; a mistake is mended by a further entry.

Keys are `<cause>:<serial>:<n>:<component>`. Accounts of assets and costs have balances above 0, those of
liabilities and revenue below: a balance is debits minus credits, and all balances add up to 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.models.ledger import LedgerEntry
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import among, execute_many, is_postgres, listed, select, utc


class KeyReusedError(Exception):
    """The same key with other content: a bug of ours; the transaction must not be committed."""


class Movement(msgspec.Struct, frozen=True):
    """Money from one account to another; `fen` is more than 0."""

    key: str
    debit: str
    credit: str
    fen: int
    at: datetime
    serial: str = ""


class EntryView(msgspec.Struct, frozen=True):
    """One entry as shown."""

    id: int
    key: str
    debit: str
    credit: str
    fen: int
    serial: str
    at: datetime


class Difference(msgspec.Struct, frozen=True):
    """Something in the books that does not agree: what it is about, and both figures."""

    what: str
    about: str
    books_fen: int
    expected_fen: int


def channel_account(channel: str, merchant: str) -> str:
    """What a provider holds for us: an asset."""
    return f"channel:{channel}:{merchant}"


def transit_account(channel: str, merchant: str) -> str:
    """Refunds that were decided and are not back yet: owed."""
    return f"transit:{channel}:{merchant}"


def prepaid_account(driver_id: int) -> str:
    """What a driver has paid ahead and not used: owed."""
    return f"prepaid:{driver_id}"


def debt_account(driver_id: int) -> str:
    """What a driver owes us: an asset."""
    return f"debt:{driver_id}"


def revenue_account(component: str, operator_id: int) -> str:
    """What an operator has earned, `electricity` or `service`."""
    return f"revenue-{component}:{operator_id}"


def loss_account(operator_id: int) -> str:
    """What an operator has borne for drivers: a cost."""
    return f"loss:{operator_id}"


def fee_account(operator_id: int) -> str:
    """What providers have kept for their service: a cost."""
    return f"fee:{operator_id}"


def suspense_account(operator_id: int) -> str:
    """Money whose reason a person still has to find (refunds made by hand, for one)."""
    return f"suspense:{operator_id}"


_KNOWN = "SELECT key, debit, credit, fen FROM ledger_entry WHERE {among}"
_INSERT = "INSERT INTO ledger_entry (key, debit, credit, fen, serial, at) VALUES (?, ?, ?, ?, ?, ?)"
_BALANCE = """
INSERT INTO ledger_balance (account, fen) VALUES (?, ?)
ON CONFLICT (account) DO UPDATE SET fen = ledger_balance.fen + excluded.fen
"""


async def post(connection: BaseDBAsyncClient, movements: Sequence[Movement]) -> int:
    """Record movements, each once however often it is asked for; returns how many were new.

    Raises KeyReusedError when a key is known with another content.
    """
    if not movements:
        return 0
    wanted: dict[str, Movement] = {}
    for movement in movements:
        assert movement.fen > 0, movement
        assert movement.debit != movement.credit, movement
        _must_agree(movement, wanted.setdefault(movement.key, movement))
    query = _KNOWN.format(among=among(connection, "key"))
    for row in await select(connection, query, listed(connection, [*wanted])):
        _must_agree(wanted.pop(row["key"]), row["debit"], row["credit"], row["fen"])
    changes: dict[str, int] = defaultdict(int)
    rows = []
    for movement in wanted.values():
        changes[movement.debit] += movement.fen
        changes[movement.credit] -= movement.fen
        content = [movement.key, movement.debit, movement.credit, movement.fen]
        rows.append([*content, movement.serial, utc(movement.at)])
    await execute_many(connection, _INSERT, rows)
    # in one order everywhere, so that two nodes never wait for each other
    await execute_many(connection, _BALANCE, [[account, changes[account]] for account in sorted(changes)])
    return len(rows)


def _must_agree(wanted: Movement, *known: object) -> None:
    content = (wanted.debit, wanted.credit, wanted.fen)
    if isinstance(known[0], Movement):
        known = (known[0].debit, known[0].credit, known[0].fen)
    if known != content:
        raise KeyReusedError(f"{wanted.key}: {content} was recorded as {known}")


async def ledger_sum(connection: BaseDBAsyncClient) -> int:
    """The sum of all balances: 0, at every commit."""
    [row] = await select(connection, "SELECT COALESCE(SUM(fen), 0) AS fen FROM ledger_balance")
    return int(row["fen"])


async def balances(connection: BaseDBAsyncClient, prefix: str = "") -> dict[str, int]:
    """All balances, or those of accounts that begin with a text; walks all accounts."""
    rows = await select(
        connection,
        "SELECT account, fen FROM ledger_balance WHERE SUBSTR(account, 1, ?) = ? ORDER BY account",
        len(prefix),
        prefix,
    )
    return {row["account"]: int(row["fen"]) for row in rows}


async def balance(connection: BaseDBAsyncClient, account: str) -> int:
    """Debits minus credits of one account; 0 for one that was never used."""
    rows = await select(connection, "SELECT fen FROM ledger_balance WHERE account = ?", account)
    return int(rows[0]["fen"]) if rows else 0


async def entries_of(serial: str) -> list[EntryView]:
    """All entries of one charge, in the order in which they were made."""
    return [_view(row) for row in await LedgerEntry.filter(serial=serial).order_by("id")]


async def list_entries(*, cursor: str | None = None, limit: int = PAGE_DEFAULT) -> Page[EntryView]:
    """All entries, newest first."""
    rows, following = await page(LedgerEntry.all(), "entry", cursor, limit, newest_first=True)
    return Page([_view(row) for row in rows], following)


_WRONG_BALANCES = """
SELECT account, SUM(fen) AS books, SUM(expected) AS expected FROM (
  SELECT account, fen, 0 AS expected FROM ledger_balance
  UNION ALL SELECT debit, 0, fen FROM ledger_entry
  UNION ALL SELECT credit, 0, -fen FROM ledger_entry
) AS both_sides GROUP BY account HAVING SUM(fen) <> SUM(expected) ORDER BY account
"""
_TRANSIT = """
SELECT 'transit:' || channel || ':' || merchant AS account, SUM(fen) AS fen FROM refund
WHERE step NOT IN ('succeeded', 'closed') GROUP BY channel, merchant
"""
_CHANNEL = """
SELECT account, SUM(fen) AS fen FROM (
  SELECT 'channel:' || channel || ':' || merchant AS account, paid_fen AS fen FROM payment
  WHERE confirmed_at IS NOT NULL
  UNION ALL SELECT 'channel:' || channel || ':' || merchant, -fen FROM refund WHERE step = 'succeeded'
) AS moved GROUP BY account
"""
_CHANNEL_BOOKS = """
SELECT account, SUM(fen) AS fen FROM (
  SELECT debit AS account, fen FROM ledger_entry WHERE debit LIKE 'channel:%'
  UNION ALL SELECT credit, -fen FROM ledger_entry WHERE credit LIKE 'channel:%'
) AS moved GROUP BY account
"""
_REVENUE = """
SELECT 'revenue-electricity:' || operator_id AS account, -SUM(electricity_fen) AS fen
FROM charging_session GROUP BY operator_id
UNION ALL SELECT 'revenue-service:' || operator_id, -SUM(service_fen)
FROM charging_session GROUP BY operator_id
"""
_DEBTS = """
SELECT 'debt:' || driver_id AS account, SUM(fen) AS fen FROM debt GROUP BY driver_id
"""
_LEFT_OVER = """
SELECT e.serial, SUM(CASE WHEN e.credit LIKE 'prepaid:%' THEN e.fen ELSE 0 END)
  - SUM(CASE WHEN e.debit LIKE 'prepaid:%' THEN e.fen ELSE 0 END) AS fen, (
    SELECT COALESCE(SUM(p.paid_fen - p.refunded_fen), 0) FROM payment p
    WHERE p.serial = e.serial AND p.verdict = 'mismatch'
      AND (p.out_trade_no <> s.out_trade_no OR s.paid_fen = 0)
  ) AS waiting
FROM ledger_entry e JOIN charging_session s ON s.serial = e.serial
WHERE s.state IN ('closed', 'cancelled', 'refunding', 'start_failed') AND s.is_held = FALSE
GROUP BY e.serial, s.out_trade_no, s.paid_fen
"""


async def check_books(connection: BaseDBAsyncClient) -> list[Difference]:
    """Prove the books; returns every difference, none when all is well. Walks all rows: for the night.

    To be called first in a transaction of its own, while others write: it then sees one moment of all tables.

    - the sum of all accounts is 0, and every balance is the sum of its entries;
    - revenue is the sum of all bills, `debt:` that of the open debts;
    - `transit:` is the sum of the refunds that are on their way, `channel:` payments minus refunds;
    - no order that is finished has anything left in `prepaid:` but stray payments that wait for a person.
    """
    if is_postgres(connection):
        await connection.execute_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    found = []
    total = await ledger_sum(connection)
    if total:
        found.append(Difference("sum", "all accounts", total, 0))
    for row in await select(connection, _WRONG_BALANCES):
        found.append(Difference("balance", row["account"], int(row["books"]), int(row["expected"])))
    found += await _compare(connection, "transit", _TRANSIT, sign=-1)
    found += await _compare(connection, "revenue-", _REVENUE)
    found += await _compare(connection, "debt", _DEBTS)
    found += await _compare_channels(connection)
    for row in await select(connection, _LEFT_OVER):
        if int(row["fen"]) != int(row["waiting"]):
            found.append(Difference("left_over", row["serial"], int(row["fen"]), int(row["waiting"])))
    return found


async def _compare(
    connection: BaseDBAsyncClient, prefix: str, query: str, sign: int = 1
) -> Iterable[Difference]:
    expected = {row["account"]: sign * int(row["fen"]) for row in await select(connection, query)}
    books = await balances(connection, prefix)
    return _differences(prefix.strip("-"), books, expected)


async def _compare_channels(connection: BaseDBAsyncClient) -> Iterable[Difference]:
    """Fees and what was booked by hand against suspense are no payments or refunds of ours."""
    other = await select(
        connection,
        "SELECT debit, credit, fen FROM ledger_entry WHERE key LIKE 'fee:%' OR key LIKE 'external:%'",
    )
    expected: dict[str, int] = defaultdict(int)
    for row in await select(connection, _CHANNEL):
        expected[row["account"]] += int(row["fen"])
    for row in other:
        expected[row["debit"]] += int(row["fen"])
        expected[row["credit"]] -= int(row["fen"])
    books = {row["account"]: int(row["fen"]) for row in await select(connection, _CHANNEL_BOOKS)}
    wanted = {account: fen for account, fen in expected.items() if account.startswith("channel:")}
    return _differences("channel", books, wanted)


def _differences(what: str, books: dict[str, int], expected: dict[str, int]) -> list[Difference]:
    return [
        Difference(what, account, books.get(account, 0), expected.get(account, 0))
        for account in sorted({*books, *expected})
        if books.get(account, 0) != expected.get(account, 0)
    ]


def _view(row: LedgerEntry) -> EntryView:
    return EntryView(row.id, row.key, row.debit, row.credit, row.fen, row.serial, row.at)
