"""Stations (站): sites with piles."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.operators import Operator
from pileward.models.tariffs import Tariff


class Station(Model):
    """A site: where it is, when it is open, what parking costs, which tariff its piles have by default."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="stations", on_delete=fields.RESTRICT
    )
    operator_id: int
    code = fields.CharField(max_length=32)
    name_zh = fields.CharField(max_length=100)
    name_en = fields.CharField(max_length=100, default="")
    address = fields.CharField(max_length=200, default="")
    latitude_e6 = fields.IntField(null=True)
    """WGS-84, millionths of a degree, north positive."""
    longitude_e6 = fields.IntField(null=True)
    """WGS-84, millionths of a degree, east positive."""
    opening_hours = fields.CharField(max_length=200, default="")
    parking = fields.CharField(max_length=500, default="")
    phone = fields.CharField(max_length=40, default="")
    tariff: fields.ForeignKeyNullableRelation[Tariff] = fields.ForeignKeyField(
        "pileward.Tariff", related_name="stations", null=True, on_delete=fields.RESTRICT
    )
    tariff_id: int | None
    is_open = fields.BooleanField(default=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "station"
        table_description = "场站"
        unique_together = (("operator", "code"),)
        indexes = (Index(fields=("operator_id", "id"), name="idx_station_operator"),)
