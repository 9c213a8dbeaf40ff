"""All frames of YKC 1.5, 1.6 and 1.7, both directions; importing this fills the table."""

from __future__ import annotations

from pileward.codecs.ykc import frames_bms, frames_charge, frames_device, frames_link

__all__ = ["frames_bms", "frames_charge", "frames_device", "frames_link"]
