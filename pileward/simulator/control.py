"""A hand on one pile of a fleet: for tests that act, and for people who play with the demo."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pileward.codecs.ykc.table import Frame
from pileward.simulator import cards, hands, stops
from pileward.simulator.car import Car
from pileward.simulator.charge import Charge
from pileward.simulator.happenings import ALL_FAULTS
from pileward.simulator.orders import Phase
from pileward.simulator.pile import SimPile
from pileward.simulator.quirks import Quirk
from pileward.simulator.stops import Stop

if TYPE_CHECKING:
    from pileward.simulator.fleet import Fleet
    from pileward.simulator.line import Line

F = TypeVar("F", bound=Frame)

INBOX_MAX: Final = 1_000
"""Frames kept for `expect`; the oldest are forgotten."""


class Inbox:
    """Frames that a pile received and nobody has looked at."""

    __slots__ = ("frames", "news")

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque(maxlen=INBOX_MAX)
        self.news = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Keep a frame, and wake whoever waits."""
        self.frames.append(frame)
        self.news.set()


class Control:
    """Acts on one pile at once, and waits for what the platform sends it."""

    __slots__ = ("_fleet", "_inbox", "_line", "pile")

    def __init__(self, fleet: Fleet, line: Line, pile: SimPile, *, is_watched: bool = False) -> None:
        self.pile = pile
        self._fleet = fleet
        self._line = line
        self._inbox = Inbox() if is_watched else None

    @property
    def code(self) -> str:
        """The pile's number."""
        return self.pile.code

    @property
    def is_online(self) -> bool:
        """Whether the platform accepted the pile's login on the present line."""
        return self.pile.phase is Phase.ONLINE

    def plug(self, gun_no: int, car: Car | None = None) -> None:
        """A car is plugged in: this one, or one that is drawn."""
        hands.set_plugged(self.pile, gun_no, True, self._now(), car)
        self._line.perform(self.pile)

    def unplug(self, gun_no: int) -> None:
        """The car leaves, charging or not."""
        hands.set_plugged(self.pile, gun_no, False, self._now())
        self._line.perform(self.pile)

    def fault(self, bits: int, gun_no: int | None = None) -> None:
        """Break hardware (YKC 1.6, 硬件故障) of one gun, or of all."""
        hands.set_faults(self.pile, self._now(), begin=bits, gun_no=gun_no)
        self._line.perform(self.pile)

    def mend(self, bits: int = ALL_FAULTS, gun_no: int | None = None) -> None:
        """Mend hardware of one gun, or of all."""
        hands.set_faults(self.pile, self._now(), end=bits, gun_no=gun_no)
        self._line.perform(self.pile)

    def charge(self, gun_no: int) -> Charge | None:
        """The charge that runs at a gun, or is about to; its meter is right up to its last report."""
        gun = self.pile.gun(gun_no)
        return gun.charge if gun is not None else None

    def press_stop(self, gun_no: int) -> None:
        """Somebody presses the stop button."""
        hands.stop_charge(self.pile, gun_no, stops.BUTTON, self._now())
        self._line.perform(self.pile)

    def stop_charge(self, gun_no: int, stop: Stop) -> None:
        """End a charge in one of the ways of `stops`: the vehicle does it, the charger, …"""
        hands.stop_charge(self.pile, gun_no, stop, self._now())
        self._line.perform(self.pile)

    def swipe(self, gun_no: int, card_no: str) -> None:
        """Hold a card (16 hexadecimal digits) to the reader of a gun."""
        cards.swipe(self.pile, gun_no, card_no, self._now())
        self._line.perform(self.pile)

    def show_vin(self, gun_no: int) -> None:
        """Let the plugged car ask for a charge by its VIN."""
        cards.show_vin(self.pile, gun_no, self._now())
        self._line.perform(self.pile)

    def misbehave(self, gun_no: int, *quirks: Quirk) -> None:
        """Let a gun be odd: in the charge that runs, else in the next one."""
        hands.misbehave(self.pile, gun_no, quirks)
        self._line.perform(self.pile)

    def cut_power(self) -> None:
        """Take the power away; the socket stays open with nobody at this end."""
        self.pile.cut_power(self._now())
        self._line.perform(self.pile)

    def restore_power(self) -> None:
        """Give the power back; the pile boots and logs in."""
        self.pile.restore_power(self._now())
        self._line.perform(self.pile)

    def reboot(self) -> None:
        """Restart in good order."""
        self.pile.reboot(self._now())
        self._line.perform(self.pile)

    def drop(self, *, is_reset: bool = False) -> None:
        """Close (or reset) the line; the pile connects again by itself."""
        self.pile.drop(self._now(), is_reset=is_reset)
        self._line.perform(self.pile)

    def vanish(self, for_s: float = 0.0) -> None:
        """Let the path die without a FIN; the pile comes back on a new one after `for_s` clock seconds."""
        self.pile.vanish(self._now(), for_s)
        self._line.perform(self.pile)

    def freeze(self) -> None:
        """Hang the pile's program with the socket open."""
        self.pile.freeze()
        self._line.perform(self.pile)

    def thaw(self) -> None:
        """Let the watchdog reset the hung program."""
        self.pile.thaw(self._now())
        self._line.perform(self.pile)

    def send_garbage(self, data: bytes) -> None:
        """Write bytes of any kind."""
        self.pile.send_garbage(data)
        self._line.perform(self.pile)

    def send(self, frame: Frame, times: int = 1) -> None:
        """Write a frame, the same bytes `times` times."""
        self.pile.send(frame, times)
        self._line.perform(self.pile)

    def keep_record(self, record: Frame) -> None:
        """Give the pile a transaction record to deliver."""
        self.pile.keep_record(record, self._now())
        self._line.perform(self.pile)

    def heard(self, frame: Frame) -> None:
        """Note a frame that the pile received."""
        if self._inbox is not None:
            self._inbox.put(frame)

    async def expect(self, kind: type[F], timeout_s: float = 5.0, **fields: Any) -> F:
        """Wait (real seconds) for a frame of exactly this kind with these field values, and give it.

        Frames that came before are looked at first; all up to the one found are used up. Needs a watched
        fleet. Raises TimeoutError.
        """
        assert self._inbox is not None, "make the fleet with is_watched=True"
        inbox = self._inbox
        async with asyncio.timeout(timeout_s):
            while True:
                while inbox.frames:
                    frame = inbox.frames.popleft()
                    if type(frame) is kind and all(getattr(frame, name) == fields[name] for name in fields):
                        return frame
                inbox.news.clear()
                await inbox.news.wait()

    async def wait_online(self, timeout_s: float = 5.0) -> None:
        """Wait (real seconds) until the login is accepted. Needs a watched fleet. Raises TimeoutError."""
        assert self._inbox is not None, "make the fleet with is_watched=True"
        async with asyncio.timeout(timeout_s):
            while not self.is_online:
                self._inbox.news.clear()
                await self._inbox.news.wait()

    def _now(self) -> float:
        return self._fleet.clock.monotonic()
