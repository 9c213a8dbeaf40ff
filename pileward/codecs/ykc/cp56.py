"""CP56Time2a, the time of YKC frames: 7 bytes from milliseconds of the minute to the year less 2000.

The wire has no zone: it is China standard time (YKC 1.6, data formats), so what is read is aware, UTC+8. Day
of week, summer time and reserved bits are ignored on receipt, because piles set them wrongly, and sent as 0.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pileward.values import CHINA

SIZE: Final = 7
NO_TIME: Final = bytes(SIZE)
_INVALID: Final = 0x80


def read(raw: bytes) -> datetime | None:
    """Read a time; None for "no time" (all zero), a time marked invalid, or a date that does not exist."""
    year = raw[6] & 0x7F
    if raw[2] & _INVALID or year > 99:
        return None
    seconds, milliseconds = divmod(raw[0] | raw[1] << 8, 1000)
    try:
        return datetime(
            2000 + year,
            raw[5] & 0x0F,
            raw[4] & 0x1F,
            raw[3] & 0x1F,
            raw[2] & 0x3F,
            seconds,
            milliseconds * 1000,
            CHINA,
        )
    except ValueError:
        return None


def write(moment: datetime | None) -> bytes:
    """Write an aware moment, cut to milliseconds; None becomes "no time".

    Raises ValueError outside the years 2000 to 2099.
    """
    if moment is None:
        return NO_TIME
    local = moment.astimezone(CHINA)
    if not 2000 <= local.year <= 2099:
        raise ValueError(f"year {local.year} does not fit CP56Time2a")
    milliseconds = local.second * 1000 + local.microsecond // 1000
    return bytes(
        (
            milliseconds & 0xFF,
            milliseconds >> 8,
            local.minute,
            local.hour,
            local.day,
            local.month,
            local.year - 2000,
        )
    )


def to_text(moment: datetime | None) -> str | None:
    """The local time as documents print it, YYYY-MM-DDTHH:MM:SS.mmm without a zone."""
    if moment is None:
        return None
    return moment.astimezone(CHINA).replace(tzinfo=None).isoformat(timespec="milliseconds")


def from_text(text: str) -> datetime:
    """Read what `to_text` prints (or any ISO time; one without zone is local). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=CHINA) if moment.tzinfo is None else moment
