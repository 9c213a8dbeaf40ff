"""Charges (充电会话): the orders, their numbers, the guards that keep one open order a gun and a driver."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model

from pileward.models.drivers import Driver
from pileward.models.operators import Operator
from pileward.models.stations import Station


class ChargingSession(Model):
    """One charge from request to closed account; columns as in `messages.charging.SessionRow`."""

    id = fields.BigIntField(primary_key=True)
    serial = fields.CharField(max_length=20, unique=True)
    operator: fields.ForeignKeyRelation[Operator] = fields.ForeignKeyField(
        "pileward.Operator", related_name="sessions", on_delete=fields.RESTRICT
    )
    operator_id: int
    driver: fields.ForeignKeyNullableRelation[Driver] = fields.ForeignKeyField(
        "pileward.Driver", related_name="sessions", null=True, on_delete=fields.RESTRICT
    )
    driver_id: int | None
    station: fields.ForeignKeyRelation[Station] = fields.ForeignKeyField(
        "pileward.Station", related_name="sessions", on_delete=fields.RESTRICT
    )
    station_id: int
    pile_code = fields.CharField(max_length=36)
    gun_no = fields.SmallIntField()
    protocol = fields.CharField(max_length=16)
    wire_number = fields.CharField(max_length=40)
    state = fields.CharField(max_length=16)
    """Word of `messages.charging.SessionState`."""
    tariff = fields.TextField()
    """The tariff as it was when the order was made, JSON."""
    limit_kind = fields.CharField(max_length=8)
    limit_value = fields.BigIntField()
    prepaid_fen = fields.BigIntField()
    paid_fen = fields.BigIntField()
    out_trade_no = fields.CharField(max_length=32)
    deadline_at = fields.DatetimeField(null=True)
    deadline_kind = fields.CharField(max_length=24)
    requested_at = fields.DatetimeField()
    funded_at = fields.DatetimeField(null=True)
    started_at = fields.DatetimeField(null=True)
    ended_at = fields.DatetimeField(null=True)
    settled_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)
    start_failure = fields.CharField(max_length=40)
    stop_reason = fields.CharField(max_length=40)
    stop_code = fields.IntField(null=True)
    record_id = fields.BigIntField(null=True)
    is_provisional = fields.BooleanField()
    is_held = fields.BooleanField()
    held_reason = fields.CharField(max_length=40)
    energy_e4_kwh = fields.BigIntField()
    live_amount_e4_yuan = fields.BigIntField()
    soc_pct = fields.SmallIntField(null=True)
    live_at = fields.DatetimeField(null=True)
    sharp_e4_kwh = fields.BigIntField()
    peak_e4_kwh = fields.BigIntField()
    flat_e4_kwh = fields.BigIntField()
    valley_e4_kwh = fields.BigIntField()
    bill = fields.TextField(null=True)
    """`messages.charging.Bill`, JSON."""
    electricity_fen = fields.BigIntField()
    service_fen = fields.BigIntField()
    """With `electricity_fen`: what the ledger holds as revenue of this charge."""
    refund_fen = fields.BigIntField()
    debt_fen = fields.BigIntField()
    excess_fen = fields.BigIntField()
    settlements = fields.SmallIntField()
    """How many settlements moved money: 1, and 1 more for each correction."""

    class Meta:
        table = "charging_session"
        table_description = "充电会话"
        indexes = (
            Index(fields=("operator_id", "id"), name="idx_session_operator"),
            Index(fields=("driver_id", "id"), name="idx_session_driver"),
            Index(fields=("pile_code", "gun_no", "id"), name="idx_session_gun"),
            Index(fields=("station_id", "id"), name="idx_session_station"),
            Index(fields=("state", "id"), name="idx_session_state"),
        )


class OpenOrder(Model):
    """A guard: while this row exists, its gun or driver has an open order. Deleted with the order's end."""

    id = fields.BigIntField(primary_key=True)
    key = fields.CharField(max_length=60, unique=True)
    """`driver:<id>` or `gun:<pile code>/<gun no>`."""
    serial = fields.CharField(max_length=20)

    class Meta:
        table = "open_order"
        table_description = "进行中订单"
        indexes = (Index(fields=("serial",), name="idx_open_order_serial"),)


class WireNumber(Model):
    """What a protocol calls a charge: piles know sessions by these numbers only."""

    id = fields.BigIntField(primary_key=True)
    protocol = fields.CharField(max_length=16)
    pile_code = fields.CharField(max_length=36)
    wire_number = fields.CharField(max_length=40)
    gun_no = fields.SmallIntField()
    serial = fields.CharField(max_length=20)

    class Meta:
        table = "wire_number"
        table_description = "协议流水号"
        unique_together = (("wire_number", "pile_code", "protocol"),)
        indexes = (Index(fields=("serial",), name="idx_wire_serial"),)


class SerialCounter(Model):
    """The high-water mark of a node's counter: numbers below were given out, or skipped."""

    id = fields.BigIntField(primary_key=True)
    node = fields.SmallIntField(unique=True)
    next_number = fields.BigIntField()
    """Counts on without end; a serial has its last six digits."""

    class Meta:
        table = "serial_counter"
        table_description = "流水号计数"


class SessionFact(Model):
    """What is said once in a charge: BMS handshake, limits, end, errors."""

    id = fields.BigIntField(primary_key=True)
    serial = fields.CharField(max_length=20)
    kind = fields.CharField(max_length=24)
    data = fields.TextField()
    at = fields.DatetimeField()

    class Meta:
        table = "session_fact"
        table_description = "会话信息"
        unique_together = (("serial", "kind"),)


class SessionPoint(Model):
    """What the vehicle asked for and got at one moment, for the chart of a charge; bulk, no foreign keys."""

    id = fields.BigIntField(primary_key=True)
    serial = fields.CharField(max_length=20)
    at = fields.DatetimeField()
    demand_mv = fields.IntField(null=True)
    demand_ma = fields.IntField(null=True)
    measured_mv = fields.IntField(null=True)
    measured_ma = fields.IntField(null=True)
    soc_pct = fields.SmallIntField(null=True)
    max_cell_mv = fields.IntField(null=True)
    max_temp_c = fields.SmallIntField(null=True)
    min_temp_c = fields.SmallIntField(null=True)
    remaining_s = fields.IntField(null=True)

    class Meta:
        table = "session_point"
        table_description = "会话曲线"
        indexes = (
            Index(fields=("serial", "at"), name="idx_point_session"),
            Index(fields=("at",), name="idx_point_at"),
        )
