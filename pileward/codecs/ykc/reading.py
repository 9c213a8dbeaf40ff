"""Frames from piles as uplinks of the platform: one function a frame, one table."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from pileward.codecs.ykc import enums, frames
from pileward.codecs.ykc.decoder import Packet
from pileward.codecs.ykc.plausible import (
    AMOUNT_MAX_E4_YUAN,
    CELL_VOLTAGE_MAX_E2_V,
    CURRENT_MAX_E1_A,
    ENERGY_MAX_E4_KWH,
    MINUTES_MAX,
    SOC_MAX_E1_PCT,
    Checked,
    is_gun_no,
)
from pileward.codecs.ykc.table import LAYOUTS, Frame
from pileward.messages import uplinks as up
from pileward.values import GUNS_MAX, SOC_MAX_PCT, Rate, ReportedStatus

SHORT_BODY: Final = "short_body"
BAD_GUN_NO: Final = "bad_gun_no"
WRONG_DIRECTION: Final = "wrong_direction"
UNDECODABLE: Final = "undecodable"

STATUSES: Final = {
    0: ReportedStatus.OFFLINE,
    1: ReportedStatus.FAULT,
    2: ReportedStatus.IDLE,
    3: ReportedStatus.CHARGING,
    4: ReportedStatus.PLUGGED,
    5: ReportedStatus.FINISHED,
}
HOMED: Final = {0: False, 1: True, 2: None}
PLUGGED: Final = {0: False, 1: True}
_DEVICE_KINDS: Final = {0: "dc", 1: "ac"}
_NETWORKS: Final = {0: "sim", 1: "lan", 2: "wan"}
_CARRIERS: Final = {0: "mobile", 2: "telecom", 3: "unicom"}
_START_MODES: Final = {1: "card", 2: "account", 3: "vin"}
_LOCKS: Final = {0x00: "moving", 0x55: "up", 0xFF: "down"}
_LOCK_ALARMS: Final = {0x00: "none", 0x55: "blocked", 0xFF: "destroyed"}
_BAYS: Final = {0x00: False, 0xFF: True}
_UNKNOWN_YEAR: Final = 1985

NEEDED: Final = {0x01: "gun_count", 0x13: "gun_plugged", 0x33: "result", 0x35: "result", 0x43: "result"}
"""Short bodies that still say something: the last field that must be there. Others must be whole."""

_RECORDS: Final = (0x3B, 0x3D)


def uplink_of(packet: Packet, code_of: Callable[[bytes], str]) -> up.Uplink:
    """Turn a frame of a pile into an uplink; `code_of` finds the pile code in a body that nothing reads."""
    frame = packet.frame
    if packet.frame_type not in LAYOUTS:
        return up.VendorMessage(code_of(packet.body), packet.sequence, packet.frame_type, packet.body)
    pile_code = getattr(frame, "pile_no", None) or code_of(packet.body)
    read = _READERS.get(packet.frame_type)
    reason = ""
    if read is None:
        reason = WRONG_DIRECTION
    elif frame is None or _is_too_short(packet):
        reason = SHORT_BODY
    elif not is_gun_no(getattr(frame, "gun_no", 1)) and packet.frame_type not in _RECORDS:
        reason = BAD_GUN_NO
    if reason or read is None:
        return up.Malformed(pile_code, packet.sequence, packet.frame_type, reason, packet.body)
    return read(frame, packet)


def _is_too_short(packet: Packet) -> bool:
    if not packet.missing:
        return False
    last = NEEDED.get(packet.frame_type)
    return last is None or last in packet.missing or packet.missing[0] == "pile_no"


def _unless_zeros(digits: str) -> str:
    return digits if digits.strip("0") else ""


def _login(frame: frames.Login, packet: Packet) -> up.Login:
    version = frame.protocol_version or 0
    return up.Login(
        frame.pile_no,
        packet.sequence,
        _DEVICE_KINDS.get(frame.pile_type, "unknown"),
        frame.gun_count if 1 <= frame.gun_count <= GUNS_MAX else 0,
        f"{version // 10}.{version % 10}",
        frame.software_version or "",
        _NETWORKS.get(frame.network_type, "other"),
        _unless_zeros(frame.sim_no or ""),
        _CARRIERS.get(frame.carrier, "other"),
    )


def _heartbeat(frame: frames.Heartbeat, packet: Packet) -> up.Heartbeat:
    return up.Heartbeat(frame.pile_no, packet.sequence, frame.gun_no, frame.gun_status == 1)


def _tariff_check(frame: frames.BillingModelCheck, packet: Packet) -> up.TariffCheck:
    return up.TariffCheck(frame.pile_no, packet.sequence, frame.billing_model_no)


def _tariff_request(frame: frames.BillingModelRequest, packet: Packet) -> up.TariffRequest:
    return up.TariffRequest(frame.pile_no, packet.sequence)


def _telemetry(frame: frames.RealTimeData, packet: Packet) -> up.Telemetry:
    check = Checked()
    if frame.status not in STATUSES:
        check.refuse("status", frame.status)
    if frame.gun_homed not in HOMED:
        check.refuse("is_homed", frame.gun_homed)
    if frame.gun_plugged not in PLUGGED:
        check.refuse("is_plugged", frame.gun_plugged)
    return up.Telemetry(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        STATUSES.get(frame.status, ReportedStatus.UNKNOWN),
        _unless_zeros(frame.trade_no),
        PLUGGED.get(frame.gun_plugged),
        HOMED.get(frame.gun_homed),
        check.voltage_mv("voltage_e1_v", frame.output_voltage_e1_v),
        check.upto("current_e1_a", frame.output_current_e1_a, CURRENT_MAX_E1_A, 100),
        check.temp_c("cable_temp_c", frame.cable_temp_c),
        _unless_zeros(frame.cable_code or ""),
        check.upto("soc_pct", frame.soc, SOC_MAX_PCT),
        check.temp_c("battery_max_temp_c", frame.battery_max_temp_c),
        check.upto("charge_minutes", frame.charge_minutes, MINUTES_MAX, 60),
        check.upto("remaining_minutes", frame.remaining_minutes, MINUTES_MAX, 60),
        check.upto("energy_e4_kwh", frame.energy_e4_kwh, ENERGY_MAX_E4_KWH),
        check.upto("loss_energy_e4_kwh", frame.loss_energy_e4_kwh, ENERGY_MAX_E4_KWH),
        check.upto("amount_e4_yuan", frame.amount_e4_yuan, AMOUNT_MAX_E4_YUAN),
        enums.fault_codes(frame.hardware_fault or 0),
        check.problems,
    )


def _bms_handshake(frame: frames.BmsHandshake, packet: Packet) -> up.BmsHandshake:
    check = Checked()
    minor, major = bytes.fromhex(frame.bms_protocol_version)[0], bytes.fromhex(frame.bms_protocol_version)[1:]
    month = check.upto("production_month", frame.production_month, 12) or 0
    day = check.upto("production_day", frame.production_day, 31) or 0
    year = 0 if frame.production_year == _UNKNOWN_YEAR else frame.production_year
    serial, software_day, software_month, low, high = bytes.fromhex(frame.bms_software_version)[:5]
    return up.BmsHandshake(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        f"{int.from_bytes(major, 'little')}.{minor}",
        frame.battery_type,
        frame.rated_capacity_e1_ah,
        check.voltage_mv("rated_voltage_e1_v", frame.rated_voltage_e1_v),
        "".join(character for character in frame.battery_vendor if character.isprintable()),
        frame.battery_serial,
        f"{year:04d}-{month:02d}-{day:02d}",
        frame.charge_count,
        frame.ownership == 1,
        frame.vin,
        f"{low | high << 8:04d}-{software_month:02d}-{software_day:02d} {serial}",
        check.problems,
    )


def _bms_config(frame: frames.BmsParameters, packet: Packet) -> up.BmsConfig:
    check = Checked()
    return up.BmsConfig(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        check.upto("max_cell_e2_v", frame.cell_max_voltage_e2_v, CELL_VOLTAGE_MAX_E2_V, 10),
        check.current_ma("max_current_e1_a", frame.max_charge_current_e1_a),
        frame.rated_energy_e1_kwh,
        check.voltage_mv("max_voltage_e1_v", frame.max_total_voltage_e1_v),
        check.temp_c("max_temp_c", frame.max_temp_c),
        check.upto("soc_e1_pct", frame.soc_e1_pct, SOC_MAX_E1_PCT),
        check.voltage_mv("pack_voltage_e1_v", frame.battery_voltage_e1_v),
        check.voltage_mv("charger_max_e1_v", frame.pile_max_voltage_e1_v),
        check.voltage_mv("charger_min_e1_v", frame.pile_min_voltage_e1_v),
        check.current_ma("charger_max_e1_a", frame.pile_max_current_e1_a),
        check.current_ma("charger_min_e1_a", frame.pile_min_current_e1_a),
        check.problems,
    )


def _bms_demand(frame: frames.BmsDemand, packet: Packet) -> up.BmsDemand:
    check = Checked()
    return up.BmsDemand(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        check.voltage_mv("demand_e1_v", frame.bms_voltage_demand_e1_v),
        check.current_ma("demand_e1_a", frame.bms_current_demand_e1_a),
        frame.charge_mode,
        check.voltage_mv("measured_e1_v", frame.bms_voltage_measured_e1_v),
        check.current_ma("measured_e1_a", frame.bms_current_measured_e1_a),
        check.upto("max_cell_e2_v", frame.cell_max_voltage_e2_v, CELL_VOLTAGE_MAX_E2_V, 10),
        frame.cell_max_group_no,
        check.upto("soc_pct", frame.soc, SOC_MAX_PCT),
        frame.remaining_minutes * 60,
        check.voltage_mv("charger_e1_v", frame.pile_voltage_e1_v),
        check.current_ma("charger_e1_a", frame.pile_current_e1_a),
        frame.charge_minutes * 60,
        check.problems,
    )


def _bms_info(frame: frames.BmsInformation, packet: Packet) -> up.BmsInfo:
    check = Checked()
    bits = frame.state_flags
    says_nothing = bits == 0 and frame.max_temp_c == frame.min_temp_c and frame.cell_max_voltage_no == 1
    return up.BmsInfo(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        frame.cell_max_voltage_no,
        check.temp_c("max_temp_c", frame.max_temp_c),
        frame.max_temp_point_no,
        check.temp_c("min_temp_c", frame.min_temp_c),
        frame.min_temp_point_no,
        enums.bms_states(bits),
        None if says_nothing else bits >> enums.CHARGING_ALLOWED_SHIFT & 3 == 1,
        check.problems,
    )


def _bms_charge_end(frame: frames.BmsChargeEnd, packet: Packet) -> up.BmsChargeEnd:
    check = Checked()
    return up.BmsChargeEnd(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        check.upto("soc_pct", frame.end_soc, SOC_MAX_PCT),
        check.upto("min_cell_e2_v", frame.cell_min_voltage_e2_v, CELL_VOLTAGE_MAX_E2_V, 10),
        check.upto("max_cell_e2_v", frame.cell_max_voltage_e2_v, CELL_VOLTAGE_MAX_E2_V, 10),
        check.temp_c("min_temp_c", frame.min_temp_c),
        check.temp_c("max_temp_c", frame.max_temp_c),
        frame.charge_minutes * 60,
        frame.output_energy_e1_kwh,
        frame.charger_no,
        check.problems,
    )


def _bms_error(frame: frames.BmsError, packet: Packet) -> up.BmsError:
    raw = bytes.fromhex(frame.timeout_flags)
    return up.BmsError(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        enums.timeouts_set(enums.BMS_TIMEOUTS, int.from_bytes(raw[:4], "little")),
        enums.timeouts_set(enums.CHARGER_TIMEOUTS, int.from_bytes(raw[4:], "little")),
    )


def _bms_abort(frame: frames.BmsAbort, packet: Packet) -> up.BmsAbort:
    return up.BmsAbort(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        enums.flags_set(enums.BMS_ABORT_REASONS, frame.stop_reason_flags),
        enums.flags_set(enums.BMS_ABORT_FAULTS, frame.fault_flags),
        enums.flags_set(enums.ABORT_ERRORS, frame.error_flags),
    )


def _charger_abort(frame: frames.ChargerAbort, packet: Packet) -> up.ChargerAbort:
    return up.ChargerAbort(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _unless_zeros(frame.trade_no),
        enums.flags_set(enums.CHARGER_ABORT_REASONS, frame.stop_reason_flags),
        enums.flags_set(enums.CHARGER_ABORT_FAULTS, frame.fault_flags),
        enums.flags_set(enums.ABORT_ERRORS, frame.error_flags),
    )


def _start_request(
    frame: frames.StartRequest | frames.ParallelStartRequest, packet: Packet
) -> up.LocalStartRequest:
    parallel = frame if isinstance(frame, frames.ParallelStartRequest) else None
    password = bytes.fromhex(frame.password)
    return up.LocalStartRequest(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _START_MODES.get(frame.start_mode, f"unknown:0x{frame.start_mode:02X}"),
        _unless_zeros(frame.account_or_card_no),
        frame.need_password == 1,
        password if any(password) else b"",
        frame.vin,
        parallel.parallel_no if parallel else None,
        parallel.gun_role == 0 if parallel else None,
    )


def _start_answer(
    frame: frames.RemoteStartAnswer | frames.RemoteParallelStartAnswer, packet: Packet
) -> up.StartAnswer:
    parallel = frame if isinstance(frame, frames.RemoteParallelStartAnswer) else None
    return up.StartAnswer(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        frame.trade_no,
        frame.result == 1,
        frame.fail_reason or 0,
        parallel.parallel_no if parallel else None,
        parallel.gun_role == 0 if parallel else None,
    )


def _stop_answer(frame: frames.RemoteStopAnswer, packet: Packet) -> up.StopAnswer:
    return up.StopAnswer(
        frame.pile_no, packet.sequence, frame.gun_no, frame.result == 1, frame.fail_reason or 0
    )


Record = frames.TransactionRecord | frames.FiveRateRecord | frames.SignedTransactionRecord


def _record(frame: Record, packet: Packet) -> up.TransactionRecord:
    check = Checked()
    periods = tuple(up.PeriodEnergy(rate, *values(frame)) for rate, values in _PERIODS[type(frame)])
    gun_no = frame.gun_no
    if not is_gun_no(gun_no):
        check.refuse("gun_no", gun_no)
        gun_no = 0
    times = (
        check.time("started_at", frame.start_time),
        check.time("ended_at", frame.end_time),
        check.time("made_at", frame.trade_time),
    )
    if packet.rest:
        check.refuse("bytes_behind_the_record", len(packet.rest))
    signed = frame if isinstance(frame, frames.SignedTransactionRecord) else None
    return up.TransactionRecord(
        frame.pile_no,
        packet.sequence,
        gun_no,
        frame.trade_no,
        *times,
        periods,
        frame.meter_start_e4_kwh,
        frame.meter_end_e4_kwh,
        frame.total_energy_e4_kwh,
        frame.total_loss_energy_e4_kwh,
        frame.total_amount_e4_yuan,
        frame.vin,
        frame.start_type,
        frame.stop_reason,
        _unless_zeros(frame.physical_card_no),
        packet.body,
        signed.meter_no if signed else "",
        packet.body[44:81] if signed else b"",
        check.problems,
    )


Period = tuple[Rate | None, Callable[[Any], tuple[int, int, int, int]]]


def _period(rate: Rate | None, name: str) -> Period:
    """One rate of a record and the getter of its price, energy, energy with loss and amount."""
    fields = ("price_e5_yuan", "energy_e4_kwh", "loss_energy_e4_kwh", "amount_e4_yuan")
    return rate, attrgetter(*(f"{name}_{field}" for field in fields))


_FOUR_PERIODS: Final = tuple(_period(rate, rate.name.lower()) for rate in Rate)
_PERIODS: Final[dict[type[Frame], tuple[Period, ...]]] = {
    frames.TransactionRecord: _FOUR_PERIODS,
    frames.FiveRateRecord: (*_FOUR_PERIODS, _period(None, "deep_valley")),
    frames.SignedTransactionRecord: _FOUR_PERIODS,
}


def _balance_answer(frame: frames.BalanceUpdateAnswer, packet: Packet) -> up.BalanceAnswer:
    return up.BalanceAnswer(
        frame.pile_no, packet.sequence, _unless_zeros(frame.physical_card_no), frame.result
    )


def _cards_stored(frame: frames.StoreCardsAnswer, packet: Packet) -> up.CardsStored:
    return up.CardsStored(frame.pile_no, packet.sequence, frame.result == 1, frame.fail_reason or 0)


def _cards_removed(frame: frames.RemoveCardsAnswer, packet: Packet) -> up.CardsRemoved:
    cards = (up.CardResult(card.physical_card_no, card.result == 1, card.fail_reason) for card in frame.cards)
    return up.CardsRemoved(frame.pile_no, packet.sequence, tuple(cards))


def _cards_found(frame: frames.QueryCardsAnswer, packet: Packet) -> up.CardsFound:
    cards = (up.CardResult(card.physical_card_no, card.result == 1) for card in frame.cards)
    return up.CardsFound(frame.pile_no, packet.sequence, tuple(cards))


def _work_settings_answer(frame: frames.WorkingParametersAnswer, packet: Packet) -> up.WorkSettingsAnswer:
    return up.WorkSettingsAnswer(frame.pile_no, packet.sequence, frame.result == 1)


def _clock_answer(frame: frames.SetTimeAnswer, packet: Packet) -> up.ClockAnswer:
    check = Checked()
    time = check.time("device_time", frame.time)
    return up.ClockAnswer(frame.pile_no, packet.sequence, time, check.problems)


def _tariff_answer(frame: frames.SetBillingModelAnswer, packet: Packet) -> up.TariffAnswer:
    return up.TariffAnswer(frame.pile_no, packet.sequence, frame.result == 1)


def _ground_lock_report(frame: frames.GroundLockData, packet: Packet) -> up.GroundLockReport:
    return up.GroundLockReport(
        frame.pile_no,
        packet.sequence,
        frame.gun_no,
        _LOCKS.get(frame.lock_status, "unknown"),
        _BAYS.get(frame.parking_status),
        Checked().upto("battery_pct", frame.battery_pct, 100),
        _LOCK_ALARMS.get(frame.alarm_status, "other"),
    )


def _ground_lock_answer(frame: frames.GroundLockControlAnswer, packet: Packet) -> up.GroundLockAnswer:
    return up.GroundLockAnswer(frame.pile_no, packet.sequence, frame.gun_no, frame.result == 1)


def _reboot_answer(frame: frames.RebootAnswer, packet: Packet) -> up.RebootAnswer:
    return up.RebootAnswer(frame.pile_no, packet.sequence, frame.result == 1)


def _upgrade_answer(frame: frames.UpgradeAnswer, packet: Packet) -> up.UpgradeAnswer:
    return up.UpgradeAnswer(frame.pile_no, packet.sequence, frame.result)


def _qr_prefix_answer(frame: frames.QrCodePrefixAnswer, packet: Packet) -> up.QrPrefixAnswer:
    return up.QrPrefixAnswer(frame.pile_no, packet.sequence, frame.result)


_READERS: Final[dict[int, Callable[[Any, Packet], up.Uplink]]] = {
    0x01: _login,
    0x03: _heartbeat,
    0x05: _tariff_check,
    0x09: _tariff_request,
    0x13: _telemetry,
    0x15: _bms_handshake,
    0x17: _bms_config,
    0x19: _bms_charge_end,
    0x1B: _bms_error,
    0x1D: _bms_abort,
    0x21: _charger_abort,
    0x23: _bms_demand,
    0x25: _bms_info,
    0x31: _start_request,
    0x33: _start_answer,
    0x35: _stop_answer,
    0x3B: _record,
    0x3D: _record,
    0x41: _balance_answer,
    0x43: _cards_stored,
    0x45: _cards_removed,
    0x47: _cards_found,
    0x51: _work_settings_answer,
    0x55: _clock_answer,
    0x57: _tariff_answer,
    0x61: _ground_lock_report,
    0x63: _ground_lock_answer,
    0x91: _reboot_answer,
    0x93: _upgrade_answer,
    0xA1: _start_request,
    0xA3: _start_answer,
    0xF1: _qr_prefix_answer,
}
