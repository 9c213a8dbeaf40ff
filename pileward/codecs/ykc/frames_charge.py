"""Frames of a charge: telemetry, start, stop, record, balance, parallel charging (YKC 1.6 and 1.7)."""

from __future__ import annotations

from typing import Annotated

from pileward.codecs.ykc import wire
from pileward.codecs.ykc.fields import (
    Balance,
    EndTime,
    GunNo,
    GunRole,
    LogicalCardNo,
    ParallelNo,
    PhysicalCardNo,
    PileNo,
    StartTime,
    TradeNo,
    TradeTime,
    Vin,
)
from pileward.codecs.ykc.table import Frame, frame

RatePrice = "yuan/kWh in this rate, electricity and service together"
RateEnergy = "energy in this rate, kWh"
RateLossEnergy = "the same including loss, kWh; 0 from piles that know no loss"
RateAmount = "money in this rate, yuan"


@frame(0x12, "Read real-time data", "读取实时监测数据", answered_by=0x13, when="on demand")
class ReadRealTimeData(Frame, frozen=True, gc=False):
    """Asks for a fresh 0x13 of one gun."""

    pile_no: PileNo
    gun_no: GunNo


@frame(
    0x13,
    "Real-time data",
    "上传实时监测数据",
    when="idle every 5 min, charging every 15 s, on change, answer to 0x12",
)
class RealTimeData(Frame, frozen=True, gc=False):
    """State and measurements of one gun."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo
    status: Annotated[int, wire.U8, "状态", "0 offline, 1 fault, 2 idle, 3 charging"]
    gun_homed: Annotated[int, wire.U8, "枪是否归位", "gun in its holder: 0 no, 1 yes, 2 unknown"]
    gun_plugged: Annotated[int, wire.U8, "是否插枪", "gun in a vehicle: 0 no, 1 yes"]
    output_voltage_e1_v: Annotated[int, wire.D1, "输出电压", "V; 0 when idle"]
    output_current_e1_a: Annotated[int, wire.D1, "输出电流", "A without offset; 0 when idle"]
    cable_temp_c: Annotated[int | None, wire.TEMP0, "枪线温度", "°C; null: idle or no sensor"]
    cable_code: Annotated[str, wire.hexa(8), "枪线编码", "identification of the cable; zeros: none"]
    soc: Annotated[int, wire.U8, "SOC", "percent; 0 when idle and on AC piles"]
    battery_max_temp_c: Annotated[int | None, wire.TEMP0, "电池组最高温度", "°C; null: idle or AC pile"]
    charge_minutes: Annotated[int, wire.U16, "累计充电时间", "minutes charged so far"]
    remaining_minutes: Annotated[int, wire.U16, "剩余时间", "minutes left by estimate; 0 on AC piles"]
    energy_e4_kwh: Annotated[int, wire.D4, "充电度数", "energy so far, kWh"]
    loss_energy_e4_kwh: Annotated[int, wire.D4, "计损充电度数", "energy so far including loss, kWh; often 0"]
    amount_e4_yuan: Annotated[int, wire.D4, "已充金额", "money so far, yuan"]
    hardware_fault: Annotated[int, wire.U16, "硬件故障", "bits of faults"]


@frame(
    0x31,
    "Start request from the pile",
    "充电桩主动申请启动充电",
    answered_by=0x32,
    when="card, account or VIN",
)
class StartRequest(Frame, frozen=True, gc=False):
    """Somebody at the pile wants to charge."""

    pile_no: PileNo
    gun_no: GunNo
    start_mode: Annotated[int, wire.U8, "启动方式", "1 card, 2 account, 3 VIN"]
    need_password: Annotated[int, wire.U8, "是否需要密码", "0 no, 1 yes"]
    account_or_card_no: Annotated[
        str, wire.hexa(8), "账号或者物理卡号", "account or number of the card's chip"
    ]
    password: Annotated[
        str, wire.hexa(16), "输入密码", "middle 16 characters of the MD5, as bytes; zeros: none"
    ]
    vin: Annotated[str, wire.reversed_text(17), "VIN码", "VIN, sent last character first; empty: none"]


@frame(0x32, "Start request answer", "运营平台确认启动充电", when="answer")
class StartRequestAnswer(Frame, frozen=True, gc=False):
    """Lets the pile start, or says why not."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo
    logical_card_no: LogicalCardNo
    balance_e2_yuan: Balance
    auth_result: Annotated[int, wire.U8, "鉴权成功标志", "0 refused, 1 accepted"]
    fail_reason: Annotated[int, wire.U8, "失败原因", "0 none, else a reason of start requests"]


