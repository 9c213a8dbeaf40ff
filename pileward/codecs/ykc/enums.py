"""Enumerations and bit fields of YKC 1.6 with their words.

Unknown values never break decoding: the raw number is kept and `text_of` says "unknown (0xNN)". Meanings that
vendors contradict each other about are described by their range only.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Word(NamedTuple):
    """One value and what it means."""

    value: int
    zh: str
    en: str


class StopWord(NamedTuple):
    """One stop reason; `group` says who ended the charge, `phase` when."""

    value: int
    zh: str
    en: str
    phase: str
    """"finished", "start_failed", "aborted" or "unknown"."""
    group: str
    """"user", "condition", "vehicle" or "pile": for statistics and fault tickets."""


class Flag(NamedTuple):
    """A state of one or two bits inside a field; `code` is its name in messages."""

    shift: int
    code: str
    zh: str
    en: str


Words = tuple[Word, ...]

PILE_TYPES: Final[Words] = (Word(0, "直流", "DC"), Word(1, "交流", "AC"))
UPGRADE_MODELS: Final[Words] = (Word(1, "直流", "DC"), Word(2, "交流", "AC"))
NETWORKS: Final[Words] = (
    Word(0, "SIM卡", "SIM card"),
    Word(1, "LAN", "LAN"),
    Word(2, "WAN", "WAN"),
    Word(3, "其他", "other"),
)
CARRIERS: Final[Words] = (
    Word(0, "移动", "China Mobile"),
    Word(2, "电信", "China Telecom"),
    Word(3, "联通", "China Unicom"),
    Word(4, "其他", "other"),
)
STATUSES: Final[Words] = (
    Word(0, "离线", "offline"),
    Word(1, "故障", "fault"),
    Word(2, "空闲", "idle"),
    Word(3, "充电", "charging"),
    Word(4, "已插枪未充电", "plugged in, not charging (some 1.4 firmware)"),
    Word(5, "已结束未拔枪", "finished, still plugged in (some 1.4 firmware)"),
)
HOMED: Final[Words] = (Word(0, "否", "no"), Word(1, "是", "yes"), Word(2, "未知", "unknown, no sensor"))
YES_NO: Final[Words] = (Word(0, "否", "no"), Word(1, "是", "yes"))
START_MODES: Final[Words] = (Word(1, "刷卡", "card"), Word(2, "账号", "account"), Word(3, "VIN", "VIN"))
START_TYPES: Final[Words] = (
    Word(1, "app启动", "app"),
    Word(2, "卡启动", "card"),
    Word(4, "离线卡启动", "offline card"),
    Word(5, "VIN码启动", "VIN"),
)
CHARGE_MODES: Final[Words] = (Word(1, "恒压", "constant voltage"), Word(2, "恒流", "constant current"))
GUN_ROLES: Final[Words] = (Word(0, "主枪", "main gun"), Word(1, "辅枪", "auxiliary gun"))
RATES: Final[Words] = (
    Word(0, "尖", "sharp"),
    Word(1, "峰", "peak"),
    Word(2, "平", "flat"),
    Word(3, "谷", "valley"),
)
EXECUTIONS: Final[Words] = (Word(1, "立即执行", "at once"), Word(2, "空闲执行", "when idle"))
OWNERSHIPS: Final[Words] = (Word(0, "租赁", "leased"), Word(1, "车自有", "owned"))
QR_FORMATS: Final[Words] = (
    Word(0, "前缀+桩编号", "prefix and pile number"),
    Word(1, "前缀+桩编号+枪编号", "prefix, pile number and gun number"),
)
BATTERY_TYPES: Final[Words] = (
    Word(1, "铅酸", "lead acid"),
    Word(2, "镍氢", "nickel-metal hydride"),
    Word(3, "磷酸铁锂", "lithium iron phosphate"),
    Word(4, "锰酸锂", "lithium manganese oxide"),
    Word(5, "钴酸锂", "lithium cobalt oxide"),
    Word(6, "三元材料", "ternary lithium"),
    Word(7, "聚合物锂离子", "lithium polymer"),
    Word(8, "钛酸锂", "lithium titanate"),
    Word(0xFF, "其他", "other"),
)
LOCK_STATES: Final[Words] = (
    Word(0x00, "未到位", "between the end positions"),
    Word(0x55, "升锁到位", "raised"),
    Word(0xFF, "降锁到位", "lowered"),
)
LOCK_COMMANDS: Final[Words] = (Word(0x55, "升锁", "raise"), Word(0xFF, "降锁", "lower"))
LOCK_ALARMS: Final[Words] = (
    Word(0x00, "正常", "none"),
    Word(0x55, "未能到位", "movement failed"),
    Word(0xFF, "待机状态摇臂破坏", "arm forced while at rest"),
)
BAY_STATES: Final[Words] = (Word(0x00, "无车", "free"), Word(0xFF, "有车", "taken"))

START_REFUSALS: Final[Words] = (
    Word(0x00, "无", "none"),
    Word(0x01, "账户不存在", "account does not exist"),
    Word(0x02, "账户冻结", "account frozen"),
    Word(0x03, "账户余额不足", "balance too low"),
    Word(0x04, "该卡存在未结账记录", "card has an unsettled record"),
    Word(0x05, "桩停用", "pile out of service"),
    Word(0x06, "该账户不能在此桩上充电", "account may not charge at this pile"),
    Word(0x07, "密码错误", "wrong password"),
    Word(0x08, "电站电容不足", "capacity of the station used up"),
    Word(0x09, "系统中VIN码不存在", "VIN unknown"),
    Word(0x0A, "该桩存在未结账记录", "pile has an unsettled record"),
    Word(0x0B, "该桩不支持刷卡", "pile does not support cards"),
)
START_FAILURES: Final[Words] = (
    Word(0x00, "无", "none"),
    Word(0x01, "设备编号不匹配", "pile number does not match"),
    Word(0x02, "枪已在充电", "gun is already charging"),
    Word(0x03, "设备故障", "device fault"),
    Word(0x04, "设备离线", "device offline"),
    Word(0x05, "未插枪", "not plugged in; not final"),
)
STOP_FAILURES: Final[Words] = (
    Word(0x00, "无", "none"),
    Word(0x01, "设备编号不匹配", "pile number does not match"),
    Word(0x02, "枪未处于充电状态", "gun was not charging"),
    Word(0x03, "其他", "other"),
)
BALANCE_RESULTS: Final[Words] = (
    Word(0x00, "修改成功", "done"),
    Word(0x01, "设备编号错误", "wrong pile number"),
    Word(0x02, "卡号错误", "wrong card"),
)
CARD_FAILURES: Final[Words] = (
    Word(0x00, "无", "none"),
    Word(0x01, "卡号格式错误", "wrong format of the card number"),
    Word(0x02, "储存空间不足", "no space left"),
)
UPGRADE_RESULTS: Final[Words] = (
    Word(0x00, "成功", "done"),
    Word(0x01, "编号错误", "wrong number"),
    Word(0x02, "程序与桩型号不符", "firmware does not fit this pile"),
    Word(0x03, "下载更新文件超时", "download timed out"),
)


def _stop_reasons() -> tuple[StopWord, ...]:
    finished, start_failed, aborted = "finished", "start_failed", "aborted"
    user, condition, vehicle, pile = "user", "condition", "vehicle", "pile"
    other_zh, other_en = "其他（预留）", "other, reserved"
    return (
        StopWord(0x40, "APP远程停止", "stopped from the app", finished, user),
        StopWord(0x41, "SOC达到100%", "state of charge 100 %", finished, condition),
        StopWord(0x42, "充电电量满足设定条件", "energy limit reached", finished, condition),
        StopWord(0x43, "充电金额满足设定条件", "amount limit reached", finished, condition),
        StopWord(0x44, "充电时间满足设定条件", "time limit reached", finished, condition),
        StopWord(0x45, "手动停止充电", "stopped by hand at the pile", finished, user),
        *(StopWord(value, other_zh, other_en, finished, pile) for value in range(0x46, 0x4A)),
        StopWord(0x4A, "充电桩控制系统故障", "control system of the pile failed", start_failed, pile),
        StopWord(0x4B, "控制导引断开", "control pilot open", start_failed, pile),
        StopWord(0x4C, "断路器跳位", "circuit breaker tripped", start_failed, pile),
        StopWord(0x4D, "电表通信中断", "meter link lost", start_failed, pile),
        StopWord(0x4E, "余额不足", "balance too low", start_failed, condition),
        StopWord(0x4F, "充电模块故障", "charging module failed", start_failed, pile),
        StopWord(0x50, "急停开入", "emergency stop", start_failed, pile),
        StopWord(0x51, "防雷器异常", "surge protector abnormal", start_failed, pile),
        StopWord(0x52, "BMS未就绪", "vehicle not ready", start_failed, vehicle),
        StopWord(0x53, "温度异常", "temperature abnormal", start_failed, pile),
        StopWord(0x54, "电池反接", "battery reversed", start_failed, vehicle),
        StopWord(0x55, "电子锁异常", "electronic lock abnormal", start_failed, pile),
        StopWord(0x56, "合闸失败", "contactor did not close", start_failed, pile),
        StopWord(0x57, "绝缘异常", "insulation abnormal", start_failed, pile),
        StopWord(0x58, "预留", "reserved", start_failed, pile),
        StopWord(0x59, "接收BMS握手报文BHM超时", "no BHM from the vehicle", start_failed, vehicle),
        StopWord(0x5A, "接收BMS和车辆辨识报文BRM超时", "no BRM from the vehicle", start_failed, vehicle),
        StopWord(0x5B, "接收电池充电参数报文BCP超时", "no BCP from the vehicle", start_failed, vehicle),
        StopWord(0x5C, "接收BMS就绪报文BRO AA超时", "no BRO 0xAA from the vehicle", start_failed, vehicle),
        StopWord(0x5D, "接收电池充电总状态报文BCS超时", "no BCS from the vehicle", start_failed, vehicle),
        StopWord(0x5E, "接收电池充电要求报文BCL超时", "no BCL from the vehicle", start_failed, vehicle),
        StopWord(0x5F, "接收电池状态信息报文BSM超时", "no BSM from the vehicle", start_failed, vehicle),
        StopWord(0x60, "BHM阶段电池已有电压", "battery shows voltage during BHM", start_failed, vehicle),
        StopWord(
            0x61,
            "BRO阶段电池电压与BCP相差大于5%",
            "battery voltage differs from BCP by over 5 %",
            start_failed,
            vehicle,
        ),
        StopWord(0x62, "预充阶段BRO由AA变为00", "vehicle withdrew its readiness", start_failed, vehicle),
        StopWord(0x63, "接收主机配置报文超时", "no configuration from the host", start_failed, pile),
        StopWord(0x64, "充电机未准备就绪", "charger not ready", start_failed, pile),
        *(StopWord(value, other_zh, other_en, start_failed, pile) for value in range(0x65, 0x6A)),
        StopWord(0x6A, "系统闭锁", "system locked", aborted, pile),
        StopWord(0x6B, "导引断开", "control pilot open", aborted, pile),
        StopWord(0x6C, "断路器跳位", "circuit breaker tripped", aborted, pile),
        StopWord(0x6D, "电表通信中断", "meter link lost", aborted, pile),
        StopWord(0x6E, "余额不足", "balance too low", aborted, condition),
        StopWord(0x6F, "交流保护动作", "AC protection acted", aborted, pile),
        StopWord(0x70, "直流保护动作", "DC protection acted", aborted, pile),
        StopWord(0x71, "充电模块故障", "charging module failed", aborted, pile),
        StopWord(0x72, "急停开入", "emergency stop", aborted, pile),
        StopWord(0x73, "防雷器异常", "surge protector abnormal", aborted, pile),
        StopWord(0x74, "温度异常", "temperature abnormal", aborted, pile),
        StopWord(0x75, "输出异常", "output abnormal", aborted, pile),
        StopWord(0x76, "充电无流", "no current", aborted, pile),
        StopWord(0x77, "电子锁异常", "electronic lock abnormal", aborted, pile),
        StopWord(0x78, "预留", "reserved", aborted, pile),
        StopWord(0x79, "总充电电压异常", "charging voltage abnormal", aborted, vehicle),
        StopWord(0x7A, "总充电电流异常", "charging current abnormal", aborted, vehicle),
        StopWord(0x7B, "单体充电电压异常", "charging voltage of a cell abnormal", aborted, vehicle),
        StopWord(0x7C, "电池组过温", "battery pack too hot", aborted, vehicle),
        StopWord(0x7D, "最高单体充电电压异常", "highest cell voltage abnormal", aborted, vehicle),
        StopWord(0x7E, "最高电池组过温", "highest battery temperature too high", aborted, vehicle),
        StopWord(0x7F, "BMV单体充电电压异常", "cell voltage in BMV abnormal", aborted, vehicle),
        StopWord(0x80, "BMT电池组过温", "battery in BMT too hot", aborted, vehicle),
        StopWord(0x81, "电池状态异常", "battery state abnormal", aborted, vehicle),
        StopWord(0x82, "车辆禁止充电", "vehicle forbids charging", aborted, vehicle),
        StopWord(0x83, "充电桩断电", "pile lost power", aborted, pile),
        StopWord(0x84, "接收电池充电总状态报文BCS超时", "BCS from the vehicle stopped", aborted, vehicle),
        StopWord(0x85, "接收电池充电要求报文BCL超时", "BCL from the vehicle stopped", aborted, vehicle),
        StopWord(0x86, "接收电池状态信息报文BSM超时", "BSM from the vehicle stopped", aborted, vehicle),
        StopWord(0x87, "接收BMS中止报文BST超时", "no BST from the vehicle", aborted, vehicle),
        StopWord(0x88, "接收BMS统计报文BSD超时", "no BSD from the vehicle", aborted, vehicle),
        StopWord(0x89, "接收对侧CCS报文超时", "no CCS from the other side", aborted, pile),
        *(StopWord(value, other_zh, other_en, aborted, pile) for value in range(0x8A, 0x90)),
        StopWord(0x90, "未知原因停止", "unknown reason", "unknown", pile),
    )


STOP_REASONS: Final = _stop_reasons()

HARDWARE_FAULTS: Final = (
    "emergency_stop",
    "no_rectifier",
    "outlet_hot",
    "ac_surge",
    "module_link",
    "insulation_link",
    "meter_link",
    "card_reader_link",
    "rc10_link",
    "fan_board",
    "dc_fuse",
    "contactor",
    "door_open",
)
"""Codes of `pileward.messages.faults` for bits 1 to 13 of hardware_fault, lowest bit first."""

BMS_TIMEOUTS: Final = (
    Flag(0, "crm_00", "接收SPN2560=0x00的充电机辨识报文超时", "charger identification CRM 0x00"),
    Flag(2, "crm_aa", "接收SPN2560=0xAA的充电机辨识报文超时", "charger identification CRM 0xAA"),
    Flag(8, "cts_cml", "接收充电机时间同步和最大输出能力报文超时", "time and largest output CTS, CML"),
    Flag(10, "cro", "接收充电机完成充电准备报文超时", "charger ready CRO"),
    Flag(16, "ccs", "接收充电机充电状态报文超时", "charger state CCS"),
    Flag(18, "cst", "接收充电机中止充电报文超时", "charger abort CST"),
    Flag(24, "csd", "接收充电机充电统计报文超时", "charger statistics CSD"),
)
"""What the vehicle missed: the first four bytes of timeout_flags as one little-endian number."""
CHARGER_TIMEOUTS: Final = (
    Flag(0, "brm", "接收BMS和车辆辨识报文超时", "vehicle identification BRM"),
    Flag(8, "bcp", "接收电池充电参数报文超时", "battery parameters BCP"),
    Flag(10, "bro", "接收BMS完成充电准备报文超时", "vehicle ready BRO"),
    Flag(16, "bcs", "接收电池充电总状态报文超时", "battery total state BCS"),
    Flag(18, "bcl", "接收电池充电要求报文超时", "battery demand BCL"),
    Flag(20, "bst", "接收BMS中止充电报文超时", "vehicle abort BST"),
    Flag(24, "bsd", "接收BMS充电统计报文超时", "vehicle statistics BSD"),
)
"""What the charger missed: the last four bytes of timeout_flags, read the same way."""
TIMEOUT_OTHER_SHIFT: Final = 26
"""Bits 26 to 31 of either half hold anything else."""

BMS_ABORT_REASONS: Final = (
    Flag(0, "soc_reached", "达到所需求的SOC目标值", "wanted state of charge reached"),
    Flag(2, "total_voltage_reached", "达到总电压的设定值", "total voltage reached"),
    Flag(4, "cell_voltage_reached", "达到单体电压的设定值", "cell voltage reached"),
    Flag(6, "charger_ended", "充电机主动中止", "charger ended the charge"),
)
BMS_ABORT_FAULTS: Final = (
    Flag(0, "insulation", "绝缘故障", "insulation fault"),
    Flag(2, "connector_hot", "输出连接器过温故障", "output connector too hot"),
    Flag(4, "bms_part_hot", "BMS元件、输出连接器过温", "part of the BMS or connector too hot"),
    Flag(6, "charging_connector", "充电连接器故障", "charging connector fault"),
    Flag(8, "pack_hot", "电池组温度过高故障", "battery pack too hot"),
    Flag(10, "relay", "高压继电器故障", "high voltage relay fault"),
    Flag(12, "cc2_voltage", "检测点2电压检测故障", "voltage at detection point 2"),
    Flag(14, "other", "其他故障", "other"),
)
ABORT_ERRORS: Final = (
    Flag(0, "current", "电流过大或不匹配", "current too high or not matching"),
    Flag(2, "voltage", "电压异常", "voltage abnormal"),
)
CHARGER_ABORT_REASONS: Final = (
    Flag(0, "condition_reached", "达到充电机设定的条件", "condition set in the charger reached"),
    Flag(2, "by_hand", "人工中止", "stopped by hand"),
    Flag(4, "fault", "异常中止", "stopped by a fault"),
    Flag(6, "bms_ended", "BMS主动中止", "vehicle ended the charge"),
)
CHARGER_ABORT_FAULTS: Final = (
    Flag(0, "charger_hot", "充电机过温故障", "charger too hot"),
    Flag(2, "charging_connector", "充电连接器故障", "charging connector fault"),
    Flag(4, "inside_hot", "充电机内部过温故障", "inside of the charger too hot"),
    Flag(6, "energy_not_delivered", "所需电量不能传送", "wanted energy cannot be delivered"),
    Flag(8, "emergency_stop", "充电机急停故障", "emergency stop"),
    Flag(10, "other", "其他故障", "other"),
)
BMS_STATES: Final = (
    Flag(0, "cell_voltage", "单体动力蓄电池电压过高/过低", "cell voltage: 1 too high, 2 too low"),
    Flag(2, "soc", "整车动力蓄电池荷电状态SOC过高/过低", "state of charge: 1 too high, 2 too low"),
    Flag(4, "overcurrent", "动力蓄电池充电过电流", "charging current: 1 too high, 2 not trustworthy"),
    Flag(6, "overtemperature", "动力蓄电池温度过高", "battery temperature: 1 too high, 2 not trustworthy"),
    Flag(8, "insulation", "动力蓄电池绝缘状态", "insulation: 1 abnormal, 2 not trustworthy"),
    Flag(
        10, "connector", "动力蓄电池组输出连接器连接状态", "output connector: 1 abnormal, 2 not trustworthy"
    ),
)
CHARGING_ALLOWED_SHIFT: Final = 12
"""Charging permission in state_flags: 0 forbidden, 1 allowed, whatever the Chinese name (充电禁止) says."""

WORDS_OF: Final[dict[tuple[int, str], Words]] = {
    (0x01, "pile_type"): PILE_TYPES,
    (0x01, "network_type"): NETWORKS,
    (0x01, "carrier"): CARRIERS,
    (0x13, "status"): STATUSES,
    (0x13, "gun_homed"): HOMED,
    (0x13, "gun_plugged"): YES_NO,
    (0x15, "battery_type"): BATTERY_TYPES,
    (0x15, "ownership"): OWNERSHIPS,
    (0x23, "charge_mode"): CHARGE_MODES,
    (0x31, "start_mode"): START_MODES,
    (0x31, "need_password"): YES_NO,
    (0x32, "fail_reason"): START_REFUSALS,
    (0x33, "fail_reason"): START_FAILURES,
    (0x35, "fail_reason"): STOP_FAILURES,
    (0x3B, "start_type"): START_TYPES,
    (0x3D, "start_type"): START_TYPES,
    (0x41, "result"): BALANCE_RESULTS,
    (0x43, "fail_reason"): CARD_FAILURES,
    (0x61, "lock_status"): LOCK_STATES,
    (0x61, "parking_status"): BAY_STATES,
    (0x61, "alarm_status"): LOCK_ALARMS,
    (0x62, "command"): LOCK_COMMANDS,
    (0x92, "execute"): EXECUTIONS,
    (0x93, "result"): UPGRADE_RESULTS,
    (0x94, "pile_model"): UPGRADE_MODELS,
    (0x94, "execute"): EXECUTIONS,
    (0xA1, "start_mode"): START_MODES,
    (0xA1, "need_password"): YES_NO,
    (0xA1, "gun_role"): GUN_ROLES,
    (0xA2, "fail_reason"): START_REFUSALS,
    (0xA3, "fail_reason"): START_FAILURES,
    (0xA3, "gun_role"): GUN_ROLES,
    (0xF0, "qr_format"): QR_FORMATS,
}
"""Words by frame type and field name; stop reasons and bit fields have tables of their own."""

_STOP_BY_VALUE: Final = {reason.value: reason for reason in STOP_REASONS}
_BY_VALUE: Final = {key: {word.value: word for word in words} for key, words in WORDS_OF.items()}


def stop_reason(value: int) -> StopWord:
    """The stop reason of a record; unknown values get words of their own."""
    known = _STOP_BY_VALUE.get(value)
    return known or StopWord(value, f"未知 (0x{value:02X})", f"unknown (0x{value:02X})", "unknown", "pile")


def text_of(frame_type: int, field: str, value: int) -> Word | None:
    """The words for a value of an enumerated field; None when the field is no enumeration."""
    if field == "stop_reason" and frame_type in (0x3B, 0x3D):
        reason = stop_reason(value)
        return Word(value, reason.zh, reason.en)
    words = _BY_VALUE.get((frame_type, field))
    if words is None:
        return None
    return words.get(value) or Word(value, f"未知 (0x{value:02X})", f"unknown (0x{value:02X})")


def fault_codes(mask: int) -> tuple[str, ...]:
    """Codes of the hardware faults in a mask; undefined bits, counted from 1, are called `ykc_bit_NN`."""
    return tuple(
        HARDWARE_FAULTS[bit] if bit < len(HARDWARE_FAULTS) else f"ykc_bit_{bit + 1}"
        for bit in range(16)
        if mask >> bit & 1
    )


def flags_set(flags: tuple[Flag, ...], value: int) -> tuple[str, ...]:
    """Codes of the two-bit flags that say yes (1); "not trustworthy" (2) adds a question mark to the code."""
    names = []
    for flag in flags:
        state = value >> flag.shift & 3
        if state:
            names.append(flag.code if state == 1 else f"{flag.code}?")
    return tuple(names)


def timeouts_set(flags: tuple[Flag, ...], half: int) -> tuple[str, ...]:
    """Codes of the time-outs in one half of timeout_flags (a little-endian number of 32 bits)."""
    return flags_set(flags, half) + (("other",) if half >> TIMEOUT_OTHER_SHIFT else ())


def bms_states(bits: int) -> tuple[str, ...]:
    """Codes of what is not normal in state_flags: `_high` or `_low` where both exist, "?" for no trust."""
    names = []
    for flag in BMS_STATES:
        state = bits >> flag.shift & 3
        if state and flag.code in ("cell_voltage", "soc"):
            names.append(f"{flag.code}{('', '_high', '_low', '?')[state]}")
        elif state:
            names.append(flag.code if state == 1 else f"{flag.code}?")
    return tuple(names)
