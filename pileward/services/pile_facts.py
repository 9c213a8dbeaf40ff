"""What piles prove by talking: logins, signs of life, the tariff they hold; written in bulk."""

from __future__ import annotations

from datetime import datetime

import msgspec


class LoginFacts(msgspec.Struct, frozen=True):
    """What a pile says of itself when it logs in (YKC 1.6, 0x01); words as in `messages.uplinks.Login`."""

    device_kind: str = "unknown"
    gun_count: int = 0
    protocol_version: str = ""
    software_version: str = ""
    network: str = ""
    iccid: str = ""
    carrier: str = ""
    remote_address: str = ""
    """Where the connection came from, `host:port`."""


class SaveLogin(msgspec.Struct, frozen=True):
    """Keep the facts of an accepted login; an older login never overwrites a newer one."""

    pile_code: str
    facts: LoginFacts
    at: datetime


class SaveSeen(msgspec.Struct, frozen=True):
    """Keep when a pile was last heard; never goes backwards."""

    pile_code: str
    at: datetime


class ConfirmTariff(msgspec.Struct, frozen=True):
    """Keep which billing model a pile has proven to hold (0x05 equal, or 0x57 done)."""

    pile_code: str
    billing_model_no: str
    at: datetime
