"""Alarms: opened and closed by actors in bulk, listed for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.models.alarms import Alarm
from pileward.services.paging import PAGE_DEFAULT, Page, cursor_of, page
from pileward.services.sql import clean, execute_many, utc
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


class AlarmView(msgspec.Struct, frozen=True):
    """An alarm as shown; `end_at` None: it is open."""

    id: int
    pile_code: str
    gun_no: int | None
    kind: str
    severity: Severity
    text_zh: str
    text_en: str
    begin_at: datetime
    last_at: datetime
    end_at: datetime | None
    count: int


_COUNT_UP = """
UPDATE alarm SET count = count + ?, last_at = ?, severity = ?, text_zh = ?, text_en = ?
WHERE open_key = ? AND last_at < ?
"""
_INSERT = """
INSERT INTO alarm (operator_id, pile_code, gun_no, kind, severity, text_zh, text_en, begin_at, last_at, count,
  key, open_key)
SELECT (SELECT operator_id FROM pile WHERE pile_code = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM alarm WHERE key = ? AND end_at >= ? AND last_at >= ?)
ON CONFLICT DO NOTHING
"""
_CLOSE = "UPDATE alarm SET end_at = ?, open_key = NULL WHERE open_key = ? AND last_at <= ?"


def alarm_key(pile_code: str, gun_no: int | None, kind: str) -> str:
    """What an alarm is about, as one text."""
    return f"{pile_code}/{'' if gun_no is None else gun_no}/{kind}"[:100]


async def open_alarms(connection: BaseDBAsyncClient, writes: Sequence[OpenAlarm]) -> list[None]:
    """Bulk form of OpenAlarm: counts up what is open, opens the rest; a repeated write changes nothing."""
    reports: dict[str, list[OpenAlarm]] = {}
    for write in writes:
        reports.setdefault(alarm_key(write.pile_code, write.gun_no, write.kind), []).append(write)
    counted, inserted = [], []
    for key, group in reports.items():
        first, last = min(group, key=lambda write: write.at), max(group, key=lambda write: write.at)
        words = [str(last.severity), clean(last.text_zh, 200), clean(last.text_en, 200)]
        begin_at, last_at = utc(first.at), utc(last.at)
        counted.append([len(group), last_at, *words, key, last_at])
        about = [last.pile_code, last.pile_code, last.gun_no, last.kind[:40]]
        inserted.append([*about, *words, begin_at, last_at, len(group), key, key, key, last_at, last_at])
    await execute_many(connection, _COUNT_UP, counted)
    await execute_many(connection, _INSERT, inserted)
    return [None] * len(writes)


async def close_alarms(connection: BaseDBAsyncClient, writes: Sequence[CloseAlarm]) -> list[None]:
    """Bulk form of CloseAlarm."""
    rows = []
    for write in writes:
        at = utc(write.at)
        rows.append([at, alarm_key(write.pile_code, write.gun_no, write.kind), at])
    await execute_many(connection, _CLOSE, rows)
    return [None] * len(writes)


async def list_alarms(
    operator_id: int,
    *,
    only_open: bool = True,
    pile_code: str | None = None,
    with_platform: bool = True,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[AlarmView]:
    """Alarms of an operator's piles (and, `with_platform`, of the platform itself), newest first."""
    found: list[Alarm] = []
    has_more = False
    # Two walks along the index and a merge: "this operator or nobody" in one query would sort all alarms.
    for owner in [operator_id, None] if with_platform else [operator_id]:
        rows = Alarm.filter(operator_id=owner)
        if owner is None:
            rows = rows.filter(pile_code="")  # the platform's own: few, and found by their index in any case
        if only_open:
            rows = rows.filter(open_key__isnull=False)
        if pile_code is not None:
            rows = rows.filter(pile_code=pile_code)
        part, following = await page(rows, "alarm", cursor, limit, newest_first=True)
        found += part
        has_more = has_more or following is not None
    found.sort(key=lambda row: row.id, reverse=True)
    has_more = has_more or len(found) > limit
    shown = found[:limit]
    return Page([_view(row) for row in shown], cursor_of("alarm", shown[-1].id) if has_more else None)


async def open_of_pile(pile_code: str) -> frozenset[tuple[str, int | None]]:
    """(kind, gun) of each open alarm of a pile: what its actor must know when it starts."""
    rows = await Alarm.filter(pile_code=pile_code, open_key__isnull=False).values_list("kind", "gun_no")
    return frozenset((str(kind), gun_no) for kind, gun_no in rows)


async def open_of_all() -> dict[str, frozenset[tuple[str, int | None]]]:
    """The same for every pile that has any."""
    found: dict[str, set[tuple[str, int | None]]] = {}
    rows = await Alarm.filter(open_key__isnull=False).values_list("pile_code", "kind", "gun_no")
    for pile_code, kind, gun_no in rows:
        found.setdefault(str(pile_code), set()).add((str(kind), gun_no))
    return {pile_code: frozenset(alarms) for pile_code, alarms in found.items()}


def _view(row: Alarm) -> AlarmView:
    return AlarmView(
        id=row.id,
        pile_code=row.pile_code,
        gun_no=row.gun_no,
        kind=row.kind,
        severity=row.severity,
        text_zh=row.text_zh,
        text_en=row.text_en,
        begin_at=row.begin_at,
        last_at=row.last_at,
        end_at=row.end_at,
        count=row.count,
    )