@frame(0x34, "Remote start", "运营平台远程控制启机", answered_by=0x33, when="on demand")
class RemoteStart(Frame, frozen=True, gc=False):
    """Starts a charge from the app; never repeated with the same number."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo
    logical_card_no: LogicalCardNo
    physical_card_no: PhysicalCardNo
    balance_e2_yuan: Balance


@frame(0x33, "Remote start answer", "远程启机命令回复", when="answer")
class RemoteStartAnswer(Frame, frozen=True, gc=False):
    """Whether the pile starts; after reason 5 (not plugged in) a second answer may follow within 60 s."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo
    result: Annotated[int, wire.U8, "启动结果", "0 failed, 1 accepted"]
    fail_reason: Annotated[int, wire.U8, "失败原因", "0 none, else a reason of remote starts"]


@frame(0x36, "Remote stop", "运营平台远程停机", answered_by=0x35, when="on demand")
class RemoteStop(Frame, frozen=True, gc=False):
    """Stops the charge of a gun."""

    pile_no: PileNo
    gun_no: GunNo


@frame(0x35, "Remote stop answer", "远程停机命令回复", when="answer")
class RemoteStopAnswer(Frame, frozen=True, gc=False):
    """Whether the pile stopped; the record comes all the same."""

    pile_no: PileNo
    gun_no: GunNo
    result: Annotated[int, wire.U8, "停止结果", "0 failed, 1 stopped"]
    fail_reason: Annotated[
        int, wire.U8, "失败原因", "0 none, 1 wrong pile number, 2 was not charging, 3 other"
    ]


MeterStart = Annotated[int, wire.D4_METER, "电表总起值", "reading of the meter at the start, kWh"]
MeterEnd = Annotated[int, wire.D4_METER, "电表总止值", "reading of the meter at the end, kWh"]
TotalEnergy = Annotated[int, wire.D4, "总电量", "energy of the charge, kWh"]
TotalLossEnergy = Annotated[int, wire.D4, "计损总电量", "the same including loss, kWh; often 0"]
TotalAmount = Annotated[int, wire.D4, "消费金额", "money of the charge, yuan"]
StartType = Annotated[int, wire.U8, "交易标识", "how it was started: 1 app, 2 card, 4 offline card, 5 VIN"]
StopReason = Annotated[int, wire.U8, "停止原因", "why it stopped"]


