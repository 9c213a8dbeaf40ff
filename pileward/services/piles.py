"""Piles and their guns: registered, changed, adopted, listed."""

from __future__ import annotations

from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.services.pile_configs import PileConfig, PileSettings

__all__ = ["CardCodec", "CrcOrder", "PileConfig", "PileKind", "PileSettings"]
