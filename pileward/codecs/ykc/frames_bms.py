"""Frames that copy the dialogue of vehicle and DC charger (GB/T 27930); AC piles send none of them."""

from __future__ import annotations

from typing import Annotated

from pileward.codecs.ykc import wire
from pileward.codecs.ykc.fields import ChargeMinutes, GunNo, PileNo, TradeNo, Vin
from pileward.codecs.ykc.table import Frame, frame


class OfCharge(Frame, frozen=True, gc=False):
    """The first rows of all frames of this group."""

    trade_no: TradeNo
    pile_no: PileNo
    gun_no: GunNo


@frame(0x15, "BMS handshake", "充电握手", when="once for each DC charge")
class BmsHandshake(OfCharge, frozen=True, gc=False):
    """The vehicle introduces itself (BHM, BRM)."""

    bms_protocol_version: Annotated[str, wire.hexa(3), "BMS通信协议版本号", "version bytes; 1.1 is 010100"]
    battery_type: Annotated[int, wire.U8, "BMS电池类型", "chemistry"]
    rated_capacity_e1_ah: Annotated[int, wire.D1, "整车动力蓄电池系统额定容量", "Ah"]
    rated_voltage_e1_v: Annotated[int, wire.D1, "整车动力蓄电池系统额定总电压", "V"]
    battery_vendor: Annotated[
        str, wire.text(4), "电池生产厂商名称", "maker; may hold characters that do not print"
    ]
    battery_serial: Annotated[str, wire.hexa(4), "电池组序号", "number of the pack, defined by its maker"]
    production_year: Annotated[int, wire.U8_FROM_1985, "电池组生产日期年", "year of production"]
    production_month: Annotated[int, wire.U8, "电池组生产日期月", "month of production; 0: unknown"]
    production_day: Annotated[int, wire.U8, "电池组生产日期日", "day of production; 0: unknown"]
    charge_count: Annotated[int, wire.U24, "电池组充电次数", "charges counted by the vehicle"]
    ownership: Annotated[int, wire.U8, "电池组产权标识", "0 leased, 1 owned"]
    reserved: Annotated[int, wire.U8, "预留位", "0; ignored on receipt"]
    vin: Vin
    bms_software_version: Annotated[
        str, wire.hexa(8), "BMS软件版本号", "serial, day, month, year, three unused bytes"
    ]


@frame(0x17, "BMS parameters", "参数配置", when="once for each DC charge")
class BmsParameters(OfCharge, frozen=True, gc=False):
    """Limits of battery and charger (BCP, CML)."""

    cell_max_voltage_e2_v: Annotated[
        int, wire.D2, "单体动力蓄电池最高允许充电电压", "highest voltage of a cell, V"
    ]
    max_charge_current_e1_a: Annotated[int, wire.CUR, "最高允许充电电流", "highest charging current, A"]
    rated_energy_e1_kwh: Annotated[int, wire.D1, "动力蓄电池标称总能量", "nominal energy, kWh"]
    max_total_voltage_e1_v: Annotated[int, wire.D1, "最高允许充电总电压", "highest voltage of the pack, V"]
    max_temp_c: Annotated[int, wire.TEMP, "最高允许温度", "highest temperature, °C"]
    soc_e1_pct: Annotated[int, wire.D1, "整车动力蓄电池荷电状态", "state of charge, percent"]
    battery_voltage_e1_v: Annotated[int, wire.D1, "整车动力蓄电池当前电池电压", "voltage of the pack now, V"]
    pile_max_voltage_e1_v: Annotated[
        int, wire.D1, "电桩最高输出电压", "highest output voltage of the pile, V"
    ]
    pile_min_voltage_e1_v: Annotated[int, wire.D1, "电桩最低输出电压", "lowest output voltage of the pile, V"]
    pile_max_current_e1_a: Annotated[
        int, wire.CUR, "电桩最大输出电流", "largest output current of the pile, A"
    ]
    pile_min_current_e1_a: Annotated[
        int, wire.CUR, "电桩最小输出电流", "smallest output current of the pile, A"
    ]


@frame(0x19, "BMS end of charge", "充电结束", when="once for each DC charge")
class BmsChargeEnd(OfCharge, frozen=True, gc=False):
    """Statistics at the end (BSD, CSD); never billed from."""

    end_soc: Annotated[int, wire.U8, "中止荷电状态SOC", "state of charge, percent"]
    cell_min_voltage_e2_v: Annotated[int, wire.D2, "单体最低电压", "V"]
    cell_max_voltage_e2_v: Annotated[int, wire.D2, "单体最高电压", "V"]
    min_temp_c: Annotated[int, wire.TEMP, "最低温度", "°C"]
    max_temp_c: Annotated[int, wire.TEMP, "最高温度", "°C"]
    charge_minutes: ChargeMinutes
    output_energy_e1_kwh: Annotated[int, wire.D1, "电桩输出能量", "energy, kWh, one decimal"]
    charger_no: Annotated[int, wire.U32, "电桩充电机编号", "charger inside the pile, raw"]


