"""What a pile keeps when its power goes: tariff, charges, unsent records, cards, settings, and its cars.

A pile alters its `PileMemory`; the shell writes it to a `MemoryFolder` before the frames of that step
leave, so that a killed simulator knows everything the platform could have seen. One small JSON file for
each pile, replaced whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from pileward.simulator.car import Car
from pileward.simulator.charge import Charge
from pileward.simulator.tariff import HeldTariff
from pileward.values import GUNS_MAX

_SAFE_NAME: Final = re.compile(r"[0-9A-Za-z_\-]{1,36}")


class StoredRecord(msgspec.Struct):
    """A transaction record that the platform has not confirmed: the same bytes, however often it is sent."""

    trade_no: str
    frame_type: int
    body: bytes
    times_sent: int = 0
    """Since the last login; not more than the first time and the repeats."""


class PileMemory(msgspec.Struct):
    """The flash of one pile, and the street around it."""

    tariff: HeldTariff | None = None
    records: list[StoredRecord] = []
    cards: dict[str, str] = {}
    """Offline cards: physical number to logical number, 16 hexadecimal digits each."""
    is_locked: bool = False
    max_power_pct: int = 100
    software_version: str = ""
    """Empty: as it left the factory."""
    plugged: list[int] = []
    """Guns with a car."""
    cars: dict[int, Car] = {}
    """The car at each plugged gun, as full as it was last seen."""
    visits: dict[int, int] = {}
    """How many cars have been at each gun: names the stream that the next one is drawn from."""
    charges: list[Charge] = []
    """Charges that run, and charges that ended and have no record yet."""
    charges_begun: dict[int, int] = {}
    """How many charges each gun was asked for: names the stream of the next one."""
    meters_e4_kwh: dict[int, int] = {}
    """Reading of each gun's meter before the charge that runs."""
    echoes: list[StoredRecord] = []
    """Records that will be sent once more although they are, or will be, confirmed."""
    offline_count: int = 0
    """Transaction numbers that the pile made itself."""

    def __post_init__(self) -> None:
        if not all(1 <= gun_no <= GUNS_MAX for gun_no in self.plugged):
            raise ValueError(f"guns are numbered from 1 to {GUNS_MAX}")


class MemoryFolder:
    """The memories of many piles in one folder, a file for each, named by the pile's number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.mkdir(parents=True, exist_ok=True)

    def load(self, pile_code: str) -> PileMemory:
        """Read the memory of a pile; a new one when there is none. Raises ValueError for a broken file."""
        path = self._file(pile_code)
        try:
            return msgspec.json.decode(path.read_bytes(), type=PileMemory)
        except FileNotFoundError:
            return PileMemory()
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}: {error}; remove the file to start with a blank pile") from error

    def save(self, pile_code: str, memory: PileMemory) -> None:
        """Replace the memory of a pile; a kill at any moment leaves the old one or the new one."""
        path = self._file(pile_code)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(memory))
        part.replace(path)

    def _file(self, pile_code: str) -> Path:
        if not _SAFE_NAME.fullmatch(pile_code):
            raise ValueError(f"{pile_code!r} cannot name a file")
        return self._path / f"{pile_code}.json"
