"""Charges in the open database, to test money with: an order, its payment, its record, its refunds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from pileward.messages.charging import (
    ChargeLimit,
    EnergyOfRate,
    PaymentRow,
    RecordFacts,
    RefundStep,
    SessionRow,
    SessionState,
)
from pileward.messages.charging_writes import (
    ConfirmPayment,
    CreateSession,
    MoveRefund,
    MoveSession,
    PaymentConfirmed,
    RefundMoved,
    Settled,
    SettleSession,
)
from pileward.models.database import Database
from pileward.services import ledger, sessions
from pileward.services.drivers import login_driver
from pileward.services.serials import make_serial, trade_no
from pileward.services.wire_numbers import make_wire_number
from pileward.services.writes import write_all
from pileward.values import Rate, RatePrice, TariffModel
from tests.business import NOW, PILE_CODE, SLOTS, Business, later, open_business

MERCHANT = "1900000001"
CHANNEL = f"channel:wechat:{MERCHANT}"
TRANSIT = f"transit:wechat:{MERCHANT}"
OPENID = "openid-1"
TARIFF = TariffModel(
    "0001",
    (
        RatePrice(90_000, 40_000),
        RatePrice(80_000, 40_000),
        RatePrice(70_000, 40_000),
        RatePrice(60_000, 40_000),
    ),
    tuple(Rate(int(digit)) for digit in SLOTS),
)
"""The prices of `tests.business.terms`: 1.30, 1.20, 1.10 and 1.00 yuan/kWh."""

_numbers = itertools.count(1)


class Till:
    """One operator's money in one database."""

    def __init__(self, database: Database, business: Business, driver_id: int) -> None:
        self.database = database
        self.business = business
        self.driver_id = driver_id

    @classmethod
    async def open(cls, database: Database) -> Till:
        """A business with one driver."""
        business = await open_business()
        driver = await login_driver(business.who.operator_id, "wechat", "wx1", OPENID, "", NOW)
        return cls(database, business, driver.id)

    async def write(self, *writes: Any) -> list[Any]:
        """One batch, as the store writes it; the books are proven after each."""
        async with self.database.transaction() as connection:
            results = await write_all(connection, list(writes))
        await self.prove()
        return results

    async def prove(self) -> None:
        """All books agree."""
        assert await ledger.check_books(self.database.connection) == []

    def order(
        self, fen: int = 5_000, *, gun_no: int = 1, driver_id: int | None = None, at: datetime = NOW
    ) -> CreateSession:
        """An order with its payment, not yet stored."""
        serial = make_serial(at, 1, next(_numbers))
        driver = driver_id or self.driver_id
        row = SessionRow(
            serial=serial,
            operator_id=self.business.who.operator_id,
            driver_id=driver,
            station_id=self.business.station.id,
            pile_code=PILE_CODE,
            gun_no=gun_no,
            protocol="ykc",
            wire_number=make_wire_number("ykc", PILE_CODE, gun_no, serial),
            tariff=TARIFF,
            prepaid_fen=fen,
            out_trade_no=trade_no(serial, 1),
            requested_at=at,
            limit=ChargeLimit(),
        )
        return CreateSession(row, self.payment(row, 1))

    def payment(self, row: SessionRow, number: int) -> PaymentRow:
        """The n-th payment of an order."""
        return PaymentRow(
            out_trade_no=trade_no(row.serial, number),
            serial=row.serial,
            operator_id=row.operator_id,
            driver_id=row.driver_id or 0,
            channel="wechat",
            merchant=MERCHANT,
            openid=OPENID,
            fen=row.prepaid_fen,
            description="充电预付",
            attach=f"{row.pile_code}/{row.gun_no}",
            device_id=f"{row.pile_code}-{row.gun_no}",
            expires_at=later(600),
            created_at=row.requested_at,
        )

    async def ordered(self, fen: int = 5_000, **more: Any) -> str:
        """An order, stored; returns its serial."""
        order = self.order(fen, **more)
        await self.write(order)
        return order.row.serial

    def confirmation(self, serial: str, fen: int = 5_000, *, number: int = 1, **more: Any) -> ConfirmPayment:
        """What the provider says when an order was paid."""
        values: dict[str, Any] = {
            "out_trade_no": trade_no(serial, number),
            "transaction_id": f"42000{serial}{number}",
            "fen": fen,
            "openid": OPENID,
            "paid_at": later(20),
            "at": later(21),
        }
        return ConfirmPayment(**{**values, **more})

    async def pay(self, serial: str, fen: int = 5_000, **more: Any) -> PaymentConfirmed:
        """The provider's word for a payment arrives."""
        [result] = await self.write(self.confirmation(serial, fen, **more))
        confirmed: PaymentConfirmed = result
        return confirmed

    async def charging(self, fen: int = 5_000, **more: Any) -> str:
        """A charge under way; returns its serial."""
        serial = await self.ordered(fen, **more)
        await self.pay(serial, fen)
        await self.move(serial, SessionState.STARTING, at=later(30))
        await self.move(serial, SessionState.CHARGING, at=later(40), started_at=later(40))
        return serial

    async def move(self, serial: str, state: SessionState, *, at: datetime = NOW, **changes: Any) -> None:
        """Move a session from wherever it is."""
        row = await sessions.session_by_serial(serial)
        [moved] = await self.write(MoveSession(serial, frozenset({row.state}), state, at, changes))
        assert moved.is_done

    async def settle(
        self, serial: str, facts: RecordFacts, record_id: int | None = 1, at: datetime | None = None
    ) -> Settled:
        """Bill a charge by some facts."""
        [result] = await self.write(SettleSession(serial, record_id, facts, at or later(3_700)))
        settled: Settled = result
        return settled

    async def refund(self, number: str, step: RefundStep, **more: Any) -> RefundMoved:
        """The provider says what became of a refund."""
        [result] = await self.write(
            MoveRefund(number, step, **{"at": later(4_000), "refund_id": "50000", **more})
        )
        moved: RefundMoved = result
        return moved

    async def row(self, serial: str) -> SessionRow:
        """A charge as it is durable."""
        return await sessions.session_by_serial(serial)

    async def balance(self, account: str) -> int:
        """Debits minus credits of one account."""
        return await ledger.balance(self.database.connection, account)

    async def balances(self) -> dict[str, int]:
        """All accounts that are not at 0."""
        found = await ledger.balances(self.database.connection)
        return {account: fen for account, fen in found.items() if fen}

    @property
    def prepaid(self) -> str:
        """The driver's prepaid account."""
        return ledger.prepaid_account(self.driver_id)

    async def earned(self) -> int:
        """Revenue of all kinds."""
        found = await ledger.balances(self.database.connection, "revenue-")
        return -sum(found.values())


