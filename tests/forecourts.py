"""A whole node but for its sockets: fleet, pile, sessions, store on a real database, payments and refunds.

The provider is one in memory (`tests.tills.ScriptedPayments`); the pile's connection is a stand-in that notes
what is sent and says what a test says. Opened again on the same database it is another process after a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from pileward.actors.engine import Engine
from pileward.actors.fleet import FleetActor, FleetStart, KnownPile, PileTrouble, TakePiles
from pileward.actors.money import MoneyPart
from pileward.actors.pile_sessions import Order, PileSessions
from pileward.actors.pile_state import LinkLost, LoginAsked, Pile, PileStatus
from pileward.actors.session import SessionActor
from pileward.actors.session_state import AskFor
from pileward.actors.store import StoreActor, StoreStart, Waiting
from pileward.clock import ManualClock
from pileward.messages import sessions as ask
from pileward.messages import uplinks as up
from pileward.messages.charging import (
    OVER,
    OpenSession,
    PaymentRow,
    RefundRow,
    RefundStep,
    SessionRow,
    SessionState,
)
from pileward.messages.commands import WatchFrames
from pileward.messages.payments import RefundState
from pileward.models.database import open_database
from pileward.services import alarms, ledger, pile_configs, sessions
from pileward.services.backend import DatabaseBackend
from pileward.services.record_settlement import unsettled_records
from pileward.values import Rate, ReportedStatus
from tests.around import noted, speak, stand_in, surroundings
from tests.business import NOW, PILE_CODE
from tests.charges import Till
from tests.piles import PEER, login, record, telemetry
from tests.tills import ScriptedPayments
from tests.unit.engine_actors import engine_with, inside

S = SessionState
PEAK_E5_YUAN = 120_000
"""What a kilowatt-hour costs at noon in China, by the tariff of `tests.charges`."""


class SlowBackend(DatabaseBackend):
    """The real database; a test may let it wait, be away, or refuse writes of some types."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gate = asyncio.Event()
        self.gate.set()
        self.refused: tuple[type, ...] = ()
        self.written: list[Any] = []
        """Everything that was committed, in order."""

    async def write(self, writes: list[Any]) -> list[Any]:
        """Write all in one transaction."""
        await self.gate.wait()
        for write in writes:
            if isinstance(write, self.refused):
                raise ValueError(f"refused by the test: {type(write).__name__}")
        results = await super().write(writes)
        self.written += writes
        return results


