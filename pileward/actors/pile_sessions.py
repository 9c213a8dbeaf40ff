"""The charges of one pile: which gun belongs to which order, and who hears what the pile says.

Part of the pile actor's shell. A gun belongs to one order while that is active; an order that only waits for
its record or its refund lives on beside a new one. Frames reach a session by its wire number, or by its gun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.actors.session import SessionActor, SessionStart
from pileward.actors.session_state import (
    AskFor,
    PileBack,
    PileLost,
    RecordArrived,
    SessionMovedTo,
    Spending,
)
from pileward.actors.store_messages import Refused, Save, Stored
from pileward.messages import sessions as ask
from pileward.messages import uplinks as up
from pileward.messages.charging import ACTIVE, OpenSession
from pileward.messages.charging_writes import CreateSession, OrderOpen, SettleRecord
from pileward.messages.commands import Command, Outcome
from pileward.messages.uplinks import Uplink
from pileward.services.records import RecordResult
from pileward.values import ResultStatus

if TYPE_CHECKING:
    from pileward.actors.pile import PileActor

CREATING_MAX: Final = 32
"""Orders of one pile that may wait for the store at a time."""

BY_NUMBER: Final = frozenset(
    (
        up.Telemetry,
        up.StartAnswer,
        up.BmsHandshake,
        up.BmsConfig,
        up.BmsDemand,
        up.BmsInfo,
        up.BmsChargeEnd,
        up.BmsError,
        up.BmsAbort,
        up.ChargerAbort,
    )
)
"""Uplinks that carry the charge's number on the wire."""
HEARD: Final = BY_NUMBER | {up.StopAnswer}


