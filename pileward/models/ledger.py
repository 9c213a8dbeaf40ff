"""The ledger (总账): movements between accounts, their balances, what each settlement did, and debts."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class LedgerEntry(Model):
    """One movement: one debit, one credit, more than 0 fen. Never updated, never deleted."""

    id = fields.BigIntField(primary_key=True)
    key = fields.CharField(max_length=80, unique=True)
    """`<cause>:<serial>:<n>:<component>`."""
    debit = fields.CharField(max_length=60)
    credit = fields.CharField(max_length=60)
    fen = fields.BigIntField()
    serial = fields.CharField(max_length=20)
    """Empty for what belongs to no charge (a provider's fee of a day)."""
    at = fields.DatetimeField()

    class Meta:
        table = "ledger_entry"
        table_description = "总账分录"
        indexes = (
            Index(fields=("serial", "id"), name="idx_entry_session"),
            Index(fields=("debit", "id"), name="idx_entry_debit"),
            Index(fields=("credit", "id"), name="idx_entry_credit"),
        )


class LedgerBalance(Model):
    """Debits minus credits of one account; moves in the transaction of its entries."""

    id = fields.BigIntField(primary_key=True)
    account = fields.CharField(max_length=60, unique=True)
    fen = fields.BigIntField()

    class Meta:
        table = "ledger_balance"
        table_description = "总账余额"


class Settlement(Model):
    """One settlement of one charge: what it was made from and what it came to. Never updated."""

    id = fields.BigIntField(primary_key=True)
    key = fields.CharField(max_length=60, unique=True)
    """`<serial>:record:<id>`, `<serial>:provisional` or `<serial>:decision:<n>`."""
    serial = fields.CharField(max_length=20)
    record_id = fields.BigIntField(null=True)
    facts = fields.TextField()
    """`messages.charging.RecordFacts`, JSON."""
    result = fields.TextField()
    """`messages.charging_writes.Settled`, JSON."""
    actor = fields.CharField(max_length=80)
    """Empty: by itself."""
    at = fields.DatetimeField()

    class Meta:
        table = "settlement"
        table_description = "结算"
        indexes = (Index(fields=("serial", "id"), name="idx_settlement_session"),)


class Debt(Model):
    """What a driver owes for one charge beyond what was paid."""

    id = fields.BigIntField(primary_key=True)
    serial = fields.CharField(max_length=20, unique=True)
    operator_id = fields.BigIntField()
    driver_id = fields.BigIntField()
    fen = fields.BigIntField()
    """As settled last."""
    waived_fen = fields.BigIntField()
    is_open = fields.BooleanField()
    created_at = fields.DatetimeField()
    closed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "debt"
        table_description = "欠款"
        indexes = (
            Index(fields=("driver_id", "id"), name="idx_debt_driver"),
            Index(fields=("operator_id", "is_open", "id"), name="idx_debt_operator"),
        )
