"""What happens to simulated piles, and how often: one table for each profile.

A row of `_HAZARDS` is one kind of trouble (or custom) with the mean time between two of them and how long
each lasts, in clock seconds; times are drawn from a seeded stream of its own for each pile and kind.
`_SLIPS` are the chances, for each frame or login, that it goes wrong on its way, `_QUIRKS` the chances that a
charge is odd.

- calm: a well-kept site; cars come and go, trouble is rare;
- lively: the demo, whose clock runs fast; a couple of dozen piles show everything within minutes, and heal,
  and most charges come to a good end;
- rough: bad lines, bad power, old firmware; for tests that want trouble;
- steady: nothing happens by itself; for load, benchmarks and tests that act themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from pileward.simulator.quirks import Quirk


class Hazard(enum.StrEnum):
    """What can happen to a pile by itself."""

    PLUG = "plug"
    """A car is plugged in (for each gun); lasts until it leaves."""
    FAULT = "fault"
    """A hardware fault (YKC 1.6, 7.2); lasts until it is mended."""
    POWER_CUT = "power_cut"
    """The pile loses its power without a word; lasts until the power is back."""
    DROP = "drop"
    """The connection is closed or reset."""
    VANISH = "vanish"
    """The path dies without FIN: the platform keeps a socket to nobody, the pile connects anew."""
    HANG = "hang"
    """The pile's program hangs: the socket stays open and silent, until a watchdog resets the pile."""
    REBOOT = "reboot"
    """The pile restarts by itself in good order, when no charge runs."""
    CARD = "card"
    """Somebody holds a card to the reader (for each gun)."""


class Slip(enum.StrEnum):
    """What can go wrong with one frame, or (the last two) with one start of the pile."""

    BIT_FLIP = "bit_flip"
    """One bit is turned over."""
    WRONG_CRC = "wrong_crc"
    """The check bytes are those of another frame."""
    TRUNCATED = "truncated"
    """The end of the frame is missing."""
    GARBAGE = "garbage"
    """Random bytes before the frame."""
    HIGH_FIRST = "high_first"
    """The check bytes in the other order: unusual, yet to be accepted (YKC 1.6, 帧校验域)."""
    DUPLICATE = "duplicate"
    """The frame is sent twice."""
    WRONG_SEQUENCE = "wrong_sequence"
    """An answer that does not repeat the sequence of its question."""
    OLD_VERSION = "old_version"
    """The login names an old protocol version."""
    CLOCK_LOST = "clock_lost"
    """The clock's battery is empty: after a power cut it starts at the year 2000."""


class Pace(msgspec.Struct, frozen=True):
    """Mean time between two happenings, and how long one lasts, in clock seconds; mean 0: never."""

    mean_s: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = 0.0


class Profile(msgspec.Struct, frozen=True):
    """One way of life for piles."""

    name: str
    hazards: dict[Hazard, Pace]
    slips: dict[Slip, float]
    """Chance of each, 0 to 1; what is missing never happens."""
    drift_ppm: int
    """Largest drift of a pile's clock in either direction, parts per million."""
    quirks: dict[Quirk, float] = {}
    """Chance of each in one charge, 0 to 1; what is missing never happens."""

    @property
    def frame_slips(self) -> tuple[tuple[Slip, float], ...]:
        """The slips that can befall any frame, in a fixed order."""
        return tuple((slip, self.slips[slip]) for slip in _FRAME_SLIPS if self.slips.get(slip, 0) > 0)


_FRAME_SLIPS: Final = (
    Slip.BIT_FLIP,
    Slip.WRONG_CRC,
    Slip.TRUNCATED,
    Slip.GARBAGE,
    Slip.HIGH_FIRST,
    Slip.DUPLICATE,
)

_MINUTE_S: Final = 60.0
_Minutes = tuple[float, float, float]

_HAZARDS: Final[tuple[tuple[Hazard, _Minutes, _Minutes, _Minutes], ...]] = (
    # all in minutes     calm: mean, shortest, longest   lively               rough
    (Hazard.PLUG,        (120, 15, 90),                  (40, 1, 4),          (3, 0.1, 4)),
    (Hazard.FAULT,       (28_800, 5, 120),               (90, 0.7, 3),        (8, 0.1, 2)),
    (Hazard.POWER_CUT,   (86_400, 1, 60),                (300, 0.75, 2.5),    (20, 0.1, 3)),
    (Hazard.DROP,        (2_880, 0, 0),                  (120, 0, 0),         (6, 0, 0)),
    (Hazard.VANISH,      (14_400, 2, 10),                (300, 1, 5),         (15, 0.5, 5)),
    (Hazard.HANG,        (57_600, 3, 10),                (300, 1, 2.5),       (25, 0.7, 4)),
    (Hazard.REBOOT,      (43_200, 0, 0),                 (300, 0, 0),         (40, 0, 0)),
    (Hazard.CARD,        (2_880, 0, 0),                  (90, 0, 0),          (20, 0, 0)),
)  # fmt: skip

_SLIPS: Final[tuple[tuple[Slip, float, float, float], ...]] = (
    # what                calm    lively  rough
    (Slip.BIT_FLIP,       1e-6,   2e-4,   4e-3),
    (Slip.WRONG_CRC,      0.0,    1e-4,   2e-3),
    (Slip.TRUNCATED,      0.0,    1e-4,   2e-3),
    (Slip.GARBAGE,        0.0,    1e-4,   2e-3),
    (Slip.HIGH_FIRST,     0.0,    1e-3,   1e-2),
    (Slip.DUPLICATE,      1e-5,   1e-3,   1e-2),
    (Slip.WRONG_SEQUENCE, 0.0,    1e-2,   5e-2),
    (Slip.OLD_VERSION,    0.0,    1e-2,   1e-1),
    (Slip.CLOCK_LOST,     0.0,    1e-1,   3e-1),
)  # fmt: skip

