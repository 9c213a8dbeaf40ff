"""A pile's configuration, what it says and what is asked of it, as plain values to test machines with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from pileward.actors.pile_machine import EVENTS, step
from pileward.actors.pile_state import (
    AbsenceDue,
    AdmissionDue,
    ClockDue,
    CommandAsked,
    ConfigChanged,
    LinkLost,
    LoginAsked,
    Pile,
    PileStatus,
    ReadDue,
    RecordDue,
    RecordKept,
    ReplyDue,
    Resumed,
    SilenceChecked,
    TariffDue,
    new_pile,
)
from pileward.messages import uplinks as up
from pileward.messages.commands import SyncClock
from pileward.models.kinds import PileKind
from pileward.services.pile_configs import PileConfig, PileSettings
from pileward.services.records import RecordResult, RecordState
from pileward.values import Rate, RatePrice, ReportedStatus, TariffModel

CODE: Final = "32010600019236"
WIRE: Final = "32010600019236012603011030150007"
MOMENT: Final = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
NOW: Final = round(MOMENT.timestamp() * 1000)
"""Epoch milliseconds of MOMENT."""
LINK: Final = "link 1"
OTHER_LINK: Final = "link 2"
PEER: Final = "10.0.0.7:50123"


def tariff(number: str = "0100") -> TariffModel:
    """A tariff with one price around the clock."""
    price = RatePrice(80_000, 40_000)
    return TariffModel(number, (price, price, price, price), (Rate.FLAT,) * 48)


def config(**changes: Any) -> PileConfig:
    """A registered pile with two guns."""
    plain = PileConfig(
        pile_id=1,
        operator_id=1,
        station_id=1,
        pile_code=CODE,
        name="1 号桩",
        station_name="人民广场站",
        protocol="ykc",
        kind=PileKind.DC,
        gun_count=2,
        rated_power_w=120_000,
        settings=PileSettings(),
        tariff=tariff(),
        next_tariff_at=None,
        confirmed_billing_model_no=None,
        confirmed_at=None,
        is_in_maintenance=False,
        last_login_at=None,
        last_seen_at=None,
    )
    return replace(plain, **changes)


def login(gun_count: int = 2, device_kind: str = "dc", wire_seq: int = 7) -> up.Login:
    """How the pile introduces itself."""
    return up.Login(CODE, wire_seq, device_kind, gun_count, "1.6", "v4.1", "sim", "", "mobile")


def asked(link: Any = LINK, wait_s: float = 0.0, said: up.Login | None = None) -> LoginAsked:
    """A login that arrived on a link."""
    return LoginAsked(said or login(), link, PEER, wait_s)


def telemetry(
    gun_no: int = 1,
    status: ReportedStatus = ReportedStatus.IDLE,
    *,
    is_plugged: bool | None = False,
    wire_number: str = "",
    fault_codes: tuple[str, ...] = (),
    **values: Any,
) -> up.Telemetry:
    """What one gun reports."""
    plain = up.Telemetry(
        pile_code=CODE,
        wire_seq=9,
        gun_no=gun_no,
        status=status,
        wire_number=wire_number,
        is_plugged=is_plugged,
        is_homed=not is_plugged,
        voltage_mv=373_200,
        current_ma=101_200,
        cable_temp_c=34,
        cable_code="",
        soc_pct=78,
        battery_max_temp_c=35,
        charged_s=960,
        remaining_s=1_920,
        energy_e4_kwh=88_000,
        loss_energy_e4_kwh=88_000,
        amount_e4_yuan=93_280,
        fault_codes=fault_codes,
    )
    return replace(plain, **values)


def charging(gun_no: int = 1) -> up.Telemetry:
    """A gun that charges."""
    return telemetry(gun_no, ReportedStatus.CHARGING, is_plugged=True, wire_number=WIRE)


def record(gun_no: int = 1, wire_number: str = WIRE, body: bytes = b"body", wire_seq: int = 11) -> Any:
    """The record of one charge."""
    return up.TransactionRecord(
        pile_code=CODE,
        wire_seq=wire_seq,
        gun_no=gun_no,
        wire_number=wire_number,
        started_at=MOMENT,
        ended_at=None,
        made_at=MOMENT,
        periods=(up.PeriodEnergy(Rate.PEAK, 120_000, 1_000, 0, 1_200), up.PeriodEnergy(None, 1, 2, 3, 4)),
        meter_start_e4_kwh=10_000,
        meter_end_e4_kwh=11_000,
        energy_e4_kwh=1_000,
        loss_energy_e4_kwh=0,
        amount_e4_yuan=1_200,
        vin="",
        start_type=1,
        stop_reason=0x41,
        card_no="",
        body=body,
    )


def kept(state: RecordState = RecordState.STORED, gun_no: int = 1) -> RecordKept:
    """The store has the record."""
    return RecordKept(record(gun_no), RecordResult(state, record_id=5, first_id=5))


_ANY: Final[dict[str, Any]] = {
    "pile_code": CODE,
    "wire_seq": 3,
    "gun_no": 1,
    "wire_number": WIRE,
    "is_ok": True,
    "is_accepted": True,
    "is_faulty": False,
    "billing_model_no": "0100",
    "device_time": MOMENT,
    "parallel_no": None,
    "is_main_gun": None,
}


def uplink(kind: type[up.Uplink], **values: Any) -> Any:
    """An uplink of any type with harmless values."""
    if kind is up.Telemetry:
        return replace(telemetry(), **values)
    if kind is up.TransactionRecord:
        return replace(record(), **values)
    plain = {name: _ANY.get(name, _DEFAULTS.get(name, 0)) for name in kind.__struct_fields__}
    return kind(**{**plain, **values})


_DEFAULTS: Final[dict[str, Any]] = {
    "body": b"",
    "cards": (),
    "reasons": (),
    "faults": (),
    "errors": (),
    "problems": (),
    "flags": (),
    "bms_timeouts": (),
    "charger_timeouts": (),
    "mode": "card",
    "token": "00000000D14B0A54",
    "password": b"",
    "vin": "",
}


def sample_events() -> dict[type, Any]:
    """One event of every type that a pile machine may see."""
    samples: dict[type, Any] = {
        kind: uplink(kind) for kind in EVENTS if isinstance(kind, type) and issubclass(kind, up.Uplink)
    }
    others = (
        asked(),
        Resumed(LINK),
        LinkLost(LINK, "peer_closed"),
        SilenceChecked(1.0, (1.0, 1.0)),
        AdmissionDue(),
        TariffDue(),
        ClockDue(),
        ReadDue(),
        AbsenceDue(),
        ReplyDue("clock"),
        RecordDue(1),
        ConfigChanged(config(name="2 号桩")),
        CommandAsked(1, SyncClock()),
        kept(),
    )
    return samples | {type(event): event for event in others}


def after(pile: Pile, *events: Any, now: int = NOW) -> Pile:
    """The pile after some events, whatever they brought about."""
    for event in events:
        pile, _ = step(pile, event, now)
    return pile


def unknown(**changes: Any) -> Pile:
    """A pile of which nothing was heard."""
    return new_pile(config(**changes))


def online(**changes: Any) -> Pile:
    """A pile that has logged in, set its clock, holds its tariff and has told of its idle guns."""
    pile = after(
        unknown(**changes),
        asked(),
        up.ClockAnswer(CODE, 8, MOMENT),
        *(up.TariffCheck(CODE, 9, pile_tariff) for pile_tariff in _held(changes)),
    )
    return after(pile, *(telemetry(gun.gun_no) for gun in pile.guns))


def _held(changes: dict[str, Any]) -> list[str]:
    model = changes.get("tariff", tariff())
    return [] if model is None else [model.billing_model_no]


def in_status(status: PileStatus) -> Pile:
    """A pile in each of its states."""
    if status is PileStatus.UNKNOWN:
        return unknown()
    if status is PileStatus.REGISTERING:
        return after(unknown(), asked(wait_s=3.0))
    pile = online()
    return pile if status is PileStatus.ONLINE else after(pile, LinkLost(LINK, "peer_closed"))


def effects_of(pile: Pile, event: Any, now: int = NOW) -> list[Any]:
    """What one event brings about."""
    return list(step(pile, event, now)[1])


def names(effects: Any) -> list[str]:
    """Types of effects, in order."""
    return [type(effect).__name__ for effect in effects]


def of(kind: type, effects: Any) -> list[Any]:
    """The effects of one type."""
    return [effect for effect in effects if isinstance(effect, kind)]
