"""Who changed what: every change by a person leaves an entry, written in the transaction of the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pileward.models.operators import AuditEntry
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import utc


class Who(msgspec.Struct, frozen=True):
    """On whose behalf and when something is changed."""

    operator_id: int
    actor: str
    """`token:<name>`, `cli:<user>` or `system`."""
    at: datetime


class AuditView(msgspec.Struct, frozen=True):
    """One audit entry as shown."""

    id: int
    actor: str
    action: str
    target_kind: str
    target_id: str
    before: Any
    after: Any
    at: datetime


async def note(who: Who, action: str, kind: str, target: str, before: Any, after: Any) -> None:
    """Leave an entry; `before` and `after` are views (structs) or None."""
    await AuditEntry.create(
        operator_id=who.operator_id,
        actor=who.actor[:80],
        action=action,
        target_kind=kind,
        target_id=target[:60],
        before=msgspec.to_builtins(before),
        after=msgspec.to_builtins(after),
        at=utc(who.at),
    )


async def list_entries(
    operator_id: int,
    *,
    kind: str | None = None,
    target: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[AuditView]:
    """Entries, newest first, of everything or of one kind or thing."""
    rows = AuditEntry.filter(operator_id=operator_id)
    if kind is not None:
        rows = rows.filter(target_kind=kind)
    if target is not None:
        rows = rows.filter(target_id=target)
    found, following = await page(rows, "audit", cursor, limit, newest_first=True)
    return Page([_view(row) for row in found], following)


def _view(row: AuditEntry) -> AuditView:
    return AuditView(
        id=row.id,
        actor=row.actor,
        action=row.action,
        target_kind=row.target_kind,
        target_id=row.target_id,
        before=row.before,
        after=row.after,
        at=row.at,
    )
