"""Lesson 9: a meter's whole life billed, negative energy, registers mixed up.

Rule: what is impossible within power and time, or far beyond the prepaid money, is held for a person; the
driver is charged nothing until then, and nothing goes back either.
"""

from __future__ import annotations

import pytest

from pileward.messages.charging import RecordFacts, ReviewKind, SessionState
from pileward.messages.charging_writes import DecideHeld, Decision
from pileward.models.database import Database
from pileward.services import reviews
from tests.business import later
from tests.charges import Till, delivered

LIFE_OF_THE_METER = delivered(9_100_000)
"""910 kWh where 0.08 were delivered."""

SEEN: list[tuple[str, RecordFacts]] = [
    ("energy_beyond_power", LIFE_OF_THE_METER),
    ("negative_energy", delivered(-85_000)),
    ("end_before_start", delivered(seconds=-3_600)),
    ("excess", delivered(600_000)),
]


@pytest.mark.parametrize(("reason", "facts"), SEEN)
async def test_lesson_09_what_cannot_be_is_held(database: Database, reason: str, facts: RecordFacts) -> None:
    till = await Till.open(database)
    serial = await till.charging(5_000)
    settled = await till.settle(serial, facts)
    assert (settled.state, settled.reason, settled.out_refund_no) == (SessionState.DISPUTED, reason, None)
    assert await till.earned() == 0
    assert await till.balance(till.prepaid) == -5_000
    [review] = await reviews.reviews_of(serial)
    assert review.kind in (ReviewKind.IMPLAUSIBLE_RECORD, ReviewKind.EXCESS)


async def test_lesson_09_a_person_sets_it_right(database: Database) -> None:
    till = await Till.open(database)
    serial = await till.charging(5_000)
    await till.settle(serial, LIFE_OF_THE_METER)
    [decided] = await till.write(DecideHeld(serial, Decision.FREE, "token:anna", later(5_000), "0.08 kWh"))
    assert (decided.refund_fen, decided.state) == (5_000, SessionState.REFUNDING)
    assert await till.earned() == 0


async def test_lesson_09_what_the_meter_shows_is_compared_and_never_billed(database: Database) -> None:
    till = await Till.open(database)
    serial = await till.charging(5_000)
    facts = delivered(800, meter_start_e4_kwh=0, meter_end_e4_kwh=9_100_000)
    settled = await till.settle(serial, facts)
    assert settled.bill is not None
    assert settled.bill.total_fen == 8
    assert "meter_differs" in settled.warnings
