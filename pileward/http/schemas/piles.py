"""A pile as shown: what is registered, and what its actor knows at this moment."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.messages.live import GunView
from pileward.services.piles import PileView


class PileLive(msgspec.Struct, frozen=True):
    """What the pile's actor says."""

    state: str
    since: datetime | None
    reason: str
    """Why it is in this state, a stable code."""
    tariff_ok: bool
    """Whether the pile has proven to hold the tariff that it should."""
    wanted_billing_model_no: str | None
    held_billing_model_no: str | None
    guns: list[GunView]
    peer: str = ""
    """Where its connection comes from; empty without one."""
    protocol_version: str | None = None
    software_version: str | None = None
    clock_drift_ms: int | None = None
    silent_s: float | None = None
    """Clock seconds since it was last heard."""


class PileShown(msgspec.Struct, frozen=True):
    """One pile; `live` is null when it is retired, quarantined, or its actor does not answer."""

    pile: PileView
    live: PileLive | None


class TariffPush(msgspec.Struct, frozen=True):
    """How far a tariff has come to one pile."""

    pile_code: str
    state: str
    """State of the pile; empty when its actor does not answer."""
    wanted_billing_model_no: str | None
    confirmed_billing_model_no: str | None
    is_confirmed: bool
