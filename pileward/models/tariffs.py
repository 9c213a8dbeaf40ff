"""Tariffs (计费模型): a name that piles are bound to, and its versions, which never change."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.operators import Operator


class Tariff(Model):
    """What stations and piles refer to; its prices are those of the version in force."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="tariffs", on_delete=fields.RESTRICT
    )
    operator_id: int
    name = fields.CharField(max_length=60)
    created_at = fields.DatetimeField()

    class Meta:
        table = "tariff"
        table_description = "计费模型"
        unique_together = (("operator", "name"),)
        indexes = (Index(fields=("operator_id", "id"), name="idx_tariff_operator"),)


class TariffVersion(Model):
    """Prices and slots from one moment on; never updated: a change is a new version with a new number.

    Prices are 1e-5 yuan/kWh. The billing model number is what a pile compares (YKC 1.6, 0x05): 4 decimal
    digits, not 0000, never used twice by an operator.
    """

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="tariff_versions", on_delete=fields.RESTRICT
    )
    operator_id: int
    tariff: fields.ForeignKeyRelation[Tariff] = fields.ForeignKeyField(
        "pileward.Tariff", related_name="versions", on_delete=fields.RESTRICT
    )
    tariff_id: int
    version = fields.IntField()
    billing_model_no = fields.CharField(max_length=4)
    sharp_energy_e5_yuan = fields.IntField()
    sharp_service_e5_yuan = fields.IntField()
    peak_energy_e5_yuan = fields.IntField()
    peak_service_e5_yuan = fields.IntField()
    flat_energy_e5_yuan = fields.IntField()
    flat_service_e5_yuan = fields.IntField()
    valley_energy_e5_yuan = fields.IntField()
    valley_service_e5_yuan = fields.IntField()
    slots = fields.CharField(max_length=48)
    """48 half hours from 00:00 China time, each the digit of its rate: 0 sharp, 1 peak, 2 flat, 3 valley."""
    effective_at = fields.DatetimeField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "tariff_version"
        table_description = "计费模型版本"
        unique_together = (("tariff", "version"), ("operator", "billing_model_no"))
        indexes = (Index(fields=("tariff_id", "id"), name="idx_version_tariff"),)
