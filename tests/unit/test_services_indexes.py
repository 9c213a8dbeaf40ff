"""Lesson 15: lists stay quick however long they get, because every one of them walks along an index."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pileward.errors import NotFoundError
from pileward.messages.charging import RefundStep, SessionState
from pileward.models.database import open_database
from pileward.services import (
    alarms,
    audit,
    debts,
    discovered,
    drivers,
    ledger,
    nearby,
    operators,
    pile_models,
    piles,
    records,
    refunds,
    reviews,
    sessions,
    stations,
    tariffs,
)
from pileward.services.paging import cursor_of
from pileward.services.reconciliation import list_reconciliations
from tests.business import NOW, PILE_CODE, open_business

List = Callable[[int, str | None], Awaitable[Any]]


async def one_charge(serial: str) -> None:
    """A charge that nobody has."""
    with pytest.raises(NotFoundError):
        await sessions.session_by_serial(serial)


LISTS: dict[str, tuple[str, List]] = {
    "stations": ("station", lambda who, at: stations.list_stations(who, cursor=at)),
    "piles": ("pile", lambda who, at: piles.list_piles(who, cursor=at)),
    "piles of a station": ("pile", lambda who, at: piles.list_piles(who, station_id=1, cursor=at)),
    "pile models": ("pile_model", lambda who, at: pile_models.list_models(who, cursor=at)),
    "tariffs": ("tariff", lambda who, at: tariffs.list_tariffs(who, NOW, cursor=at)),
    "versions": ("tariff_version", lambda who, at: tariffs.list_versions(who, 1, cursor=at)),
    "discovered": ("discovered", lambda _, at: discovered.list_discovered(cursor=at)),
    "all alarms": ("alarm", lambda who, at: alarms.list_alarms(who, only_open=False, cursor=at)),
    "alarms of a pile": (
        "alarm",
        lambda who, at: alarms.list_alarms(who, only_open=False, pile_code=PILE_CODE, cursor=at),
    ),
    "records": ("record", lambda who, at: records.list_records(who, cursor=at)),
    "records of a pile": (
        "record", lambda who, at: records.list_records(who, pile_code=PILE_CODE, cursor=at)
    ),
    "audit": ("audit", lambda who, at: audit.list_entries(who, cursor=at)),
    "audit of a thing": (
        "audit", lambda who, at: audit.list_entries(who, kind="pile", target=PILE_CODE, cursor=at)
    ),
    "tokens": ("token", lambda who, _: operators.list_tokens(who)),
    "charges": ("session", lambda who, at: sessions.list_sessions(who, cursor=at)),
    "held charges": ("session", lambda who, at: sessions.list_sessions(who, is_held=True, cursor=at)),
    "charges in a state": (
        "session", lambda who, at: sessions.list_sessions(who, state=SessionState.CHARGING, cursor=at)
    ),
    "charges of a pile": (
        "session", lambda who, at: sessions.list_sessions(who, pile_code=PILE_CODE, cursor=at)
    ),
    "a driver's charges": ("session", lambda _, at: sessions.sessions_of_driver(1, cursor=at)),
    "a driver's open charges": (
        "session", lambda _, at: sessions.sessions_of_driver(1, is_over=False, cursor=at)
    ),
    "refunds": ("refund", lambda who, at: refunds.list_refunds(who, cursor=at)),
    "stuck refunds": (
        "refund", lambda who, at: refunds.list_refunds(who, step=RefundStep.MANUAL, cursor=at)
    ),
    "reviews": ("review", lambda who, at: reviews.list_reviews(who, cursor=at)),
    "drivers": ("driver", lambda who, at: drivers.list_drivers(who, cursor=at)),
    "debts": ("debt", lambda who, at: debts.list_debts(who, cursor=at)),
    "reconciliations": ("reconciliation", lambda who, at: list_reconciliations(who, cursor=at)),
    "stations nearby": ("station_near", lambda who, at: nearby.stations_near(who, (1, 1), cursor=at)),
    "one charge": ("session", lambda _, __: one_charge("2" * 20)),
    "entries of a charge": ("entry", lambda _, __: ledger.entries_of("2" * 20)),
    "open alarms of a pile": ("alarm", lambda _, __: alarms.open_of_pile(PILE_CODE)),
    "one pile": ("pile", lambda who, _: piles.get_pile(who, PILE_CODE)),
    "one configuration": ("pile", lambda _, __: piles.load_pile_config(PILE_CODE, NOW)),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
async def test_lesson_15_every_list_walks_along_an_index(
    name: str, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind, call = LISTS[name]
    database = await open_database(sqlite_url)
    try:
        business = await open_business()
        caplog.set_level(logging.DEBUG, "tortoise.db_client")
        caplog.clear()
        await call(business.who.operator_id, None)
        await call(business.who.operator_id, cursor_of(kind, 10))
        asked = [entry.args for entry in caplog.records if entry.name == "tortoise.db_client"]
        queries = [args for args in asked if isinstance(args, tuple) and is_query(str(args[0]))]
        assert queries
        for statement, values in queries:
            plan = await database.connection.execute_query_dict(
                f"EXPLAIN QUERY PLAN {statement}", [*values] if isinstance(values, list) else []
            )
            steps = [str(step["detail"]) for step in plan]
            assert not any(is_slow(step) for step in steps), (steps, statement)
    finally:
        await database.close()


def is_query(statement: str) -> bool:
    """Leaves out one that sorts the few versions of a tariff that are still to come."""
    return statement.lstrip().startswith("SELECT") and '"effective_at">' not in statement


def is_slow(step: str) -> bool:
    """A walk over all rows, or a sort of all rows that were found; the discovered piles are few."""
    if "json_each" in step or "CONSTANT ROW" in step or "discovered_pile" in step:
        return False
    return step.startswith("SCAN") or "TEMP B-TREE" in step
