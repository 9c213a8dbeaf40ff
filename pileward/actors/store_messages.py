"""What actors and the store say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from pileward.messages.charging import OpenSession
from pileward.messages.uplinks import Telemetry
from pileward.services.pile_configs import PileConfig


class Save(msgspec.Struct, frozen=True, gc=False):
    """Write this durably; answered with Stored or Refused carrying the same ticket.

    Answers come in the order in which a sender has written, except that a full store refuses at once. Ticket
    0 asks for no answer.
    """

    ticket: int
    write: Any


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The write is committed and flushed; `result` is what its service function returned."""

    ticket: int
    result: Any


class Refused(msgspec.Struct, frozen=True):
    """The write is not stored. Under pressure the sender may offer it again; otherwise it is at fault."""

    ticket: int
    reason: str
    is_pressure: bool


class TakeSample(msgspec.Struct, frozen=True, gc=False):
    """Keep a telemetry for charts if there is room."""

    telemetry: Telemetry
    at_ms: int


class LoadPile(msgspec.Struct, frozen=True):
    """Read all that a pile actor needs; answered with PileLoaded once what was written before is there."""

    pile_code: str


class PileLoaded(msgspec.Struct, frozen=True):
    """The pile as the database has it now; `config` None: it is not registered (any more)."""

    pile_code: str
    config: PileConfig | None
    open_alarms: frozenset[tuple[str, int | None]] = frozenset()


class LoadSession(msgspec.Struct, frozen=True):
    """Read all that is durable of a charge; answered with SessionLoaded."""

    serial: str


class SessionLoaded(msgspec.Struct, frozen=True):
    """The charge as the database has it now; `opened` None: there is no such charge."""

    serial: str
    opened: OpenSession | None
