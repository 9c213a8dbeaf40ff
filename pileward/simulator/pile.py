"""One simulated pile, without sockets: frames and time in, frames and orders for its line out.

The shell calls `start` once, `due` when `next_due` has come, `connected` and `lost` when the line changes,
and `receive` for each frame; after each call `take` gives what to do now, in order: bytes to write, or an
`Order` for the line. `now` is monotonic time in seconds and never goes back; nothing here reads a clock or
waits.

A pile lives through these phases: off (no power, or booting) -> connecting -> logging in -> online ->
waiting (until the next attempt) -> connecting, and so on; hung is a program that stands still with its
socket open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.envelope import wrap
from pileward.codecs.ykc.frames_link import BillingModelCheck, BillingModelRequest, Login
from pileward.codecs.ykc.table import Frame
from pileward.simulator import aftermath, answers, cards, charging, delivery, happenings, stops
from pileward.simulator.damage import befall
from pileward.simulator.device_clock import DeviceClock
from pileward.simulator.dice import Dice
from pileward.simulator.fate import Fate
from pileward.simulator.gun import Gun
from pileward.simulator.habits import (
    FACTORY_SOFTWARE,
    OLD_VERSIONS,
    Habits,
    Nameplate,
    draw_ways,
)
from pileward.simulator.memory import PileMemory
from pileward.simulator.orders import Action, Order, Phase
from pileward.simulator.profiles import STEADY, Profile, Slip
from pileward.simulator.tally import Tally
from pileward.simulator.tariff import BLANK_MODEL_NO
from pileward.simulator.timers import Timers

_BOOT: Final = "boot"
_CONNECT: Final = "connect"
_LOGIN: Final = "login"
_HEARTBEAT: Final = "heartbeat"
_REAL_TIME: Final = "real_time"
_WATCHDOG: Final = "watchdog"
_BILLING: Final = "billing"
_UPGRADE: Final = "upgrade"
_OF_A_SESSION: Final = (_CONNECT, _LOGIN, _HEARTBEAT, _REAL_TIME, _WATCHDOG, _BILLING, delivery.TIMER)
"""Timers that end with the connection."""


class SimPile:
    """A pile that behaves like a real one; what happens to it by itself comes from its profile and seed."""

    __slots__ = (
        "_attempts",
        "_line_dice",
        "_login_sent_at",
        "_out",
        "_reboots_when_idle",
        "_sequence",
        "_slips",
        "_wants_model",
        "clock",
        "code",
        "fate",
        "guns",
        "habits",
        "heard_at",
        "is_dirty",
        "memory",
        "phase",
        "plate",
        "profile",
        "qr_prefix",
        "seed",
        "tally",
        "timers",
        "upgrade_path",
        "upgrades_when_idle",
        "ways",
    )

    def __init__(
        self,
        plate: Nameplate,
        *,
        seed: int = 0,
        profile: Profile = STEADY,
        habits: Habits | None = None,
        memory: PileMemory | None = None,
        tally: Tally | None = None,
        time: datetime,
        now: float,
    ) -> None:
        """Make a pile without power; `time` (aware) is what its clock shows at `now`."""
        self.plate = plate
        self.code = plate.pile_code
        self.profile = profile
        self.seed = seed
        self.ways = draw_ways(self.code, seed)
        self.memory = memory if memory is not None else PileMemory()
        self.is_dirty = False
        """Whether the memory changed since the shell last saved it."""
        self.guns = tuple(Gun(no, no in self.memory.plugged, self.ways) for no in range(1, plate.guns + 1))
        self.phase = Phase.OFF
        self.timers = Timers()
        self.qr_prefix = ""
        self.upgrade_path = ""
        self.upgrades_when_idle = False
        self.heard_at = now
        """When the last heartbeat answer (or login answer) came."""
        self.habits = habits or Habits()
        self.tally = tally or Tally()
        self.fate = Fate(seed, self.code, plate.guns, profile)
        self._line_dice = Dice(seed, self.code, "line")
        self._slips = profile.frame_slips
        self.clock = DeviceClock(time, now, round(self._line_dice.between(-1, 1) * profile.drift_ppm))
        self._out: list[Action] = []
        self._sequence = 0
        self._attempts = 0
        self._login_sent_at = now
        self._wants_model = False
        self._reboots_when_idle = False

    @property
    def is_idle(self) -> bool:
        """Whether no gun charges, or is about to."""
        return all(gun.charge is None for gun in self.guns)

    @property
    def has_line(self) -> bool:
        """Whether this pile talks over an open line."""
        return self.phase is Phase.ONLINE or self.phase is Phase.LOGGING_IN

    # What the shell calls.

    @property
    def next_due(self) -> float:
        """When `due` must be called next."""
        return self.timers.next

    def start(self, now: float, after_s: float = 0.0) -> None:
        """Let life begin: the power comes `after_s` seconds from now."""
        for name, wait_s in self.fate.first():
            self.timers.arm(name, now + after_s + wait_s)
        aftermath.resume(self, now + after_s)
        self.timers.arm(_BOOT, now + after_s)

    def due(self, now: float) -> None:
        """Do everything whose time has come."""
        while (name := self.timers.pop(now)) is not None:
            handler = _ON_TIMER.get(name)
            if handler is not None:
                handler(self, now)
            elif not (
                charging.on_timer(self, name, now)
                or aftermath.on_timer(self, name, now)
                or cards.on_timer(self, name, now)
            ):
                happenings.happen(self, self.fate, name, now)

    def connected(self, now: float) -> None:
        """The line is there: log in (YKC 1.6, 上电流程)."""
        if self.phase is Phase.CONNECTING:
            self._log_in(now)

    def lost(self, now: float) -> None:
        """The line is gone, or could not be had."""
        if self.phase in (Phase.CONNECTING, Phase.LOGGING_IN, Phase.ONLINE):
            self.tally.events["lost" if self.phase is Phase.ONLINE else "not_connected"] += 1
            self._wait_to_reconnect(now)

    def receive(self, frame: Frame, sequence: int, now: float) -> None:
        """Take one frame of the platform; what does not concern this pile's state is ignored."""
        if self.has_line:
            answer = answers.ANSWERS.get(type(frame))
            if answer is not None:
                answer(self, frame, sequence, now)
            else:
                self.tally.events["not_understood"] += 1

    def take(self) -> Sequence[Action]:
        """What to do now, in order; the shell asks after each call, and saves a changed memory first."""
        if not self._out:
            return ()
        out = self._out
        self._out = []
        return out

    # What can be done to a pile, by its fate or by a test.

    def cut_power(self, now: float) -> None:
        """The power goes, without a word to anybody."""
        self._go_off(Order.FADE, stops.POWER_CUT, now)

    def restore_power(self, now: float) -> None:
        """The power is back: boot."""
        if self.phase is Phase.OFF:
            if self._slips_on(Slip.CLOCK_LOST):
                self.clock.lose(now)
            self._boot_later(now)

    def reboot(self, now: float, *, when_idle: bool = False) -> None:
        """Restart in good order, after what was written so far; `when_idle`: not before charges are over."""
        if when_idle and not self.is_idle:
            self._reboots_when_idle = True
        elif self.phase is not Phase.OFF:
            self._go_off(Order.LEAVE, stops.RESTARTED, now)
            self._boot_later(now)

    def drop(self, now: float, *, is_reset: bool = False) -> None:
        """Lose the line visibly: closed, or reset."""
        if self.has_line:
            self._out.append(Order.RESET if is_reset else Order.CLOSE)
            self._wait_to_reconnect(now)

    def vanish(self, now: float, for_s: float) -> None:
        """Lose the line invisibly, and find another way after `for_s` seconds."""
        if self.has_line:
            self._out.append(Order.ABANDON)
            self._end_session(Phase.WAITING)
            self.timers.arm(_CONNECT, now + for_s)

    def freeze(self) -> None:
        """Hang: the socket stays open, nothing is read or written any more."""
        if self.has_line:
            self._end_session(Phase.HUNG)

    def thaw(self, now: float) -> None:
        """A watchdog resets the hung program; the old socket is left behind."""
        if self.phase is Phase.HUNG:
            self._go_off(Order.FADE, stops.RESTARTED, now)
            self._boot_later(now)

    def send_garbage(self, data: bytes) -> None:
        """Write bytes that mean nothing."""
        if self.has_line:
            self._out.append(data)

    def send(self, frame: Frame, times: int = 1) -> None:
        """Write a frame of somebody's choice, undamaged; repeats are the same bytes."""
        if self.has_line:
            self._out.extend([encode_frame(frame, self._next_sequence())] * times)

    def keep_record(self, record: Frame, now: float) -> None:
        """Store the record of a charge and send it until it is confirmed (YKC 1.6, 0x3B and 0x3D)."""
        delivery.keep(self, record, now)

    # What charges and the answers to the platform need.

    def tell(self, frame: Frame) -> None:
        """Send a frame that this pile begins, if the platform has accepted its login."""
        if self.phase is Phase.ONLINE:
            self.ask(frame)

    def ask(self, frame: Frame) -> None:
        """Send a frame that this pile begins."""
        self._write(encode_frame(frame, self._next_sequence()))

    def write_body(self, frame_type: int, body: bytes) -> None:
        """Send a frame that is encoded already, under a sequence of its own."""
        self._write(wrap(self._next_sequence(), frame_type, body))

    def answer(self, frame: Frame, sequence: int) -> None:
        """Answer a frame of the platform; a careless pile does not repeat its sequence."""
        if self._slips_on(Slip.WRONG_SEQUENCE):
            sequence = self._next_sequence()
        self._write(encode_frame(frame, sequence))

    def reply(self, frame: Frame, sequence: int) -> None:
        """Answer a frame of the platform later than at once, if there is still a line to answer on."""
        if self.phase is Phase.ONLINE:
            self.answer(frame, sequence)

    def gun(self, gun_no: int) -> Gun | None:
        """The gun of this number, None when the pile has no such gun."""
        return self.guns[gun_no - 1] if 1 <= gun_no <= len(self.guns) else None

    def charge_over(self, now: float) -> None:
        """A charge has ended: what waited for an idle pile may happen."""
        if self._reboots_when_idle and self.is_idle:
            self.reboot(now)

    def report(self, gun: Gun, now: float, sequence: int | None = None) -> None:
        """Send real-time data of one gun as it is now, on its own account or as an answer."""
        if gun.charge is not None:
            gun.charge.advance(now, self.clock)
        frame = gun.real_time(self.code)
        if sequence is None:
            self.ask(frame)
        else:
            self.answer(frame, sequence)

    def logged_in(self, now: float) -> None:
        """Accepted: upload what is stored, check the tariff, report (YKC 1.6, 上电流程)."""
        if self.phase is not Phase.LOGGING_IN:
            return
        self.phase = Phase.ONLINE
        self._attempts = 0
        self.tally.online += 1
        self.tally.login.add(now - self._login_sent_at)
        self.heard_at = now
        self.timers.disarm(_LOGIN)
        self.timers.arm(_WATCHDOG, now + self.habits.watchdog_s)
        delivery.begin(self, now)
        self._wants_model = False
        self._ask_for_model(now)
        self._report_all(now)
        self._beat(now)

    def refused(self, now: float) -> None:
        """The platform refused the login; try again later (YKC 1.6, 0x02)."""
        if self.phase is Phase.LOGGING_IN:
            self.tally.events["login_refused"] += 1
            self._out.append(Order.LEAVE)
            self._end_session(Phase.WAITING)
            self.timers.arm(_CONNECT, now + self.habits.login_retry_s * self._line_dice.between(0.95, 1.1))

    def model_checked(self, is_current: bool, now: float) -> None:
        """The platform compared the tariff; ask for the new one when it differs."""
        self.timers.disarm(_BILLING)
        if not is_current:
            self._wants_model = True
            self._ask_for_model(now)

    def model_stored(self) -> None:
        """The tariff is in the memory now."""
        self.is_dirty = True
        self._wants_model = False
        self.timers.disarm(_BILLING)

    def heartbeat_answered(self, gun_no: int, now: float) -> None:
        """The platform is there."""
        self.heard_at = now
        gun = self.gun(gun_no)
        if gun is not None and gun.heartbeat_sent_at is not None:
            self.tally.heartbeat.add(now - gun.heartbeat_sent_at)
            gun.heartbeat_sent_at = None

    def upgrade(self, path: str, now: float, *, when_idle: bool = False) -> None:
        """Begin to load a new program; the end is reported and the pile restarts."""
        self.upgrade_path = path
        self.upgrades_when_idle = when_idle
        self.timers.arm(_UPGRADE, now + self.habits.upgrade_s)

    # Life.

    def _boot(self, now: float) -> None:
        aftermath.booted(self, now)
        delivery.send_echoes(self, now)
        self._connect(now)

    def _connect(self, now: float) -> None:
        self.phase = Phase.CONNECTING
        self._out.append(Order.CONNECT)

    def _log_in(self, now: float) -> None:
        version = self.plate.protocol_version
        if self._slips_on(Slip.OLD_VERSION):
            version = self._line_dice.pick(OLD_VERSIONS)
        self.phase = Phase.LOGGING_IN
        self._sequence = 0
        self._login_sent_at = now
        self.timers.arm(_LOGIN, now + self.habits.login_retry_s)
        self.ask(
            Login(
                pile_no=self.code,
                pile_type=self.plate.pile_type,
                gun_count=self.plate.guns,
                protocol_version=version,
                software_version=self.memory.software_version or FACTORY_SOFTWARE,
                network_type=self.plate.network_type,
                sim_no=self.plate.sim_no,
                carrier=self.plate.carrier,
            )
        )

    def _login_unanswered(self, now: float) -> None:
        self.tally.events["login_unanswered"] += 1
        self._out.append(Order.LEAVE)
        self._end_session(Phase.WAITING)
        self._connect(now)

    def _wait_to_reconnect(self, now: float) -> None:
        """Back off: 1 s, 2 s, 4 s, ... each varied by half, so that a fleet does not come back as one."""
        self._end_session(Phase.WAITING)
        habits = self.habits
        mean_s = min(habits.reconnect_most_s, habits.reconnect_first_s * 2 ** min(self._attempts, 16))
        self._attempts += 1
        self.timers.arm(_CONNECT, now + mean_s * self._line_dice.between(0.5, 1.5))

    def _end_session(self, phase: Phase) -> None:
        if self.phase is Phase.ONLINE:
            self.tally.online -= 1
        self.phase = phase
        for name in _OF_A_SESSION:
            self.timers.disarm(name)
        for gun in self.guns:
            gun.heartbeat_sent_at = None
            gun.requested_with = ""

    def _go_off(self, order: Order, stop: stops.Stop, now: float) -> None:
        self._reboots_when_idle = False
        aftermath.break_off(self, stop, now)
        if self.has_line or self.phase in (Phase.HUNG, Phase.CONNECTING):
            self._out.append(order)
        self._end_session(Phase.OFF)
        self.timers.disarm(_BOOT)
        self.timers.disarm(_UPGRADE)
        self.qr_prefix = ""

    def _boot_later(self, now: float) -> None:
        habits = self.habits
        self.timers.arm(_BOOT, now + self._line_dice.between(habits.boot_shortest_s, habits.boot_longest_s))

    # While online.

    def _beat(self, now: float) -> None:
        self.timers.arm(_HEARTBEAT, now + self.habits.heartbeat_s)
        for gun in self.guns:
            if gun.heartbeat_sent_at is not None:
                self.tally.events["heartbeat_unanswered"] += 1
            self.ask(gun.heartbeat(self.code))
            gun.heartbeat_sent_at = now

    def _report_all(self, now: float) -> None:
        self.timers.arm(_REAL_TIME, now + self.habits.real_time_s)
        for gun in self.guns:
            self.report(gun, now)

    def _report_idle(self, now: float) -> None:
        """The periodic report of guns that do not charge; those that do have a period of their own."""
        self.timers.arm(_REAL_TIME, now + self.habits.real_time_s)
        for gun in self.guns:
            if gun.charge is None:
                self.report(gun, now)

    def _watch(self, now: float) -> None:
        """Give up a line on which nothing was answered; checked lazily, not re-armed by each answer."""
        deadline = self.heard_at + self.habits.watchdog_s
        if now < deadline:
            self.timers.arm(_WATCHDOG, deadline)
            return
        self.tally.events["platform_silent"] += 1
        self._out.append(Order.CLOSE)
        self._wait_to_reconnect(now)

    def _ask_for_model(self, now: float) -> None:
        """0x05 until it is answered, then, if the model differs, 0x09 until it is answered."""
        self.timers.arm(_BILLING, now + self.habits.billing_retry_s)
        if self._wants_model:
            self.ask(BillingModelRequest(pile_no=self.code))
            return
        tariff = self.memory.tariff
        model_no = tariff.billing_model_no if tariff is not None else BLANK_MODEL_NO
        self.ask(BillingModelCheck(pile_no=self.code, billing_model_no=model_no))

    def _upgraded(self, now: float) -> None:
        """Say that the new program is there, and restart with it (YKC 1.6, 0x93)."""
        if self.upgrades_when_idle and not self.is_idle:
            self.timers.arm(_UPGRADE, now + self.habits.upgrade_s)
            return
        if self.phase is Phase.ONLINE:
            answers.report_upgrade(self)
        self.memory.software_version = self.upgrade_path.rpartition("/")[2][:8]
        self.is_dirty = True
        self.reboot(now)

    # Frames out.

    def _slips_on(self, slip: Slip) -> bool:
        """Whether this slip happens now."""
        if not self._line_dice.happens(self.profile.slips.get(slip, 0.0)):
            return False
        self.tally.events[slip] += 1
        return True

    def _next_sequence(self) -> int:
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0xFFFF
        return sequence

    def _write(self, data: bytes) -> None:
        self.tally.frames_up += 1
        if self._slips:
            data, slip = befall(data, self._slips, self._line_dice)
            if slip is not None:
                self.tally.events[slip] += 1
        self._out.append(data)


_ON_TIMER: Final[dict[str, Callable[[SimPile, float], None]]] = {
    _BOOT: SimPile._boot,
    _CONNECT: SimPile._connect,
    _LOGIN: SimPile._login_unanswered,
    _HEARTBEAT: SimPile._beat,
    _REAL_TIME: SimPile._report_idle,
    _WATCHDOG: SimPile._watch,
    _BILLING: SimPile._ask_for_model,
    delivery.TIMER: delivery.repeat,
    _UPGRADE: SimPile._upgraded,
}
_ON_NAMED_TIMER: Final = (charging.on_timer, aftermath.on_timer, cards.on_timer)
"""Timers whose names carry a gun or a transaction number; each says whether it was one of its own."""
