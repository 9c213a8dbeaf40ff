"""One gun of a simulated pile: what is plugged, what is broken, what charges, and how it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pileward.codecs.ykc.frames_charge import RealTimeData
from pileward.codecs.ykc.frames_link import Heartbeat
from pileward.simulator.charge import Charge, Stage
from pileward.simulator.habits import Ways
from pileward.simulator.quirks import Quirk

if TYPE_CHECKING:
    from pileward.simulator.charging import Asked, Say

FAULTY: Final = 1
IDLE: Final = 2
CHARGING: Final = 3
NO_CHARGE: Final = "0" * 32
NO_CABLE: Final = "0" * 16
CABLE_TEMP_C: Final = 21


class Gun:
    """State of one gun; times are seconds of monotonic time."""

    __slots__ = (
        "asked",
        "charge",
        "faults",
        "given_quirks",
        "heartbeat_sent_at",
        "is_fates",
        "is_plugged",
        "leaves_after",
        "no",
        "requested_with",
        "says_stopped",
        "screen",
        "ways",
    )

    def __init__(self, no: int, is_plugged: bool, ways: Ways = Ways()) -> None:  # noqa: B008 - frozen
        self.no = no
        self.ways = ways
        self.is_plugged = is_plugged
        self.is_fates = is_plugged
        """Whether the pile's own fate may take the car away: it brought it, or nobody knows who did."""
        self.leaves_after = False
        """The car leaves as soon as its charge is over."""
        self.faults = 0
        """Mask of hardware faults (YKC 1.6, 硬件故障)."""
        self.heartbeat_sent_at: float | None = None
        """When the heartbeat that waits for its answer was sent."""
        self.charge: Charge | None = None
        """The charge that runs, or is about to."""
        self.asked: Asked | None = None
        """A start that waits for a car, or for its late answer."""
        self.says_stopped: Say | None = None
        """The late answer to a stop."""
        self.requested_with = ""
        """The card that asked for a start and waits for the answer; empty: none."""
        self.screen = ""
        """What the pile's screen shows beside this gun."""
        self.given_quirks: set[Quirk] = set()
        """Quirks of the next charge, given by hand."""

    @property
    def status(self) -> int:
        """The status byte of 0x13: a plugged gun without a charge is idle (YKC 1.6, 状态)."""
        if self.charge is not None and self.charge.stage is Stage.CHARGING:
            return CHARGING
        return FAULTY if self.faults else IDLE

    def heartbeat(self, pile_code: str) -> Heartbeat:
        """0x03: alive, and whether healthy."""
        return Heartbeat(pile_no=pile_code, gun_no=self.no, gun_status=1 if self.faults else 0)

    def real_time(self, pile_code: str) -> RealTimeData:
        """0x13: everything about this gun."""
        charge = self.charge
        if charge is None or charge.stage is not Stage.CHARGING:
            return self.idle_frame(pile_code)
        return self._of_charge(pile_code, charge)

    def ended_frame(self, pile_code: str, charge: Charge) -> RealTimeData:
        """The first 0x13 after a charge; some makers still name it, others are done with it."""
        if not self.ways.names_ended or charge.started_at is None:
            return self.idle_frame(pile_code)
        return self._of_charge(pile_code, charge)

    def idle_frame(self, pile_code: str) -> RealTimeData:
        """0x13 while no charge runs."""
        return RealTimeData(
            trade_no=NO_CHARGE,
            pile_no=pile_code,
            gun_no=self.no,
            status=FAULTY if self.faults else IDLE,
            gun_homed=0 if self.is_plugged else 1,
            gun_plugged=1 if self.is_plugged else 0,
            output_voltage_e1_v=0,
            output_current_e1_a=0,
            cable_temp_c=None,
            cable_code=NO_CABLE,
            soc=0,
            battery_max_temp_c=None,
            charge_minutes=0,
            remaining_minutes=0,
            energy_e4_kwh=0,
            loss_energy_e4_kwh=0,
            amount_e4_yuan=0,
            hardware_fault=self.faults,
        )

    def _of_charge(self, pile_code: str, charge: Charge) -> RealTimeData:
        """0x13 with the values of a charge; an AC pile knows nothing of the battery (YKC 1.6, 0x13)."""
        amps = charge.amps
        energy = charge.energy_e4_kwh
        return msgspec.structs.replace(
            self.idle_frame(pile_code),
            trade_no=charge.trade_no,
            status=self.status,
            output_voltage_e1_v=round(charge.volts * 10) if amps else 0,
            output_current_e1_a=round(amps * 10),
            cable_temp_c=CABLE_TEMP_C + int(amps / 12),
            soc=0 if charge.is_ac else charge.soc_pct,
            battery_max_temp_c=None if charge.is_ac else charge.temp_c,
            charge_minutes=charge.minutes,
            remaining_minutes=0 if charge.is_ac or not amps else charge.minutes_left,
            energy_e4_kwh=energy,
            loss_energy_e4_kwh=0 if self.ways.is_loss_zero else energy,
            amount_e4_yuan=charge.amount_e4_yuan,
        )
