"""Sampled telemetry, for charts of a gun's last weeks; losing some of it is allowed."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class TelemetrySample(Model):
    """One telemetry of one gun; written in bulk, thrown away after a while. No foreign keys: it is bulk."""

    id = fields.BigIntField(primary_key=True)
    pile_code = fields.CharField(max_length=36)
    gun_no = fields.SmallIntField()
    at = fields.DatetimeField()
    status = fields.SmallIntField()
    """`values.ReportedStatus`."""
    is_plugged = fields.BooleanField(null=True)
    voltage_mv = fields.IntField(null=True)
    current_ma = fields.IntField(null=True)
    soc_pct = fields.SmallIntField(null=True)
    energy_e4_kwh = fields.BigIntField(null=True)
    amount_e4_yuan = fields.BigIntField(null=True)
    cable_temp_c = fields.SmallIntField(null=True)
    battery_max_temp_c = fields.SmallIntField(null=True)
    wire_number = fields.CharField(max_length=40)

    class Meta:
        table = "telemetry_sample"
        table_description = "实时数据采样"
        indexes = (
            Index(fields=("pile_code", "gun_no", "at"), name="idx_sample_gun"),
            Index(fields=("at",), name="idx_sample_at"),
        )
