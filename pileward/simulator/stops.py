"""Why a charge ends: the code in its record and what the BMS frames say, as one table.

Codes: YKC 1.6, 停止原因. Flags of two bits: YKC 1.6, 0x1D (the vehicle ends it) and 0x21 (the charger does).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pileward.simulator.quirks import Quirk


class Stop(NamedTuple):
    """One way to end: code of the record, then three flag fields of 0x1D or of 0x21, if one is sent."""

    code: int
    by_car: tuple[int, int, int] | None = None
    by_charger: tuple[int, int, int] | None = None


REMOTE: Final = Stop(0x40, by_charger=(0b0100, 0, 0))
FULL: Final = Stop(0x41, by_car=(0b01, 0, 0))
BUTTON: Final = Stop(0x45, by_charger=(0b0100, 0, 0))
PULLED: Final = Stop(0x6B, by_charger=(0b010000, 0b0100, 0))
LOCKED: Final = Stop(0x6A, by_charger=(0b01, 0, 0))
POWER_CUT: Final = Stop(0x83)
RESTARTED: Final = Stop(0x90)
PILOT_OPEN_AT_START: Final = 0x4B
"""Code of a start that an AC car did not take up."""


def spent(code: int) -> Stop:
    """The balance is used up; makers use either of two codes."""
    return Stop(code, by_charger=(0b01, 0, 0))


CAR_STOPS: Final = (
    Stop(0x82, by_car=(0, 1 << 14, 0)),  # forbids charging, no reason given
    Stop(0x7C, by_car=(0, 1 << 8, 0)),  # pack too hot
    Stop(0x7E, by_car=(0, 1 << 4, 0)),  # a battery part too hot
    Stop(0x7B, by_car=(0b010000, 0, 0)),  # cell voltage
    Stop(0x79, by_car=(0b0100, 0, 0b0100)),  # total voltage
)
CHARGER_STOPS: Final = (
    Stop(0x7A, by_charger=(0b010000, 0, 0b01)),  # current does not match
    Stop(0x75, by_charger=(0b010000, 1 << 6, 0)),  # wanted energy cannot be delivered
    Stop(0x74, by_charger=(0b010000, 0b01, 0)),  # too hot
    Stop(0x76, by_charger=(0b010000, 1 << 10, 0)),  # no current
)
SURPRISES: Final[dict[Quirk, tuple[Stop, ...]]] = {
    Quirk.BUTTON: (BUTTON,),
    Quirk.PULLED: (PULLED,),
    Quirk.CAR_STOPS: CAR_STOPS,
    Quirk.CHARGER_STOPS: CHARGER_STOPS,
}

HANDSHAKE_FAILURES: Final = (
    # code of the record, timeout flags of 0x1B: what the charger waited for in vain
    (0x59, "0000000001000000"),  # BHM; BRM is the nearest flag
    (0x5A, "0000000001000000"),  # BRM
    (0x5B, "0000000000010000"),  # BCP
    (0x5C, "0000000000040000"),  # BRO
    (0x5D, "0000000000000100"),  # BCS
    (0x5E, "0000000000000400"),  # BCL
)

_OF_FAULTS: Final = (
    # fault bit   in the middle      at the start
    (0x0001,      (0x72, 1 << 8),    0x50),  # emergency stop
    (0x0002,      (0x71, 1 << 10),   0x4F),  # no usable module
    (0x0004,      (0x74, 1 << 0),    0x53),  # air outlet too hot
    (0x0008,      (0x73, 1 << 10),   0x51),  # surge protection
    (0x0010,      (0x71, 1 << 10),   0x4F),  # module communication lost
    (0x0020,      (0x70, 1 << 10),   0x57),  # insulation monitor lost
    (0x0040,      (0x6D, 1 << 10),   0x4D),  # meter lost
    (0x0100,      (0x71, 1 << 10),   0x4A),  # RC10 communication lost
    (0x0200,      (0x74, 1 << 4),    0x53),  # fan board
    (0x0400,      (0x70, 1 << 10),   0x4A),  # DC fuse
    (0x0800,      (0x75, 1 << 10),   0x56),  # contactor
    (0x1000,      (0x6A, 1 << 10),   0x4A),  # door open
)  # fmt: skip
FAULTS_THAT_STOP: Final = sum(row[0] for row in _OF_FAULTS)
"""All of the table; a lost card reader (0x0080) ends nothing."""
FAULTS_OF_AN_OFFLINE_GUN: Final = 0x0010 | 0x0100
"""The controller does not reach the power unit: "device offline" (YKC 1.6, 0x33 reason 4)."""


def of_fault(bits: int, is_charging: bool) -> Stop | None:
    """How a fault ends a charge, None when it does not."""
    for bit, (code, flags), start_code in _OF_FAULTS:
        if bits & bit:
            return Stop(code if is_charging else start_code, by_charger=(0b010000, flags, 0))
    return None
