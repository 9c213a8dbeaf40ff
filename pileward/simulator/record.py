"""The transaction record of a charge, honest or not (YKC 1.6, 0x3B; 1.7, 0x3D)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from pileward.codecs.ykc.frames_charge import SignedTransactionRecord, TransactionRecord
from pileward.codecs.ykc.table import Frame
from pileward.simulator.charge import Charge
from pileward.simulator.quirks import Quirk

VERSION_1_7: Final = 0x11
RATE_NAMES: Final = ("sharp", "peak", "flat", "valley")
BELOW_ZERO: Final = 2**32
"""A negative number, as four bytes without a sign show it, is so much higher."""
SKEW: Final = timedelta(hours=3)
UNKNOWN_NUMBER: Final = "9" * 16
MOST: Final = 2**32 - 1

_Fields = dict[str, Any]


def make_record(
    charge: Charge, pile_code: str, made_at: datetime, *, is_loss_zero: bool, version: int
) -> Frame:
    """Make the record of an ended charge; `made_at` by the pile's clock."""
    fields = _honest(charge, pile_code, made_at, is_loss_zero)
    for quirk, spoil in _SPOILERS.items():
        if charge.has(quirk):
            spoil(fields, charge)
    if version < VERSION_1_7:
        return TransactionRecord(**fields)
    return SignedTransactionRecord(
        **fields,
        meter_no=pile_code[-12:],
        meter_ciphertext=(charge.car.pack_no * 9)[:68],
        meter_protocol_version=0x0203,
        encryption_method=1,
    )


def make_other_record(
    charge: Charge, pile_code: str, made_at: datetime, *, is_loss_zero: bool, version: int
) -> Frame:
    """A record of the same number with other contents: a little more energy in the last rate used."""
    rate = max((rate for rate in range(4) if charge.energies_e4_kwh[rate]), default=2)
    more = tuple(energy + (1_234 if at == rate else 0) for at, energy in enumerate(charge.energies_e4_kwh))
    other = msgspec.structs.replace(charge, energies_e4_kwh=more)
    return make_record(other, pile_code, made_at, is_loss_zero=is_loss_zero, version=version)


def _honest(charge: Charge, pile_code: str, made_at: datetime, is_loss_zero: bool) -> _Fields:
    amounts = charge.amounts_e4_yuan
    energy = charge.energy_e4_kwh
    fields: _Fields = {
        "trade_no": charge.trade_no,
        "pile_no": pile_code,
        "gun_no": charge.gun_no,
        "start_time": charge.started_at or charge.asked_at,
        "end_time": charge.ended_at,
        "meter_start_e4_kwh": charge.meter_start_e4_kwh,
        "meter_end_e4_kwh": charge.meter_start_e4_kwh + energy,
        "total_energy_e4_kwh": energy,
        "total_loss_energy_e4_kwh": 0 if is_loss_zero else energy,
        "total_amount_e4_yuan": sum(amounts),
        "vin": "" if charge.is_ac else charge.car.vin,
        "start_type": int(charge.start_type),
        "trade_time": made_at,
        "stop_reason": charge.stop_code,
        "physical_card_no": charge.card_no,
    }
    for rate, name in enumerate(RATE_NAMES):
        used = charge.energies_e4_kwh[rate]
        fields[f"{name}_price_e5_yuan"] = charge.tariff.price_e5_yuan(rate)
        fields[f"{name}_energy_e4_kwh"] = used
        fields[f"{name}_loss_energy_e4_kwh"] = 0 if is_loss_zero else used
        fields[f"{name}_amount_e4_yuan"] = amounts[rate]
    return fields


def _used_rate(charge: Charge) -> str:
    return RATE_NAMES[max(range(4), key=lambda rate: charge.energies_e4_kwh[rate])]


def _unknown(fields: _Fields, charge: Charge) -> None:
    fields["trade_no"] = charge.trade_no[:16] + UNKNOWN_NUMBER


def _negative(fields: _Fields, charge: Charge) -> None:
    name = _used_rate(charge)
    fields[f"{name}_energy_e4_kwh"] = BELOW_ZERO - 50_000
    fields["total_energy_e4_kwh"] = BELOW_ZERO - 50_000
    fields["meter_end_e4_kwh"] = max(0, fields["meter_start_e4_kwh"] - 50_000)


def _absurd(fields: _Fields, charge: Charge) -> None:
    name = _used_rate(charge)
    whole_life = min(MOST, fields["meter_end_e4_kwh"])
    amount = min(MOST, charge.tariff.price_e5_yuan(RATE_NAMES.index(name)) * whole_life // 100_000)
    fields[f"{name}_energy_e4_kwh"] = fields["total_energy_e4_kwh"] = whole_life
    fields[f"{name}_amount_e4_yuan"] = fields["total_amount_e4_yuan"] = amount
    fields["meter_start_e4_kwh"] = 0


def _backwards(fields: _Fields, charge: Charge) -> None:
    fields["start_time"], fields["end_time"] = (
        fields["end_time"] + timedelta(minutes=1),
        fields["start_time"],
    )


def _skewed(fields: _Fields, charge: Charge) -> None:
    for name in ("start_time", "end_time", "trade_time"):
        fields[name] -= SKEW


def _cut(fields: _Fields, charge: Charge) -> None:
    total = 0
    for name in RATE_NAMES:
        amount = max(0, fields[f"{name}_amount_e4_yuan"] // 100 * 100 - 100)
        fields[f"{name}_amount_e4_yuan"] = amount
        total += amount
    fields["total_amount_e4_yuan"] = total


def _zero(fields: _Fields, charge: Charge) -> None:
    for name in RATE_NAMES:
        fields[f"{name}_price_e5_yuan"] = fields[f"{name}_amount_e4_yuan"] = 0
    fields["total_amount_e4_yuan"] = 0


_SPOILERS: Final[dict[Quirk, Callable[[_Fields, Charge], None]]] = {
    Quirk.RECORD_UNKNOWN: _unknown,
    Quirk.RECORD_NEGATIVE: _negative,
    Quirk.RECORD_ABSURD: _absurd,
    Quirk.RECORD_BACKWARDS: _backwards,
    Quirk.RECORD_SKEWED: _skewed,
    Quirk.AMOUNTS_CUT: _cut,
    Quirk.AMOUNTS_ZERO: _zero,
}
