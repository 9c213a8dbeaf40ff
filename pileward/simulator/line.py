"""A line from the street to the platform: one socket at a time, with one pile or several behind it.

The line moves bytes and obeys orders; it decides nothing. A socket that a pile has left without a word
stays open in the fleet's care, so that the platform has to find out by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from pileward.codecs.ykc.decoder import Decoder, Packet
from pileward.simulator.orders import Action, Order, Phase

if TYPE_CHECKING:
    from pileward.simulator.fleet import Fleet
    from pileward.simulator.pile import SimPile

UNSENT_MAX: Final = 256 * 1024
"""Bytes that may wait in one socket; a platform that reads so slowly counts as lost."""


class Wire(asyncio.Protocol):
    """One socket; without a line it is an abandoned one that nobody reads or writes."""

    __slots__ = ("line", "transport")

    def __init__(self, line: Line) -> None:
        self.line: Line | None = line
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no asyncio class, so this cannot be asserted.
        self.transport = cast(asyncio.Transport, transport)
        if self.line is not None:
            self.line.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.line is not None:
            self.line.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.line is not None:
            self.line.gone(self)
        self.transport = None


class Line:
    """The piles of one connection and their socket, if it is open."""

    __slots__ = ("_connecting", "_decoder", "_fleet", "_wire", "by_code", "piles", "source")

    def __init__(self, fleet: Fleet, piles: Iterable[SimPile], source: str | None) -> None:
        self.piles = tuple(piles)
        self.by_code = {pile.code: pile for pile in self.piles}
        self.source = source
        """Local address to connect from, None for any."""
        self._fleet = fleet
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._decoder = Decoder()

    def perform(self, pile: SimPile) -> None:
        """Do what a pile wants done, in its order; its memory is saved before anything leaves."""
        fleet = self._fleet
        if pile.is_dirty:
            fleet.save(pile)
        actions = pile.take()
        if actions:
            self._do(pile, actions)
        fleet.schedule(pile, self)

    def received(self, data: bytes) -> None:
        """Hand each frame to the pile it names; a receipt for a record names none and goes to all."""
        fleet = self._fleet
        now = fleet.clock.monotonic()
        for item in self._decoder.receive(data, now):
            if not isinstance(item, Packet):
                fleet.tally.garbage_down += 1
                continue
            fleet.tally.frames_down += 1
            frame = item.frame
            if frame is None or item.missing:
                fleet.tally.events["not_understood"] += 1
                continue
            code = getattr(frame, "pile_no", None)
            if code is None:
                receivers = self.piles
            else:
                named = self.by_code.get(code)
                receivers = () if named is None else (named,)
            for pile in receivers:
                pile.receive(frame, item.sequence, now)
                fleet.heard(pile, frame)
                self.perform(pile)

    def opened(self, wire: Wire) -> None:
        """The socket is there: everybody who waits for it logs in."""
        is_wanted = any(pile.phase is Phase.CONNECTING for pile in self.piles)
        if self._wire is not None or self._fleet.is_closed or not is_wanted:
            # It was wanted when dialling began, and no longer is.
            wire.line = None
            assert wire.transport is not None
            wire.transport.close()
            return
        self._wire = wire
        self._decoder = Decoder()
        self._fleet.tally.connections += 1
        now = self._fleet.clock.monotonic()
        for pile in self.piles:
            pile.connected(now)
            self.perform(pile)

    def gone(self, wire: Wire) -> None:
        """The socket was closed, by whomever."""
        wire.line = None
        if self._wire is wire:
            self._let_go()
            self._tell_lost()

    def close(self) -> None:
        """Close the socket and connect no more; for the end of the fleet."""
        if self._connecting is not None:
            self._connecting.cancel()
        wire = self._let_go()
        if wire is not None and wire.transport is not None:
            wire.transport.close()

    def _do(self, pile: SimPile, actions: Iterable[Action]) -> None:
        chunks: list[bytes] = []
        for action in actions:
            if isinstance(action, bytes):
                chunks.append(action)
                continue
            self._write(chunks)
            chunks = []
            self._obey(action, pile)
        self._write(chunks)

    def _write(self, chunks: list[bytes]) -> None:
        if not chunks or self._wire is None or (transport := self._wire.transport) is None:
            return
        transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if transport.get_write_buffer_size() > UNSENT_MAX:
            self._fleet.tally.events["platform_slow"] += 1
            transport.abort()

    def _obey(self, order: Order, pile: SimPile) -> None:
        if order is Order.CONNECT:
            self._connect(pile)
            return
        is_shared = len(self.piles) > 1
        if is_shared and order in (Order.LEAVE, Order.FADE):
            return
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        wire = self._let_go()
        if wire is None or wire.transport is None:
            return
        if order in (Order.LEAVE, Order.CLOSE):
            wire.transport.close()
        elif order is Order.RESET:
            wire.transport.abort()
        else:
            self._fleet.abandon(wire)
        self._tell_lost(but=pile)

    def _let_go(self) -> Wire | None:
        """Forget the socket; what happens to it is the caller's choice."""
        wire = self._wire
        if wire is not None:
            self._wire = None
            wire.line = None
            self._fleet.tally.connections -= 1
        return wire

    def _tell_lost(self, but: SimPile | None = None) -> None:
        now = self._fleet.clock.monotonic()
        for pile in self.piles:
            if pile is not but:
                pile.lost(now)
                self.perform(pile)

    def _connect(self, pile: SimPile) -> None:
        if self._wire is not None:
            pile.connected(self._fleet.clock.monotonic())
            self._do(pile, pile.take())
        elif self._connecting is None:
            self._connecting = self._fleet.spawn(self._dial())

    async def _dial(self) -> None:
        try:
            await self._fleet.dial(self)
        except OSError:
            self._connecting = None
            now = self._fleet.clock.monotonic()
            for pile in self.piles:
                if pile.phase is Phase.CONNECTING:
                    pile.lost(now)
                    self.perform(pile)
        else:
            self._connecting = None
