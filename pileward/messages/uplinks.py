"""What piles say, in the platform's words (union of YKC, AAF5 and OCPP).

Every uplink starts with `pile_code` and `wire_seq`: the sequence as the protocol carries it, to be echoed
unread by the answer. Scales are in the names; times are aware UTC or None when the device sent none or an
impossible one. Currents are signed milliampere, positive into the vehicle.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.values import Rate, ReportedStatus


class Uplink(msgspec.Struct, frozen=True, gc=False):
    """Base of all messages from a pile."""

    pile_code: str
    wire_seq: int


class Login(Uplink, frozen=True, gc=False):
    """A pile introduces itself after power-on or reconnection. union: BootNotification (YKC 0x01)."""

    device_kind: str
    """"dc", "ac" or "unknown"."""
    gun_count: int
    """0 when the pile states an impossible number."""
    protocol_version: str
    software_version: str
    network: str
    """"sim", "lan", "wan" or "other"."""
    iccid: str
    """Twenty characters, empty when not available."""
    carrier: str
    """"mobile", "telecom", "unicom" or "other"."""


class Heartbeat(Uplink, frozen=True, gc=False):
    """One gun is alive. union: Heartbeat (YKC 0x03)."""

    gun_no: int
    is_faulty: bool


class TariffCheck(Uplink, frozen=True, gc=False):
    """Which tariff does the pile hold? union: TariffVerify (YKC 0x05)."""

    billing_model_no: str


class TariffRequest(Uplink, frozen=True, gc=False):
    """The pile asks for its tariff. union: TariffRequest (YKC 0x09)."""


class Telemetry(Uplink, frozen=True, gc=False):
    """State and measurements of one gun. union: StatusNotification, MeterValues (YKC 0x13).

    Values that the pile has no sensor for are None. `problems` names what was implausible and therefore
    left out (set to None) by the dialect, with the value as sent ("soc_pct=250"); so in all uplinks that
    have it.
    """

    gun_no: int
    status: ReportedStatus
    wire_number: str
    """The transaction number on the wire, empty when no charge runs."""
    is_plugged: bool | None
    is_homed: bool | None
    voltage_mv: int | None
    current_ma: int | None
    cable_temp_c: int | None
    cable_code: str
    soc_pct: int | None
    battery_max_temp_c: int | None
    charged_s: int | None
    remaining_s: int | None
    energy_e4_kwh: int | None
    loss_energy_e4_kwh: int | None
    amount_e4_yuan: int | None
    fault_codes: tuple[str, ...]
    """Protocol-neutral codes of the faults present, see `messages.faults` (YKC: bits of hardware_fault)."""
    problems: tuple[str, ...] = ()


class BmsHandshake(Uplink, frozen=True, gc=False):
    """The vehicle introduces itself, once for each DC charge. union: BmsHandshake (YKC 0x15)."""

    gun_no: int
    wire_number: str
    gbt_version: str
    battery_type: int
    capacity_e1_ah: int
    rated_voltage_mv: int | None
    maker: str
    pack_no: str
    made_on: str
    """"YYYY-MM-DD" with 00 for what is unknown."""
    cycles: int
    is_owned: bool
    vin: str
    software: str
    problems: tuple[str, ...] = ()


class BmsConfig(Uplink, frozen=True, gc=False):
    """Limits of battery and charger, once for each DC charge. union: BmsConfig (YKC 0x17)."""

    gun_no: int
    wire_number: str
    max_cell_mv: int | None
    max_current_ma: int | None
    energy_e1_kwh: int
    max_voltage_mv: int | None
    max_temp_c: int | None
    soc_e1_pct: int | None
    pack_voltage_mv: int | None
    charger_max_mv: int | None
    charger_min_mv: int | None
    charger_max_ma: int | None
    charger_min_ma: int | None
    problems: tuple[str, ...] = ()


class BmsDemand(Uplink, frozen=True, gc=False):
    """What the vehicle asks for and gets, every 15 s. union: BmsDemand (YKC 0x23)."""

    gun_no: int
    wire_number: str
    demand_mv: int | None
    demand_ma: int | None
    mode: int
    """1 constant voltage, 2 constant current."""
    measured_mv: int | None
    measured_ma: int | None
    max_cell_mv: int | None
    max_cell_group: int
    soc_pct: int | None
    remaining_s: int
    charger_mv: int | None
    charger_ma: int | None
    elapsed_s: int
    problems: tuple[str, ...] = ()


class BmsInfo(Uplink, frozen=True, gc=False):
    """Cells, temperatures and flags, every 15 s. union: BmsInfo (YKC 0x25)."""

    gun_no: int
    wire_number: str
    max_cell_no: int
    max_temp_c: int | None
    max_temp_point: int
    min_temp_c: int | None
    min_temp_point: int
    flags: tuple[str, ...]
    charging_allowed: bool | None
    """None in a frame that says nothing at all."""
    problems: tuple[str, ...] = ()


class BmsChargeEnd(Uplink, frozen=True, gc=False):
    """Statistics of the vehicle at the end; never billed from. union: BmsChargeEnd (YKC 0x19)."""

    gun_no: int
    wire_number: str
    soc_pct: int | None
    min_cell_mv: int | None
    max_cell_mv: int | None
    min_temp_c: int | None
    max_temp_c: int | None
    elapsed_s: int
    energy_e1_kwh: int
    charger_no: int
    problems: tuple[str, ...] = ()


class BmsError(Uplink, frozen=True, gc=False):
    """Time-outs between vehicle and charger. union: BmsError (YKC 0x1B)."""

    gun_no: int
    wire_number: str
    bms_timeouts: tuple[str, ...]
    charger_timeouts: tuple[str, ...]


class BmsAbort(Uplink, frozen=True, gc=False):
    """The vehicle ends the charge. union: BmsAbort (YKC 0x1D)."""

    gun_no: int
    wire_number: str
    reasons: tuple[str, ...]
    faults: tuple[str, ...]
    errors: tuple[str, ...]


class ChargerAbort(Uplink, frozen=True, gc=False):
    """The charger ends the charge. union: ChargerAbort (YKC 0x21)."""

    gun_no: int
    wire_number: str
    reasons: tuple[str, ...]
    faults: tuple[str, ...]
    errors: tuple[str, ...]


class LocalStartRequest(Uplink, frozen=True, gc=False):
    """Somebody at the pile wants to charge. union: LocalStartRequest (YKC 0x31, 0xA1)."""

    gun_no: int
    mode: str
    """"card", "account" or "vin"; "unknown:0xNN" for a value the protocol does not define."""
    token: str
    """Account number or physical card number, 16 hexadecimal digits as on the wire."""
    needs_password: bool
    password: bytes
    vin: str
    """In reading order, empty when none."""
    parallel_no: str | None = None
    is_main_gun: bool | None = None


class StartAnswer(Uplink, frozen=True, gc=False):
    """Answer to a remote start. union: StartResult (YKC 0x33, 0xA3)."""

    gun_no: int
    wire_number: str
    is_accepted: bool
    reason: int
    """Failure code as on the wire, 0 for none (YKC 1.6, 7.4)."""
    parallel_no: str | None = None
    is_main_gun: bool | None = None


class StopAnswer(Uplink, frozen=True, gc=False):
    """Answer to a remote stop. union: RemoteStop response (YKC 0x35)."""

    gun_no: int
    is_accepted: bool
    reason: int


class PeriodEnergy(msgspec.Struct, frozen=True, gc=False):
    """Energy and money of one rate in a transaction record, as the pile states them."""

    rate: Rate | None
    """None for the deep valley block that one vendor adds."""
    price_e5_yuan: int
    energy_e4_kwh: int
    loss_energy_e4_kwh: int
    amount_e4_yuan: int


class TransactionRecord(Uplink, frozen=True, gc=False):
    """The record of one charge, repeated until confirmed. union: TransactionEnded (YKC 0x3B, 0x3D)."""

    gun_no: int
    """0 when the pile states an impossible number: a record is never dropped for it."""
    wire_number: str
    started_at: datetime | None
    ended_at: datetime | None
    made_at: datetime | None
    periods: tuple[PeriodEnergy, ...]
    meter_start_e4_kwh: int
    meter_end_e4_kwh: int
    energy_e4_kwh: int
    loss_energy_e4_kwh: int
    amount_e4_yuan: int
    vin: str
    start_type: int
    stop_reason: int
    card_no: str
    body: bytes
    """The body as received: what is stored and compared for repeats."""
    meter_no: str = ""
    signed_meter: bytes = b""
    """YKC 1.7: ciphertext (34 bytes), protocol version of the meter (2), method (1), as received."""
    problems: tuple[str, ...] = ()


class BalanceAnswer(Uplink, frozen=True, gc=False):
    """Answer to a balance update. union: BalanceUpdate response (YKC 0x41)."""

    card_no: str
    result: int


class CardResult(msgspec.Struct, frozen=True, gc=False):
    """What became of one card in a list command."""

    card_no: str
    is_ok: bool
    reason: int = 0


class CardsStored(Uplink, frozen=True, gc=False):
    """Answer to storing offline cards. union: LocalListSync response (YKC 0x43)."""

    is_ok: bool
    reason: int


class CardsRemoved(Uplink, frozen=True, gc=False):
    """Answer to removing offline cards. union: LocalListClear response (YKC 0x45)."""

    cards: tuple[CardResult, ...]


class CardsFound(Uplink, frozen=True, gc=False):
    """Answer to querying offline cards; `is_ok` means stored. union: LocalListQuery response (YKC 0x47)."""

    cards: tuple[CardResult, ...]


class WorkSettingsAnswer(Uplink, frozen=True, gc=False):
    """Answer to working parameters. union: ChangeAvailability, SetPowerLimit response (YKC 0x51)."""

    is_ok: bool


class ClockAnswer(Uplink, frozen=True, gc=False):
    """The pile's clock after setting it. union: SetClock response (YKC 0x55)."""

    device_time: datetime | None
    """None when the pile states no time, or one before its protocol existed."""
    problems: tuple[str, ...] = ()