class Forecourt:
    """One pile with two guns, its orders, and everybody they deal with."""

    def __init__(self, till: Till, engine: Engine, clock: ManualClock, port: ScriptedPayments) -> None:
        self.till = till
        self.engine = engine
        self.clock = clock
        self.port = port
        self.around = surroundings(engine)
        self.backend = SlowBackend(till.database, clock.utc)
        self.waiting = Waiting()
        self.around.store = engine.create(StoreActor, StoreStart(self.around, self.backend, self.waiting))
        self.money = MoneyPart(engine, self.around, till.database, port, 1)
        self.link = stand_in(engine)
        self.edge = stand_in(engine)
        self._records = 0

    async def open(self) -> None:
        """Load and make the actors, as a node does when it starts."""
        connection = self.till.database.connection
        configs = await pile_configs.load_pile_configs(self.clock.utc())
        open_alarms = await alarms.open_of_all()
        await self.money.start()
        opened: dict[str, list[OpenSession]] = {}
        for session in await sessions.open_sessions(connection):
            opened.setdefault(session.row.pile_code, []).append(session)
        known = tuple(
            KnownPile(
                config,
                open_alarms.get(config.pile_code, frozenset()),
                tuple(opened.get(config.pile_code, ())),
            )
            for config in configs
        )
        self.around.fleet = self.engine.create(FleetActor, FleetStart(self.around, known))
        self.engine.on_failure = self.engine.on_quarantine = lambda failure: self.engine.tell(
            self.around.fleet, PileTrouble(failure)
        )
        await self.engine.ask_async(self.around.fleet, TakePiles(()), 10.0)
        self.money.begin()
        assert await unsettled_records(connection) == []
        await self.rest()

    async def close(self) -> None:
        """End as after a kill: what was not committed is lost."""
        await self.money.close()
        for task in list(self.waiting.tasks):
            task.cancel()
        await asyncio.gather(*self.waiting.tasks, return_exceptions=True)

    # --- time -------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Let everything that can happen now happen, while the clock stands still."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            is_stuck = not self.backend.gate.is_set()
            stored = is_stuck or not (self.waiting.queue or self.waiting.in_flight)
            is_busy = self.engine.waiting or not stored or self.waiting.loading or self._works()
            quiet = 0 if is_busy else quiet + 1

    def _works(self) -> bool:
        works = (self.money._payments.calls, self.money._payments.notifications, self.money._refunds.jobs)
        looks = (self.money._payments.look, self.money._refunds.look)
        if self.port.gates or not self.backend.gate.is_set():
            return False  # whoever asks or writes waits for the test
        return any(jobs.running for jobs in works) or any(look and not look.done() for look in looks)

    async def pass_time(self, seconds: float, step: float | None = None, *, is_silent: bool = False) -> None:
        """Move the clock, in steps, and come to rest after each; a pile that is online beats meanwhile."""
        left = seconds
        while left > 0:
            is_online = self.pile.status is PileStatus.ONLINE and not is_silent
            length = min(left, step or seconds, 10.0 if is_online else seconds)
            if is_online:
                beats = (up.Heartbeat(PILE_CODE, 6, gun_no, False) for gun_no in (1, 2))
                speak(self.engine, self.link, self.pile_address, *beats)
            self.clock.advance(length)
            left -= length
            await self.rest()

    # --- the pile ---------------------------------------------------------------------------------------

    @property
    def pile_address(self) -> Any:
        """The pile's actor."""
        return self.around.piles[PILE_CODE]

    @property
    def pile(self) -> Pile:
        """The pile as everybody else sees it."""
        return self.around.seen[PILE_CODE]

    async def hear(self, *uplinks: Any, link: Any = None) -> None:
        """Have the connection hand over what the pile says."""
        speak(self.engine, link or self.link, self.pile_address, *uplinks)
        await self.rest()

    async def go_online(self) -> None:
        """Log in on a new connection, hold the tariff, tell of two idle guns."""
        self.link = stand_in(self.engine)
        await self.hear(LoginAsked(login(), self.link, PEER))
        number = self.pile.config.billing_model_no
        assert number is not None
        await self.hear(up.ClockAnswer(PILE_CODE, 8, self.clock.utc()), up.TariffCheck(PILE_CODE, 9, number))
        assert self.pile.status is PileStatus.ONLINE
        assert self.pile.tariff_ok
        inside(self.link).seen.clear()

    async def tell_guns(self) -> None:
        """Both guns are idle."""
        await self.hear(telemetry(1), telemetry(2))

    async def hang_up(self) -> None:
        """The connection is lost."""
        await self.hear(LinkLost(self.link, "peer_closed"))
        assert self.pile.status is PileStatus.OFFLINE

    def sent(self, *kinds: type) -> list[Any]:
        """What the pile was sent on its present connection."""
        return noted(self.link, *kinds)

    async def say(
        self,
        serial: str,
        status: ReportedStatus = ReportedStatus.CHARGING,
        energy_e4_kwh: int | None = None,
        number: str | None = None,
        **values: Any,
    ) -> None:
        """The gun of an order reports; `number` in place of that of the order."""
        row = await self.row(serial)
        plain: dict[str, Any] = {"energy_e4_kwh": energy_e4_kwh, "amount_e4_yuan": None, "charged_s": 60}
        await self.hear(
            telemetry(
                row.gun_no,
                status,
                is_plugged=True,
                wire_number=row.wire_number if number is None else number,
                **{**plain, **values},
            )
        )

    async def accept(self, serial: str, reason: int = 0) -> None:
        """0x33."""
        row = await self.row(serial)
        await self.hear(up.StartAnswer(PILE_CODE, 4, row.gun_no, row.wire_number, reason == 0, reason))

    async def answer_stop(self, gun_no: int = 1, reason: int = 0) -> None:
        """0x35."""
        await self.hear(up.StopAnswer(PILE_CODE, 5, gun_no, reason == 0, reason))

    def make_record(self, row: SessionRow, energy_e4_kwh: int = 100_000, **changes: Any) -> Any:
        """The record of an order: so much at the peak, in at least the ten minutes before now."""
        ended = self.clock.utc()
        began = min(row.started_at or ended, ended - timedelta(seconds=600))
        amount = energy_e4_kwh * PEAK_E5_YUAN // 100_000
        self._records += 1
        plain = replace(
            record(row.gun_no, row.wire_number, body=f"{row.wire_number} {self._records}".encode()),
            started_at=began,
            ended_at=ended,
            made_at=ended,
            periods=(up.PeriodEnergy(Rate.PEAK, PEAK_E5_YUAN, energy_e4_kwh, 0, amount),),
            meter_start_e4_kwh=0,
            meter_end_e4_kwh=energy_e4_kwh,
            energy_e4_kwh=energy_e4_kwh,
            amount_e4_yuan=amount,
        )
        return replace(plain, **changes)

    async def send_record(self, serial: str, energy_e4_kwh: int = 100_000, **changes: Any) -> Any:
        """0x3B of an order; returns it."""
        made = self.make_record(await self.row(serial), energy_e4_kwh, **changes)
        await self.hear(made)
        return made

    # --- orders -----------------------------------------------------------------------------------------

    async def command(self, command: Any) -> Any:
        """Ask the pile's actor, as an edge does."""
        return await self.engine.ask_async(self.pile_address, command, 10.0)

    async def reserve(self, fen: int = 5_000, **more: Any) -> Any:
        """Order; whatever the answer."""
        order = self.till.order(fen, at=self.clock.utc(), **more)
        payment = replace(_payment(order.payment), expires_at=self.clock.utc() + timedelta(seconds=600))
        return await self.command(ask.ReserveGun(order.row, payment))

    async def order(self, fen: int = 5_000, **more: Any) -> str:
        """Order; returns the serial."""
        answer = await self.reserve(fen, **more)
        assert isinstance(answer, ask.Reserved), answer
        serial: str = answer.serial
        ready = await self.engine.ask_async(self.around.payments, ask.Prepay(f"P{serial}-1"), 10.0)
        assert isinstance(ready, ask.PrepayReady), ready
        return serial

    async def pay(self, serial: str, fen: int | None = None, **changes: Any) -> None:
        """The driver pays, and says so."""
        self.port.pay(f"P{serial}-1", fen, **changes)
        await self.check(serial)

    async def check(self, serial: str) -> Any:
        """The driver's app says that paying is over."""
        answer = await self.engine.ask_async(self.around.payments, ask.CheckPayment(f"P{serial}-1"), 10.0)
        await self.rest()
        return answer

    async def funded(self, fen: int = 5_000, **more: Any) -> str:
        """A paid order."""
        serial = await self.order(fen, **more)
        await self.pay(serial)
        return serial

    async def start(self, serial: str) -> Any:
        """The driver starts."""
        answer = await self.command(ask.StartSession(serial, self.till.driver_id))
        await self.rest()
        return answer

    async def starting(self, fen: int = 5_000, **more: Any) -> str:
        """An order whose start frame is out."""
        serial = await self.funded(fen, **more)
        answer = await self.command(ask.StartSession(serial, None))
        assert answer.status == "accepted", answer
        await self.rest()
        return serial

    async def charging(self, fen: int = 5_000, **more: Any) -> str:
        """A charge under way."""
        serial = await self.starting(fen, **more)
        await self.accept(serial)
        await self.say(serial, energy_e4_kwh=0)
        assert self.state(serial) is S.CHARGING
        return serial

    async def stop(self, serial: str) -> Any:
        """The driver stops."""
        answer = await self.command(ask.StopSession(serial, self.till.driver_id))
        await self.rest()
        return answer

    async def cancel(self, serial: str) -> Any:
        """The driver gives the order up."""
        answer = await self.command(ask.CancelOrder(serial, self.till.driver_id))
        await self.rest()
        return answer

    async def refund_arrives(self, out_refund_no: str) -> None:
        """The provider takes a refund and has paid it back; the worker finds out by asking."""
        for _ in range(40):
            refunds = {row.out_refund_no: row for row in await self.refunds_of(out_refund_no[1:21])}
            if refunds[out_refund_no].step is RefundStep.SUCCEEDED:
                return
            if out_refund_no in self.port.refunds:
                self.port.end(out_refund_no, RefundState.SUCCEEDED)
            await self.pass_time(30)
        raise AssertionError(f"{out_refund_no} did not arrive")

    async def finish(self, serial: str) -> list[SessionState]:
        """Do whatever the order waits for until it is over; returns the states in which it was met."""
        met: list[SessionState] = []
        for _ in range(12):
            row = await self.row(serial)
            if row.state in OVER:
                return met
            met.append(row.state)
            await self._help(row)
        raise AssertionError(f"{serial} does not end: {met}")

    async def _help(self, row: SessionRow) -> None:
        serial = row.serial
        match row.state:
            case S.CREATED:
                await self.pay(serial)
            case S.FUNDED:
                assert (await self.start(serial)).status == "accepted"
            case S.STARTING | S.INTERRUPTED:
                await self.say(serial, energy_e4_kwh=row.energy_e4_kwh)
            case S.CHARGING:
                assert (await self.stop(serial)).status == "accepted"
            case S.STOPPING | S.AWAITING_RECORD:
                await self.send_record(serial)
            case S.REFUNDING | S.START_FAILED:
                for refund in await self.refunds_of(serial):
                    await self.refund_arrives(refund.out_refund_no)
            case S.DISPUTED:
                answer = await self.command(ask.DecideSession(serial, "accept", "token:test"))
                assert answer.status == "accepted"
                await self.rest()

    # --- what is known ----------------------------------------------------------------------------------

    @property
    def orders(self) -> PileSessions | None:
        """The pile's orders; None: it has none."""
        return self.around.sessions_of.get(PILE_CODE)

    def known(self, serial: str) -> Order | None:
        """The order as its pile knows it; None: it has no actor."""
        return self.orders._orders.get(serial) if self.orders is not None else None

    def actor(self, serial: str) -> SessionActor:
        """The order's actor, from inside."""
        known = self.known(serial)
        assert known is not None, f"{serial} has no actor"
        found = inside(known.address)
        assert isinstance(found, SessionActor)
        return found

    def state(self, serial: str) -> SessionState:
        """The state in which its actor believes the order to be."""
        return self.actor(serial).session.state

    async def row(self, serial: str) -> SessionRow:
        """The order as it is durable."""
        return await sessions.session_by_serial(serial)

    async def refunds_of(self, serial: str) -> list[RefundRow]:
        """Its refunds."""
        return await sessions.refunds_of(self.till.database.connection, serial)

    def alarms(self) -> set[str]:
        """Kinds of the alarms open on the pile."""
        return {kind for kind, _ in self.around.alarms.get(PILE_CODE, ())}

    async def proven(self) -> None:
        """The books add up."""
        assert await ledger.check_books(self.till.database.connection) == []

    async def fail(self, serial: str) -> None:
        """Let a handler of the order's actor raise: a fresh instance takes over."""
        known = self.known(serial)
        assert known is not None
        before = inside(known.address)
        before._asked = _raise
        speak(self.engine, self.edge, known.address, _asking(serial, self.edge))
        await self.rest()
        assert inside(known.address) is not before

    async def fail_pile(self) -> None:
        """Let a handler of the pile's actor raise."""
        before = inside(self.pile_address)
        before._watch = _raise
        speak(self.engine, self.edge, self.pile_address, WatchFrames(1))
        await self.rest()
        assert inside(self.pile_address) is not before


