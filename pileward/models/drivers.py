"""Drivers (外部用户): who charges and pays; apart from staff in every respect."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.operators import Operator


class Driver(Model):
    """One person who charges at one operator's piles; known by what providers call him, nothing else."""

    id = fields.BigIntField(primary_key=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="drivers", on_delete=fields.RESTRICT
    )
    operator_id: int
    is_blocked = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    last_login_at = fields.DatetimeField()

    class Meta:
        table = "driver"
        table_description = "司机"
        indexes = (Index(fields=("operator_id", "id"), name="idx_driver_operator"),)


class DriverIdentity(Model):
    """What one provider's app calls a driver; the same person may have several."""

    id = fields.BigIntField(primary_key=True)
    driver: fields.ForeignKeyRelation[Driver] = fields.ForeignKeyField(
        "pileward.Driver", related_name="identities", on_delete=fields.RESTRICT
    )
    driver_id: int
    operator_id = fields.BigIntField()
    channel = fields.CharField(max_length=16)
    """`wechat`, later others."""
    appid = fields.CharField(max_length=40)
    openid = fields.CharField(max_length=128)
    unionid = fields.CharField(max_length=128, default="")
    created_at = fields.DatetimeField()

    class Meta:
        table = "driver_identity"
        table_description = "司机身份"
        unique_together = (("openid", "appid", "channel", "operator_id"),)
        indexes = (Index(fields=("driver_id", "id"), name="idx_identity_driver"),)


class IdempotencyKey(Model):
    """One request of one driver that moves money, with what was answered: asked again, answered the same."""

    id = fields.BigIntField(primary_key=True)
    driver_id = fields.BigIntField()
    key = fields.CharField(max_length=80)
    request_hash = fields.CharField(max_length=64)
    status = fields.SmallIntField(null=True)
    """HTTP status of the answer; NULL: still being worked on."""
    answer = fields.TextField(default="")
    created_at = fields.DatetimeField()

    class Meta:
        table = "idempotency_key"
        table_description = "幂等键"
        unique_together = (("driver_id", "key"),)
        indexes = (Index(fields=("created_at",), name="idx_idempotency_created"),)
