"""Pile codes that knocked without being registered: a short, bounded list to adopt from."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from pileward.services.pile_facts import LoginFacts

DISCOVERED_MAX: Final = 1_000
"""Most rows kept; beyond, those heard longest ago go (junk never swells a table)."""


class SaveDiscovered(msgspec.Struct, frozen=True):
    """An unknown pile tried to log in `attempts` times since this was last written."""

    pile_code: str
    protocol: str
    facts: LoginFacts
    at: datetime
    attempts: int = 1
