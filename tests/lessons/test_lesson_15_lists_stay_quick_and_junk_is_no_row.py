"""Lesson 15: lists are indexed and cursor-paged, and junk from devices never becomes rows.

Elsewhere pages took minutes as data grew, and garbage swelled tables. Orders follow with charging.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest

from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.models.database import Database
from pileward.services import alarms, records
from pileward.services.discovered import DISCOVERED_MAX, SaveDiscovered, save_discovered
from pileward.services.pile_facts import LoginFacts
from pileward.services.records import VARIANTS_MAX
from tests import books
from tests.business import NOW, PILE_CODE, Business, open_business
from tests.hand import knock, online_by_hand, record
from tests.nodes import CODES, Street
from tests.waiting import until

MANY = 200_000
FEW = 2_000
SLOWER = 5.0
"""A page of the large table may take so many times as long as one of the small table."""

NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})",
    "postgres": "WITH n(i) AS (SELECT generate_series({first}, {last}))",
}
ALARMS = """
INSERT INTO alarm (operator_id, pile_code, gun_no, kind, severity, text_zh, text_en, begin_at, last_at,
  end_at, count, key, open_key)
{numbers} SELECT 1, CASE WHEN i % 20 = 7 THEN '{pile}' ELSE 'P' || (i % 5000) END, 1, 'fault:door_open',
  'fault', '门', 'door', '{at}', '{at}', CASE WHEN i % 20 = 0 THEN NULL ELSE '{at}'{cast} END, 1, 'k' || i,
  CASE WHEN i % 20 = 0 THEN 'k' || i ELSE NULL END FROM n
"""
RECORDS = """
INSERT INTO pile_record (operator_id, protocol, pile_code, wire_number, variant, gun_no, content_hash, body,
  decoded, received_at, repeats, last_received_at)
{numbers} SELECT 1, 'ykc', CASE WHEN i % 20 = 7 THEN '{pile}' ELSE 'P' || (i % 5000) END, 'W' || i, 0, 1,
  'h', {body}, '{{}}', '{at}', 0, '{at}' FROM n
"""


async def fill(database: Database, first: int, last: int) -> None:
    """Alarms and records with these numbers."""
    kind = database.dialect
    words = {
        "numbers": NUMBERS[kind].format(first=first, last=last),
        "pile": PILE_CODE,
        "at": NOW.isoformat(sep=" "),
        "cast": "::timestamptz" if kind == "postgres" else "",
        "body": "zeroblob(158)" if kind == "sqlite" else "decode(repeat('00', 158), 'hex')",
    }
    for statement in (ALARMS, RECORDS):
        text = statement.format(**words)
        if kind == "sqlite":  # WITH stands before INSERT there
            text = f"{words['numbers']} {text.replace(words['numbers'], '')}"
        await database.connection.execute_script(text)
    await database.connection.execute_script("ANALYZE")


async def quickest(look: Callable[[], Awaitable[object]]) -> float:
    """The shortest of some tries, seconds: what else runs on the machine only adds to it."""
    times = []
    for _ in range(15):
        began = time.perf_counter()
        await look()
        times.append(time.perf_counter() - began)
    return min(times)


async def pages(business: Business) -> dict[str, float]:
    """How long each kind of page takes, seconds: the first, one far behind, and those of one pile."""
    operator = business.who.operator_id
    far: dict[str, str | None] = {"alarms": None, "records": None}
    for _ in range(3):
        shown = await alarms.list_alarms(operator, only_open=False, cursor=far["alarms"], limit=50)
        far["alarms"] = shown.next_cursor
        found = await records.list_records(operator, cursor=far["records"], limit=50)
        far["records"] = found.next_cursor
    looks: dict[str, Callable[[], Awaitable[object]]] = {
        "alarms": lambda: alarms.list_alarms(operator, only_open=False),
        "alarms, far behind": lambda: alarms.list_alarms(operator, only_open=False, cursor=far["alarms"]),
        "open alarms": lambda: alarms.list_alarms(operator),
        "alarms of a pile": lambda: alarms.list_alarms(operator, only_open=False, pile_code=PILE_CODE),
        "records": lambda: records.list_records(operator),
        "records, far behind": lambda: records.list_records(operator, cursor=far["records"]),
        "records of a pile": lambda: records.list_records(operator, pile_code=PILE_CODE),
    }
    return {name: await quickest(look) for name, look in looks.items()}


@pytest.mark.slow
async def test_pages_of_200_000_rows_take_no_longer_than_those_of_a_few(database: Database) -> None:
    business = await open_business()
    await fill(database, 1, FEW)
    small = await pages(business)
    await fill(database, FEW + 1, MANY)
    large = await pages(business)
    slow = {name: (large[name], small[name]) for name in large if large[name] > SLOWER * small[name] + 0.005}
    assert not slow


async def test_junk_makes_no_rows(street: Street) -> None:
    pile = await online_by_hand(street, CODES[0])
    before = _rows(street)
    for _ in range(5):
        peer = await knock(street)
        peer.write(bytes(range(256)) * 20)
        await peer.hear_close()
    raw = encode_frame(record(CODES[0]), 1)
    for cut in range(1, 60):
        pile.peer.write(raw[: len(raw) // 2] + bytes((cut,)) + raw)  # half a frame, noise, a frame
    await until(lambda: pile.peer.is_closed or len(books.records(street)) == 1)
    after = _rows(street)
    assert after.pop("pile_record") <= 1
    assert {name: count for name, count in after.items() if count != before[name]} == {}


async def test_numbers_that_knock_are_kept_up_to_a_thousand(database: Database) -> None:
    await open_business()
    facts = LoginFacts()
    for start in range(0, DISCOVERED_MAX + 500, 100):
        writes = [SaveDiscovered(f"{start + each:014d}", "ykc", facts, NOW) for each in range(100)]
        async with database.transaction() as connection:
            await save_discovered(connection, writes)
    _, rows = await database.connection.execute_query("SELECT count(*) AS rows FROM discovered_pile")
    assert rows[0]["rows"] == DISCOVERED_MAX


async def test_contents_under_one_number_are_kept_up_to_a_few(street: Street) -> None:
    pile = await online_by_hand(street, CODES[0])
    for amount in range(40):
        pile.peer.say(record(CODES[0], total_amount_e4_yuan=amount))
    await pile.peer.hear(frames.TransactionRecordAnswer, 40)
    assert len(books.records(street)) == VARIANTS_MAX


def _rows(street: Street) -> dict[str, int]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = books.read(street, query)
    return {name: books.read(street, f"SELECT count(*) FROM {name}")[0][0] for (name,) in names}
