"""What a pile actor knows of its pile, and what can happen to it: the nouns of the pile machine."""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from pileward.actors.gun_machine import BUSY, Gun
from pileward.messages.charging import SessionState
from pileward.messages.commands import Command
from pileward.messages.downlinks import Downlink
from pileward.messages.uplinks import Login, TransactionRecord
from pileward.services.pile_configs import PileConfig
from pileward.services.records import RecordResult

REPLY_WITHIN_S: Final = 10.0
"""Seconds a pile gets to answer a command (YKC 1.6, 9: recommendation)."""
ATTEMPTS_MAX: Final = 3
"""Times a command is sent before it has timed out; a start frame is never repeated."""
TARIFF_GRACE_S: Final = 60.0
"""After a login without a billing check for this long, the tariff is pushed."""
TARIFF_RETRY_S: Final = 300.0
"""Between two rounds of pushing a tariff that the pile refused or did not answer."""
READ_GRACE_S: Final = 20.0
"""After a login, guns that have not reported by then are asked."""
RECORD_WITHIN_S: Final = 30.0
"""A transaction record follows the end of its charge within this time (YKC 1.6, 8.6)."""
CLOCK_TOLERANCE_S: Final = 60.0
"""A pile's clock further away than this, right after it was set, is worth a warning (YKC 1.6, 0x55)."""
LIMIT_PCT_MIN: Final = 30
LIMIT_PCT_MAX: Final = 100


class PileStatus(enum.IntEnum):
    """States of a pile. Quarantined is known to the supervisor alone; maintenance lies over Online."""

    UNKNOWN = 0
    REGISTERING = 1
    ONLINE = 2
    OFFLINE = 3


class Pending(msgspec.Struct, frozen=True):
    """One command on its way: what was sent, how often it may still be sent, and who waits."""

    kind: str
    downlink: Downlink
    attempts_left: int
    command_id: int | None


class Pile(msgspec.Struct, frozen=True):
    """All state of a pile actor; times are epoch milliseconds, UTC, 0 for never."""

    config: PileConfig
    guns: tuple[Gun, ...]
    status: PileStatus = PileStatus.UNKNOWN
    since_ms: int = 0
    reason: str = "started"
    link: Any = None
    """Address of the connection actor that speaks for the pile now."""
    login: Login | None = None
    remote_address: str = ""
    tariff_ok: bool = False
    """The pile has proven, since its login, that it holds the tariff it should."""
    is_push_wanted: bool = False
    """Staff want the tariff sent as soon as no gun is busy, even if the pile holds it."""
    held_model_no: str = ""
    """The billing model that the pile said it holds, or has been given."""
    clock_drift_ms: int | None = None
    pending: tuple[Pending, ...] = ()
    orders: tuple[tuple[int, str, SessionState], ...] = ()
    """Active orders by gun: (gun_no, serial, state); laid over the reported state when the gun is shown."""

    @property
    def code(self) -> str:
        """The pile's own number."""
        return self.config.pile_code

    @property
    def is_busy(self) -> bool:
        """Whether any gun charges or waits for its record."""
        return any(gun.state in BUSY for gun in self.guns) or any(
            state is SessionState.STARTING for _, _, state in self.orders
        )


def new_pile(config: PileConfig) -> Pile:
    """A pile of which nothing has been heard yet."""
    guns = tuple(Gun(number) for number in range(1, config.gun_count + 1))
    return Pile(config=config, guns=guns, held_model_no=config.confirmed_billing_model_no or "")


# --- events that are not uplinks ------------------------------------------------------------------------


class LoginAsked(msgspec.Struct, frozen=True):
    """A login arrived on a link; `wait_s` is the time admission wants it to wait."""

    login: Login
    link: Any
    remote_address: str
    wait_s: float = 0.0


class Resumed(msgspec.Struct, frozen=True):
    """The actor has been restarted; this admitted connection spoke for the pile and still does."""

    link: Any
    remote_address: str = ""


class LinkLost(msgspec.Struct, frozen=True):
    """A connection is gone; only the current one changes anything."""

    link: Any
    reason: str


class SilenceChecked(msgspec.Struct, frozen=True):
    """How long the pile and each gun have been silent, seconds."""

    pile_s: float
    guns_s: tuple[float, ...]


class AdmissionDue(msgspec.Struct, frozen=True):
    """The waiting login may be answered now."""


class TariffDue(msgspec.Struct, frozen=True):
    """Time to see whether the pile holds its tariff."""


class ClockDue(msgspec.Struct, frozen=True):
    """Time to set the pile's clock again."""


class ReadDue(msgspec.Struct, frozen=True):
    """Time to ask the guns that have not reported since the login."""


class AbsenceDue(msgspec.Struct, frozen=True):
    """The pile has stayed away long enough to tell somebody."""


class ReplyDue(msgspec.Struct, frozen=True):
    """No answer to a command of this kind came in time."""

    kind: str


class RecordDue(msgspec.Struct, frozen=True):
    """The record of a charge that ended on this gun should be here by now."""

    gun_no: int


class ConfigChanged(msgspec.Struct, frozen=True):
    """Staff changed the pile, its model or its tariff."""

    config: PileConfig


class CommandAsked(msgspec.Struct, frozen=True):
    """An edge wants something done; it gets exactly one Reply with this id."""

    command_id: int
    command: Command


class RecordKept(msgspec.Struct, frozen=True):
    """The store has committed a transaction record."""

    record: TransactionRecord
    result: RecordResult
