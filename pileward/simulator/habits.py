"""The numbers by which piles live, and the plate on their door."""

from __future__ import annotations

from typing import Final

import msgspec

from pileward.simulator.dice import Dice

DC: Final = 0
AC: Final = 1
LAN: Final = 1
VERSION_1_6: Final = 0x10
OLD_VERSIONS: Final = (0x0A, 0x0E, 0x0F)
"""What old firmware names as its version: 1.0, 1.4, 1.5 (YKC 1.6, 0x01)."""
CARRIERS: Final = (0, 2, 3, 4)
FACTORY_SOFTWARE: Final = "V1.6.0"
CARDS_MAX: Final = 500
"""Offline cards that fit into one pile."""
QUEUED_RECORDS_MAX: Final = 200
"""Records that fit into one pile; the oldest gives way."""


class Habits(msgspec.Struct, frozen=True):
    """Periods and deadlines of a pile in clock seconds (YKC 1.6, timing; its silences filled)."""

    heartbeat_s: float = 10.0
    """For each gun."""
    real_time_s: float = 300.0
    """For each gun while no charge runs."""
    watchdog_s: float = 65.0
    """Without a heartbeat answer for so long a pile gives the connection up."""
    login_retry_s: float = 60.0
    """After a refusal, and for a login that is not answered."""
    billing_retry_s: float = 10.0
    record_retry_s: float = 30.0
    record_repeats: int = 3
    """Then a record waits for the next login."""
    reconnect_first_s: float = 1.0
    """Doubles with each failure, and varies by half in either direction."""
    reconnect_most_s: float = 60.0
    boot_shortest_s: float = 5.0
    boot_longest_s: float = 20.0
    upgrade_s: float = 90.0
    """Download and check of a new program."""
    plug_wait_s: float = 60.0
    """After a start that found no car, for it to be plugged in (YKC 1.6, 0x33)."""
    handshake_shortest_s: float = 4.0
    handshake_longest_s: float = 18.0
    """From the accepted start to the first current: plug locked, insulation tested, BMS asked."""
    charging_report_s: float = 15.0
    """0x13, 0x23 and 0x25 while a charge runs."""
    record_shortest_s: float = 0.5
    record_longest_s: float = 15.0
    """From the end of a charge to its record; the protocol grants 30 s (YKC 1.6, 0x3B)."""
    late_shortest_s: float = 20.0
    late_longest_s: float = 75.0
    """For answers that a quirk delays."""
    late_record_shortest_s: float = 120.0
    late_record_longest_s: float = 1_800.0
    request_wait_s: float = 30.0
    """For the answer to a start asked for at the pile (0x32)."""


class Nameplate(msgspec.Struct, frozen=True):
    """What a pile says of itself when it logs in (YKC 1.6, 0x01)."""

    pile_code: str
    guns: int
    pile_type: int = DC
    protocol_version: int = VERSION_1_6
    network_type: int = LAN
    sim_no: str = "0" * 20
    carrier: int = 4
    gun_power_w: int = 60_000
    """What each gun can give by itself; not on the wire."""


class Ways(msgspec.Struct, frozen=True):
    """Where makers differ and nobody is wrong; drawn once for each pile."""

    current_sign: int = -1
    """-1: charging currents are negative in BMS frames, as in GB/T 27930; 1: positive."""
    money_stop_code: int = 0x43
    """Stop reason when the balance is used up."""
    is_loss_zero: bool = False
    """Loss energy is sent as 0 when no loss ratio is set, else as the energy itself."""
    names_ended: bool = False
    """The first real-time frame after a charge still carries its number."""


def draw_ways(pile_code: str, seed: int) -> Ways:
    """Draw how this pile does what the protocol leaves open."""
    dice = Dice(seed, pile_code, "ways")
    return Ways(
        current_sign=-1 if dice.happens(0.7) else 1,
        money_stop_code=0x43 if dice.happens(0.6) else 0x6E,
        is_loss_zero=dice.happens(0.5),
        names_ended=dice.happens(0.5),
    )


def make_nameplate(pile_code: str, guns: int, seed: int, pile_type: int = DC) -> Nameplate:
    """Draw the plate of one pile: half of them on a mobile network."""
    dice = Dice(seed, pile_code, "nameplate")
    if dice.happens(0.5):
        return Nameplate(pile_code, guns, pile_type)
    sim_no = f"898604{dice.below(10**14):014d}"
    return Nameplate(pile_code, guns, pile_type, network_type=0, sim_no=sim_no, carrier=dice.pick(CARRIERS))
