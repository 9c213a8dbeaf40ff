"""Whatever happens to some charges, in any order, repeated and late: the books add up and money comes out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pileward.messages.charging import (
    PaymentVerdict,
    RefundStep,
    SessionState,
)
from pileward.messages.charging_writes import (
    CancelSession,
    ClaimRefunds,
    CreateSession,
    DecideHeld,
    Decision,
    FailStart,
    HoldSession,
    MoveRefund,
    MoveSession,
    RefundPayment,
    RetryRefund,
    SaveLive,
    SettleSession,
)
from pileward.models.database import Database, open_database
from pileward.models.ledger import Debt, LedgerBalance, LedgerEntry, Settlement
from pileward.models.operators import Operator
from pileward.models.payments import Payment, Refund
from pileward.models.reviews import Review
from pileward.models.sessions import ChargingSession, OpenOrder, WireNumber
from pileward.services import debts, ledger
from pileward.services.books import insert
from pileward.services.charge_rows import payment_columns
from pileward.services.failed_starts import FAILABLE
from pileward.services.refunds import FINAL
from pileward.values import Rate
from tests.business import later
from tests.charges import Till, delivered

S = SessionState
CHARGES = 2
TABLES = (
    ChargingSession, OpenOrder, WireNumber, Payment, Refund, LedgerEntry, LedgerBalance, Settlement, Debt,
    Review,
)  # fmt: skip
COMPARED = tuple(table for table in TABLES if table is not LedgerBalance)


class Street:
    """Two charges at two guns of two drivers, and all that may happen to them."""

    def __init__(self, till: Till, drivers: list[int], prepaid: list[int]) -> None:
        self.till = till
        orders = [
            till.order(fen, gun_no=number + 1, driver_id=driver)
            for number, (driver, fen) in enumerate(zip(drivers, prepaid, strict=True))
        ]
        self.orders = orders
        self.serials = [order.row.serial for order in orders]
        self.clock = count(100)

    def at(self) -> Any:
        """Later than all before, and late enough for any record."""
        return later(10_000 + next(self.clock))

    def pay(self, which: int, fen: int, number: int, transaction: int) -> Any:
        serial = self.serials[which]
        return self.till.confirmation(
            serial, fen, number=number, transaction_id=f"T{serial}{transaction}", at=self.at()
        )

    async def prove(self) -> None:
        """What must hold at every moment."""
        database = self.till.database
        assert await ledger.check_books(database.connection) == []
        for payment in await Payment.all():
            refunds = await Refund.filter(out_trade_no=payment.out_trade_no).exclude(step="closed")
            assert sum(refund.fen for refund in refunds) == payment.refunded_fen <= payment.paid_fen
        for row in await ChargingSession.all():
            assert min(row.electricity_fen, row.service_fen, row.debt_fen, row.excess_fen) >= 0
            assert row.debt_fen <= row.excess_fen
            assert row.electricity_fen + row.service_fen - row.excess_fen <= row.paid_fen
            assert row.is_held or row.state != "disputed"
        for account, fen in (await ledger.balances(database.connection)).items():
            is_owed = account.startswith(("prepaid:", "transit:", "revenue"))
            assert fen <= 0 if is_owed else fen >= 0, (account, fen)


Step = Callable[[Street], Any]
WHICH = st.integers(0, CHARGES - 1)
FACTS = st.builds(
    delivered,
    st.sampled_from([-1, 0, 1, 40_000, 100_000, 119_999, 200_000, 500_000, 5_000_000]),
    rate=st.sampled_from(Rate),
    seconds=st.sampled_from([-5, 600, 3_600]),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda which: lambda street: street.orders[which], WHICH),
    st.builds(
        lambda *args: lambda street: street.pay(*args),
        WHICH,
        st.sampled_from([1_000, 1_000, 1_000, 999, 2_000]),
        st.sampled_from([1, 1, 2]),
        st.integers(1, 2),
    ),
    st.builds(lambda which: lambda street: CancelSession(street.serials[which], "x", street.at()), WHICH),
    st.builds(lambda which: lambda street: FailStart(street.serials[which], "x", street.at()), WHICH),
    st.builds(
        lambda which, source, target: lambda street: MoveSession(
            street.serials[which], frozenset({source}), target, street.at()
        ),
        WHICH,
        st.sampled_from([S.FUNDED, S.STARTING, S.CHARGING, S.INTERRUPTED]),
        st.sampled_from([S.STARTING, S.CHARGING, S.INTERRUPTED, S.AWAITING_RECORD]),
    ),
    st.builds(
        lambda which, energy: lambda street: SaveLive(street.serials[which], street.at(), energy, energy),
        WHICH, st.integers(0, 50_000),
    ),
    st.builds(
        lambda which, record, facts: lambda street: SettleSession(
            street.serials[which], record, facts, street.at()
        ),
        WHICH, st.sampled_from([None, 1, 2]), FACTS,
    ),
    st.builds(
        lambda which, number, step: lambda street: MoveRefund(
            f"R{street.serials[which]}-{number}", step, street.at()
        ),
        WHICH, st.integers(1, 4), st.sampled_from(RefundStep),
    ),
    st.builds(
        lambda which, number: lambda street: RetryRefund(
            f"R{street.serials[which]}-{number}", "token:x", street.at()
        ),
        WHICH, st.integers(1, 3),
    ),
    st.builds(lambda which: lambda street: HoldSession(street.serials[which], "x", street.at()), WHICH),
    st.builds(
        lambda which, decision: lambda street: DecideHeld(
            street.serials[which], decision, "token:x", street.at()
        ),
        WHICH, st.sampled_from(Decision),
    ),
    st.builds(
        lambda which, number: lambda street: RefundPayment(
            f"P{street.serials[which]}-{number}", "token:x", street.at()
        ),
        WHICH, st.integers(1, 2),
    ),
    st.just(lambda street: ClaimRefunds(street.at())),
    st.builds(lambda which: lambda street: Waive(street.serials[which]), WHICH),
)  # fmt: skip


class Waive:
    """A person lets a driver off."""

    def __init__(self, serial: str) -> None:
        self.serial = serial


@pytest.fixture(scope="module")
def shared_url(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file for all examples of this module; each begins by emptying it."""
    import shutil

    path = tmp_path_factory.mktemp("money") / "money.sqlite3"
    shutil.copyfile(migrated_file, path)
    return f"sqlite://{path}?synchronous=OFF"


