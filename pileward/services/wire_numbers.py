"""What each protocol calls a charge, and back: piles know charges by these numbers only.

YKC: pile 14 + gun 2 + yymmddhhmmss + counter 4 (YKC 1.6, 4.3); the last two are those of the serial. A pile
makes numbers of its own by the same rule when it charges off line, and other platforms' piles send any
digits: so a number is looked up, never taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.services.sql import among, execute_many, listed, select

_FIND = "SELECT serial, protocol, pile_code, wire_number FROM wire_number WHERE {among}"
_INSERT = """
INSERT INTO wire_number (protocol, pile_code, wire_number, gun_no, serial) VALUES (?, ?, ?, ?, ?)
"""


def make_wire_number(protocol: str, pile_code: str, gun_no: int, serial: str) -> str:
    """The number under which a pile gets to know a charge; for protocols without a rule, the serial."""
    if protocol == "ykc":
        return f"{pile_code}{gun_no:02d}{serial[:12]}{serial[-4:]}"
    return serial


async def serial_of(
    connection: BaseDBAsyncClient, protocol: str, pile_code: str, wire_number: str
) -> str | None:
    """Which charge a pile means; None: none that we know."""
    return (await serials_of(connection, [(protocol, pile_code, wire_number)]))[0]


async def serials_of(connection: BaseDBAsyncClient, keys: Sequence[tuple[str, str, str]]) -> list[str | None]:
    """The same for many of (protocol, pile, wire number)."""
    numbers = sorted({wire_number for _, _, wire_number in keys})
    query = _FIND.format(among=among(connection, "wire_number"))
    found = {
        (row["protocol"], row["pile_code"], row["wire_number"]): str(row["serial"])
        for row in await select(connection, query, listed(connection, numbers))
    }
    return [found.get(key) for key in keys]


async def keep_wire_numbers(
    connection: BaseDBAsyncClient, rows: Iterable[tuple[str, str, str, int, str]]
) -> None:
    """Keep (protocol, pile, wire number, gun, serial); a number that is taken is an IntegrityError."""
    await execute_many(connection, _INSERT, [list(row) for row in rows])
