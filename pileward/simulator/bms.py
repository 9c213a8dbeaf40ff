"""What vehicle and DC charger say to each other, copied to the platform (YKC 1.6, 0x15 to 0x25)."""

from __future__ import annotations

from typing import Final

from pileward.codecs.ykc.frames_bms import (
    BmsAbort,
    BmsChargeEnd,
    BmsDemand,
    BmsError,
    BmsHandshake,
    BmsInformation,
    BmsParameters,
    ChargerAbort,
)
from pileward.codecs.ykc.table import Frame
from pileward.simulator.charge import Charge
from pileward.simulator.stops import Stop

GBT_VERSION: Final = "010100"
SOFTWARE: Final = "100A0BDF07FFFFFF"
CELL_MAX_E2_V: Final = {3: 365, 6: 425}
"""Highest cell voltage by chemistry."""
CELL_MIN_E2_V: Final = {3: 300, 6: 330}
MAX_TEMP_C: Final = 55
PILE_VOLTS_E1: Final = (2_000, 10_000)
PILE_LEAST_E1_A: Final = 10
VOLTS_A_CELL_E1: Final = {3: 32, 6: 37}
ALLOWED: Final = 1 << 12
"""Charging permission (YKC 1.6, 0x25 bits 12-13)."""
NO_CHARGER_NO: Final = 1


def handshake(charge: Charge, code: str) -> BmsHandshake:
    """0x15: which battery."""
    car = charge.car
    year, month, day = car.made
    nominal_e1_v = (car.empty_e1_v + car.full_e1_v) // 2
    return BmsHandshake(
        trade_no=charge.trade_no,
        pile_no=code,
        gun_no=charge.gun_no,
        bms_protocol_version=GBT_VERSION,
        battery_type=car.battery_type,
        rated_capacity_e1_ah=round(car.capacity_wh * 100 / nominal_e1_v),
        rated_voltage_e1_v=nominal_e1_v,
        battery_vendor=car.vin[:3],
        battery_serial=car.pack_no,
        production_year=year,
        production_month=month,
        production_day=day,
        charge_count=car.cycles,
        ownership=1,
        reserved=0,
        vin=car.vin,
        bms_software_version=SOFTWARE,
    )


def parameters(charge: Charge, code: str, sign: int) -> BmsParameters:
    """0x17: what the battery takes and what the charger gives."""
    car = charge.car
    return BmsParameters(
        trade_no=charge.trade_no,
        pile_no=code,
        gun_no=charge.gun_no,
        cell_max_voltage_e2_v=CELL_MAX_E2_V[car.battery_type],
        max_charge_current_e1_a=sign * car.amps_e1_a,
        rated_energy_e1_kwh=car.capacity_wh // 100,
        max_total_voltage_e1_v=car.full_e1_v,
        max_temp_c=MAX_TEMP_C,
        soc_e1_pct=min(1000, int(1000 * charge.filled_wh / car.capacity_wh)),
        battery_voltage_e1_v=round(charge.volts * 10),
        pile_max_voltage_e1_v=PILE_VOLTS_E1[1],
        pile_min_voltage_e1_v=PILE_VOLTS_E1[0],
        pile_max_current_e1_a=sign * min(2_500, round(charge.cap_w * 10 / charge.volts)),
        pile_min_current_e1_a=sign * PILE_LEAST_E1_A,
    )


def demand(charge: Charge, code: str, sign: int) -> BmsDemand:
    """0x23: what is asked for and what flows."""
    car = charge.car
    amps_e1 = round(charge.amps * 10)
    is_below_knee = charge.filled_wh * 100 < car.capacity_wh * car.knee_pct
    volts_e1 = round(charge.volts * 10)
    return BmsDemand(
        trade_no=charge.trade_no,
        pile_no=code,
        gun_no=charge.gun_no,
        bms_voltage_demand_e1_v=car.full_e1_v,
        bms_current_demand_e1_a=sign * (car.amps_e1_a if is_below_knee else amps_e1),
        charge_mode=2 if is_below_knee else 1,
        bms_voltage_measured_e1_v=volts_e1,
        bms_current_measured_e1_a=sign * amps_e1,
        cell_max_voltage_e2_v=_cell_e2_v(charge),
        cell_max_group_no=1 + car.cycles % 8,
        soc=charge.soc_pct,
        remaining_minutes=charge.minutes_left,
        pile_voltage_e1_v=volts_e1 + 6,
        pile_current_e1_a=sign * amps_e1,
        charge_minutes=charge.minutes,
    )


def information(charge: Charge, code: str) -> BmsInformation:
    """0x25: cells, temperatures, permission."""
    cells = max(1, charge.car.full_e1_v // VOLTS_A_CELL_E1[charge.car.battery_type])
    return BmsInformation(
        trade_no=charge.trade_no,
        pile_no=code,
        gun_no=charge.gun_no,
        cell_max_voltage_no=1 + (charge.car.cycles * 7 + charge.reports // 20) % min(256, cells),
        max_temp_c=charge.temp_c,
        max_temp_point_no=1 + charge.car.cycles % 16,
        min_temp_c=charge.temp_c - 3,
        min_temp_point_no=1 + (charge.car.cycles + 5) % 16,
        state_flags=ALLOWED,
    )


def charge_end(charge: Charge, code: str) -> BmsChargeEnd:
    """0x19: statistics of both sides."""
    cell = _cell_e2_v(charge)
    return BmsChargeEnd(
        trade_no=charge.trade_no,
        pile_no=code,
        gun_no=charge.gun_no,
        end_soc=charge.soc_pct,
        cell_min_voltage_e2_v=cell - 3,
        cell_max_voltage_e2_v=cell,
        min_temp_c=charge.temp_c - 3,
        max_temp_c=charge.temp_c,
        charge_minutes=min(600, charge.minutes),
        output_energy_e1_kwh=min(10_000, charge.energy_e4_kwh // 1000),
        charger_no=NO_CHARGER_NO,
    )


def abort(charge: Charge, code: str, stop: Stop) -> Frame | None:
    """0x1D or 0x21: who ended it and why; None for an end that nobody announces."""
    if stop.by_car is not None:
        return BmsAbort(charge.trade_no, code, charge.gun_no, *stop.by_car)
    if stop.by_charger is not None:
        return ChargerAbort(charge.trade_no, code, charge.gun_no, *stop.by_charger)
    return None


def error(charge: Charge, code: str, timeout_flags: str) -> BmsError:
    """0x1B: what was waited for in vain."""
    return BmsError(charge.trade_no, code, charge.gun_no, timeout_flags)


def _cell_e2_v(charge: Charge) -> int:
    low, high = CELL_MIN_E2_V[charge.car.battery_type], CELL_MAX_E2_V[charge.car.battery_type]
    share = min(1.0, charge.filled_wh / charge.car.capacity_wh)
    return low + round((high - low) * share)
