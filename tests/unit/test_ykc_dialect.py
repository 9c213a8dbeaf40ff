"""YKC frames as the platform's messages: meaning, plausibility, caches, both directions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pileward.codecs.base import Dialect, FrameError, Garbage, NotSupported
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import Decoder, Packet, encode_frame
from pileward.codecs.ykc.dialect import CACHED_MOST, YkcDialect
from pileward.codecs.ykc.envelope import CrcOrder, is_high_first, wrap
from pileward.codecs.ykc.table import BY_CLASS, LAYOUTS, Frame
from pileward.codecs.ykc.writing import SUPPORTED
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.values import CHINA, Rate, RatePrice, ReportedStatus, TariffModel

PILE = "32010600019236"
TRADE = "32010600019236012507011030150007"
CARD = "00000000D14B0A54"
NO_TRADE = "0" * 32

DATA = frames.RealTimeData(
    TRADE, PILE, 1, 3, 0, 1, 3732, 1012, 34, "0" * 16, 78, 35, 16, 32, 88000, 0, 93280, 0x1001
)
RECORD = frames.TransactionRecord(
    TRADE,
    PILE,
    1,
    datetime(2025, 7, 1, 10, 30, 15, tzinfo=CHINA),
    datetime(2025, 7, 1, 11, 30, 15, tzinfo=CHINA),
    *(150000, 100000, 0, 150000),
    *(130000, 200000, 0, 260000),
    *(110000, 0, 0, 0),
    *(90000, 0, 0, 0),
    1000_0000,
    1030_0000,
    300000,
    0,
    410000,
    "LYKC1234567890ABC",
    1,
    datetime(2025, 7, 1, 11, 30, 16, tzinfo=CHINA),
    0x41,
    CARD,
)


def received(frame: Frame, dialect: YkcDialect | None = None, sequence: int = 7) -> Any:
    """The one message that a frame becomes."""
    (message,) = (dialect or YkcDialect()).receive(encode_frame(frame, sequence), 0.0)
    return message


def changed(frame: Frame, **values: Any) -> Frame:
    return msgspec.structs.replace(frame, **values)


def sent(message: down.Downlink) -> Frame:
    """The frame that a downlink becomes, read back."""
    (packet,) = Decoder().receive(YkcDialect().send(message), 0.0)
    assert isinstance(packet, Packet)
    assert packet.frame is not None
    return packet.frame


def test_telemetry() -> None:
    assert received(DATA) == up.Telemetry(
        pile_code=PILE,
        wire_seq=7,
        gun_no=1,
        status=ReportedStatus.CHARGING,
        wire_number=TRADE,
        is_plugged=True,
        is_homed=False,
        voltage_mv=373_200,
        current_ma=101_200,
        cable_temp_c=34,
        cable_code="",
        soc_pct=78,
        battery_max_temp_c=35,
        charged_s=960,
        remaining_s=1920,
        energy_e4_kwh=88_000,
        loss_energy_e4_kwh=0,
        amount_e4_yuan=93_280,
        fault_codes=("emergency_stop", "door_open"),
    )


def test_a_heartbeat_says_the_same_the_first_and_the_second_time() -> None:
    dialect = YkcDialect()
    beat = frames.Heartbeat(PILE, 2, 1)
    assert received(beat, dialect, 1) == up.Heartbeat(PILE, 1, 2, True)
    assert received(beat, dialect, 2) == up.Heartbeat(PILE, 2, 2, True)
    assert received(changed(beat, gun_status=0), dialect, 3) == up.Heartbeat(PILE, 3, 2, False)


def test_the_code_of_a_pile_is_one_object() -> None:
    dialect = YkcDialect()
    assert received(DATA, dialect).pile_code is received(DATA, dialect).pile_code


IMPLAUSIBLE = [
    # field of the frame       value    field of the message  problem
    ("soc", 250, "soc_pct", "soc_pct=250"),
    ("output_voltage_e1_v", 15001, "voltage_mv", "voltage_e1_v=15001"),
    ("output_current_e1_a", 15001, "current_ma", "current_e1_a=15001"),
    ("cable_temp_c", 201, "cable_temp_c", "cable_temp_c=201"),
    ("battery_max_temp_c", 205, "battery_max_temp_c", "battery_max_temp_c=205"),
    ("charge_minutes", 65535, "charged_s", "charge_minutes=65535"),
    ("remaining_minutes", 65535, "remaining_s", "remaining_minutes=65535"),
    ("energy_e4_kwh", 0xFFFFFFFF, "energy_e4_kwh", "energy_e4_kwh=4294967295"),
    ("loss_energy_e4_kwh", 0xFFFFFFFF, "loss_energy_e4_kwh", "loss_energy_e4_kwh=4294967295"),
    ("amount_e4_yuan", 0xFFFFFFFF, "amount_e4_yuan", "amount_e4_yuan=4294967295"),
    ("gun_plugged", 2, "is_plugged", "is_plugged=2"),
    ("gun_homed", 3, "is_homed", "is_homed=3"),
]


@pytest.mark.parametrize(
    ("field", "value", "name", "problem"), IMPLAUSIBLE, ids=[row[0] for row in IMPLAUSIBLE]
)
def test_an_implausible_value_is_left_out_and_named(field: str, value: int, name: str, problem: str) -> None:
    good, odd = received(DATA), received(changed(DATA, **{field: value}))
    assert getattr(odd, name) is None
    assert odd.problems == (problem,)
    assert msgspec.structs.replace(odd, **{name: getattr(good, name)}, problems=()) == good


def test_unknown_status_is_kept_apart() -> None:
    message = received(changed(DATA, status=9))
    assert message.status is ReportedStatus.UNKNOWN
    assert message.problems == ("status=9",)


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (2, None)])
def test_a_gun_without_a_sensor_for_its_holder(value: int, expected: bool | None) -> None:
    message = received(changed(DATA, gun_homed=value))
    assert message.is_homed is expected
    assert message.problems == ()


def test_an_idle_gun() -> None:
    idle = changed(
        DATA, trade_no=NO_TRADE, status=2, cable_temp_c=None, battery_max_temp_c=None, hardware_fault=0
    )
    message = received(idle)
    assert (message.wire_number, message.cable_temp_c, message.battery_max_temp_c) == ("", None, None)
    assert message.fault_codes == ()


def test_undefined_fault_bits_are_shown_raw() -> None:
    assert received(changed(DATA, hardware_fault=0x8002)).fault_codes == ("no_rectifier", "ykc_bit_16")


WITH_GUN = [layout for layouts in LAYOUTS.values() for layout in layouts if layout.kind.is_uplink]


@pytest.mark.parametrize("byte", [0x00, 0x33, 0x77, 0xFF])
@pytest.mark.parametrize("layout", WITH_GUN, ids=lambda layout: layout.frame.__name__)
def test_a_gun_that_no_pile_has(layout: Any, byte: int) -> None:
    """Gun 0, 33, 77 and 255: the frame is malformed, except a record, which is never dropped for it."""
    row = next((row for row in layout.rows if row.name == "gun_no"), None)
    if row is None:
        return
    body = bytearray(layout.size)
    body[row.offset] = byte
    (message,) = YkcDialect().receive(wrap(7, layout.kind.code, bytes(body)), 0.0)
    if layout.kind.is_billing:
        assert isinstance(message, up.TransactionRecord)
        assert message.gun_no == 0
        assert message.problems[0].startswith("gun_no=")
    else:
        assert isinstance(message, up.Malformed)
        assert (message.reason, message.frame_type) == ("bad_gun_no", layout.kind.code)


def test_login() -> None:
    frame = frames.Login(PILE, 0, 2, 16, "V4.1.50", 0, "89860452161970107196", 3)
    assert received(frame) == up.Login(
        PILE, 7, "dc", 2, "1.6", "V4.1.50", "sim", "89860452161970107196", "unicom"
    )
    odd = received(changed(frame, pile_type=9, gun_count=255, network_type=4, sim_no="0" * 20, carrier=1))
    assert odd == up.Login(PILE, 7, "unknown", 0, "1.6", "V4.1.50", "other", "", "other")


def test_a_short_login_still_introduces_the_pile() -> None:
    body = BY_CLASS[frames.Login].encode(frames.Login(PILE, 1, 2, 15, "", 0, "0" * 20, 0))[:9]
    dialect = YkcDialect()
    (message,) = dialect.receive(wrap(0, 0x01, body), 0.0)
    assert message == up.Login(PILE, 0, "ac", 2, "0.0", "", "other", "", "other")
    assert dialect.odd_lengths == {0x01: 1}


def test_short_telemetry_keeps_what_is_there() -> None:
    body = BY_CLASS[frames.RealTimeData].encode(DATA)
    (message,) = YkcDialect().receive(wrap(0, 0x13, body[:46]), 0.0)
    assert isinstance(message, up.Telemetry)
    assert (message.soc_pct, message.remaining_s) == (78, 1920)
    assert (message.energy_e4_kwh, message.amount_e4_yuan, message.fault_codes) == (None, None, ())


def test_other_short_bodies_are_malformed() -> None:
    dialect = YkcDialect()
    received(DATA, dialect)
    (message,) = dialect.receive(wrap(3, 0x3B, bytes(16) + bytes.fromhex(PILE) + bytes(100)), 0.0)
    assert message == up.Malformed(PILE, 3, 0x3B, "short_body", bytes(16) + bytes.fromhex(PILE) + bytes(100))
    (message,) = dialect.receive(wrap(3, 0x05, bytes.fromhex(PILE)), 0.0)
    assert message == up.Malformed(PILE, 3, 0x05, "short_body", bytes.fromhex(PILE))


def test_a_long_body_is_read_as_far_as_it_is_known() -> None:
    dialect = YkcDialect()
    body = BY_CLASS[frames.RealTimeData].encode(DATA)
    assert dialect.receive(wrap(7, 0x13, body + b"\x01\x02"), 0.0) == [received(DATA)]
    assert dialect.odd_lengths == {0x13: 1}


def test_unknown_frames_name_the_pile_when_it_spoke_before() -> None:
    dialect = YkcDialect()
    body = bytes.fromhex(PILE) + b"\x01"
    assert dialect.receive(wrap(1, 0x1F, body), 0.0) == [up.VendorMessage("", 1, 0x1F, body)]
    received(frames.Heartbeat(PILE, 1, 0), dialect)
    assert dialect.receive(wrap(1, 0x1F, body), 0.0) == [up.VendorMessage(PILE, 1, 0x1F, body)]
    old = bytes(16) + body
    assert dialect.receive(wrap(1, 0x3F, old), 0.0) == [up.VendorMessage(PILE, 1, 0x3F, old)]


def test_frames_that_only_the_platform_sends() -> None:
    message = received(frames.RemoteStop(PILE, 1))
    assert isinstance(message, up.Malformed)
    assert (message.pile_code, message.reason) == (PILE, "wrong_direction")


def test_a_record() -> None:
    message = received(RECORD)
    assert isinstance(message, up.TransactionRecord)
    assert message.started_at == datetime(2025, 7, 1, 2, 30, 15, tzinfo=UTC)
    assert message.made_at == datetime(2025, 7, 1, 3, 30, 16, tzinfo=UTC)
    assert message.started_at.tzinfo is UTC
    assert [period.rate for period in message.periods] == list(Rate)
    assert message.periods[1] == up.PeriodEnergy(Rate.PEAK, 130000, 200000, 0, 260000)
    assert (message.meter_start_e4_kwh, message.meter_end_e4_kwh) == (1000_0000, 1030_0000)
    assert (message.energy_e4_kwh, message.amount_e4_yuan) == (300000, 410000)
    assert (message.vin, message.card_no, message.stop_reason) == ("LYKC1234567890ABC", CARD, 0x41)
    assert message.body == BY_CLASS[frames.TransactionRecord].encode(RECORD)
    assert (message.meter_no, message.signed_meter, message.problems) == ("", b"", ())


def test_a_record_with_impossible_times_is_kept() -> None:
    """A clock that lost its battery stands in 2000; the wire knows no year before."""
    message = received(changed(RECORD, start_time=datetime(2000, 1, 1, tzinfo=CHINA), end_time=None))
    assert (message.started_at, message.ended_at) == (None, None)
    assert message.problems == ("started_at=2000-01-01T00:00:00+08:00", "ended_at=None")


def test_a_record_with_a_fifth_rate() -> None:
    values = {name: getattr(RECORD, name) for name in RECORD.__struct_fields__}
    deep: dict[str, Any] = {
        f"deep_valley_{name}": 1
        for name in ("price_e5_yuan", "energy_e4_kwh", "loss_energy_e4_kwh", "amount_e4_yuan")
    }
    message = received(frames.FiveRateRecord(**values, **deep))
    assert message.periods[-1] == up.PeriodEnergy(None, 1, 1, 1, 1)
    assert len(message.periods) == 5


def test_a_signed_record() -> None:
    values = {name: getattr(RECORD, name) for name in RECORD.__struct_fields__}
    meter: dict[str, Any] = {
        "meter_no": "010203040506",
        "meter_ciphertext": "AB" * 34,
        "meter_protocol_version": 1,
        "encryption_method": 2,
    }
    message = received(frames.SignedTransactionRecord(**values, **meter))
    assert message.meter_no == "010203040506"
    assert message.signed_meter == b"\xab" * 34 + b"\x01\x00\x02"
    assert message.periods == received(RECORD).periods


def test_a_record_with_bytes_behind_says_so() -> None:
    body = BY_CLASS[frames.TransactionRecord].encode(RECORD) + b"\x00"
    (message,) = YkcDialect().receive(wrap(7, 0x3B, body), 0.0)
    assert isinstance(message, up.TransactionRecord)
    assert message.problems == ("bytes_behind_the_record=1",)
    assert message.body == body


@pytest.mark.parametrize("e1_a", [-3432, 3432])
def test_currents_are_positive_whatever_sign_the_pile_sends(e1_a: int) -> None:
    frame = frames.BmsDemand(TRADE, PILE, 1, 7008, e1_a, 2, 6619, e1_a, 345, 1, 95, 6, 6641, -4000, 48)
    message = received(frame)
    assert isinstance(message, up.BmsDemand)
    assert (message.demand_ma, message.measured_ma, message.charger_ma) == (343_200, 343_200, None)
    assert (message.max_cell_mv, message.max_cell_group, message.elapsed_s) == (3450, 1, 2880)
    assert message.problems == ()


def test_what_the_vehicle_says_is_checked_too() -> None:
    frame = frames.BmsDemand(TRADE, PILE, 1, 65535, 50000, 2, 6619, 0, 4000, 1, 101, 6, 6641, 0, 48)
    message = received(frame)
    assert (message.demand_mv, message.demand_ma, message.max_cell_mv, message.soc_pct) == (None,) * 4
    assert message.problems == ("demand_e1_v=65535", "demand_e1_a=50000", "max_cell_e2_v=4000", "soc_pct=101")


def test_the_vehicle_introduces_itself() -> None:
    frame = frames.BmsHandshake(
        TRADE,
        PILE,
        1,
        "010100",
        3,
        1500,
        6205,
        "TE\x01T",
        "00000007",
        2021,
        6,
        15,
        321,
        1,
        0,
        "LYKC1",
        "100A0BDF07FFFFFF",
    )
    message = received(frame)
    assert (message.gbt_version, message.made_on, message.software) == ("1.1", "2021-06-15", "2015-11-10 16")
    assert (message.maker, message.is_owned, message.rated_voltage_mv) == ("TET", True, 620_500)
    unknown = received(changed(frame, production_year=1985, production_month=0, production_day=77))
    assert (unknown.made_on, unknown.problems) == ("0000-00-00", ("production_day=77",))


def test_limits_of_battery_and_charger() -> None:
    frame = frames.BmsParameters(
        TRADE, PILE, 1, 365, -2500, 820, 7500, 55, 455, 6200, 10000, 2000, -2500, -4000
    )
    message = received(frame)
    assert (message.max_current_ma, message.charger_max_ma, message.charger_min_ma) == (
        250_000,
        250_000,
        None,
    )
    assert (message.max_cell_mv, message.soc_e1_pct, message.charger_max_mv) == (3650, 455, 1_000_000)


def test_flags_become_names() -> None:
    abort = received(frames.BmsAbort(TRADE, PILE, 1, 0b01, 0b01 << 8, 0b0100))
    assert (abort.reasons, abort.faults, abort.errors) == (("soc_reached",), ("pack_hot",), ("voltage",))
    stop = received(frames.ChargerAbort(TRADE, PILE, 1, 0b010000, 0b01 << 8, 0b10))
    assert (stop.reasons, stop.faults, stop.errors) == (("fault",), ("emergency_stop",), ("current?",))
    error = received(frames.BmsError(TRADE, PILE, 1, "0104000002000004"))
    assert (error.bms_timeouts, error.charger_timeouts) == (("crm_00", "cro"), ("brm?", "other"))


@pytest.mark.parametrize(
    ("bits", "flags", "allowed"),
    [
        (0x1000, (), True),
        (0x0000, (), False),
        (0x1001, ("cell_voltage_high",), True),
        (0x0208, ("soc_low", "insulation?"), False),
    ],
)
def test_states_of_the_battery(bits: int, flags: tuple[str, ...], allowed: bool) -> None:
    message = received(frames.BmsInformation(TRADE, PILE, 1, 88, 31, 4, 24, 17, bits))
    assert (message.flags, message.charging_allowed) == (flags, allowed)


def test_an_empty_frame_of_battery_states_forbids_nothing() -> None:
    assert received(frames.BmsInformation(TRADE, PILE, 1, 1, -50, 1, -50, 1, 0)).charging_allowed is None


def test_start_requests() -> None:
    frame = frames.StartRequest(PILE, 1, 3, 0, "0" * 16, "0" * 32, "LYKC1234567890ABC")
    assert received(frame) == up.LocalStartRequest(PILE, 7, 1, "vin", "", False, b"", "LYKC1234567890ABC")
    card = received(
        changed(frame, start_mode=1, account_or_card_no=CARD, vin="", need_password=1, password="61" * 16)
    )
    assert (card.mode, card.token, card.needs_password, card.password) == ("card", CARD, True, b"a" * 16)
    assert received(changed(frame, start_mode=0x77)).mode == "unknown:0x77"
    leg = frames.ParallelStartRequest(PILE, 1, 1, 0, CARD, "0" * 32, "", 1, "250701103015")
    assert (received(leg).parallel_no, received(leg).is_main_gun) == ("250701103015", False)


def test_answers_of_piles() -> None:
    assert received(frames.RemoteStartAnswer(TRADE, PILE, 1, 0, 5)) == up.StartAnswer(
        PILE, 7, 1, TRADE, False, 5
    )
    leg = received(frames.RemoteParallelStartAnswer(TRADE, PILE, 1, 1, 0, 0, "250701103016"))
    assert (leg.is_accepted, leg.parallel_no, leg.is_main_gun) == (True, "250701103016", True)
    assert received(frames.RemoteStopAnswer(PILE, 1, 0, 2)) == up.StopAnswer(PILE, 7, 1, False, 2)
    assert received(frames.BalanceUpdateAnswer(PILE, CARD, 2)) == up.BalanceAnswer(PILE, 7, CARD, 2)
    assert received(frames.StoreCardsAnswer(PILE, 0, 2)) == up.CardsStored(PILE, 7, False, 2)
    removed = received(frames.RemoveCardsAnswer(PILE, (frames.CardRemoval(CARD, 1, 2),)))
    assert removed.cards == (up.CardResult(CARD, True, 2),)
    found = received(frames.QueryCardsAnswer(PILE, (frames.CardPresence(CARD, 0),)))
    assert found.cards == (up.CardResult(CARD, False),)
    assert received(frames.WorkingParametersAnswer(PILE, 1)) == up.WorkSettingsAnswer(PILE, 7, True)
    assert received(frames.SetBillingModelAnswer(PILE, 0)) == up.TariffAnswer(PILE, 7, False)
    assert received(frames.RebootAnswer(PILE, 1)) == up.RebootAnswer(PILE, 7, True)
    assert received(frames.UpgradeAnswer(PILE, 3)) == up.UpgradeAnswer(PILE, 7, 3)
    assert received(frames.QrCodePrefixAnswer(PILE, 1)) == up.QrPrefixAnswer(PILE, 7, 1)
    assert received(frames.BillingModelCheck(PILE, "F002")) == up.TariffCheck(PILE, 7, "F002")
    assert received(frames.BillingModelRequest(PILE)) == up.TariffRequest(PILE, 7)
    end = received(frames.BmsChargeEnd(TRADE, PILE, 1, 96, 338, 345, 24, 31, 48, 523, 1))
    assert (end.soc_pct, end.max_cell_mv, end.elapsed_s, end.energy_e1_kwh) == (96, 3450, 2880, 523)


def test_the_clock_of_a_pile() -> None:
    moment = datetime(2025, 7, 1, 10, 30, 15, 250_000, tzinfo=CHINA)
    assert received(frames.SetTimeAnswer(PILE, moment)).device_time == moment
    assert received(frames.SetTimeAnswer(PILE, datetime(2001, 1, 1, tzinfo=CHINA))).device_time is None


def test_ground_locks() -> None:
    report = frames.GroundLockData(PILE, 1, 0x55, 0xFF, 87, 0x55)
    assert received(report) == up.GroundLockReport(PILE, 7, 1, "up", True, 87, "blocked")
    odd = received(
        changed(report, lock_status=3, parking_status=9, battery_pct=200, alarm_status=1, reserved=None)
    )
    assert odd == up.GroundLockReport(PILE, 7, 1, "unknown", None, None, "other")
    assert received(frames.GroundLockControlAnswer(PILE, 1, 1)) == up.GroundLockAnswer(PILE, 7, 1, True)


TARIFF = TariffModel(
    "0012",
    (RatePrice(120000, 80000), RatePrice(100000, 80000), RatePrice(70000, 80000), RatePrice(30000, 80000)),
    (Rate.VALLEY,) * 14 + (Rate.FLAT,) * 20 + (Rate.PEAK,) * 10 + (Rate.SHARP,) * 4,
)
PRICES = (120000, 80000, 100000, 80000, 70000, 80000, 30000, 80000)
SLOTS = (3,) * 14 + (2,) * 20 + (1,) * 10 + (0,) * 4
MOMENT = datetime(2025, 7, 1, 2, 30, 15, tzinfo=UTC)

DOWNLINKS: list[tuple[down.Downlink, Frame]] = [
    (down.LoginAnswer(PILE, 7, True), frames.LoginAnswer(PILE, 0)),
    (down.LoginAnswer(PILE, 7, False), frames.LoginAnswer(PILE, 1)),
    (down.HeartbeatAnswer(PILE, 7, 12), frames.HeartbeatAnswer(PILE, 12, 0)),
    (down.HeartbeatAnswer(PILE, None, 1), frames.HeartbeatAnswer(PILE, 1, 0)),
    (down.TariffCheckAnswer(PILE, 7, "0012", True), frames.BillingModelCheckAnswer(PILE, "0012", 0)),
    (down.TariffCheckAnswer(PILE, 7, "0012", False), frames.BillingModelCheckAnswer(PILE, "0012", 1)),
    (down.TariffDelivery(PILE, 7, TARIFF), frames.BillingModelAnswer(PILE, "0012", *PRICES, 0, SLOTS)),
    (down.SetTariff(PILE, None, TARIFF), frames.SetBillingModel(PILE, "0012", *PRICES, 0, SLOTS)),
    (down.ReadTelemetry(PILE, None, 1), frames.ReadRealTimeData(PILE, 1)),
    (
        down.LocalStartAnswer(PILE, 7, 1, TRADE, True, 3, 1234, "1000000573"),
        frames.StartRequestAnswer(TRADE, PILE, 1, "0000001000000573", 1234, 1, 0),
    ),
    (
        down.LocalStartAnswer(PILE, 7, 1, "", False, 3, -5),
        frames.StartRequestAnswer(NO_TRADE, PILE, 1, "0" * 16, 0, 0, 3),
    ),
    (
        down.LocalStartAnswer(PILE, 7, 1, TRADE, True, 0, 8800, "", "250701103015"),
        frames.ParallelStartRequestAnswer(TRADE, PILE, 1, "0" * 16, 8800, 1, 0, "250701103015"),
    ),
    (
        down.RemoteStart(PILE, None, 1, TRADE, 5000, "1000000573", "D14B0A54"),
        frames.RemoteStart(TRADE, PILE, 1, "0000001000000573", CARD, 5000),
    ),
    (
        down.RemoteStart(PILE, None, 1, TRADE, 10**12),
        frames.RemoteStart(TRADE, PILE, 1, "0" * 16, "0" * 16, 0xFFFFFFFF),
    ),
    (
        down.RemoteStart(PILE, None, 2, TRADE, 8800, "", "", "250701103016"),
        frames.RemoteParallelStart(TRADE, PILE, 2, "0" * 16, "0" * 16, 8800, "250701103016"),
    ),
    (down.RemoteStop(PILE, None, 1, TRADE), frames.RemoteStop(PILE, 1)),
    (down.RecordAnswer(PILE, 7, TRADE), frames.TransactionRecordAnswer(TRADE, 0)),
    (down.RecordAnswer(PILE, 7, TRADE, False), frames.TransactionRecordAnswer(TRADE, 1)),
    (down.UpdateBalance(PILE, None, 1, 15000, CARD), frames.BalanceUpdate(PILE, 1, CARD, 15000)),
    (
        down.StoreCards(PILE, None, (down.OfflineCard(CARD, "1000000573"),)),
        frames.StoreCards(PILE, (frames.CardPair("0000001000000573", CARD),)),
    ),
    (down.RemoveCards(PILE, None, (CARD,)), frames.RemoveCards(PILE, (frames.CardNumber(CARD),))),
    (down.QueryCards(PILE, None, (CARD,)), frames.QueryCards(PILE, (frames.CardNumber(CARD),))),
    (down.SetWorkSettings(PILE, None, True, 30), frames.WorkingParameters(PILE, 0, 30)),
    (down.SetWorkSettings(PILE, None, False, 100), frames.WorkingParameters(PILE, 1, 100)),
    (down.SetClock(PILE, None, MOMENT), frames.SetTime(PILE, MOMENT)),
    (down.ControlGroundLock(PILE, None, 1, True), frames.GroundLockControl(PILE, 1, 0x55)),
    (down.ControlGroundLock(PILE, None, 1, False), frames.GroundLockControl(PILE, 1, 0xFF)),
    (down.Reboot(PILE, None, True), frames.Reboot(PILE, 2)),
    (down.Reboot(PILE, None, False), frames.Reboot(PILE, 1)),
    (
        down.Upgrade(PILE, None, "ac", 7, "10.0.0.1", 21, "u", "p", "a/b", False, 60),
        frames.Upgrade(PILE, 2, 7, "10.0.0.1", 21, "u", "p", "a/b", 1, 60),
    ),
    (down.SetQrPrefix(PILE, None, "https://x/", True), frames.QrCodePrefix(PILE, 1, "https://x/")),
]


@pytest.mark.parametrize(("message", "frame"), DOWNLINKS, ids=lambda value: type(value).__name__)
def test_downlinks_become_frames(message: down.Downlink, frame: Frame) -> None:
    assert sent(message) == frame


def test_every_downlink_is_in_the_table() -> None:
    all_of_them = {kind for kind in down.Downlink.__subclasses__() if kind.__module__ == down.__name__}
    assert {type(message) for message, _ in DOWNLINKS} == SUPPORTED == all_of_them


def test_answers_carry_the_sequence_back_and_own_frames_count_from_zero() -> None:
    dialect = YkcDialect()
    numbers = [7, None, 0xFFFF, None]
    raws = [dialect.send(down.HeartbeatAnswer(PILE, number, 1)) for number in numbers]
    assert [raw[2] | raw[3] << 8 for raw in raws] == [7, 0, 0xFFFF, 1]
    again = [dialect.send(down.RemoteStop(PILE, None, 1)) for _ in range(0x10000)]
    assert again[0][2:4] == b"\x02\x00"
    assert again[0xFFFD][2:4] == b"\xff\xff"
    assert again[0xFFFE][2:4] == b"\x00\x00"


REFUSED = [
    (down.SetWorkSettings(PILE, None, True, 29), "max_power_pct 29"),
    (down.SetWorkSettings(PILE, None, True, 240), "max_power_pct 240"),
    (down.StoreCards(PILE, None, (down.OfflineCard(CARD),) * 12), "12 cards"),
    (down.RemoveCards(PILE, None, ()), "0 cards"),
    (down.Upgrade(PILE, None, "boat", 7, "h", 21, "u", "p", "a", False, 60), "device_kind"),
    (
        down.Upgrade(PILE, None, "dc", 7, "a-host-name-that-is-long", 21, "u", "p", "a", False, 60),
        "server_address",
    ),
    (down.HeartbeatAnswer(PILE, 7, 100), "gun_no"),
    (down.HeartbeatAnswer("OCPP-station", 7, 1), "pile_no"),
]


@pytest.mark.parametrize(("message", "named"), REFUSED, ids=lambda value: str(value)[:40])
def test_values_that_no_pile_would_take_are_refused(message: down.Downlink, named: str) -> None:
    with pytest.raises(FrameError, match=named):
        YkcDialect().send(message)


def test_messages_without_a_frame_are_not_supported() -> None:
    class Reserve(down.Downlink, frozen=True):
        """A message of another protocol."""

    with pytest.raises(NotSupported, match="Reserve"):
        YkcDialect().send(Reserve(PILE, None))


BEAT = frames.Heartbeat(PILE, 1, 0)


@pytest.mark.parametrize(
    ("order", "is_high"),
    [(CrcOrder.BOTH, False), (CrcOrder.LOW, False), (CrcOrder.HIGH, True), (CrcOrder.MIRROR, False)],
)
def test_the_order_of_the_checksum_that_is_sent(order: CrcOrder, is_high: bool) -> None:
    dialect = YkcDialect(order)
    for message in (down.HeartbeatAnswer(PILE, 7, 1), down.LoginAnswer(PILE, 7, True)):
        assert is_high_first(dialect.send(message)) is is_high


def test_the_order_last_seen_of_each_pile_is_mirrored() -> None:
    dialect = YkcDialect()
    dialect.crc_order = CrcOrder.MIRROR
    other = "32010600019237"
    dialect.receive(encode_frame(BEAT, 1, CrcOrder.HIGH), 0.0)
    dialect.receive(encode_frame(frames.Heartbeat(other, 1, 0), 1), 0.0)
    assert is_high_first(dialect.send(down.HeartbeatAnswer(PILE, 1, 1)))
    assert not is_high_first(dialect.send(down.HeartbeatAnswer(other, 1, 1)))
    dialect.receive(encode_frame(BEAT, 2), 0.0)
    assert not is_high_first(dialect.send(down.HeartbeatAnswer(PILE, 2, 1)))


OTHER = "32010600019237"
ADAPTED = [
    # setting      pile sends   answered high first
    ("mirror",     CrcOrder.LOW,  False),
    ("mirror",     CrcOrder.HIGH, True),
    ("low_first",  CrcOrder.LOW,  False),
    ("low_first",  CrcOrder.HIGH, False),
    ("high_first", CrcOrder.LOW,  True),
    ("high_first", CrcOrder.HIGH, True),
]  # fmt: skip


@pytest.mark.parametrize("base", [CrcOrder.MIRROR, CrcOrder.BOTH])
@pytest.mark.parametrize(("setting", "sent", "is_high"), ADAPTED)
def test_each_pile_is_answered_as_its_model_wants(
    base: CrcOrder, setting: str, sent: CrcOrder, is_high: bool
) -> None:
    dialect = YkcDialect(base)
    assert dialect.receive(encode_frame(BEAT, 1, sent), 0.0)
    dialect.adapt(PILE, setting)
    for sequence in (2, 3):  # the second one could take the short way
        assert dialect.receive(encode_frame(BEAT, sequence, sent), 0.0) == [
            up.Heartbeat(PILE, sequence, 1, False)
        ]
        assert is_high_first(dialect.send(down.HeartbeatAnswer(PILE, sequence, 1))) is is_high
        assert (
            is_high_first(dialect.send(down.SetClock(PILE, None, datetime(2026, 3, 1, 4, tzinfo=UTC))))
            is is_high
        )
    dialect.receive(encode_frame(frames.Heartbeat(OTHER, 1, 0), 1), 0.0)
    assert not is_high_first(dialect.send(down.HeartbeatAnswer(OTHER, 1, 1)))


def test_a_changed_setting_holds_from_then_on() -> None:
    dialect = YkcDialect(CrcOrder.MIRROR)
    received(BEAT, dialect)
    orders = []
    for setting in ("high_first", "low_first", "high_first", "mirror"):
        dialect.adapt(PILE, setting)
        orders.append(is_high_first(dialect.send(down.HeartbeatAnswer(PILE, 1, 1))))
    assert orders == [True, False, True, False]


def test_strict_orders_refuse_the_other_one() -> None:
    dialect = YkcDialect()
    received(BEAT, dialect)
    dialect.crc_order = CrcOrder.HIGH
    (item,) = dialect.receive(encode_frame(BEAT, 1), 0.0)
    assert isinstance(item, Garbage)


def test_each_good_frame_is_shown_to_the_tail() -> None:
    seen: list[tuple[bytes, str]] = []
    dialect = YkcDialect(on_frame=lambda raw, code: seen.append((raw, code)))
    raws = [encode_frame(BEAT, 1), encode_frame(BEAT, 2), encode_frame(DATA, 3), encode_frame(RECORD, 4)]
    for raw in raws:
        dialect.receive(raw, 0.0)
    unknown = wrap(5, 0x7F, b"?")
    dialect.receive(unknown + b"\x00" + raws[0][:3], 0.0)
    dialect.receive(raws[0][3:], 0.0)
    assert seen == [(raw, PILE) for raw in raws] + [(unknown, ""), (raws[0], PILE)]


def test_a_partial_frame_has_a_deadline() -> None:
    dialect: Dialect = YkcDialect()
    raw = encode_frame(BEAT, 1)
    assert dialect.receive(raw + raw[:4], 5.0) == [up.Heartbeat(PILE, 1, 1, False)]
    assert dialect.partial_deadline() == 15.0
    assert dialect.receive(b"", 15.0) == [Garbage(raw[:4], "incomplete")]
    assert dialect.partial_deadline() is None


def test_caches_are_bounded() -> None:
    dialect = YkcDialect()
    for number in range(CACHED_MOST + 50):
        code = f"{number:014d}"
        received(frames.Heartbeat(code, 1, 0), dialect)
        dialect.send(down.HeartbeatAnswer(code, 1, 1))
    for cache in (dialect._beats, dialect._codes, dialect._answers):
        assert len(cache) <= CACHED_MOST
    assert received(frames.Heartbeat("00000000000001", 1, 0), dialect).pile_code == "00000000000001"