class TariffAnswer(Uplink, frozen=True, gc=False):
    """Answer to a pushed tariff. union: SetTariff response (YKC 0x57)."""

    is_ok: bool


class GroundLockReport(Uplink, frozen=True, gc=False):
    """State of a ground lock. union: GroundLockStatus, ParkingStatus (YKC 0x61)."""

    gun_no: int
    lock: str
    """"up", "down", "moving" or "unknown"."""
    is_occupied: bool | None
    battery_pct: int | None
    alarm: str
    """"none", "destroyed", "blocked" or "other"."""


class GroundLockAnswer(Uplink, frozen=True, gc=False):
    """Answer to a ground lock command. union: GroundLockControl response (YKC 0x63)."""

    gun_no: int
    is_accepted: bool


class RebootAnswer(Uplink, frozen=True, gc=False):
    """Answer to a reboot. union: Reset response (YKC 0x91)."""

    is_ok: bool


class UpgradeAnswer(Uplink, frozen=True, gc=False):
    """End of an upgrade. union: FirmwareStatus (YKC 0x93)."""

    result: int


class QrPrefixAnswer(Uplink, frozen=True, gc=False):
    """Answer to a QR code prefix; informative. union: SetQrCode response (YKC 0xF1)."""

    result: int


class VendorMessage(Uplink, frozen=True, gc=False):
    """A well-formed frame of a type the protocol page does not know. union: VendorMessage."""

    frame_type: int
    body: bytes


class Malformed(Uplink, frozen=True, gc=False):
    """A frame with a good checksum whose content cannot be used; counted and logged, never acted on."""

    frame_type: int
    reason: str
    body: bytes
