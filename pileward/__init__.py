"""Pileward: a real-time supervisor for electric-vehicle charging piles (充电桩)."""

__version__ = "0.1.0"