def _payment(row: PaymentRow | None) -> PaymentRow:
    assert row is not None
    return row


def _asking(serial: str, sender: Any) -> Any:
    return AskFor(ask.DescribeSession(serial), sender)


def _raise(*_: Any) -> None:
    raise RuntimeError("on purpose")


@asynccontextmanager
async def forecourt(
    till: Till, port: ScriptedPayments | None = None, clock: ManualClock | None = None, *, at: datetime = NOW
) -> AsyncIterator[Forecourt]:
    """A forecourt that is open; in the end it is gone as after a kill."""
    async with engine_with(clock or ManualClock(at)) as engine:
        assert isinstance(engine.clock, ManualClock)
        made = Forecourt(till, engine, engine.clock, port or ScriptedPayments())
        try:
            await made.open()
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def reopened(before: Forecourt, after_s: float = 0.0) -> AsyncIterator[Forecourt]:
    """Another process on the same database with the same provider, so many seconds after the kill."""
    await before.close()
    before.engine.shutdown()
    before.clock.advance(after_s)
    clock = ManualClock(before.clock.utc())
    async with forecourt(before.till, before.port, clock) as made:
        yield made


@asynccontextmanager
async def court_at(url: str) -> AsyncIterator[Forecourt]:
    """A forecourt on a database of its own, its pile online; in the end its books are proven."""
    database = await open_database(url)
    try:
        async with forecourt(await Till.open(database)) as made:
            await made.go_online()
            await made.tell_guns()
            yield made
            await made.proven()
    finally:
        await database.close()
