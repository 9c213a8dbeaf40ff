"""Frames of the connection itself: login, heartbeat, tariff, clock."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pileward.codecs.ykc import wire
from pileward.codecs.ykc.fields import BillingModelNo, GunNo, PileNo
from pileward.codecs.ykc.table import Frame, frame

ElectricityFee = "yuan/kWh for the energy itself"
ServiceFee = "yuan/kWh for the service"


@frame(0x01, "Login", "充电桩登录认证", answered_by=0x02, when="after power-on, reset or reconnection")
class Login(Frame, frozen=True, gc=False):
    """The pile introduces itself; nothing else counts before the platform has accepted it."""

    pile_no: PileNo
    pile_type: Annotated[int, wire.U8, "桩类型", "0 DC, 1 AC"]
    gun_count: Annotated[int, wire.U8, "充电枪数量", "number of guns"]
    protocol_version: Annotated[int, wire.U8, "通信协议版本", "version times ten: 15, 16, 17"]
    software_version: Annotated[str, wire.text(8), "程序版本", "version of the firmware"]
    network_type: Annotated[int, wire.U8, "网络链接类型", "0 SIM card, 1 LAN, 2 WAN, 3 other"]
    sim_no: Annotated[str, wire.hexa(10), "Sim卡", "ICCID, 20 digits which may hold letters; zeros: none"]
    carrier: Annotated[int, wire.U8, "运营商", "0 China Mobile, 2 China Telecom, 3 China Unicom, 4 other"]


@frame(0x02, "Login answer", "登录认证应答", when="answer")
class LoginAnswer(Frame, frozen=True, gc=False):
    """Whether the pile may stay; after a refusal the platform closes the connection."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "登陆结果", "0 accepted, 1 refused"]


@frame(0x03, "Heartbeat", "充电桩心跳包", answered_by=0x04, when="every 10 s for each gun")
class Heartbeat(Frame, frozen=True, gc=False):
    """One gun is alive; its state in detail comes in 0x13."""

    pile_no: PileNo
    gun_no: GunNo
    gun_status: Annotated[int, wire.U8, "枪状态", "0 normal, 1 fault"]


@frame(0x04, "Heartbeat answer", "心跳包应答", when="answer, at once")
class HeartbeatAnswer(Frame, frozen=True, gc=False):
    """The platform is alive; without it piles hang up after about a minute."""

    pile_no: PileNo
    gun_no: GunNo
    ack: Annotated[int, wire.U8, "心跳应答", "always 0"]


@frame(
    0x05,
    "Billing model check",
    "计费模型验证请求",
    answered_by=0x06,
    when="after login, repeated until answered",
)
class BillingModelCheck(Frame, frozen=True, gc=False):
    """Which tariff the pile holds."""

    pile_no: PileNo
    billing_model_no: BillingModelNo


@frame(0x06, "Billing model check answer", "计费模型验证请求应答", when="answer")
class BillingModelCheckAnswer(Frame, frozen=True, gc=False):
    """Whether that tariff is the right one; if not, the pile asks with 0x09."""

    pile_no: PileNo
    billing_model_no: BillingModelNo
    result: Annotated[int, wire.U8, "验证结果", "0 the pile's tariff is current, 1 it is not"]


@frame(
    0x09,
    "Billing model request",
    "充电桩计费模型请求",
    answered_by=0x0A,
    when='after 0x06 said "not current", repeated until answered',
)
class BillingModelRequest(Frame, frozen=True, gc=False):
    """The pile asks for its tariff and does not charge before it has one."""

    pile_no: PileNo


@frame(0x0A, "Billing model answer", "计费模型请求应答", when="answer")
class BillingModelAnswer(Frame, frozen=True, gc=False):
    """The tariff: eight prices and 48 half hours from midnight, China time."""

    pile_no: PileNo
    billing_model_no: BillingModelNo
    sharp_electricity_fee_e5_yuan: Annotated[int, wire.D5, "尖电费费率", ElectricityFee]
    sharp_service_fee_e5_yuan: Annotated[int, wire.D5, "尖服务费费率", ServiceFee]
    peak_electricity_fee_e5_yuan: Annotated[int, wire.D5, "峰电费费率", ElectricityFee]
    peak_service_fee_e5_yuan: Annotated[int, wire.D5, "峰服务费费率", ServiceFee]
    flat_electricity_fee_e5_yuan: Annotated[int, wire.D5, "平电费费率", ElectricityFee]
    flat_service_fee_e5_yuan: Annotated[int, wire.D5, "平服务费费率", ServiceFee]
    valley_electricity_fee_e5_yuan: Annotated[int, wire.D5, "谷电费费率", ElectricityFee]
    valley_service_fee_e5_yuan: Annotated[int, wire.D5, "谷服务费费率", ServiceFee]
    loss_ratio: Annotated[int, wire.U8, "计损比例", "unit not defined anywhere; 0"]
    slots: Annotated[
        tuple[int, ...],
        wire.slots(48),
        "48个时段费率号",
        "rate of each half hour: 0 sharp, 1 peak, 2 flat, 3 valley",
    ]


@frame(
    0x58,
    "Set billing model",
    "计费模型设置",
    answered_by=0x57,
    when="when the tariff changes and the pile is idle",
)
class SetBillingModel(BillingModelAnswer, frozen=True, gc=False):
    """The platform puts a tariff into an idle pile; same body as 0x0A."""


@frame(0x57, "Set billing model answer", "计费模型应答", when="answer")
class SetBillingModelAnswer(Frame, frozen=True, gc=False):
    """Whether the pile took the tariff; it does not say which, so only one may be open."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "设置结果", "0 failed, 1 done"]


@frame(0x56, "Set time", "对时设置", answered_by=0x55, when="after login and once a day")
class SetTime(Frame, frozen=True, gc=False):
    """The platform's clock."""

    pile_no: PileNo
    time: Annotated[datetime | None, wire.CP56, "当前时间", "time of the platform, China standard time"]


@frame(0x55, "Set time answer", "对时设置应答", when="answer")
class SetTimeAnswer(Frame, frozen=True, gc=False):
    """The pile's clock after setting it."""

    pile_no: PileNo
    time: Annotated[datetime | None, wire.CP56, "当前时间", "time of the pile, China standard time"]