async def begin(database: Database, overrun: str, provisional: str, prepaid: list[int]) -> Street:
    from pileward.services.drivers import login_driver
    from tests.business import NOW, Business

    if not await Operator.all().exists():
        till = await Till.open(database)
        _shared.append(till.business)
    business: Business = _shared[-1]
    for table in TABLES:
        await table.all().delete()
    await Operator.all().update(overrun=overrun, provisional_refund=provisional)
    drivers = [
        (await login_driver(business.who.operator_id, "wechat", "wx1", f"openid-{number}", "", NOW)).id
        for number in range(1, CHARGES + 1)
    ]
    street = Street(Till(database, business, drivers[0]), drivers, prepaid)
    await apply(street, *street.orders)
    for order in street.orders:
        row = street.till.payment(order.row, 2)
        async with database.transaction() as connection:
            await insert(connection, "payment", [payment_columns(row)])
    return street


_shared: list[Any] = []


async def apply(street: Street, *writes: Any) -> list[Any]:
    """One batch; who does not exist yet is nobody's bug here."""
    from pileward.services.writes import write_all

    results: list[Any] = []
    async with street.till.database.transaction() as connection:
        for write in writes:
            if isinstance(write, Waive):
                if await Debt.filter(serial=write.serial).exists():
                    await debts.waive_debt(connection, street.till.business.who, write.serial)
                results.append(None)
            else:
                results += await write_all(connection, [write])
    return results


