"""What a session actor knows of its charge, and what can happen to it: the nouns of the session machine."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pileward.messages.charging import SessionRow, SessionState
from pileward.messages.charging_writes import PaymentConfirmed, RefundMoved
from pileward.messages.commands import Command
from pileward.messages.uplinks import Telemetry, TransactionRecord
from pileward.services.records import RecordResult

PAY_WITHIN_S: Final = 600.0
"""An order that is not paid within this time is closed."""
START_WITHIN_S: Final = 900.0
"""A paid order that nobody starts goes back to the driver after this time."""
ANSWER_WITHIN_S: Final = 70.0
"""Seconds for the pile to accept a start, late plug-in included (YKC 1.6, 0x33)."""
CHARGING_WITHIN_S: Final = 90.0
"""Seconds from the start frame until charging must be seen (YKC 1.6, 8.2)."""
LAST_LOOK_S: Final = 10.0
"""Before a start is given up the pile is asked once more and told to stop; this long is waited."""
RETURN_WITHIN_S: Final = 300.0
"""A pile that is away when its start is due may be charging: its return is waited for so long, once."""
TOLD_WITHIN_S: Final = 20.0
"""A pile that came back while its start was waited for tells within this time how its gun stands."""
QUIET_S: Final = 60.0
"""A gun that charges and says nothing for four reports (YKC 1.6, 9) is asked."""
STOP_ANSWER_S: Final = 10.0
STOP_ATTEMPTS: Final = 3
STOP_WATCH_S: Final = 60.0
"""A charge that still runs so long after its stop is stopped again, with an alarm."""
RECORD_WITHIN_S: Final = 30.0
AGAIN_MAX_S: Final = 300.0
"""The longest pause before what the store refused is tried again."""
PROVISIONAL_AFTER_S: Final = 86_400.0
"""Without a record for this long the charge is billed by its last live values, for staff to approve."""
LIVE_SAVE_MS: Final = 10_000
"""Live values are made durable at most this often."""

NOT_PLUGGED: Final = 5
"""YKC 1.6, 7.4: not final, the vehicle may still be plugged in."""
NOT_CHARGING: Final = 2
"""YKC 1.6, 0x35: there was nothing to stop."""
CANCELLED: Final = "cancelled"
"""`start_failure` of an order that its driver has given up, from the moment it was asked for."""
START_REFUSALS: Final = {
    1: "pile_mismatch",
    2: "already_charging",
    3: "device_fault",
    4: "device_offline",
    5: "not_plugged",
}


class Spending(msgspec.Struct, frozen=True):
    """When the platform stops a charge itself: settings of the operator."""

    margin_fen: int = 10
    """Kept back of the money, so that the last report before the stop does not overrun it."""
    report_s: int = 15
    """Between two reports of a charging gun: what is used until the next one is counted in."""


class Session(msgspec.Struct, frozen=True):
    """All state of a session actor. `row` is as durable, or about to be; times are epoch milliseconds."""

    row: SessionRow
    spending: Spending = Spending()
    is_pile_online: bool = False
    is_accepted: bool = False
    """The pile said that it starts."""
    is_giving_up: bool = False
    """The start is being taken back: what the pile does now is stopped."""
    has_waited: bool = False
    """The return of the pile was waited for already."""
    detail: str = ""
    stop_attempts: int = 0
    telemetry: Telemetry | None = None
    telemetry_ms: int = 0
    saved_ms: int = 0
    facts: tuple[tuple[str, dict[str, Any]], ...] = ()
    """What the vehicle said once in this charge, by kind."""

    @property
    def serial(self) -> str:
        """Our number of the charge."""
        return self.row.serial

    @property
    def state(self) -> SessionState:
        """Where the charge is."""
        return self.row.state

    @property
    def is_cancelled(self) -> bool:
        """The driver gave the order up before it charged."""
        return self.row.start_failure == CANCELLED

    @property
    def wants_stop(self) -> bool:
        """Somebody, or a limit, wants the charge to end."""
        return bool(self.row.stop_reason)

    @property
    def amount_e9_yuan(self) -> int:
        """Money so far by our own tariff, 1e-9 yuan: energy by rate times price."""
        prices = self.row.tariff.prices
        return sum(
            energy * price.total_e5_yuan
            for energy, price in zip(self.row.rate_energy_e4_kwh, prices, strict=True)
        )


def new_session(row: SessionRow, *, is_pile_online: bool, spending: Spending) -> Session:
    """A session as its row has it: just made, or loaded after a restart."""
    return Session(row=row, spending=spending, is_pile_online=is_pile_online)


# --- events ---------------------------------------------------------------------------------------------


class Resumed(msgspec.Struct, frozen=True):
    """The actor was made, or began again, from this row: what was under way is taken up."""


class FundedBy(msgspec.Struct, frozen=True):
    """Money for the order arrived and is in the ledger."""

    confirmed: PaymentConfirmed


class PaymentClosed(msgspec.Struct, frozen=True):
    """The payment was closed unpaid."""


class StartAsked(msgspec.Struct, frozen=True):
    """The driver wants to charge now; `refusal` is what the pile's actor has against it, if anything."""

    command_id: int
    refusal: str = ""


