"""What piles prove by talking: logins, signs of life, the tariff they hold; written in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.services.sql import clean, execute_many, utc

GUN_COUNT_MAX: Final = 255
"""One byte on the wire; what a device says beyond is not kept."""


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


_LOGIN = """
UPDATE pile SET reported_kind = ?, reported_gun_count = ?, protocol_version = ?, software_version = ?,
  network = ?, iccid = ?, carrier = ?, remote_address = ?, last_login_at = ?,
  last_seen_at = CASE WHEN last_seen_at > ? THEN last_seen_at ELSE ? END
WHERE pile_code = ? AND (last_login_at IS NULL OR last_login_at <= ?)
"""
_SEEN = """
UPDATE pile SET last_seen_at = ? WHERE pile_code = ? AND (last_seen_at IS NULL OR last_seen_at < ?)
"""
_CONFIRM = """
UPDATE pile SET confirmed_billing_model_no = ?, confirmed_at = ?
WHERE pile_code = ? AND (confirmed_at IS NULL OR confirmed_at <= ?)
"""


def cleaned(facts: LoginFacts) -> LoginFacts:
    """The facts as columns can hold them, whatever the device said."""
    return LoginFacts(
        device_kind=clean(facts.device_kind, 8),
        gun_count=min(max(facts.gun_count, 0), GUN_COUNT_MAX),
        protocol_version=clean(facts.protocol_version, 16),
        software_version=clean(facts.software_version, 32),
        network=clean(facts.network, 16),
        iccid=clean(facts.iccid, 20),
        carrier=clean(facts.carrier, 16),
        remote_address=clean(facts.remote_address, 64),
    )


async def save_logins(connection: BaseDBAsyncClient, writes: Sequence[SaveLogin]) -> list[None]:
    """Bulk form of SaveLogin; an unknown pile is passed over."""
    rows = []
    for write in writes:
        facts, at = cleaned(write.facts), utc(write.at)
        said = [facts.device_kind, facts.gun_count, facts.protocol_version, facts.software_version]
        said += [facts.network, facts.iccid, facts.carrier, facts.remote_address]
        rows.append([*said, at, at, at, write.pile_code, at])
    await execute_many(connection, _LOGIN, rows)
    return [None] * len(writes)


async def save_seen(connection: BaseDBAsyncClient, writes: Sequence[SaveSeen]) -> list[None]:
    """Bulk form of SaveSeen; of several for a pile only the last is written."""
    newest: dict[str, datetime] = {}
    for write in writes:
        newest[write.pile_code] = max(newest.get(write.pile_code, write.at), write.at)
    await execute_many(connection, _SEEN, [[utc(at), code, utc(at)] for code, at in newest.items()])
    return [None] * len(writes)


async def confirm_tariffs(connection: BaseDBAsyncClient, writes: Sequence[ConfirmTariff]) -> list[None]:
    """Bulk form of ConfirmTariff; an older proof never replaces a newer one."""
    rows = [[write.billing_model_no, utc(write.at), write.pile_code, utc(write.at)] for write in writes]
    await execute_many(connection, _CONFIRM, rows)
    return [None] * len(writes)