def brief(write: Any) -> str:
    """A write in one line, for the report of a failing example."""
    if isinstance(write, CreateSession):
        return f"CreateSession({write.row.serial})"
    return str(write)[:300]


async def dump() -> list[Any]:
    return [await table.all().order_by("id").values() for table in COMPARED]


CASES = {
    "overrun": st.sampled_from(["debt", "absorb"]),
    "provisional": st.sampled_from(["auto", "manual"]),
    "prepaid": st.lists(st.just(1_000), min_size=CHARGES, max_size=CHARGES),
}
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=12, deadline=None, suppress_health_check=QUIET)
@given(steps=st.lists(STEPS, min_size=3, max_size=25), **CASES)
@pytest.mark.timeout(300)
async def test_the_books_add_up_after_any_steps_each_repeated(
    shared_url: str, steps: list[Step], overrun: str, provisional: str, prepaid: list[int]
) -> None:
    """Every write is idempotent: written again at once, it changes no row."""
    database = await open_database(shared_url)
    try:
        street = await begin(database, overrun, provisional, prepaid)
        for step in steps:
            write = step(street)
            note(brief(write))
            await apply(street, write)
            await street.prove()
            before = await dump()
            await apply(street, write)
            assert await dump() == before, write
        await drain(street)
    finally:
        await database.close()


@settings(max_examples=12, deadline=None, suppress_health_check=QUIET)
@given(batches=st.lists(st.lists(STEPS, min_size=1, max_size=8), min_size=1, max_size=6), **CASES)
@pytest.mark.timeout(300)
async def test_the_books_add_up_after_any_batches_of_any_kinds(
    shared_url: str, batches: list[list[Step]], overrun: str, provisional: str, prepaid: list[int]
) -> None:
    """As the store writes them: grouped by type, several about one charge at once, old batches again."""
    from pileward.services.writes import write_all

    database = await open_database(shared_url)
    try:
        street = await begin(database, overrun, provisional, prepaid)
        written = []
        for batch in batches:
            writes = [write for step in batch if not isinstance(write := step(street), Waive)]
            note("; ".join(brief(write) for write in writes))
            written.append(writes)
            async with database.transaction() as connection:
                await write_all(connection, writes)
            await street.prove()
        for writes in written:
            async with database.transaction() as connection:
                await write_all(connection, writes)
            await street.prove()
        await drain(street)
    finally:
        await database.close()


async def drain(street: Street) -> None:
    """Let everything come to its end; then nothing is left in prepaid or on its way."""
    for _ in range(12):
        for serial in street.serials:
            row = await ChargingSession.get(serial=serial)
            if row.is_held:
                await apply(street, DecideHeld(serial, Decision.ACCEPT, "token:x", street.at()))
            elif S.of(row.state) in FAILABLE:
                await apply(street, FailStart(serial, "the end", street.at()))
            elif row.state in ("interrupted", "awaiting_record"):
                await apply(street, SettleSession(serial, None, delivered(0), street.at()))
        for payment in await Payment.filter(verdict=PaymentVerdict.MISMATCH):
            await apply(street, RefundPayment(payment.out_trade_no, "token:x", street.at()))
        for refund in await Refund.exclude(step__in=[str(step) for step in FINAL]):
            await apply(street, MoveRefund(refund.out_refund_no, RefundStep.SUCCEEDED, street.at()))
        await street.prove()
    states = {row.state for row in await ChargingSession.all()}
    assert states <= {"closed", "cancelled"}, states
    left = await ledger.balances(street.till.database.connection)
    kept = sum(fen for account, fen in left.items() if account.startswith("channel:"))
    lent = sum(fen for account, fen in left.items() if account.startswith(("debt:", "loss:")))
    earned = -sum(fen for account, fen in left.items() if account.startswith("revenue-"))
    assert kept + lent == earned
    for account, fen in left.items():
        assert not account.startswith(("prepaid:", "transit:")) or fen == 0, (account, fen)
