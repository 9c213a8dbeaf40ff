"""Alarms: what was wrong, since when, and until when."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.operators import Operator
from pileward.values import Severity


class Alarm(Model):
    """One stretch of trouble of one kind at one gun, pile or, with an empty pile code, of the platform."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyNullableRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="alarms", null=True, on_delete=fields.RESTRICT
    )
    operator_id: int | None
    """None: the platform's own."""
    pile_code = fields.CharField(max_length=36)
    gun_no = fields.SmallIntField(null=True)
    kind = fields.CharField(max_length=40)
    severity = fields.CharEnumField(Severity, description="", max_length=16)
    text_zh = fields.CharField(max_length=200)
    text_en = fields.CharField(max_length=200)
    begin_at = fields.DatetimeField()
    last_at = fields.DatetimeField()
    end_at = fields.DatetimeField(null=True)
    count = fields.IntField(default=1)
    key = fields.CharField(max_length=100)
    """`<pile>/<gun>/<kind>`; by it a write that is repeated finds what it did the first time."""
    open_key = fields.CharField(max_length=100, null=True, unique=True)
    """The key while it is open, NULL afterwards: so the database keeps one open alarm for each."""

    class Meta:
        table = "alarm"
        table_description = "告警"
        indexes = (
            Index(fields=("operator_id", "id"), name="idx_alarm_operator"),
            Index(fields=("operator_id", "open_key"), name="idx_alarm_open"),
            Index(fields=("key", "end_at"), name="idx_alarm_key"),
            Index(fields=("pile_code", "id"), name="idx_alarm_pile"),
        )
