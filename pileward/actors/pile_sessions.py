"""The charges of one pile: which gun belongs to which order, and who hears what the pile says.

Part of the pile actor's shell; outlives a failed instance of it. A gun belongs to one order while that is
active; an order that only waits for its record or its refund lives on beside a new one. Frames reach an order
by the number that the pile knows it by, or by its gun. Records of no order here are settled by the services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thespian.actors import ActorExitRequest

from pileward.actors.effects import Clear, Raise
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
    StartUnsent,
)
from pileward.actors.store_messages import Refused, Save, Stored
from pileward.logs import logger
from pileward.messages import downlinks as down
from pileward.messages import sessions as ask
from pileward.messages import uplinks as up
from pileward.messages.charging import ACTIVE, OpenSession, SessionState
from pileward.messages.charging_writes import CreateSession, OrderOpen, Settled, SettleRecord
from pileward.messages.commands import Command, Outcome
from pileward.messages.uplinks import Uplink
from pileward.services.records import RecordResult, RecordState
from pileward.values import ResultStatus, Severity

if TYPE_CHECKING:
    from pileward.actors.pile import PileActor

CREATING_MAX: Final = 32
"""Orders of one pile that may wait for the store at a time."""
SETTLE_AGAIN_S: Final = 5.0
"""Before the settlement of a record that the store did not take is offered again."""
RELEASE_S: Final = 300.0
"""For so long an order whose actor failed too often rests; then it begins again from its row."""

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

WAITING: Final = frozenset((SessionState.CREATED, SessionState.FUNDED))
"""Active orders of which the gun knows nothing yet."""
QUARANTINE: Final = "session_quarantined"

log = logger(__name__)


class Order:
    """One order that has an actor."""

    __slots__ = ("address", "asked", "gun_no", "is_out", "serial", "state", "wire_number")

    def __init__(self, opened: OpenSession) -> None:
        row = opened.row
        self.serial = row.serial
        self.wire_number = row.wire_number
        self.gun_no = row.gun_no
        self.state = row.state
        self.address: Any = None
        self.asked: dict[int, Any] = {}
        """Who waits for its actor, by command id."""
        self.is_out = False
        """Its actor failed too often and rests."""


class PileSessions:
    """All orders of one pile that are not over."""

    def __init__(self, pile: PileActor, spending: Spending) -> None:
        self._pile = pile
        self._spending = spending
        self._orders: dict[str, Order] = {}
        self._by_number: dict[str, Order] = {}
        self._creating: dict[int, tuple[ask.ReserveGun, Any]] = {}
        self._settling: dict[int, int] = {}
        """Records of no order here, by the ticket of their settlement."""
        self._unsettled: list[int] = []
        """Those that the store did not take."""

    def adopt(self, pile: PileActor) -> None:
        """A fresh instance of the pile's actor has taken over; the sessions are its children as before."""
        self._pile = pile
        for order in self._orders.values():
            if order.is_out:
                pile.arm(f"release:{order.serial}", RELEASE_S)
        if self._unsettled:
            pile.arm("unsettled", SETTLE_AGAIN_S)

    @property
    def is_empty(self) -> bool:
        """Whether nothing that anybody says concerns an order of this pile."""
        return not (self._orders or self._creating or self._settling or self._unsettled)

    @property
    def serials(self) -> list[str]:
        """All orders that have an actor."""
        return list(self._orders)

    # --- orders begin and end ---------------------------------------------------------------------------

    def load(self, opened: OpenSession) -> None:
        """Make the actor of an order, new or open before this process."""
        order = Order(opened)
        self._orders[order.serial] = order
        if order.wire_number:
            self._by_number[order.wire_number] = order
        pile = self._pile
        start = SessionStart(opened, pile.around, pile.myAddress, self._spending, order.asked)
        order.address = pile.createActor(SessionActor, start)

    def reserve(self, asked: ask.ReserveGun, sender: Any) -> None:
        """Take an order, if the gun can be charged at and nobody else has one open."""
        refusal = self._refusal(asked.row.gun_no)
        if refusal is not None and refusal.reason == "gun_busy" and self._at_gun(asked.row.gun_no):
            refusal = None  # the database says whose order is open, and leads its driver to it
        if refusal is not None:
            self._pile.send(sender, refusal)
        elif len(self._creating) >= CREATING_MAX:
            self._pile.send(sender, Outcome(ResultStatus.REJECTED, "store_busy"))
        else:
            ticket = next(self._pile.around.numbers)
            self._creating[ticket] = (asked, sender)
            self._pile.send(self._pile.around.store, Save(ticket, CreateSession(asked.row, asked.payment)))

    def stored(self, message: Stored) -> bool:
        """Take what the store did for orders; False: it was none of them."""
        if message.ticket in self._settling:
            self._settled(self._settling.pop(message.ticket), message.result)
            return True
        waiting = self._creating.pop(message.ticket, None)
        if waiting is None:
            return False
        asked, sender = waiting
        if isinstance(message.result, OrderOpen):
            self._pile.send(sender, message.result)
            return True
        if asked.row.serial not in self._orders:
            payments = (asked.payment,) if asked.payment is not None else ()
            self.load(OpenSession(asked.row, payments, ()))
        self._pile.send(sender, ask.Reserved(asked.row.serial))
        return True

    def refused(self, message: Refused) -> bool:
        """The store did not take something of orders: it has not happened. False: it was none of them."""
        if message.ticket in self._settling:
            self._unsettled.append(self._settling.pop(message.ticket))
            log.error("record_not_settled", pile=self._pile.pile.code, reason=message.reason)
            self._pile.arm("unsettled", SETTLE_AGAIN_S if message.is_pressure else RELEASE_S)
            return True
        waiting = self._creating.pop(message.ticket, None)
        if waiting is None:
            return False
        self._pile.send(waiting[1], Outcome(ResultStatus.REJECTED, "store_busy", message.reason))
        return True

    def moved(self, message: SessionMovedTo, sender: Any) -> None:
        """An order is further on; when it is over its actor may exit, and hears nothing more."""
        order = self._orders.get(message.serial)
        if message.is_over:
            if order is not None and order.address is sender:
                self._drop(order)
            self._pile.send(sender, ActorExitRequest())
        elif order is not None:
            order.state = message.state

    def gone(self, address: Any) -> None:
        """A child of the pile's actor has exited, let go or not."""
        for order in tuple(self._orders.values()):
            if order.address is address:
                self._drop(order)

    def _drop(self, order: Order) -> None:
        del self._orders[order.serial]
        if self._by_number.get(order.wire_number) is order:
            del self._by_number[order.wire_number]

    # --- what the pile says -----------------------------------------------------------------------------

    def hear(self, message: Uplink) -> bool:
        """Hand a frame to the order it speaks of; False when it speaks of none."""
        order = self._by_number.get(getattr(message, "wire_number", ""))
        if order is None and type(message) in (up.Telemetry, up.StopAnswer):
            order = self._at_gun(getattr(message, "gun_no", 0))
        if order is None:
            return False
        self._pile.send(order.address, message)
        return True

    def record_kept(self, record: up.TransactionRecord, result: RecordResult) -> None:
        """A record is durable and confirmed: its order settles it, or the services find whose it is."""
        order = self._by_number.get(record.wire_number)
        if order is not None:
            self._pile.send(order.address, RecordArrived(record, result))
        else:
            self._settle(result.first_id)

    def _settle(self, record_id: int) -> None:
        ticket = next(self._pile.around.numbers)
        self._settling[ticket] = record_id
        write = SettleRecord(record_id, self._pile.clock.utc())
        self._pile.send(self._pile.around.store, Save(ticket, write))

    def settle_again(self) -> None:
        """Offer what the store did not take once more."""
        waiting, self._unsettled = self._unsettled, []
        for record_id in waiting:
            self._settle(record_id)

    def _settled(self, record_id: int, result: Any) -> None:
        if isinstance(result, Settled):
            log.info("late_record_settled", session=result.serial, record=record_id, state=result.state.word)
            order = self._orders.get(result.serial)
            if order is not None:  # by its time: its actor did not know the number, and has to hear of it
                known = RecordResult(RecordState.SAME, record_id, record_id)
                self._pile.send(order.address, RecordArrived(None, known))
            if result.out_refund_no is not None:
                self._pile.send(self._pile.around.refunds, ask.RefundsWaiting())
        else:
            log.warning("record_of_no_order", pile=self._pile.pile.code, record=record_id)

    def lost(self, reason: str) -> None:
        """The pile is away."""
        for order in self._orders.values():
            self._pile.send(order.address, PileLost(reason))

    def back(self) -> None:
        """The pile is online again."""
        for order in self._orders.values():
            self._pile.send(order.address, PileBack())

    def unsent(self, downlink: down.Downlink, sender: Any) -> None:
        """The pile is not there to hear an order; of a start its actor has to know."""
        log.info("not_sent", pile=downlink.pile_code, frame=type(downlink).__name__)
        if isinstance(downlink, down.RemoteStart):
            self._pile.send(sender, StartUnsent())

    # --- what edges and port actors say -----------------------------------------------------------------

    def ask(self, command: Command, sender: Any) -> None:
        """Hand a command to the order it is about."""
        order = self._orders.get(getattr(command, "serial", ""))
        if order is None:
            self._pile.send(sender, Outcome(ResultStatus.REJECTED, "unknown_session"))
            return
        if order.is_out:
            self._pile.send(sender, _OUT)
            return
        refusal = ""
        if isinstance(command, ask.StartSession):
            found = self._refusal(order.gun_no)
            if found is None and any(
                other is not order and other.gun_no == order.gun_no and other.state in ACTIVE - WAITING
                for other in self._orders.values()
            ):
                refusal = "gun_busy"
            elif found is not None:
                refusal = found.reason
        self._pile.send(order.address, AskFor(command, sender, refusal))

    def tell(self, serial: str, message: Any) -> None:
        """Hand on what payments and refunds say about an order; one that is over needs nothing more."""
        order = self._orders.get(serial)
        if order is not None:
            self._pile.send(order.address, message)

    # --- failing orders ---------------------------------------------------------------------------------

    def quarantined(self, serial: str, error: str) -> Raise | None:
        """An order's actor failed too often: it rests for a while, and somebody is told."""
        order = self._orders.get(serial)
        if order is None:
            return None
        order.is_out = True
        for sender in order.asked.values():
            self._pile.send(sender, _OUT)
        order.asked.clear()
        self._pile.arm(f"release:{serial}", RELEASE_S)
        zh, en = f"订单 {serial} 连续出错，已暂停：{error}", f"order {serial} failed repeatedly: {error}"
        return Raise(QUARANTINE, Severity.FAULT, zh[:200], en[:200], order.gun_no)

    def release(self, serial: str) -> Clear | None:
        """Let it begin again from its row."""
        order = self._orders.get(serial)
        if order is None:
            return None
        order.is_out = False
        self._pile.engine.release(order.address)
        return Clear(QUARANTINE, order.gun_no)

    # --- the guns ---------------------------------------------------------------------------------------

    def _at_gun(self, gun_no: int) -> Order | None:
        """The order that a gun belongs to; of two, the one that the gun knows of."""
        found = None
        for order in self._orders.values():
            if order.gun_no == gun_no and order.state in ACTIVE:
                if order.state not in WAITING:
                    return order
                found = order
        return found

    def _refusal(self, gun_no: int) -> Outcome | None:
        """What the pile has against charging at this gun now."""
        pile = self._pile.pile
        if not 1 <= gun_no <= len(pile.guns):
            return Outcome(ResultStatus.REJECTED, "unknown_gun", f"gun {gun_no}")
        if pile.status is not PileStatus.ONLINE:
            return Outcome(ResultStatus.OFFLINE, "pile_offline", "充电桩离线 / the pile is offline")
        reason = _GUN_REFUSALS.get(pile.guns[gun_no - 1].state, "")
        if not reason and pile.config.is_in_maintenance:
            reason = "in_maintenance"
        if not reason and not pile.tariff_ok:
            reason = "tariff_pending"
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
_OUT: Final = Outcome(
    ResultStatus.FAILED,
    "session_failed",
    "订单暂时无法处理，请稍后再试 / the order is stuck: try again later",
)
