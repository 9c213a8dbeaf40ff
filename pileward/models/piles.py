"""Piles (桩), their guns (枪), what their makers do differently, and piles that knocked unregistered."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.models.operators import Operator
from pileward.models.stations import Station
from pileward.models.tariffs import Tariff


class PileModel(Model):
    """A maker's type of pile (桩型号), with the settings in which makers differ."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="pile_models", on_delete=fields.RESTRICT
    )
    operator_id: int
    maker = fields.CharField(max_length=60)
    name = fields.CharField(max_length=60)
    offline_after_s = fields.IntField(default=30)
    heartbeat_s = fields.IntField(default=10)
    time_sync_s = fields.IntField(default=86_400)
    crc_order = fields.CharEnumField(CrcOrder, description="", max_length=16, default=CrcOrder.MIRROR)
    card_codec = fields.CharEnumField(CardCodec, description="", max_length=16, default=CardCodec.HEX)
    rate_tolerance_fen = fields.IntField(default=2, db_default=2)
    """How far the pile's own amount of one rate may be from ours before it is an alarm."""
    total_tolerance_fen = fields.IntField(default=1, db_default=1)
    """The same for its amount in all."""

    class Meta:
        table = "pile_model"
        table_description = "桩型号"
        unique_together = (("operator", "maker", "name"),)
        indexes = (Index(fields=("operator_id", "id"), name="idx_model_operator"),)


class Pile(Model):
    """One charging device with one number. The first columns are decided here, the last are its own word."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="piles", on_delete=fields.RESTRICT
    )
    operator_id: int
    station: fields.ForeignKeyRelation[Station] = fields.ForeignKeyField(
        "pileward.Station", related_name="piles", on_delete=fields.RESTRICT
    )
    station_id: int
    model: fields.ForeignKeyRelation[PileModel] = fields.ForeignKeyField(
        "pileward.PileModel", related_name="piles", on_delete=fields.RESTRICT
    )
    model_id: int
    tariff: fields.ForeignKeyNullableRelation[Tariff] = fields.ForeignKeyField(
        "pileward.Tariff", related_name="piles", null=True, on_delete=fields.RESTRICT
    )
    tariff_id: int | None
    """Its own tariff; None: that of its station."""
    pile_code = fields.CharField(max_length=36, unique=True)
    name = fields.CharField(max_length=60)
    protocol = fields.CharField(max_length=16, default="ykc")
    kind = fields.CharEnumField(PileKind, description="", max_length=8, default=PileKind.DC)
    gun_count = fields.SmallIntField()
    rated_power_w = fields.IntField()
    is_in_maintenance = fields.BooleanField(default=False)
    is_retired = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    reported_kind = fields.CharField(max_length=8, default="")
    reported_gun_count = fields.SmallIntField(null=True)
    protocol_version = fields.CharField(max_length=16, default="")
    software_version = fields.CharField(max_length=32, default="")
    network = fields.CharField(max_length=16, default="")
    iccid = fields.CharField(max_length=20, default="")
    carrier = fields.CharField(max_length=16, default="")
    remote_address = fields.CharField(max_length=64, default="")
    last_login_at = fields.DatetimeField(null=True)
    last_seen_at = fields.DatetimeField(null=True)
    confirmed_billing_model_no = fields.CharField(max_length=4, null=True)
    confirmed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "pile"
        table_description = "充电桩"
        indexes = (
            Index(fields=("operator_id", "id"), name="idx_pile_operator"),
            Index(fields=("station_id", "id"), name="idx_pile_station"),
            Index(fields=("tariff_id", "id"), name="idx_pile_tariff"),
        )


class Gun(Model):
    """One connector of a pile, numbered from 1."""

    id = fields.BigIntField(primary_key=True)
    pile: fields.ForeignKeyRelation[Pile] = fields.ForeignKeyField(
        "pileward.Pile", related_name="guns", on_delete=fields.RESTRICT
    )
    pile_id: int
    gun_no = fields.SmallIntField()
    name = fields.CharField(max_length=60, default="")

    class Meta:
        table = "gun"
        table_description = "枪"
        unique_together = (("pile", "gun_no"),)


class DiscoveredPile(Model):
    """A pile code that tried to log in without being registered; a bounded list (`DISCOVERED_MAX`)."""

    id = fields.BigIntField(primary_key=True)
    pile_code = fields.CharField(max_length=36, unique=True)
    protocol = fields.CharField(max_length=16)
    remote_address = fields.CharField(max_length=64, default="")
    facts: Any = fields.JSONField()
    """`LoginFacts` of the last attempt."""
    attempts = fields.IntField()
    first_seen_at = fields.DatetimeField()
    last_seen_at = fields.DatetimeField()

    class Meta:
        table = "discovered_pile"
        table_description = "未登记桩"
        indexes = (Index(fields=("last_seen_at", "id"), name="idx_discovered_seen"),)