class StopAsked(msgspec.Struct, frozen=True):
    """The driver or staff want the charge to end."""

    command_id: int
    reason: str


class CancelAsked(msgspec.Struct, frozen=True):
    """The driver gives the order up."""

    command_id: int


class DecisionAsked(msgspec.Struct, frozen=True):
    """A person decides about a held session."""

    command_id: int
    decision: str
    actor: str
    note: str


class StartUnsent(msgspec.Struct, frozen=True):
    """The start frame was not written: the pile was away when it was its turn."""


class PileLost(msgspec.Struct, frozen=True):
    """The pile is no longer online."""

    reason: str


class PileBack(msgspec.Struct, frozen=True):
    """The pile is online again."""


class RecordArrived(msgspec.Struct, frozen=True):
    """The transaction record of this charge is durable."""

    record: TransactionRecord | None
    """None: it was stored before a restart."""
    result: RecordResult


class RefundMovedOn(msgspec.Struct, frozen=True):
    """A refund of this order moved."""

    moved: RefundMoved


class Written(msgspec.Struct, frozen=True):
    """A durable write of this session is committed, with its result."""

    write: Any
    result: Any


class PayDue(msgspec.Struct, frozen=True):
    """The order should have been paid by now."""


class StartByDue(msgspec.Struct, frozen=True):
    """The paid order should have been started by now."""


class AnswerDue(msgspec.Struct, frozen=True):
    """The pile should have accepted the start by now."""


class ChargingDue(msgspec.Struct, frozen=True):
    """The gun should be charging by now."""


class LastLookDue(msgspec.Struct, frozen=True):
    """The pile had its last chance to say that it charges."""


class LiveDue(msgspec.Struct, frozen=True):
    """The gun should have said something by now."""


class StopDue(msgspec.Struct, frozen=True):
    """The pile should have answered the stop by now."""


class StopWatchDue(msgspec.Struct, frozen=True):
    """The charge should have ended by now."""


class RecordDue(msgspec.Struct, frozen=True):
    """The record should be here by now."""


class ProvisionalDue(msgspec.Struct, frozen=True):
    """The record has not come for so long that the charge is billed without it."""


class AskFor(msgspec.Struct, frozen=True):
    """From the pile's actor to its session: a command, who asked, and what the pile has against it."""

    command: Command
    sender: Any
    refusal: str = ""


class SessionMovedTo(msgspec.Struct, frozen=True):
    """From a session to its pile's actor: where it is now. `is_over`: its actor is about to exit."""

    serial: str
    gun_no: int
    state: SessionState
    is_over: bool


class SessionTrouble(msgspec.Struct, frozen=True):
    """From the fleet to a pile's actor: the actor of one of its charges failed too often."""

    serial: str
    error: str