def delivered(
    energy_e4_kwh: int = 200_000,
    *,
    rate: Rate = Rate.VALLEY,
    seconds: int = 3_600,
    pile_amount_e4_yuan: int | None = None,
    **more: Any,
) -> RecordFacts:
    """Facts of a charge in one rate: 20 kWh within an hour unless told otherwise (valley: 20.00 yuan)."""
    amount = energy_e4_kwh * TARIFF.price_of(rate).total_e5_yuan // 100_000
    if pile_amount_e4_yuan is not None:
        amount = pile_amount_e4_yuan
    facts = RecordFacts(
        energies=(EnergyOfRate(rate, energy_e4_kwh, amount),),
        energy_e4_kwh=energy_e4_kwh,
        pile_amount_e4_yuan=amount,
        started_at=later(40),
        ended_at=later(40 + seconds),
        stop_reason="full",
        stop_code=0x40,
    )
    return replace(facts, **more)


def by_rates(energies: Sequence[tuple[Rate, int]], **more: Any) -> RecordFacts:
    """Facts of a charge in several rates, without amounts of the pile."""
    facts = delivered(sum(energy for _, energy in energies), **more)
    return replace(
        facts,
        energies=tuple(EnergyOfRate(rate, energy) for rate, energy in energies),
        pile_amount_e4_yuan=None,
    )
