"""Protocol-neutral codes of hardware faults, with their words for people.

Dialects translate their own bits and numbers into these codes; a code that is not in the table is shown raw.
Source of the first thirteen: YKC 1.6, 0x13 hardware_fault, bits 1 to 13.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One kind of hardware fault; the category is that of the union (FaultCategory)."""

    code: str
    category: str
    text_zh: str
    text_en: str


FAULTS: Final = {
    fault.code: fault
    for fault in (
        Fault("emergency_stop", "EmergencyStop", "急停按钮动作", "emergency stop pressed"),
        Fault("no_rectifier", "Module", "无可用整流模块", "no usable rectifier module"),
        Fault("outlet_hot", "OverTemperature", "出风口温度过高", "air outlet too hot"),
        Fault("ac_surge", "SurgeProtector", "交流防雷故障", "AC surge protection fault"),
        Fault("module_link", "InternalCommunication", "交直流模块通信中断", "AC/DC module link lost"),
        Fault(
            "insulation_link", "InternalCommunication", "绝缘检测模块通信中断", "insulation monitor link lost"
        ),
        Fault("meter_link", "Meter", "电度表通信中断", "energy meter link lost"),
        Fault("card_reader_link", "CardReader", "读卡器通信中断", "card reader link lost"),
        Fault("rc10_link", "InternalCommunication", "RC10 通信中断", "RC10 link lost"),
        Fault("fan_board", "Module", "风扇调速板故障", "fan speed board fault"),
        Fault("dc_fuse", "Fuse", "直流熔断器故障", "DC fuse fault"),
        Fault("contactor", "Contactor", "高压接触器故障", "high voltage contactor fault"),
        Fault("door_open", "Door", "门打开", "door open"),
    )
}


def texts(code: str) -> tuple[str, str]:
    """The words for a code, Chinese and English; the code itself when it is not known."""
    fault = FAULTS.get(code)
    return (fault.text_zh, fault.text_en) if fault is not None else (code, code)
