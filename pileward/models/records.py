"""Transaction records exactly as piles sent them."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.operators import Operator


class PileRecord(Model):
    """One content of one transaction record; never updated but for its repeats, never deleted.

    (wire number, pile, protocol) is the key that the pile uses. The first content under a key has variant 0
    and is the one to settle; a repeat with other content is a row of its own with the next variant.
    """

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="records", on_delete=fields.RESTRICT
    )
    operator_id: int
    protocol = fields.CharField(max_length=16)
    pile_code = fields.CharField(max_length=36)
    wire_number = fields.CharField(max_length=40)
    variant = fields.SmallIntField()
    gun_no = fields.SmallIntField()
    content_hash = fields.CharField(max_length=64)
    """SHA-256 of the body, hexadecimal."""
    body = fields.BinaryField()
    decoded: Any = fields.JSONField()
    received_at = fields.DatetimeField()
    repeats = fields.IntField(default=0)
    """How often the same content came again."""
    last_received_at = fields.DatetimeField()

    class Meta:
        table = "pile_record"
        table_description = "交易记录"
        unique_together = (
            ("wire_number", "pile_code", "protocol", "variant"),
            ("wire_number", "pile_code", "protocol", "content_hash"),
        )
        indexes = (
            Index(fields=("operator_id", "id"), name="idx_record_operator"),
            Index(fields=("pile_code", "id"), name="idx_record_pile"),
        )
