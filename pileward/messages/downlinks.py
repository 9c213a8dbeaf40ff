"""What the platform says to piles, in the platform's words.

Every downlink starts with `pile_code` and `wire_seq`: the sequence of the uplink it answers, or None when
the platform starts the exchange and the connection numbers it. Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.values import TariffModel


class Downlink(msgspec.Struct, frozen=True, gc=False):
    """Base of all messages to a pile."""

    pile_code: str
    wire_seq: int | None


class LoginAnswer(Downlink, frozen=True, gc=False):
    """Whether the pile may stay. union: BootNotification response (YKC 0x02)."""

    is_accepted: bool


class HeartbeatAnswer(Downlink, frozen=True, gc=False):
    """The platform is alive. union: Heartbeat response (YKC 0x04)."""

    gun_no: int


class TariffCheckAnswer(Downlink, frozen=True, gc=False):
    """Whether the tariff that the pile holds is the right one. union: TariffVerify response (YKC 0x06)."""

    billing_model_no: str
    is_current: bool


class TariffDelivery(Downlink, frozen=True, gc=False):
    """The tariff that the pile asked for. union: TariffRequest response (YKC 0x0A)."""

    tariff: TariffModel


class ReadTelemetry(Downlink, frozen=True, gc=False):
    """Asks for fresh telemetry of one gun. union: TriggerMessage (YKC 0x12)."""

    gun_no: int


class LocalStartAnswer(Downlink, frozen=True, gc=False):
    """Lets a start at the pile go on, or says why not.

    union: LocalStartRequest response (YKC 0x32; 0xA2 when `parallel_no` is set).
    """

    gun_no: int
    wire_number: str
    is_accepted: bool
    reason: int
    balance_fen: int
    logical_card_no: str = ""
    parallel_no: str | None = None


class RemoteStart(Downlink, frozen=True, gc=False):
    """Starts a charge from the app.

    union: RemoteStart, RemoteParallelStart (YKC 0x34; 0xA4 when `parallel_no` is set).
    """

    gun_no: int
    wire_number: str
    balance_fen: int
    logical_card_no: str = ""
    physical_card_no: str = ""
    parallel_no: str | None = None


class RemoteStop(Downlink, frozen=True, gc=False):
    """Stops the charge of a gun. union: RemoteStop (YKC 0x36)."""

    gun_no: int
    wire_number: str = ""


class RecordAnswer(Downlink, frozen=True, gc=False):
    """Transport receipt of a transaction record. union: TransactionEnded response (YKC 0x40)."""

    wire_number: str
    is_legal: bool = True


class UpdateBalance(Downlink, frozen=True, gc=False):
    """The new balance of a running charge. union: BalanceUpdate (YKC 0x42)."""

    gun_no: int
    balance_fen: int
    card_no: str = ""


class OfflineCard(msgspec.Struct, frozen=True, gc=False):
    """One card of an offline list: 16 hexadecimal digits each, as on the wire."""

    physical_card_no: str
    logical_card_no: str = ""


class StoreCards(Downlink, frozen=True, gc=False):
    """Cards that may charge while the platform is away. union: LocalListSync (YKC 0x44)."""

    cards: tuple[OfflineCard, ...]


class RemoveCards(Downlink, frozen=True, gc=False):
    """Takes cards off the offline list. union: LocalListClear (YKC 0x46)."""

    card_nos: tuple[str, ...]


class QueryCards(Downlink, frozen=True, gc=False):
    """Asks which cards are on the offline list. union: LocalListQuery (YKC 0x48)."""

    card_nos: tuple[str, ...]


class SetWorkSettings(Downlink, frozen=True, gc=False):
    """Takes the pile in or out of service and limits its power.

    union: ChangeAvailability, SetPowerLimit (YKC 0x52).
    """

    is_in_service: bool
    max_power_pct: int


class SetClock(Downlink, frozen=True, gc=False):
    """The platform's time. union: SetClock (YKC 0x56)."""

    time: datetime


class SetTariff(Downlink, frozen=True, gc=False):
    """Puts a tariff into an idle pile. union: SetTariff (YKC 0x58)."""

    tariff: TariffModel


class ControlGroundLock(Downlink, frozen=True, gc=False):
    """Raises or lowers a ground lock. union: GroundLockControl (YKC 0x62)."""

    gun_no: int
    is_raise: bool


class Reboot(Downlink, frozen=True, gc=False):
    """Restarts the pile. union: Reset (YKC 0x92)."""

    is_when_idle: bool


class Upgrade(Downlink, frozen=True, gc=False):
    """Lets the pile fetch new firmware. union: FirmwareUpdate (YKC 0x94)."""

    device_kind: str
    power_kw: int
    host: str
    port: int
    username: str
    password: str
    path: str
    is_when_idle: bool
    timeout_min: int


class SetQrPrefix(Downlink, frozen=True, gc=False):
    """Beginning of the text of the QR codes that the pile shows. union: SetQrCode (YKC 0xF0)."""

    prefix: str
    with_gun_no: bool
