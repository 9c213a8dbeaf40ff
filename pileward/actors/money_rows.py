"""What the desks of payments and refunds read: rows, and which pile a charge belongs to."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from pileward.errors import NotFoundError
from pileward.messages.charging import PaymentRow, RefundRow
from pileward.models.database import Database
from pileward.services import money_watch
from pileward.services.payments import payment_by_number
from pileward.services.refunds import refund_by_number

PILES_KEPT: Final = 10_000
"""Charges of which it is remembered to which pile they belong: that never changes."""


class MoneyRows:
    """Reads of one database; what is read may be behind what is being written, never ahead of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._piles: OrderedDict[str, str] = OrderedDict()

    async def payment(self, out_trade_no: str) -> PaymentRow | None:
        """One payment."""
        try:
            return await payment_by_number(self.database.connection, out_trade_no)
        except NotFoundError:
            return None

    async def refund(self, out_refund_no: str) -> RefundRow | None:
        """One refund."""
        try:
            return await refund_by_number(self.database.connection, out_refund_no)
        except NotFoundError:
            return None

    async def whereabouts(self, serial: str) -> money_watch.Whereabouts | None:
        """Pile and state of a charge."""
        found = await money_watch.whereabouts(self.database.connection, serial)
        if found is not None:
            self._keep(serial, found.pile_code)
        return found

    async def pile_of(self, serial: str) -> str:
        """The pile of a charge; empty: there is no such charge."""
        if serial in self._piles:
            return self._piles[serial]
        found = await self.whereabouts(serial)
        return "" if found is None else found.pile_code

    def _keep(self, serial: str, pile_code: str) -> None:
        self._piles[serial] = pile_code
        if len(self._piles) > PILES_KEPT:
            self._piles.popitem(last=False)