class RecordHead(Frame, frozen=True, gc=False):
    """The first rows of all records."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo
    start_time: StartTime
    end_time: EndTime


class FourRates(RecordHead, frozen=True, gc=False):
    """Price, energy and money of the four rates."""

    sharp_price_e5_yuan: Annotated[int, wire.D5, "尖单价", RatePrice]
    sharp_energy_e4_kwh: Annotated[int, wire.D4, "尖电量", RateEnergy]
    sharp_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损尖电量", RateLossEnergy]
    sharp_amount_e4_yuan: Annotated[int, wire.D4, "尖金额", RateAmount]
    peak_price_e5_yuan: Annotated[int, wire.D5, "峰单价", RatePrice]
    peak_energy_e4_kwh: Annotated[int, wire.D4, "峰电量", RateEnergy]
    peak_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损峰电量", RateLossEnergy]
    peak_amount_e4_yuan: Annotated[int, wire.D4, "峰金额", RateAmount]
    flat_price_e5_yuan: Annotated[int, wire.D5, "平单价", RatePrice]
    flat_energy_e4_kwh: Annotated[int, wire.D4, "平电量", RateEnergy]
    flat_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损平电量", RateLossEnergy]
    flat_amount_e4_yuan: Annotated[int, wire.D4, "平金额", RateAmount]
    valley_price_e5_yuan: Annotated[int, wire.D5, "谷单价", RatePrice]
    valley_energy_e4_kwh: Annotated[int, wire.D4, "谷电量", RateEnergy]
    valley_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损谷电量", RateLossEnergy]
    valley_amount_e4_yuan: Annotated[int, wire.D4, "谷金额", RateAmount]


@frame(
    0x3B,
    "Transaction record",
    "交易记录",
    answered_by=0x40,
    when="after every charge, repeated until answered",
    since="1.5, 1.6",
    is_billing=True,
)
class TransactionRecord(FourRates, frozen=True, gc=False):
    """The record of one charge; the number of the transaction is its key."""

    meter_start_e4_kwh: MeterStart
    meter_end_e4_kwh: MeterEnd
    total_energy_e4_kwh: TotalEnergy
    total_loss_energy_e4_kwh: TotalLossEnergy
    total_amount_e4_yuan: TotalAmount
    vin: Vin
    start_type: StartType
    trade_time: TradeTime
    stop_reason: StopReason
    physical_card_no: PhysicalCardNo


@frame(
    0x3B,
    "Transaction record",
    "交易记录（五费率）",
    answered_by=0x40,
    when="as the record with four rates, from piles of one vendor; known by its length",
    since="variant",
    is_billing=True,
)
class FiveRateRecord(FourRates, frozen=True, gc=False):
    """The record with a fifth rate (深谷) behind the valley rate."""

    deep_valley_price_e5_yuan: Annotated[int, wire.D5, "深谷单价", RatePrice]
    deep_valley_energy_e4_kwh: Annotated[int, wire.D4, "深谷电量", RateEnergy]
    deep_valley_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损深谷电量", RateLossEnergy]
    deep_valley_amount_e4_yuan: Annotated[int, wire.D4, "深谷金额", RateAmount]
    meter_start_e4_kwh: MeterStart
    meter_end_e4_kwh: MeterEnd
    total_energy_e4_kwh: TotalEnergy
    total_loss_energy_e4_kwh: TotalLossEnergy
    total_amount_e4_yuan: TotalAmount
    vin: Vin
    start_type: StartType
    trade_time: TradeTime
    stop_reason: StopReason
    physical_card_no: PhysicalCardNo


@frame(
    0x3D,
    "Transaction record",
    "交易记录（1.7）",
    answered_by=0x40,
    when="as 0x3B",
    since="1.7",
    is_billing=True,
)
class SignedTransactionRecord(RecordHead, frozen=True, gc=False):
    """The record of 1.7, with the signed readings of the meter."""

    meter_no: Annotated[str, wire.bcd(6), "电表表号", "number of the meter"]
    meter_ciphertext: Annotated[str, wire.hexa(34), "电表密文", "signed readings of the meter"]
    meter_protocol_version: Annotated[int, wire.U16, "电表协议版本号", "protocol of the meter"]
    encryption_method: Annotated[int, wire.U8, "加密方式", "method of the signature"]
    sharp_price_e5_yuan: Annotated[int, wire.D5, "尖单价", RatePrice]
    sharp_energy_e4_kwh: Annotated[int, wire.D4, "尖电量", RateEnergy]
    sharp_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损尖电量", RateLossEnergy]
    sharp_amount_e4_yuan: Annotated[int, wire.D4, "尖金额", RateAmount]
    peak_price_e5_yuan: Annotated[int, wire.D5, "峰单价", RatePrice]
    peak_energy_e4_kwh: Annotated[int, wire.D4, "峰电量", RateEnergy]
    peak_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损峰电量", RateLossEnergy]
    peak_amount_e4_yuan: Annotated[int, wire.D4, "峰金额", RateAmount]
    flat_price_e5_yuan: Annotated[int, wire.D5, "平单价", RatePrice]
    flat_energy_e4_kwh: Annotated[int, wire.D4, "平电量", RateEnergy]
    flat_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损平电量", RateLossEnergy]
    flat_amount_e4_yuan: Annotated[int, wire.D4, "平金额", RateAmount]
    valley_price_e5_yuan: Annotated[int, wire.D5, "谷单价", RatePrice]
    valley_energy_e4_kwh: Annotated[int, wire.D4, "谷电量", RateEnergy]
    valley_loss_energy_e4_kwh: Annotated[int, wire.D4, "计损谷电量", RateLossEnergy]
    valley_amount_e4_yuan: Annotated[int, wire.D4, "谷金额", RateAmount]
    meter_start_e4_kwh: MeterStart
    meter_end_e4_kwh: MeterEnd
    total_energy_e4_kwh: TotalEnergy
    total_loss_energy_e4_kwh: TotalLossEnergy
    total_amount_e4_yuan: TotalAmount
    vin: Vin
    start_type: StartType
    trade_time: TradeTime
    stop_reason: StopReason
    physical_card_no: PhysicalCardNo


@frame(0x40, "Transaction record answer", "交易记录确认", when="answer")
class TransactionRecordAnswer(Frame, frozen=True, gc=False):
    """A receipt: the record is stored. It says nothing of the bill."""

    trade_no: TradeNo
    result: Annotated[int, wire.U8, "确认结果", "0 received, 1 illegal record"]


@frame(0x42, "Balance update", "远程账户余额更新", answered_by=0x41, when="after a top-up during a charge")
class BalanceUpdate(Frame, frozen=True, gc=False):
    """The new balance of the account, not the difference."""

    pile_no: PileNo
    gun_no: GunNo
    physical_card_no: Annotated[
        str, wire.hexa(8), "物理卡号", "zeros: the pile does not check whose charge it is"
    ]
    balance_e2_yuan: Annotated[int, wire.D2_LONG, "修改后账户金额", "balance after the change, yuan"]


@frame(0x41, "Balance update answer", "余额更新应答", when="answer")
class BalanceUpdateAnswer(Frame, frozen=True, gc=False):
    """Whether the pile took the balance; names no gun."""

    pile_no: PileNo
    physical_card_no: PhysicalCardNo
    result: Annotated[int, wire.U8, "修改结果", "0 done, 1 wrong pile number, 2 wrong card"]


@frame(
    0xA1,
    "Parallel start request from the pile",
    "充电桩主动申请并充充电",
    answered_by=0xA2,
    when="card, account or VIN, one for each gun",
    since="1.6",
)
class ParallelStartRequest(StartRequest, frozen=True, gc=False):
    """One gun of a charge with two guns."""

    gun_role: GunRole
    parallel_no: ParallelNo


@frame(
    0xA2,
    "Parallel start request answer",
    "运营平台确认并充启动充电",
    when="answer, one for each gun",
    since="1.6",
)
class ParallelStartRequestAnswer(StartRequestAnswer, frozen=True, gc=False):
    """As 0x32; the pile starts when all guns were accepted."""

    parallel_no: ParallelNo


@frame(
    0xA4,
    "Remote parallel start",
    "运营平台远程控制并充启机",
    answered_by=0xA3,
    when="on demand, one for each gun",
    since="1.6",
)
class RemoteParallelStart(RemoteStart, frozen=True, gc=False):
    """As 0x34; each gun has a transaction number of its own."""

    parallel_no: ParallelNo


@frame(
    0xA3, "Remote parallel start answer", "远程并充启机命令回复", when="answer, one for each gun", since="1.6"
)
class RemoteParallelStartAnswer(RemoteStartAnswer, frozen=True, gc=False):
    """As 0x33."""

    gun_role: GunRole
    parallel_no: ParallelNo
