"""The emulator's books: orders, refunds, notifications and every fen that moved, in one SQLite file.

Each operation is one transaction, flushed before it is answered, so a killed emulator goes on where it was.
An entry moves money from the account it debits to the account it credits; the sum over all accounts is
always zero. Accounts: `payer:<openid>` a driver's purse, `merchant` the merchant's balance, `fees` what
WeChat Pay keeps, `refunding` money on its way back, `outside` the merchant's own bank.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

MERCHANT: Final = "merchant"
FEES: Final = "fees"
REFUNDING: Final = "refunding"
OUTSIDE: Final = "outside"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    out_trade_no TEXT PRIMARY KEY, request TEXT NOT NULL, total_fen INTEGER NOT NULL CHECK (total_fen > 0),
    openid TEXT NOT NULL, description TEXT NOT NULL, attach TEXT NOT NULL, device_id TEXT NOT NULL,
    notify_url TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('NOTPAY', 'SUCCESS', 'REFUND', 'CLOSED')),
    transaction_id TEXT UNIQUE, paid_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS orders_paid ON orders (paid_ms);
CREATE TABLE IF NOT EXISTS prepays (
    prepay_id TEXT PRIMARY KEY, out_trade_no TEXT NOT NULL REFERENCES orders, made_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS prepays_order ON prepays (out_trade_no);
CREATE TABLE IF NOT EXISTS refunds (
    out_refund_no TEXT PRIMARY KEY, refund_id TEXT NOT NULL UNIQUE,
    out_trade_no TEXT NOT NULL REFERENCES orders, fen INTEGER NOT NULL CHECK (fen > 0),
    fee_fen INTEGER NOT NULL, reason TEXT NOT NULL, notify_url TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('PROCESSING', 'SUCCESS', 'CLOSED', 'ABNORMAL')),
    created_ms INTEGER NOT NULL, due_ms INTEGER, ended_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS refunds_order ON refunds (out_trade_no);
CREATE INDEX IF NOT EXISTS refunds_created ON refunds (created_ms);
CREATE INDEX IF NOT EXISTS refunds_due ON refunds (due_ms) WHERE status = 'PROCESSING';
CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, cause TEXT NOT NULL,
    reference TEXT NOT NULL, debit TEXT NOT NULL, credit TEXT NOT NULL, fen INTEGER NOT NULL CHECK (fen > 0)
) STRICT;
CREATE TABLE IF NOT EXISTS balances (
    account TEXT PRIMARY KEY, debited_fen INTEGER NOT NULL, credited_fen INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notifications (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, url TEXT NOT NULL, event TEXT NOT NULL,
    kind TEXT NOT NULL, reference TEXT NOT NULL, content TEXT NOT NULL, created_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held', 'done', 'given_up'))
) STRICT;
CREATE INDEX IF NOT EXISTS notifications_due ON notifications (due_ms) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS attempts (
    n INTEGER PRIMARY KEY AUTOINCREMENT, notification INTEGER NOT NULL REFERENCES notifications,
    at_ms INTEGER NOT NULL, status INTEGER NOT NULL, detail TEXT NOT NULL, fault TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attempts_notification ON attempts (notification);
CREATE TABLE IF NOT EXISTS codes (code TEXT PRIMARY KEY) STRICT;
"""

Row = TypeVar("Row", bound=msgspec.Struct)


class Order(msgspec.Struct, frozen=True):
    """A row of `orders`."""

    out_trade_no: str
    request: str
    total_fen: int
    openid: str
    description: str
    attach: str
    device_id: str
    notify_url: str
    created_ms: int
    expires_ms: int
    state: str
    transaction_id: str | None = None
    paid_ms: int | None = None


class RefundRow(msgspec.Struct, frozen=True):
    """A row of `refunds`."""

    out_refund_no: str
    refund_id: str
    out_trade_no: str
    fen: int
    fee_fen: int
    reason: str
    notify_url: str
    status: str
    created_ms: int
    due_ms: int | None = None
    ended_ms: int | None = None


class NotificationRow(msgspec.Struct, frozen=True):
    """A row of `notifications`; `content` is what will be encrypted, JSON."""

    n: int
    id: str
    url: str
    event: str
    kind: str
    reference: str
    content: str
    created_ms: int
    due_ms: int
    attempts: int
    state: str


class Books:
    """One SQLite file, used from one thread; a transaction never waits for anything but the disk."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on leaving it is on the disk."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def one(self, kind: type[Row], sql: str, *values: Any) -> Row | None:
        """The first row of a query as a struct."""
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else msgspec.convert(dict(row), kind)

    def all(self, kind: type[Row], sql: str, *values: Any) -> list[Row]:
        """All rows of a query as structs."""
        return [msgspec.convert(dict(row), kind) for row in self._db.execute(sql, values)]

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """All rows of a query as they are."""
        return [dict(row) for row in self._db.execute(sql, values)]

    def number(self, sql: str, *values: Any) -> int:
        """The single number that a query gives; nothing counts as 0."""
        row = self._db.execute(sql, values).fetchone()
        return int(row[0] or 0) if row is not None else 0

    def run(self, sql: str, *values: Any) -> int:
        """Change rows; returns how many."""
        return self._db.execute(sql, values).rowcount

    def get(self, name: str, default: str = "") -> str:
        """A value kept under a name."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row["value"])

    def put(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self._db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = ?2", (name, value))

    def next_number(self) -> int:
        """A number that no other row got."""
        number = int(self.get("number", "0")) + 1
        self.put("number", str(number))
        return number

    def move(self, at_ms: int, cause: str, reference: str, debit: str, credit: str, fen: int) -> None:
        """Write one entry and both balances; nothing when there is nothing to move."""
        if fen == 0:
            return
        self.run(
            "INSERT INTO entries (at_ms, cause, reference, debit, credit, fen) VALUES (?, ?, ?, ?, ?, ?)",
            *(at_ms, cause, reference, debit, credit, fen),
        )
        for account, debited, credited in ((debit, fen, 0), (credit, 0, fen)):
            self.run(
                "INSERT INTO balances VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE"
                " SET debited_fen = debited_fen + ?2, credited_fen = credited_fen + ?3",
                *(account, debited, credited),
            )

    def balance_fen(self, account: str) -> int:
        """What an account holds; a payer's is negative by what he has paid."""
        return self.number("SELECT credited_fen - debited_fen FROM balances WHERE account = ?", account)

    def order(self, out_trade_no: str) -> Order | None:
        """An order by our number."""
        return self.one(Order, "SELECT * FROM orders WHERE out_trade_no = ?", out_trade_no)

    def refund(self, out_refund_no: str) -> RefundRow | None:
        """A refund by the merchant's number."""
        return self.one(RefundRow, "SELECT * FROM refunds WHERE out_refund_no = ?", out_refund_no)

    def notify(self, *, url: str, event: str, kind: str, reference: str, content: str, at_ms: int) -> int:
        """Put a notification into the queue, due now; returns its row number."""
        number = self.next_number()
        self.run(
            "INSERT INTO notifications (id, url, event, kind, reference, content, created_ms, due_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(f"EV-{at_ms}-{number:010d}", url, event, kind, reference, content, at_ms, at_ms),
        )
        return self.number("SELECT max(n) FROM notifications")
