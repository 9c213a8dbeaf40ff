"""One gun of a simulated pile: what is plugged, what is broken, and how it says so."""

from __future__ import annotations

from typing import Final

from pileward.codecs.ykc.frames_charge import RealTimeData
from pileward.codecs.ykc.frames_link import Heartbeat

FAULTY: Final = 1
IDLE: Final = 2
NO_CHARGE: Final = "0" * 32
NO_CABLE: Final = "0" * 16


class Gun:
    """State of one gun; times are seconds of monotonic time."""

    __slots__ = ("faults", "heartbeat_sent_at", "is_plugged", "no")

    def __init__(self, no: int, is_plugged: bool) -> None:
        self.no = no
        self.is_plugged = is_plugged
        self.faults = 0
        """Mask of hardware faults (YKC 1.6, 硬件故障)."""
        self.heartbeat_sent_at: float | None = None
        """When the heartbeat that waits for its answer was sent."""

    @property
    def status(self) -> int:
        """The status byte of 0x13: a plugged gun without a charge is idle (YKC 1.6, 状态)."""
        return FAULTY if self.faults else IDLE

    def heartbeat(self, pile_code: str) -> Heartbeat:
        """0x03: alive, and whether healthy."""
        return Heartbeat(pile_no=pile_code, gun_no=self.no, gun_status=1 if self.faults else 0)

    def real_time(self, pile_code: str) -> RealTimeData:
        """0x13: everything about this gun while no charge runs."""
        return RealTimeData(
            trade_no=NO_CHARGE,
            pile_no=pile_code,
            gun_no=self.no,
            status=self.status,
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
