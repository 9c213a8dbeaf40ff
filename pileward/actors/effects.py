"""What a machine wants done: frozen values that an actor's shell performs after the step.

A downlink (`pileward.messages.downlinks`) is an effect by itself: it goes to the pile's current connection.
`Persist` holds every later outward effect of the machine until the store has committed it; `Note` is a write
that nobody outside waits for. `Arm` and `Disarm` act at once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pileward.messages.commands import Outcome
from pileward.messages.uplinks import Telemetry
from pileward.values import Severity


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Base of all effects that are not downlinks."""


class Persist(Effect, frozen=True):
    """Write this durably; what follows waits for it. At most one a step.

    `about` comes back with the store's result as an event of its own.
    """

    write: Any
    about: Any = None


class Note(Effect, frozen=True):
    """Write this soon; nothing waits for it."""

    write: Any


class Sample(Effect, frozen=True):
    """Keep this telemetry for charts; may be shed under pressure."""

    telemetry: Telemetry


class Arm(Effect, frozen=True, gc=False):
    """Start (or restart) a named timer, in clock seconds."""

    timer: str
    after_s: float


class Disarm(Effect, frozen=True, gc=False):
    """Stop a named timer; nothing happens when it is not armed."""

    timer: str


class Reply(Effect, frozen=True):
    """Answer the edge that asked: exactly one for each command."""

    command_id: int
    outcome: Outcome


class ShowGun(Effect, frozen=True, gc=False):
    """Tell the live feed how this gun looks now."""

    gun_no: int


class ShowPile(Effect, frozen=True, gc=False):
    """Tell the live feed how the pile looks now, and why it changed."""

    reason: str


class Raise(Effect, frozen=True, gc=False):
    """Raise an alarm; nothing happens while the same one is open."""

    kind: str
    severity: Severity
    text_zh: str
    text_en: str
    gun_no: int | None = None


class Clear(Effect, frozen=True, gc=False):
    """End an alarm; nothing happens when it is not raised."""

    kind: str
    gun_no: int | None = None


class ClearFamily(Effect, frozen=True, gc=False):
    """End every alarm of a gun whose kind begins so, but those kept."""

    prefix: str
    gun_no: int | None
    kept: tuple[str, ...]


class Unlink(Effect, frozen=True):
    """Take this pile off a connection, which closes when no pile is left on it."""

    link: Any
    reason: str


class Count(Effect, frozen=True, gc=False):
    """Count something odd that needs no other action, by a stable name."""

    name: str


class ShowSession(Effect, frozen=True, gc=False):
    """Tell the live feed, and the pile's actor, how the charge stands now."""


class TellPayments(Effect, frozen=True):
    """Ask the payments actor for something; its answer comes as an event."""

    message: Any


class TellRefunds(Effect, frozen=True):
    """Tell the refunds actor that something waits for it."""

    message: Any


class Reload(Effect, frozen=True, gc=False):
    """Begin again from what is durable."""


Effects = tuple[Any, ...]
"""Effects and downlinks in the order they are wanted."""

NOTHING: Effects = ()
