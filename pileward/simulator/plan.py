"""How many piles of which kind, and where they connect from."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pileward.simulator.fleet import Fleet
from pileward.simulator.habits import Habits, make_nameplate
from pileward.simulator.profiles import STEADY, Profile
from pileward.values import GUNS_MAX

CODE_DIGITS: Final = 14
PILES_MAX: Final = 200_000
PER_SOURCE: Final = 2_000
"""Connections from one loopback address: below its ports, and what a platform grants one address."""
SOURCES_MAX: Final = 250


class Plan(msgspec.Struct, frozen=True):
    """A fleet with consecutive numbers. Raises ValueError for what cannot be."""

    first_code: str
    piles: int
    guns: int = 2
    piles_per_connection: int = 1
    profile: Profile = STEADY
    seed: int = 0
    ramp_s: float = 0.0
    """Clock seconds over which the piles get their power, evenly."""
    habits: Habits = Habits()

    def __post_init__(self) -> None:
        code = self.first_code
        if not (code.isascii() and code.isdigit() and len(code) == CODE_DIGITS):
            raise ValueError(f"the first code must be {CODE_DIGITS} digits, not {code!r}")
        if not 1 <= self.piles <= PILES_MAX:
            raise ValueError(f"piles must be 1 to {PILES_MAX}, not {self.piles}")
        if int(code) == 0 or int(code) + self.piles > 10**CODE_DIGITS:
            raise ValueError(f"codes from {code} on do not fit {CODE_DIGITS} digits")
        if not 1 <= self.guns <= GUNS_MAX:
            raise ValueError(f"guns must be 1 to {GUNS_MAX}, not {self.guns}")
        if self.piles_per_connection < 1:
            raise ValueError("piles per connection must be 1 or more")

    @property
    def codes(self) -> list[str]:
        """All pile numbers."""
        first = int(self.first_code)
        return [f"{first + index:0{CODE_DIGITS}d}" for index in range(self.piles)]

    @property
    def connections(self) -> int:
        """How many connections they need."""
        return -(-self.piles // self.piles_per_connection)


def first_code_of(prefix: str) -> str:
    """The first of the codes that begin with a prefix; raises ValueError for too long a prefix."""
    if len(prefix) >= CODE_DIGITS:
        raise ValueError(f"a prefix has fewer than {CODE_DIGITS} digits")
    return prefix + "1".rjust(CODE_DIGITS - len(prefix), "0")


def source_of(host: str, connection: int) -> str | None:
    """The local address for a connection: one of many on loopback, elsewhere the system's choice (None)."""
    if not is_loopback(host) or connection < PER_SOURCE:
        return None
    return f"127.0.0.{2 + min(connection // PER_SOURCE, SOURCES_MAX) - 1}"


def host_of(url: str) -> str:
    """The host that a URL names; empty when it names none."""
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether a host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def populate(fleet: Fleet, plan: Plan) -> None:
    """Put all piles of a plan into a fleet."""
    codes = plan.codes
    for connection in range(plan.connections):
        start = connection * plan.piles_per_connection
        group = codes[start : start + plan.piles_per_connection]
        fleet.add(
            [make_nameplate(code, plan.guns, plan.seed) for code in group],
            seed=plan.seed,
            profile=plan.profile,
            habits=plan.habits,
            source=source_of(fleet.host, connection),
            after_s=plan.ramp_s * connection / plan.connections,
        )
