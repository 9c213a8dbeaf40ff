"""One running process: database, engine, actors, listeners, put together here and nowhere else.

`start` opens everything in the order that makes it safe: database, piles loaded into actors, and only then
listeners. `close` goes the other way and waits until what was taken is durable.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec
from thespian.actors import ActorSystem

from pileward.actors.connection import Limits
from pileward.actors.engine import Engine
from pileward.actors.engine_failures import Failure, log_failure, log_quarantine
from pileward.actors.fleet import (
    Directory,
    FleetActor,
    FleetStart,
    KnownPile,
    PileTrouble,
    Revive,
    Revived,
    TakePiles,
)
from pileward.actors.frame_tail import FrameTail
from pileward.actors.money import MoneyPart
from pileward.actors.pile_view import pile_view
from pileward.actors.platform_alarms import PLATFORM
from pileward.actors.serials import Serials
from pileward.actors.store import Flush, StoreActor, StoreStart, Waiting
from pileward.actors.store_messages import PileLoaded, Save
from pileward.actors.surroundings import Admission, Surroundings
from pileward.clock import Clock
from pileward.codecs.base import Dialect, OnFrame
from pileward.codecs.ykc.dialect import CrcOrder, YkcDialect
from pileward.config.settings import Settings
from pileward.gateway.tcp import SocketLimits, TcpGateway
from pileward.http.driver.tokens import token_key
from pileward.http.node import Merchant
from pileward.logs import logger
from pileward.messages.charging import OpenSession
from pileward.messages.charging_writes import SettleRecord
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.messages.live import PileView, StationView
from pileward.messages.payments import Bill, BillNotReady, NoBill
from pileward.messages.payments import Failure as Failed
from pileward.metrics import Metrics
from pileward.models.database import Database
from pileward.ports import Bus, Logins, Payments
from pileward.services import alarms, operators, pile_configs, sessions, showing
from pileward.services.audit import Who
from pileward.services.backend import DatabaseBackend
from pileward.services.record_settlement import unsettled_records
from pileward.services.showing import ShownStation

log = logger(__name__)

STUCK_AFTER_S: Final = 5.0
"""A write that has waited this long (real seconds) makes the node not ready."""
FLUSH_WITHIN_S: Final = 10.0
"""Real seconds the end of the process waits for the last writes."""
TAKE_WITHIN_S: Final = 30.0


class Node:
    """One Pileward process, without its HTTP server."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        bus: Bus,
        clock: Clock,
        payments: Payments | None = None,
        logins: Logins | None = None,
    ) -> None:
        """The ports are not started yet; None: nobody can pay, nobody can log in."""
        self.settings = settings
        self.logins = logins
        chosen = settings.driver.token_key
        self.driver_key = token_key(chosen.reveal() if chosen is not None else None, settings.state_path)
        self.database = database
        self.bus = bus
        self.clock = clock
        self.metrics = Metrics()
        self.tail = FrameTail(settings.tail.size_mib)
        self.engine = Engine(clock=clock)
        self.system = ActorSystem(systemBase=self.engine, transientUnique=True)
        self.around = Surroundings(bus, self.metrics, self.tail, Admission(), self.engine.turn)
        self.fleet = Directory(self.around.piles)
        self.money = MoneyPart(self.engine, self.around, database, payments, settings.node.number)
        self.started_at: datetime = clock.utc()
        self.waiting = Waiting()
        self.gateways: list[TcpGateway] = []
        self._stations: dict[int, ShownStation] = {}
        self.engine.on_failure = self._failed
        self.engine.on_quarantine = self._quarantined
        self._gauges()

    async def start(self) -> str | None:
        """Load, make the actors, then listen.

        Returns the operator token when it was made just now (the only time it is known in clear).
        """
        operator = await operators.ensure_operator(self.clock.utc())
        await self.bus.start()
        if self.logins is not None:
            await self.logins.start()
        configs = await pile_configs.load_pile_configs(self.clock.utc())
        open_alarms = await alarms.open_of_all()
        await self._load_stations()
        backend = DatabaseBackend(self.database, self.clock.utc)
        self.around.store = self.engine.create(StoreActor, StoreStart(self.around, backend, self.waiting))
        self._open_platform_alarms(open_alarms.pop(PLATFORM, frozenset()))
        await self.money.start()
        opened: dict[str, list[OpenSession]] = {}
        for session in await sessions.open_sessions(self.database.connection):
            opened.setdefault(session.row.pile_code, []).append(session)
        piles = tuple(
            KnownPile(
                config,
                open_alarms.get(config.pile_code, frozenset()),
                tuple(opened.get(config.pile_code, ())),
            )
            for config in configs
        )
        self.around.fleet = self.engine.create(FleetActor, FleetStart(self.around, piles))
        await self.engine.ask_async(self.around.fleet, TakePiles(()), TAKE_WITHIN_S)
        self.money.begin()
        for record_id in await unsettled_records(self.database.connection):
            write = SettleRecord(record_id, self.clock.utc())
            self.engine.tell(self.around.store, Save(0, write))
        gc.collect()
        gc.freeze()  # what was loaded stays; collections need not look at it again
        await self._listen()
        chosen = self.settings.operator.token
        who = Who(operator.id, "system", self.clock.utc())
        token = await operators.ensure_token(who, chosen.reveal() if chosen is not None else None)
        log.info("started", piles=len(piles), clock_rate=self.clock.rate)
        return token

    async def close(self) -> None:
        """Stop listening, make everything taken durable, end the actors."""
        for gateway in self.gateways:
            await gateway.close()
        await self.money.stop()
        if self.around.store is not None:
            try:
                await self.engine.ask_async(self.around.store, Flush(), FLUSH_WITHIN_S)
            except Exception as error:
                log.error("not_flushed", waiting=len(self.waiting.queue), error=repr(error))
        self.system.shutdown()
        await self.money.close()
        if self.logins is not None:
            await self.logins.close()
        await self.bus.close()
        log.info("stopped")

    async def _listen(self) -> None:
        settings = self.settings.limits
        limits = Limits(
            bytes_before_login=settings.bytes_before_login,
            login_within_s=settings.login_within_s,
            damaged_in_a_row=settings.damaged_in_a_row,
            frames_per_s=settings.frames_per_s,
            frames_burst=settings.frames_burst,
        )
        sockets = SocketLimits(
            max_connections=settings.max_connections,
            max_per_address=settings.max_connections_per_address,
            backlog=settings.backlog,
        )
        gateway = TcpGateway(self.engine, self.around, "ykc", self._ykc_dialect, limits, sockets)
        await gateway.start(self.settings.ykc.host, self.settings.ykc.port)
        self.gateways.append(gateway)

    def _ykc_dialect(self, on_frame: OnFrame) -> Dialect:
        return YkcDialect(CrcOrder.MIRROR, on_frame)

    def _open_platform_alarms(self, opened: frozenset[tuple[str, int | None]]) -> None:
        """Alarms about no pile that were open when the last process ended are open still."""
        self.around.alarms[PLATFORM] = set(opened)
        self.metrics.alarms_open += len(opened)

    # --- what HTTP asks ---------------------------------------------------------------------------------

    @property
    def payments(self) -> Any:
        """Address of the payments actor."""
        return self.around.payments

    @property
    def refunds(self) -> Any:
        """Address of the refunds actor."""
        return self.around.refunds

    @property
    def merchant(self) -> Merchant:
        """Who takes the drivers' money, and in which app."""
        return Merchant("wechat", self.settings.wechat.mchid, self.settings.wechat.appid)

    async def download_bill(self, day: date) -> Bill | NoBill | BillNotReady | Failed | None:
        """The provider's bill of one China day; None where there is no provider."""
        port = self.money.port
        return None if port is None else await port.download_bill(day)

    @property
    def serials(self) -> Serials:
        """Numbers of charges."""
        return self.money.serials

    @property
    def ykc_port(self) -> int:
        """The port on which YKC piles connect."""
        return self.gateways[0].port if self.gateways else 0

    async def fleet_changed(self, kind: str, key: str) -> None:
        """Tell the actors concerned that staff changed a row; returns when a new pile has its actor."""
        if kind == "pile":
            backend = DatabaseBackend(self.database, self.clock.utc)
            loaded = await backend.load_pile(key)
            changed: tuple[PileLoaded, ...] = (PileLoaded(key, loaded.config, loaded.open_alarms),)
        else:
            await self._load_stations()
            configs = await pile_configs.load_pile_configs(self.clock.utc())
            changed = tuple(
                PileLoaded(config.pile_code, config)
                for config in configs
                if (seen := self.around.seen.get(config.pile_code)) is None or _differs(seen.config, config)
            )
        await self.engine.ask_async(self.around.fleet, TakePiles(changed), TAKE_WITHIN_S)

    async def revive(self, pile_code: str) -> bool:
        """Let a quarantined pile work again; False when it was not quarantined."""
        answer = await self.engine.ask_async(self.around.fleet, Revive(pile_code), TAKE_WITHIN_S)
        assert isinstance(answer, Revived)
        return answer.was_quarantined

    def snapshot(self) -> Sequence[StationView]:
        """Everything that is shown to the public, as it is at this moment; does not wait."""
        by_station: dict[int, list[PileView]] = {station_id: [] for station_id in self._stations}
        for code, pile in self.around.seen.items():
            view = pile_view(pile, self.around.quarantined.get(code))
            by_station.setdefault(pile.config.station_id, []).append(view)
        views = []
        for station_id, station in self._stations.items():
            piles = tuple(sorted(by_station[station_id], key=lambda view: view.pile_code))
            views.append(StationView(**msgspec.structs.asdict(station), piles=piles))
        return views

    def pile_shown(self, pile_code: str) -> PileView | None:
        """One pile as it is shown to the public, at this moment; None when it has no actor."""
        pile = self.around.seen.get(pile_code)
        return None if pile is None else pile_view(pile, self.around.quarantined.get(pile_code))

    def pile_config(self, pile_code: str) -> pile_configs.PileConfig | None:
        """What a pile's actor goes by; None when it has no actor."""
        pile = self.around.seen.get(pile_code)
        return None if pile is None else pile.config

    def recent_events(self) -> Sequence[PileChanged | AlarmChanged]:
        """The last few dozen events, oldest first."""
        return tuple(self.around.recent)

    async def readiness(self) -> Mapping[str, str]:
        """Each part that must work before traffic may come: "" when it does, else what is wrong."""
        stuck = self.waiting.stuck_s()
        return {
            "database": await self._database_trouble(),
            "store": f"oldest write waits {stuck:.1f} s" if stuck > STUCK_AFTER_S else "",
            "listener": "" if all(gateway.is_listening for gateway in self.gateways) else "not listening",
        }

    async def _database_trouble(self) -> str:
        try:
            await self.database.connection.execute_query("SELECT 1")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    async def _load_stations(self) -> None:
        self._stations = await showing.shown_stations()

    # --- what goes wrong --------------------------------------------------------------------------------

    def _failed(self, failure: Failure) -> None:
        self.metrics.restarts += 1
        log_failure(failure)
        if not failure.is_quarantined:
            self._tell_fleet(failure)

    def _quarantined(self, failure: Failure) -> None:
        self.metrics.quarantines += 1
        log_quarantine(failure)
        self._tell_fleet(failure)
        self.money.quarantined(failure)

    def _tell_fleet(self, failure: Failure) -> None:
        if self.around.fleet is not None and failure.address is not self.around.fleet:
            self.engine.tell(self.around.fleet, PileTrouble(failure))

    def _gauges(self) -> None:
        metrics, engine = self.metrics, self.engine
        metrics.watch_bus(self.bus.stats)
        metrics.gauge("engine_queue", "messages on their way between actors", lambda: engine.waiting)
        metrics.counter("engine_handled", "messages handled by actors", lambda: engine.handled)
        metrics.counter("engine_dead_letters", "messages that nobody took", lambda: engine.dead_letters)
        metrics.gauge("store_oldest_seconds", "how long the oldest write waits", self.waiting.stuck_s)


def _differs(seen: pile_configs.PileConfig, config: pile_configs.PileConfig) -> bool:
    """Whether staff changed anything; what the pile itself proves (its last login, …) does not count."""
    return _by_staff(seen) != _by_staff(config)


def _by_staff(config: pile_configs.PileConfig) -> tuple[Any, ...]:
    return (
        config.name,
        config.station_id,
        config.station_name,
        config.kind,
        config.gun_count,
        config.rated_power_w,
        config.settings,
        config.tariff,
        config.next_tariff_at,
        config.is_in_maintenance,
    )
