"""Small frozen values that every layer shares: money, prices by period, identifiers, time zone.

Money and energy are integers with the scale in the name; nothing here reads a clock, a file or a socket.
Rounding to fen happens in one place: `fen_half_up`.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

CHINA: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China standard time, UTC+8 without summer time: the zone of every pile clock and every user."""

SLOTS_A_DAY: Final = 48
SLOT_MINUTES: Final = 30
PRICE_MAX_E5_YUAN: Final = 99_99999
"""Highest price accepted, 99.99999 yuan/kWh: a typing mistake above it never reaches a pile."""

GUNS_MAX: Final = 32
"""Most guns of one pile; every number that a device sends has a range."""

SOC_MAX_PCT: Final = 100

_BILLING_MODEL_NO = re.compile(r"(?!0000)[0-9]{4}")
_PILE_CODE = re.compile(r"[0-9A-Za-z_\-.]{1,36}")
_E9_YUAN_A_FEN: Final = 10_000_000


def fen_half_up(e9_yuan: int) -> int:
    """Round a non-negative sum in 1e-9 yuan half up to whole fen: the one rounding of a bill."""
    assert e9_yuan >= 0
    return (e9_yuan + _E9_YUAN_A_FEN // 2) // _E9_YUAN_A_FEN


class Money(msgspec.Struct, frozen=True, order=True):
    """An amount of whole fen (0.01 yuan); may be negative as a difference."""

    fen: int

    @classmethod
    def yuan(cls, text: str) -> Money:
        """Parse "12.30"; raises ValueError for what is no number or finer than a fen."""
        try:
            fen = Decimal(text) * 100
        except InvalidOperation as error:
            raise ValueError(f"{text!r} is not an amount in yuan") from error
        if fen != fen.to_integral_value():
            raise ValueError(f"{text!r} is finer than a fen")
        return cls(int(fen))

    def __add__(self, other: Money) -> Money:
        return Money(self.fen + other.fen)

    def __sub__(self, other: Money) -> Money:
        return Money(self.fen - other.fen)

    def __str__(self) -> str:
        sign = "-" if self.fen < 0 else ""
        return f"{sign}{abs(self.fen) // 100}.{abs(self.fen) % 100:02d}"


class Rate(enum.IntEnum):
    """The four periods of a tariff (尖峰平谷); the numbers are those of YKC 1.6, 0x0A field slots."""

    SHARP = 0
    PEAK = 1
    FLAT = 2
    VALLEY = 3


RATE_NAMES_ZH: Final = {Rate.SHARP: "尖", Rate.PEAK: "峰", Rate.FLAT: "平", Rate.VALLEY: "谷"}


class RatePrice(msgspec.Struct, frozen=True):
    """Price of one period: energy price (电费) and service price (服务费), each in 1e-5 yuan/kWh."""

    energy_e5_yuan: int
    service_e5_yuan: int

    @property
    def total_e5_yuan(self) -> int:
        """What the driver pays for one kWh, 1e-5 yuan."""
        return self.energy_e5_yuan + self.service_e5_yuan


class TariffModel(msgspec.Struct, frozen=True):
    """A tariff as a pile holds it: 48 half-hour slots and a price for each of the four rates.

    `billing_model_no` is 4 decimal digits, not 0000, and new for every change, so that a pile's billing
    check notices the difference (YKC 1.6, 0x05). Slot 0 is 00:00 to 00:30 China time.
    """

    billing_model_no: str
    prices: tuple[RatePrice, RatePrice, RatePrice, RatePrice]
    slots: tuple[Rate, ...]

    def __post_init__(self) -> None:
        if not _BILLING_MODEL_NO.fullmatch(self.billing_model_no):
            raise ValueError("billing_model_no must be 4 decimal digits and not 0000")
        if len(self.slots) != SLOTS_A_DAY:
            raise ValueError(f"slots must be {SLOTS_A_DAY} half hours, not {len(self.slots)}")
        for price in self.prices:
            if not 0 <= price.energy_e5_yuan <= PRICE_MAX_E5_YUAN:
                raise ValueError("energy_e5_yuan is out of range")
            if not 0 <= price.service_e5_yuan <= PRICE_MAX_E5_YUAN:
                raise ValueError("service_e5_yuan is out of range")

    def price_of(self, rate: Rate) -> RatePrice:
        """The price of one rate."""
        return self.prices[rate]

    def rate_at(self, moment: datetime) -> Rate:
        """The rate in force at an aware moment, by China time."""
        local = moment.astimezone(CHINA)
        return self.slots[(local.hour * 60 + local.minute) // SLOT_MINUTES]


def is_pile_code(text: str) -> bool:
    """Tell whether a text can be a pile code of any protocol (YKC: 14 digits; OCPP: an identity)."""
    return _PILE_CODE.fullmatch(text) is not None


def is_ykc_pile_code(text: str) -> bool:
    """Tell whether a text is a YKC pile number: 14 decimal digits, not all zero (YKC 1.6, 桩编码)."""
    return len(text) == 14 and text.isascii() and text.isdigit() and text.strip("0") != ""


def is_code_of(protocol: str, text: str) -> bool:
    """Tell whether a text can be a pile code in this protocol."""
    return is_ykc_pile_code(text) if protocol == "ykc" else is_pile_code(text)


class ReportedStatus(enum.IntEnum):
    """What a pile says of a gun, before the platform derives a state from it."""

    OFFLINE = 0
    FAULT = 1
    IDLE = 2
    CHARGING = 3
    PLUGGED = 4
    FINISHED = 5
    UNKNOWN = 255


class Severity(enum.StrEnum):
    """How loud an alarm is."""

    INFO = "info"
    WARNING = "warning"
    FAULT = "fault"


class ResultStatus(enum.StrEnum):
    """Outcome of one command: exactly one of these, never silence."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported_by_protocol"
    TIMED_OUT = "timed_out"
    OFFLINE = "offline"
    FAILED = "failed"
