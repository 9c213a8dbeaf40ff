"""What a pile or a car does in one charge that it should not do, or that not every charge sees.

Each quirk has a chance a charge in a profile's table and is drawn when the charge is asked for, in the order
of this list, from a stream named by seed, pile, gun and the number of the charge. A test gives a quirk by
`Control.misbehave` instead.
"""

from __future__ import annotations

import enum


class Quirk(enum.StrEnum):
    """One way in which a charge is odd."""

    # The start.
    START_MUTE = "start_mute"
    """0x34 is neither answered nor followed."""
    START_LATE = "start_late"
    """0x34 is answered, and followed, only after a while."""
    START_ANSWER_LOST = "start_answer_lost"
    """It charges without ever having said so in 0x33."""
    START_REFUSED = "start_refused"
    """A gun that could start says "fault"."""
    CHARGES_REFUSED = "charges_refused"
    """It says that it refuses, and charges all the same."""
    START_FAILS = "start_fails"
    """Accepted, then the vehicle does not answer: a record of nothing."""
    NEVER_CHARGES = "never_charges"
    """Accepted, then nothing more is heard of it."""

    # How it ends, if the battery or the money does not end it before.
    BUTTON = "button"
    """Somebody presses the stop button."""
    PULLED = "pulled"
    """The gun is pulled out, charging."""
    CAR_STOPS = "car_stops"
    """The vehicle ends it (0x1D)."""
    CHARGER_STOPS = "charger_stops"
    """The charger ends it (0x21)."""

    # Stops that are not.
    STOP_MUTE = "stop_mute"
    """0x36 is obeyed and not answered."""
    STOP_LATE = "stop_late"
    """0x36 is answered, and obeyed, only after a while."""
    STOP_IGNORED = "stop_ignored"
    """0x36 is answered "stopped", and it goes on charging."""
    STOP_REFUSED = "stop_refused"
    """0x36 is answered "failed", and it goes on charging."""
    OVERSPENDS = "overspends"
    """The balance is used up, and it goes on charging."""

    # What it says meanwhile.
    IDLE_FRAMES = "idle_frames"
    """Now and then a real-time frame says "idle" in the middle of the charge (YKC 1.6, 0x13)."""
    SILENT = "silent"
    """No real-time data while it charges."""

    # The record.
    RECORD_TWICE = "record_twice"
    """Sent again although it was confirmed."""
    RECORD_DIFFERENT = "record_different"
    """Sent again with other contents."""
    RECORD_LATE = "record_late"
    """Made long after the 30 s that the protocol grants."""
    RECORD_LOST = "record_lost"
    """Never made."""
    RECORD_UNKNOWN = "record_unknown"
    """Carries a transaction number that nobody gave."""
    RECORD_NEGATIVE = "record_negative"
    """Energy below zero, as an unsigned number shows it."""
    RECORD_ABSURD = "record_absurd"
    """Bills the meter's whole life."""
    RECORD_BACKWARDS = "record_backwards"
    """Ends before it starts."""
    RECORD_SKEWED = "record_skewed"
    """Its times are hours off."""
    AMOUNTS_CUT = "amounts_cut"
    """Amounts are cut to fen, and a little more (YKC 1.6, 交易记录; seen in captures)."""
    AMOUNTS_ZERO = "amounts_zero"
    """Prices and amounts are zero in spite of energy (seen in real records)."""


SURPRISES = (Quirk.BUTTON, Quirk.PULLED, Quirk.CAR_STOPS, Quirk.CHARGER_STOPS)
"""What ends a charge at a moment that is drawn."""
