"""Operators, who may act for them, and what was changed by whom."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class Operator(Model):
    """A company that owns stations (运营商), and all else with them; the first is made at first start."""

    id = fields.BigIntField(primary_key=True)
    code = fields.CharField(max_length=32, unique=True)
    name_zh = fields.CharField(max_length=100)
    name_en = fields.CharField(max_length=100, default="")
    qr_prefix = fields.CharField(max_length=200, default="")
    """What a pile puts before its code in its QR codes (YKC 1.6, 0xF0); empty: not sent."""
    created_at = fields.DatetimeField()
    overrun = fields.CharField(max_length=8, default="debt", db_default="debt")
    """Who bears what a charge used beyond what was paid: `debt` the driver, `absorb` the operator."""
    provisional_after_s = fields.IntField(default=86_400, db_default=86_400)
    """After so long without a transaction record a charge is billed by its last live values."""
    provisional_refund = fields.CharField(max_length=8, default="manual", db_default="manual")
    """Its refund is paid when staff approve (`manual`), or by itself (`auto`)."""

    class Meta:
        table = "operator"
        table_description = "运营商"


class OperatorToken(Model):
    """A bearer token of an operator; only its hash is kept, the token is shown once."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="tokens", on_delete=fields.RESTRICT
    )
    operator_id: int
    name = fields.CharField(max_length=60)
    token_hash = fields.CharField(max_length=64, unique=True)
    """SHA-256 in hexadecimal; the token has 256 random bits, so a slow hash would add nothing."""
    created_at = fields.DatetimeField()
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "operator_token"
        table_description = "运营商令牌"
        indexes = (Index(fields=("operator_id", "id"), name="idx_token_operator"),)


class AuditEntry(Model):
    """One change by a person: who, what, before and after. Never updated, never deleted."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="audit_entries", on_delete=fields.RESTRICT
    )
    operator_id: int
    actor = fields.CharField(max_length=80)
    """Who: `token:<name>`, `cli:<user>`, `system`."""
    action = fields.CharField(max_length=60)
    """What: `pile.change`, `tariff.publish`, …"""
    target_kind = fields.CharField(max_length=40)
    target_id = fields.CharField(max_length=60)
    before: Any = fields.JSONField(null=True)
    after: Any = fields.JSONField(null=True)
    at = fields.DatetimeField()

    class Meta:
        table = "audit_entry"
        table_description = "操作审计"
        indexes = (
            Index(fields=("operator_id", "id"), name="idx_audit_operator"),
            Index(fields=("operator_id", "target_kind", "target_id", "id"), name="idx_audit_target"),
        )
