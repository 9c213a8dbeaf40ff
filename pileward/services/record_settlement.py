"""Settling stored records that no actor waits for: late ones, repeated ones, those of orders unknown here.

A record belongs to the charge of its wire number; failing that to the one charge at its gun whose record is
missing and whose time it fits, since a gun serves one charge at a time; from then on its number is known. A
record that fits nothing is stored, confirmed, and put on the review list: it never makes a payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging import RecordFacts, ReviewKind, SessionState
from pileward.messages.charging_writes import (
    OpenReview,
    RecordUnmatched,
    Settled,
    SettleRecord,
    SettleSession,
)
from pileward.services import charge_rows as rows
from pileward.services.billing import CLOCK_SLACK, energies_of
from pileward.services.reviews import open_reviews
from pileward.services.settlement import settle_sessions
from pileward.services.sql import moment, select, utc
from pileward.services.wire_numbers import keep_wire_numbers, serials_of
from pileward.values import Rate

_RECORDS = """
SELECT id, operator_id, protocol, pile_code, gun_no, wire_number, variant, decoded, received_at
FROM pile_record WHERE id IN ({})
"""
_MISSING: Final = (SessionState.AWAITING_RECORD, SessionState.INTERRUPTED)
_CANDIDATES = f"""
SELECT {", ".join(rows.SESSION_COLUMNS)} FROM charging_session
WHERE pile_code = ? AND gun_no = ? AND record_id IS NULL AND started_at <= ? ORDER BY id DESC LIMIT 20
"""  # noqa: S608


RECHECKED: Final = 20_000
"""Of so many of the newest records a starting node makes sure: as many as may have waited for the store."""
_UNSETTLED = """
SELECT r.id FROM pile_record r
LEFT JOIN wire_number w
  ON w.wire_number = r.wire_number AND w.pile_code = r.pile_code AND w.protocol = r.protocol
LEFT JOIN charging_session s ON s.serial = w.serial
WHERE r.id > (SELECT MAX(id) FROM pile_record) - ? AND r.variant = 0
  AND (s.serial IS NULL OR s.state IN ('closed', 'cancelled'))
  AND NOT EXISTS (SELECT 1 FROM settlement t WHERE t.key = w.serial || ':record:' || r.id)
  AND NOT EXISTS (SELECT 1 FROM review v WHERE v.key = 'unknown_record/record:' || r.id || '/')
ORDER BY r.id
"""


async def unsettled_records(connection: BaseDBAsyncClient) -> list[int]:
    """Records that were stored and confirmed, and then nothing more happened: the node ended in between.

    Those of charges that are not over are named by `sessions.open_sessions`.
    """
    return [int(row["id"]) for row in await select(connection, _UNSETTLED, RECHECKED)]


async def settle_records(
    connection: BaseDBAsyncClient, writes: Sequence[SettleRecord]
) -> list[Settled | RecordUnmatched]:
    """Bulk form of SettleRecord. An unknown record is a LookupError: a bug of ours."""
    if not writes:
        return []
    query = _RECORDS.format(", ".join("?" * len(writes)))
    found = await select(connection, query, *(write.record_id for write in writes))
    records = {int(record["id"]): record for record in found}
    if missing := [write.record_id for write in writes if write.record_id not in records]:
        raise LookupError(f"records {missing} do not exist")
    facts = {number: facts_of_decoded(_decoded(record["decoded"])) for number, record in records.items()}
    serials = await _serials(connection, records, facts)
    unmatched = [_orphan(records[write.record_id], write) for write in writes if not serials[write.record_id]]
    await open_reviews(connection, unmatched)
    settling = [
        SettleSession(
            serial,
            write.record_id,
            facts[write.record_id],
            write.at,
            received_at=moment(records[write.record_id]["received_at"]),
        )
        for write in writes
        if (serial := serials[write.record_id]) is not None
    ]
    settled = iter(await settle_sessions(connection, settling))
    return [
        next(settled) if serials[write.record_id] else RecordUnmatched(write.record_id) for write in writes
    ]


async def _serials(
    connection: BaseDBAsyncClient, records: dict[int, dict[str, Any]], facts: dict[int, RecordFacts]
) -> dict[int, str | None]:
    """The charge of each record, by its number or else by its time."""
    keys = [(row["protocol"], row["pile_code"], row["wire_number"]) for row in records.values()]
    serials = dict(zip(records, await serials_of(connection, keys), strict=True))
    for number, key in zip(records, keys, strict=True):
        if serials[number] is None:
            serial = serials[number] = await _by_time(connection, records[number], facts[number])
            if serial is not None:
                # when the record comes again it is the same charge's
                await keep_wire_numbers(connection, [(*key, records[number]["gun_no"], serial)])
    return serials


def _orphan(record: dict[str, Any], write: SettleRecord) -> OpenReview:
    return OpenReview(
        ReviewKind.UNKNOWN_RECORD,
        f"{record['pile_code']}/{record['gun_no']} {record['wire_number']}",
        write.at,
        record_id=write.record_id,
        operator_id=record["operator_id"],
    )


async def _by_time(connection: BaseDBAsyncClient, record: dict[str, Any], facts: RecordFacts) -> str | None:
    """The one charge at the gun that lacks a record and ran when the record says."""
    if facts.started_at is None or facts.ended_at is None:
        return None
    latest = utc(facts.ended_at + CLOCK_SLACK)
    found = await select(connection, _CANDIDATES, record["pile_code"], record["gun_no"], latest)
    fitting = []
    for columns in found:
        session = rows.session_row(columns)
        assert session.started_at is not None
        waits = session.state in _MISSING or session.is_provisional
        begins = abs(session.started_at - facts.started_at) <= CLOCK_SLACK
        if waits and begins:
            fitting.append(session.serial)
    return fitting[0] if len(fitting) == 1 else None


def facts_of_decoded(decoded: dict[str, Any]) -> RecordFacts:
    """What settlement needs of a record as it was stored in words; the same as `billing.facts_of` gives."""
    energies, notes = energies_of(
        (
            None if period["rate"] is None else Rate[period["rate"].upper()],
            period["energy_e4_kwh"],
            period["amount_e4_yuan"],
        )
        for period in decoded["periods"]
    )
    return RecordFacts(
        energies=energies,
        energy_e4_kwh=decoded["energy_e4_kwh"],
        pile_amount_e4_yuan=decoded["amount_e4_yuan"],
        started_at=moment(decoded["started_at"]),
        ended_at=moment(decoded["ended_at"]),
        stop_code=decoded["stop_reason"],
        meter_start_e4_kwh=decoded["meter_start_e4_kwh"],
        meter_end_e4_kwh=decoded["meter_end_e4_kwh"],
        notes=notes,
    )


def _decoded(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(value) if isinstance(value, str | bytes) else value
    return found
