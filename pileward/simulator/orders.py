"""What a pile tells its line to do, and what a pile is doing."""

from __future__ import annotations

import enum


class Order(enum.Enum):
    """What a pile wants done with its line; behind a shared line LEAVE and FADE concern this pile alone."""

    CONNECT = "connect"
    LEAVE = "leave"
    """This pile goes in good order: a line of its own is closed."""
    FADE = "fade"
    """This pile is gone without a word: a line of its own stays open with nobody at this end."""
    CLOSE = "close"
    RESET = "reset"
    ABANDON = "abandon"
    """The path dies: the socket stays open with nobody at this end."""


Action = bytes | Order


class Phase(enum.StrEnum):
    """What a pile is doing."""

    OFF = "off"
    WAITING = "waiting"
    CONNECTING = "connecting"
    LOGGING_IN = "logging_in"
    ONLINE = "online"
    HUNG = "hung"
