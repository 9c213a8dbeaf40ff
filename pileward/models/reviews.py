"""The review list (待办): what a person has to look at."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class Review(Model):
    """One thing to look at; closed by a person, or by itself when it has settled."""

    id = fields.BigIntField(primary_key=True)
    key = fields.CharField(max_length=120, unique=True)
    """Kind and what it is about: the same thing again is the same row."""
    operator_id = fields.BigIntField(null=True)
    """NULL: nobody's, it concerns the platform."""
    kind = fields.CharField(max_length=24)
    serial = fields.CharField(max_length=20, null=True)
    record_id = fields.BigIntField(null=True)
    about = fields.CharField(max_length=64)
    reason = fields.CharField(max_length=200)
    opened_at = fields.DatetimeField()
    is_open = fields.BooleanField()
    closed_at = fields.DatetimeField(null=True)
    closed_by = fields.CharField(max_length=80)
    resolution = fields.CharField(max_length=200)

    class Meta:
        table = "review"
        table_description = "待办"
        indexes = (
            Index(fields=("operator_id", "is_open", "id"), name="idx_review_operator"),
            Index(fields=("serial", "id"), name="idx_review_session"),
        )
