"""Numbers of charges: the serial (交易流水号) and what is derived from it.

serial = yymmddhhmmss (China time) + node (2 digits) + counter (6 digits): 20 digits, never given out twice.
A node takes a block of counter numbers durably and hands them out from memory; what a crash leaves of a block
is skipped. The high-water mark outlives the process, so the clock may jump and no number comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.messages.charging_writes import ReserveSerials
from pileward.services.sql import select
from pileward.values import CHINA

NODES_MAX: Final = 100
NUMBERS: Final = 1_000_000
BLOCK: Final = 1_000
"""Numbers to reserve at a time: a durable write for each thousand orders."""

_TAKE = """
INSERT INTO serial_counter (node, next_number) VALUES (?, ?)
ON CONFLICT (node) DO UPDATE SET next_number = serial_counter.next_number + ?
RETURNING next_number
"""


class SerialBlock:
    """Reserved numbers of one node, handed out one by one."""

    def __init__(self, node: int, first: int, count: int) -> None:
        assert 0 <= node < NODES_MAX
        self._node = node
        self._next = first
        self._end = first + count

    def __len__(self) -> int:
        """How many are left."""
        return self._end - self._next

    def take(self, at: datetime) -> str:
        """The next serial; `at` is when its charge was ordered. The block must not be empty."""
        assert self._next < self._end, "reserve more first"
        number, self._next = self._next, self._next + 1
        return make_serial(at, self._node, number)


def make_serial(at: datetime, node: int, number: int) -> str:
    """The serial of a moment, a node (0 to 99) and a counter number (its last six digits count)."""
    return f"{at.astimezone(CHINA):%y%m%d%H%M%S}{node:02d}{number % NUMBERS:06d}"


def trade_no(serial: str, number: int) -> str:
    """`out_trade_no` of the n-th payment of a charge (n from 1), at most 32 characters."""
    return f"P{serial}-{number}"


def refund_no(serial: str, number: int) -> str:
    """`out_refund_no` of the n-th refund of a charge (n from 1)."""
    return f"R{serial}-{number}"


async def reserve_serials(connection: BaseDBAsyncClient, writes: Sequence[ReserveSerials]) -> list[int]:
    """Bulk form of ReserveSerials; written again after a lost answer, it skips a block: no harm."""
    firsts = []
    for write in writes:
        assert 0 <= write.node < NODES_MAX
        assert 0 < write.count <= NUMBERS
        [row] = await select(connection, _TAKE, write.node, write.count, write.count)
        firsts.append(int(row["next_number"]) - write.count)
    return firsts
