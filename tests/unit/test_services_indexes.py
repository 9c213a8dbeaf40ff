"""Lesson 15: lists stay quick however long they get, because every one of them walks along an index."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pileward.models.database import open_database
from pileward.services import (
    alarms,
    audit,
    discovered,
    operators,
    pile_models,
    piles,
    records,
    stations,
    tariffs,
)
from pileward.services.paging import cursor_of
from tests.business import NOW, PILE_CODE, open_business

List = Callable[[int, str | None], Awaitable[Any]]

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