_QUIRKS: Final[tuple[tuple[Quirk, float, float, float], ...]] = (
    # what                     calm     lively   rough
    (Quirk.START_MUTE,         1e-4,    4e-3,    2e-2),
    (Quirk.START_LATE,         1e-3,    1e-2,    3e-2),
    (Quirk.START_ANSWER_LOST,  1e-4,    5e-3,    2e-2),
    (Quirk.START_REFUSED,      1e-3,    1e-2,    2e-2),
    (Quirk.CHARGES_REFUSED,    0.0,     2e-3,    1e-2),
    (Quirk.START_FAILS,        5e-3,    2e-2,    4e-2),
    (Quirk.NEVER_CHARGES,      1e-4,    4e-3,    1e-2),
    (Quirk.BUTTON,             5e-3,    2e-2,    4e-2),
    (Quirk.PULLED,             1e-3,    1e-2,    4e-2),
    (Quirk.CAR_STOPS,          5e-3,    2e-2,    4e-2),
    (Quirk.CHARGER_STOPS,      1e-3,    1e-2,    3e-2),
    (Quirk.STOP_MUTE,          1e-4,    5e-3,    2e-2),
    (Quirk.STOP_LATE,          1e-4,    5e-3,    2e-2),
    (Quirk.STOP_IGNORED,       0.0,     2e-3,    1e-2),
    (Quirk.STOP_REFUSED,       0.0,     2e-3,    1e-2),
    (Quirk.OVERSPENDS,         0.0,     3e-3,    1e-2),
    (Quirk.IDLE_FRAMES,        1e-4,    4e-3,    2e-2),
    (Quirk.SILENT,             0.0,     3e-3,    1e-2),
    (Quirk.RECORD_TWICE,       1e-3,    1e-2,    4e-2),
    (Quirk.RECORD_DIFFERENT,   0.0,     2e-3,    2e-2),
    (Quirk.RECORD_LATE,        1e-3,    1e-2,    3e-2),
    (Quirk.RECORD_LOST,        0.0,     1e-3,    1e-2),
    (Quirk.RECORD_UNKNOWN,     0.0,     1e-3,    1e-2),
    (Quirk.RECORD_NEGATIVE,    0.0,     1e-3,    1e-2),
    (Quirk.RECORD_ABSURD,      0.0,     1e-3,    1e-2),
    (Quirk.RECORD_BACKWARDS,   0.0,     1e-3,    1e-2),
    (Quirk.RECORD_SKEWED,      0.0,     2e-3,    1e-2),
    (Quirk.AMOUNTS_CUT,        1e-2,    4e-2,    1e-1),
    (Quirk.AMOUNTS_ZERO,       0.0,     3e-3,    1e-2),
)  # fmt: skip


def _paces(rows: Iterable[tuple[Hazard, _Minutes]]) -> dict[Hazard, Pace]:
    return {hazard: Pace(*(minutes * _MINUTE_S for minutes in row)) for hazard, row in rows}


CALM: Final = Profile(
    name="calm",
    hazards=_paces((row[0], row[1]) for row in _HAZARDS),
    slips={row[0]: row[1] for row in _SLIPS},
    drift_ppm=20,
    quirks={row[0]: row[1] for row in _QUIRKS},
)
LIVELY: Final = Profile(
    name="lively",
    hazards=_paces((row[0], row[2]) for row in _HAZARDS),
    slips={row[0]: row[2] for row in _SLIPS},
    drift_ppm=200,
    quirks={row[0]: row[2] for row in _QUIRKS},
)
ROUGH: Final = Profile(
    name="rough",
    hazards=_paces((row[0], row[3]) for row in _HAZARDS),
    slips={row[0]: row[3] for row in _SLIPS},
    drift_ppm=5_000,
    quirks={row[0]: row[3] for row in _QUIRKS},
)
STEADY: Final = Profile(name="steady", hazards={}, slips={}, drift_ppm=0)

PROFILES: Final[dict[str, Profile]] = {profile.name: profile for profile in (CALM, LIVELY, ROUGH, STEADY)}

CARDS: Final = (
    ("00000000D14B0A54", 4.0),
    ("00000000E14C0A54", 3.0),
    ("0000000000000000", 0.5),  # a card that cannot be read
    ("04A1B2C3D4E5F680", 2.0),  # seven bytes
)
"""Cards that people hold to piles, and how often each."""

FAULTS: Final = (
    # mask    weight  of the whole pile
    (0x0001,  4.0,    True),    # emergency stop pressed
    (0x0002,  1.0,    True),    # no usable rectifier module
    (0x0004,  3.0,    False),   # air outlet too hot
    (0x0008,  1.0,    True),    # AC surge protection
    (0x0010,  1.0,    True),    # AC/DC module communication lost
    (0x0020,  1.0,    False),   # insulation monitor communication lost
    (0x0040,  2.0,    False),   # energy meter communication lost
    (0x0080,  2.0,    True),    # card reader communication lost
    (0x0200,  1.0,    True),    # fan speed board
    (0x0400,  1.0,    False),   # DC fuse
    (0x0800,  1.0,    False),   # high voltage contactor
    (0x1000,  3.0,    True),    # door open
)  # fmt: skip
"""Hardware faults and how often each is the one (YKC 1.6, 硬件故障); of the whole pile: on every gun."""