@frame(0x1B, "BMS error", "错误报文", when="on a time-out between vehicle and charger")
class BmsError(OfCharge, frozen=True, gc=False):
    """What vehicle and charger waited for in vain (BEM, CEM)."""

    timeout_flags: Annotated[str, wire.hexa(8), "超时标志", "flags of two bits"]


@frame(0x1D, "Abort by BMS", "充电阶段BMS中止", when="when the vehicle ends the charge")
class BmsAbort(OfCharge, frozen=True, gc=False):
    """Why the vehicle ended the charge (BST)."""

    stop_reason_flags: Annotated[int, wire.U8, "BMS中止充电原因", "flags of two bits"]
    fault_flags: Annotated[int, wire.U16, "BMS中止充电故障原因", "flags of two bits"]
    error_flags: Annotated[int, wire.U8, "BMS中止充电错误原因", "flags of two bits"]


@frame(0x21, "Abort by charger", "充电阶段充电机中止", when="when the charger ends the charge")
class ChargerAbort(OfCharge, frozen=True, gc=False):
    """Why the charger ended the charge (CST)."""

    stop_reason_flags: Annotated[int, wire.U8, "充电机中止充电原因", "flags of two bits"]
    fault_flags: Annotated[int, wire.U16, "充电机中止充电故障原因", "flags of two bits"]
    error_flags: Annotated[int, wire.U8, "充电机中止充电错误原因", "flags of two bits"]


@frame(0x23, "BMS demand and charger output", "充电过程BMS需求与充电机输出", when="every 15 s of a DC charge")
class BmsDemand(OfCharge, frozen=True, gc=False):
    """What the vehicle asks for and what it gets (BCL, BCS, CCS)."""

    bms_voltage_demand_e1_v: Annotated[int, wire.D1, "BMS电压需求", "V"]
    bms_current_demand_e1_a: Annotated[int, wire.CUR, "BMS电流需求", "A, sign as sent"]
    charge_mode: Annotated[int, wire.U8, "BMS充电模式", "1 constant voltage, 2 constant current"]
    bms_voltage_measured_e1_v: Annotated[int, wire.D1, "BMS充电电压测量值", "V"]
    bms_current_measured_e1_a: Annotated[int, wire.CUR, "BMS充电电流测量值", "A, sign as sent"]
    cell_max_voltage_e2_v: Annotated[
        int, wire.LOW_12_BITS, "BMS最高单体动力蓄电池电压", "highest voltage of a cell, V"
    ]
    cell_max_group_no: Annotated[
        int, wire.HIGH_4_BITS, "BMS最高单体动力蓄电池组号", "group of that cell, 0 to 15"
    ]
    soc: Annotated[int, wire.U8, "BMS当前荷电状态SOC", "percent"]
    remaining_minutes: Annotated[
        int, wire.U16, "BMS估算剩余充电时间", "minutes left by the vehicle's estimate"
    ]
    pile_voltage_e1_v: Annotated[int, wire.D1, "电桩电压输出值", "output of the pile, V"]
    pile_current_e1_a: Annotated[int, wire.CUR, "电桩电流输出值", "output of the pile, A, sign as sent"]
    charge_minutes: ChargeMinutes


@frame(0x25, "BMS information", "充电过程BMS信息", when="every 15 s of a DC charge")
class BmsInformation(OfCharge, frozen=True, gc=False):
    """Cells, temperatures and states (BSM)."""

    cell_max_voltage_no: Annotated[
        int, wire.U8_FROM_1, "最高单体动力蓄电池电压所在编号", "cell with the highest voltage"
    ]
    max_temp_c: Annotated[int, wire.TEMP, "最高动力蓄电池温度", "°C"]
    max_temp_point_no: Annotated[int, wire.U8_FROM_1, "最高温度检测点编号", "where it was measured"]
    min_temp_c: Annotated[int, wire.TEMP, "最低动力蓄电池温度", "°C"]
    min_temp_point_no: Annotated[int, wire.U8_FROM_1, "最低动力蓄电池温度检测点编号", "where it was measured"]
    state_flags: Annotated[int, wire.U16, "状态位", "eight states of two bits"]
