"""What a driver has in mind on one trip: everything that chance decides about people, drawn at once.

What the platform answers depends on the moment; what the driver wanted depends on seed, driver and trip.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from pileward.simulator.dice import Dice


class Plug(enum.StrEnum):
    """When the car is plugged in."""

    FIRST = "first"
    LATE = "late"
    """After the start was asked for; there is a minute for it."""
    NEVER = "never"


class Paying(enum.StrEnum):
    """What happens in the payment window."""

    PAYS = "pays"
    PAYS_LATER = "pays_later"
    """Closes the window first, then opens it again."""
    GIVES_UP = "gives_up"
    """Closes it and cancels the order."""
    WALKS_AWAY = "walks_away"
    """Closes it and never comes back to it."""


class Intent(msgspec.Struct, frozen=True):
    """One trip as it is meant; times in clock seconds."""

    amount_fen: int = 5_000
    limit: dict[str, Any] | None = None
    plug: Plug = Plug.FIRST
    paying: Paying = Paying.PAYS
    stops_after_s: float | None = None
    """Seconds of charging after which the driver stops it; None: when it ends by itself."""
    think_s: float = 0.0
    """Before each tap."""
    lingers_s: float = 0.0
    """The car stays plugged so long after the end."""
    scans: bool = False
    """Finds the gun by its QR code instead of the station's list."""
    taps_twice: bool = False
    """Every button that moves money, at once, with the same key."""
    scans_again: bool = False
    """Orders a second time, with a new key, while the order is open."""
    closes_app: bool = False
    """Right after paying: no word to the platform, and a while until it is opened again."""
    by_socket: bool = False
    """Watches by WebSocket instead of asking again and again."""


AMOUNTS_FEN: Final = ((1_000, 2.0), (2_000, 4.0), (3_000, 5.0), (5_000, 7.0), (10_000, 3.0), (300, 1.0))
HASTY: Final = Intent(amount_fen=2_000, stops_after_s=1.0)
"""For load: no thinking, and just enough current for a bill that is not zero."""


def draw_intent(dice: Dice) -> Intent:
    """Draw one trip of a driver as there are many: most of them plain, a good part of them not."""
    amount_fen = dice.weighted(AMOUNTS_FEN)
    limits: list[tuple[dict[str, Any] | None, float]] = [
        (None, 7.0),
        ({"kind": "energy", "value": 10_000 * (1 + dice.below(20))}, 1.0),
        ({"kind": "time", "value": 300 * (1 + dice.below(6))}, 1.0),
        ({"kind": "money", "value": max(100, amount_fen // 2)}, 1.0),
    ]
    return Intent(
        amount_fen=amount_fen,
        limit=dice.weighted(limits),
        plug=dice.weighted(((Plug.FIRST, 85.0), (Plug.LATE, 13.0), (Plug.NEVER, 2.0))),
        paying=dice.weighted(
            (
                (Paying.PAYS, 88.0),
                (Paying.PAYS_LATER, 6.0),
                (Paying.GIVES_UP, 4.0),
                (Paying.WALKS_AWAY, 2.0),
            )
        ),
        stops_after_s=dice.between(60.0, 1_800.0) if dice.happens(0.6) else None,
        think_s=dice.between(1.0, 6.0),
        lingers_s=dice.between(10.0, 240.0),
        scans=dice.happens(0.4),
        taps_twice=dice.happens(0.12),
        scans_again=dice.happens(0.06),
        closes_app=dice.happens(0.08),
        by_socket=dice.happens(0.5),
    )
