"""Money that comes and goes through providers: payments, the outbox of refunds, notifications, bills."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class Payment(Model):
    """One payment of one order; columns as in `messages.charging.PaymentRow`. Its number never changes."""

    id = fields.BigIntField(primary_key=True)
    out_trade_no = fields.CharField(max_length=32, unique=True)
    serial = fields.CharField(max_length=20)
    operator_id = fields.BigIntField()
    driver_id = fields.BigIntField()
    channel = fields.CharField(max_length=16)
    merchant = fields.CharField(max_length=40)
    openid = fields.CharField(max_length=128)
    fen = fields.BigIntField()
    description = fields.CharField(max_length=127)
    attach = fields.CharField(max_length=128)
    device_id = fields.CharField(max_length=40)
    expires_at = fields.DatetimeField()
    created_at = fields.DatetimeField()
    step = fields.CharField(max_length=8)
    prepay_id = fields.CharField(max_length=128)
    verdict = fields.CharField(max_length=16, null=True)
    transaction_id = fields.CharField(max_length=64, null=True, unique=True)
    paid_fen = fields.BigIntField()
    paid_at = fields.DatetimeField(null=True)
    confirmed_at = fields.DatetimeField(null=True)
    refunded_fen = fields.BigIntField()
    refund_count = fields.SmallIntField()
    last_refund_at = fields.DatetimeField(null=True)
    """Due time of its latest refund: the next one keeps a minute's distance."""
    next_query_at = fields.DatetimeField(null=True)
    queries = fields.SmallIntField()
    error = fields.CharField(max_length=200)

    class Meta:
        table = "payment"
        table_description = "支付单"
        indexes = (
            Index(fields=("serial", "id"), name="idx_payment_session"),
            Index(fields=("next_query_at",), name="idx_payment_query"),
            Index(fields=("merchant", "paid_at"), name="idx_payment_paid"),
            Index(fields=("operator_id", "id"), name="idx_payment_operator"),
        )


class Refund(Model):
    """One refund: stored before it is asked for, asked for until the provider has decided."""

    id = fields.BigIntField(primary_key=True)
    out_refund_no = fields.CharField(max_length=32, unique=True)
    out_trade_no = fields.CharField(max_length=32)
    serial = fields.CharField(max_length=20)
    operator_id = fields.BigIntField()
    channel = fields.CharField(max_length=16)
    merchant = fields.CharField(max_length=40)
    number = fields.SmallIntField()
    fen = fields.BigIntField()
    total_fen = fields.BigIntField()
    cause = fields.CharField(max_length=24)
    step = fields.CharField(max_length=16)
    next_attempt_at = fields.DatetimeField(null=True)
    attempts = fields.IntField()
    refund_id = fields.CharField(max_length=64)
    error = fields.CharField(max_length=200)
    replaces = fields.CharField(max_length=32)
    """The closed refund whose place it took; empty: none."""
    created_at = fields.DatetimeField()
    submitted_at = fields.DatetimeField(null=True)
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "refund"
        table_description = "退款单"
        unique_together = (("serial", "number"),)
        indexes = (
            Index(fields=("next_attempt_at",), name="idx_refund_due"),
            Index(fields=("out_trade_no", "id"), name="idx_refund_payment"),
            Index(fields=("operator_id", "id"), name="idx_refund_operator"),
            Index(fields=("step", "id"), name="idx_refund_step"),
            Index(fields=("merchant", "created_at"), name="idx_refund_created"),
        )


class PaymentNotification(Model):
    """The replay store: one row for each notification that was believed."""

    id = fields.BigIntField(primary_key=True)
    notification_id = fields.CharField(max_length=64, unique=True)
    about = fields.CharField(max_length=64)
    """out_trade_no or out_refund_no."""
    received_at = fields.DatetimeField()

    class Meta:
        table = "payment_notification"
        table_description = "支付通知"
        indexes = (Index(fields=("received_at",), name="idx_notification_received"),)


class Reconciliation(Model):
    """One comparison of one day's bill of one merchant with our books; the bill is kept as it came."""

    id = fields.BigIntField(primary_key=True)
    operator_id = fields.BigIntField()
    channel = fields.CharField(max_length=16)
    merchant = fields.CharField(max_length=40)
    day = fields.DateField()
    sha1 = fields.CharField(max_length=40)
    bill = fields.BinaryField()
    findings = fields.TextField()
    """`services.reconciliation.Finding` values, JSON."""
    matched = fields.IntField()
    fee_e5_yuan = fields.BigIntField()
    at = fields.DatetimeField()

    class Meta:
        table = "reconciliation"
        table_description = "对账"
        unique_together = (("merchant", "day", "channel"),)
        indexes = (Index(fields=("operator_id", "id"), name="idx_reconciliation_operator"),)
