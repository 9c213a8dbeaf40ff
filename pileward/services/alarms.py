"""Alarms: opened and closed by actors in bulk, listed for people."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.values import Severity


class OpenAlarm(msgspec.Struct, frozen=True):
    """Something is wrong. While it lasts, (pile, gun, kind) is one alarm; each further report counts it up.

    `pile_code` "" is the platform itself, `gun_no` None is the whole pile.
    """

    pile_code: str
    gun_no: int | None
    kind: str
    severity: Severity
    text_zh: str
    text_en: str
    at: datetime


class CloseAlarm(msgspec.Struct, frozen=True):
    """The trouble is over; nothing happens when no such alarm is open or it was reported again after `at`."""

    pile_code: str
    gun_no: int | None
    kind: str
    at: datetime
