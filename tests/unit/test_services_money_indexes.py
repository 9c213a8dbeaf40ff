"""Lesson 15 for money: a million charges later, every list and every worker still walks along an index."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pileward.messages.charging import RefundStep, SessionState
from pileward.messages.charging_writes import ClaimRefunds, MoveRefund, SettleSession
from pileward.models.database import open_database
from pileward.services import (
    debts,
    drivers,
    ledger,
    payments,
    reconciliation,
    refunds,
    reviews,
    sessions,
)
from pileward.services.paging import cursor_of
from pileward.services.writes import write_all
from tests.business import PILE_CODE, later
from tests.charges import Till, delivered
from tests.unit.test_services_indexes import is_slow

Call = Callable[[Till, Any, str, str | None], Awaitable[Any]]


def lists(kind: str, call: Call) -> tuple[str, Call]:
    return kind, call


CALLS: dict[str, tuple[str, Call]] = {
    "charges": lists("session", lambda till, _, __, at: sessions.list_sessions(who(till), cursor=at)),
    "charges of a station": lists(
        "session", lambda till, _, __, at: sessions.list_sessions(who(till), station_id=1, cursor=at)
    ),
    "charges of a pile": lists(
        "session", lambda till, _, __, at: sessions.list_sessions(who(till), pile_code=PILE_CODE, cursor=at)
    ),
    "charges in a state": lists(
        "session",
        lambda till, _, __, at: sessions.list_sessions(who(till), state=SessionState.DISPUTED, cursor=at),
    ),
    "charges of a driver": lists(
        "session", lambda till, _, __, at: sessions.sessions_of_driver(till.driver_id, cursor=at)
    ),
    "one charge": lists("session", lambda _, __, serial, ___: sessions.session_by_serial(serial)),
    "an open charge": lists("session", lambda _, c, serial, __: sessions.open_session(c, serial)),
    "all open charges": lists("session", lambda _, c, __, ___: sessions.open_sessions(c)),
    "the order of a driver": lists(
        "session", lambda till, c, _, __: sessions.open_serial_of_driver(c, till.driver_id)
    ),
    "payments of a charge": lists("payment", lambda _, c, serial, __: sessions.payments_of(c, serial)),
    "refunds of a charge": lists("refund", lambda _, c, serial, __: sessions.refunds_of(c, serial)),
    "one payment": lists("payment", lambda _, c, serial, __: payments.payment_by_number(c, f"P{serial}-1")),
    "payments to ask about": lists("payment", lambda _, c, __, ___: payments.payments_due(c, later(9))),
    "refunds to work on": lists("refund", lambda _, c, __, ___: refunds.refunds_due(c, later(9))),
    "entries of a charge": lists("entry", lambda _, __, serial, ___: ledger.entries_of(serial)),
    "one balance": lists("entry", lambda till, c, __, ___: ledger.balance(c, till.prepaid)),
    "reviews": lists("review", lambda till, _, __, at: reviews.list_reviews(who(till), cursor=at)),
    "reviews of a charge": lists("review", lambda _, __, serial, ___: reviews.reviews_of(serial)),
    "debts": lists("debt", lambda till, _, __, at: debts.list_debts(who(till), cursor=at)),
    "debts of a driver": lists("debt", lambda till, _, __, ___: debts.debts_of_driver(till.driver_id)),
    "drivers": lists("driver", lambda till, _, __, at: drivers.list_drivers(who(till), cursor=at)),
    "reconciliations": lists(
        "reconciliation", lambda till, _, __, at: reconciliation.list_reconciliations(who(till), cursor=at)
    ),
    "a settlement": lists(
        "", lambda _, c, serial, __: write_all(c, [SettleSession(serial, 1, delivered(), later(3_700))])
    ),
    "a refund that succeeds": lists(
        "",
        lambda _, c, serial, __: write_all(c, [MoveRefund(f"R{serial}-1", RefundStep.NEW, later(1))]),
    ),
    "a claim": lists("", lambda _, c, __, ___: write_all(c, [ClaimRefunds(later(1))])),
}


def who(till: Till) -> int:
    return till.business.who.operator_id


@pytest.mark.parametrize("name", CALLS)
async def test_lesson_15_money_is_found_by_an_index(
    name: str, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind, call = CALLS[name]
    database = await open_database(sqlite_url)
    till = await Till.open(database)
    serial = await till.charging()
    caplog.set_level(logging.DEBUG, "tortoise.db_client")
    caplog.clear()
    await call(till, database.connection, serial, None)
    if kind:
        await call(till, database.connection, serial, cursor_of(kind, 10))
    queries = [entry.args for entry in caplog.records if entry.name == "tortoise.db_client" and entry.args]
    asked = [args for args in queries if isinstance(args, tuple) and is_query(str(args[0]))]
    assert asked
    for statement, values in asked:
        plan = await database.connection.execute_query_dict(
            f"EXPLAIN QUERY PLAN {statement}", [*values] if isinstance(values, list | tuple) else []
        )
        for step in plan:
            detail = str(step["detail"])
            assert not is_slow(detail) or is_short(str(statement), detail), f"{detail}: {statement}"
    await database.close()


def is_query(statement: str) -> bool:
    return statement.lstrip().startswith("SELECT")


def is_short(statement: str, detail: str) -> bool:
    """Sorting the payments and refunds of a few charges is no walk over all of them."""
    return "TEMP B-TREE" in detail and "json_each" in statement and "LIMIT" not in statement