class PileSessions:
    """All orders of one pile that are not over."""

    def __init__(self, pile: PileActor, spending: Spending) -> None:
        self._pile = pile
        self._spending = spending
        self._by_serial: dict[str, Any] = {}
        self._by_number: dict[str, Any] = {}
        self._numbers: dict[str, str] = {}
        self._by_gun: dict[int, str] = {}
        self._creating: dict[int, tuple[ask.ReserveGun, Any]] = {}

    def adopt(self, pile: PileActor) -> None:
        """A fresh instance of the pile's actor has taken over; the sessions are its children as before."""
        self._pile = pile

    @property
    def is_empty(self) -> bool:
        """Whether nothing the pile says concerns anybody."""
        return not self._by_serial

    @property
    def serials(self) -> list[str]:
        """All orders that have an actor."""
        return list(self._by_serial)

    # --- orders begin and end ---------------------------------------------------------------------------

    def load(self, opened: OpenSession) -> None:
        """Make the actor of an order that was open before this process."""
        self._make(opened)

    def _make(self, opened: OpenSession) -> None:
        row = opened.row
        pile = self._pile
        is_online = pile.pile.status is PileStatus.ONLINE
        start = SessionStart(opened, pile.around, pile.myAddress, is_online, self._spending)
        address = pile.createActor(SessionActor, start)
        self._by_serial[row.serial] = address
        self._by_number[row.wire_number] = address
        self._numbers[row.serial] = row.wire_number
        if row.state in ACTIVE:
            self._by_gun[row.gun_no] = row.serial

    def reserve(self, order: ask.ReserveGun, sender: Any) -> None:
        """Take an order, if the gun can be charged at and nobody else has one open."""
        refusal = self._refusal(order.row.gun_no, is_start=False)
        if refusal is not None:
            self._pile.send(sender, refusal)
        elif len(self._creating) >= CREATING_MAX:
            self._pile.send(sender, Outcome(ResultStatus.REJECTED, "store_busy"))
        else:
            ticket = next(self._pile.around.numbers)
            self._creating[ticket] = (order, sender)
            self._pile.send(self._pile.around.store, Save(ticket, CreateSession(order.row, order.payment)))

    def stored(self, message: Stored) -> bool:
        """An order is durable, or there was one open already."""
        waiting = self._creating.pop(message.ticket, None)
        if waiting is None:
            return False
        order, sender = waiting
        if isinstance(message.result, OrderOpen):
            self._pile.send(sender, message.result)
            return True
        if order.row.serial not in self._by_serial:
            payments = (order.payment,) if order.payment is not None else ()
            self._make(OpenSession(order.row, payments, ()))
        self._pile.send(sender, ask.Reserved(order.row.serial))
        return True

    def refused(self, message: Refused) -> bool:
        """The store did not take an order: nothing has happened."""
        waiting = self._creating.pop(message.ticket, None)
        if waiting is None:
            return False
        self._pile.send(waiting[1], Outcome(ResultStatus.REJECTED, "store_busy", message.reason))
        return True

    def moved(self, message: SessionMovedTo) -> None:
        """An order is further on; when it is over its actor exits."""
        if message.is_over:
            self._by_serial.pop(message.serial, None)
            self._by_number.pop(self._numbers.pop(message.serial, ""), None)
        if message.is_over or message.state not in ACTIVE:
            if self._by_gun.get(message.gun_no) == message.serial:
                del self._by_gun[message.gun_no]
        elif message.serial in self._by_serial:
            self._by_gun[message.gun_no] = message.serial

    # --- what the pile says -----------------------------------------------------------------------------

    def hear(self, message: Uplink) -> bool:
        """Hand a frame to the order it speaks of; False when it speaks of none."""
        address = None
        number = getattr(message, "wire_number", "")
        if number:
            address = self._by_number.get(number)
        elif type(message) in (up.Telemetry, up.StopAnswer):
            serial = self._by_gun.get(getattr(message, "gun_no", 0))
            address = self._by_serial.get(serial) if serial is not None else None
        if address is None:
            return False
        self._pile.send(address, message)
        return True

    def record_kept(self, record: up.TransactionRecord, result: RecordResult) -> None:
        """A record is durable and confirmed: its order settles it, or the services find whose it is."""
        address = self._by_number.get(record.wire_number)
        if address is not None:
            self._pile.send(address, RecordArrived(record, result))
        else:
            write = SettleRecord(result.first_id, self._pile.clock.utc())
            self._pile.send(self._pile.around.store, Save(0, write))

    def lost(self, reason: str) -> None:
        """The pile is away."""
        for address in self._by_serial.values():
            self._pile.send(address, PileLost(reason))

    def back(self) -> None:
        """The pile is online again."""
        for address in self._by_serial.values():
            self._pile.send(address, PileBack())

    # --- what edges and port actors say -----------------------------------------------------------------

    def ask(self, command: Command, sender: Any) -> None:
        """Hand a command to the order it is about."""
        serial = getattr(command, "serial", "")
        address = self._by_serial.get(serial)
        if address is None:
            self._pile.send(sender, Outcome(ResultStatus.REJECTED, "unknown_session"))
            return
        refusal = ""
        if isinstance(command, ask.StartSession):
            found = self._refusal(self._gun_of(serial), is_start=True)
            refusal = "" if found is None else found.reason
        self._pile.send(address, AskFor(command, sender, refusal))

    def tell(self, serial: str, message: Any) -> None:
        """Hand on what payments and refunds say about an order; one that is over needs nothing more."""
        address = self._by_serial.get(serial)
        if address is not None:
            self._pile.send(address, message)

    def _gun_of(self, serial: str) -> int:
        return next((gun_no for gun_no, known in self._by_gun.items() if known == serial), 0)

    def _refusal(self, gun_no: int, *, is_start: bool) -> Outcome | None:
        """What the pile has against charging at this gun now."""
        pile = self._pile.pile
        if not 1 <= gun_no <= len(pile.guns):
            return Outcome(ResultStatus.REJECTED, "unknown_gun", f"gun {gun_no}")
        if pile.status is not PileStatus.ONLINE:
            return Outcome(ResultStatus.OFFLINE, "pile_offline", "充电桩离线 / the pile is offline")
        state = pile.guns[gun_no - 1].state
        reason = _GUN_REFUSALS.get(state, "")
        if not reason and pile.config.is_in_maintenance:
            reason = "in_maintenance"
        if not reason and not pile.tariff_ok:
            reason = "tariff_pending"
        if not reason and not is_start and gun_no in self._by_gun:
            return None  # the database says whose order is open, and leads to it
        return Outcome(ResultStatus.REJECTED, reason, _WORDS.get(reason, "")) if reason else None


_GUN_REFUSALS: Final = {
    GunState.FAULT: "gun_fault",
    GunState.OFFLINE: "gun_offline",
    GunState.CHARGING: "gun_busy",
    GunState.STOPPING: "gun_busy",
}
_WORDS: Final = {
    "gun_fault": "充电枪故障，请换一把枪 / the gun is faulty: choose another one",
    "gun_offline": "充电枪离线，请换一把枪 / the gun is offline: choose another one",
    "gun_busy": "充电枪被占用，请换一把枪 / the gun is taken: choose another one",
    "in_maintenance": "充电桩维护中 / the pile is in maintenance",
    "tariff_pending": "充电桩正在更新电价，请稍后再试 / the pile is getting its tariff: try again soon",
}
