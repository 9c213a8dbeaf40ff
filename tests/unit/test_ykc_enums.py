"""Enumerations and bit fields of YKC."""

from __future__ import annotations

import pytest

from pileward.codecs.ykc import enums
from pileward.codecs.ykc.table import LAYOUTS
from pileward.messages.faults import FAULTS


def test_every_value_from_40_to_90_is_a_stop_reason() -> None:
    assert [reason.value for reason in enums.STOP_REASONS] == list(range(0x40, 0x91))


@pytest.mark.parametrize(
    ("value", "phase", "group"),
    [
        (0x40, "finished", "user"),
        (0x41, "finished", "condition"),
        (0x4A, "start_failed", "pile"),
        (0x59, "start_failed", "vehicle"),
        (0x69, "start_failed", "pile"),
        (0x6A, "aborted", "pile"),
        (0x6E, "aborted", "condition"),
        (0x82, "aborted", "vehicle"),
        (0x90, "unknown", "pile"),
        (0x00, "unknown", "pile"),
        (0xFF, "unknown", "pile"),
    ],
)
def test_phase_and_group_of_stop_reasons(value: int, phase: str, group: str) -> None:
    reason = enums.stop_reason(value)
    assert (reason.value, reason.phase, reason.group) == (value, phase, group)


def test_unknown_values_keep_their_number() -> None:
    assert enums.stop_reason(0x17).en == "unknown (0x17)"
    word = enums.text_of(0x13, "status", 0x2A)
    assert word is not None
    assert (word.zh, word.en) == ("未知 (0x2A)", "unknown (0x2A)")
    assert enums.text_of(0x13, "soc", 5) is None
    stop = enums.text_of(0x3B, "stop_reason", 0x41)
    assert stop is not None
    assert stop.en == "state of charge 100 %"


def test_values_of_an_enumeration_are_unique() -> None:
    for words in enums.WORDS_OF.values():
        assert len({word.value for word in words}) == len(words)


def test_enumerations_belong_to_fields_that_exist() -> None:
    for code, name in enums.WORDS_OF:
        assert any(row.page == name for layout in LAYOUTS[code] for row in layout.rows), (
            f"0x{code:02X} {name}"
        )


def test_hardware_faults_are_those_of_the_platform() -> None:
    assert set(enums.HARDWARE_FAULTS) == set(FAULTS)
    assert enums.fault_codes(0) == ()
    assert enums.fault_codes(0x0001) == ("emergency_stop",)
    assert enums.fault_codes(0x1000) == ("door_open",)
    assert len(enums.fault_codes(0xFFFF)) == 16


def test_two_bit_flags() -> None:
    assert enums.flags_set(enums.ABORT_ERRORS, 0b0000) == ()
    assert enums.flags_set(enums.ABORT_ERRORS, 0b0101) == ("current", "voltage")
    assert enums.flags_set(enums.ABORT_ERRORS, 0b1000) == ("voltage?",)
    assert enums.timeouts_set(enums.BMS_TIMEOUTS, 1 << 30) == ("other",)
    assert enums.bms_states(0b1001) == ("cell_voltage_high", "soc_low")


@pytest.mark.parametrize(
    "flags",
    [
        enums.BMS_TIMEOUTS,
        enums.CHARGER_TIMEOUTS,
        enums.BMS_ABORT_REASONS,
        enums.BMS_ABORT_FAULTS,
        enums.ABORT_ERRORS,
        enums.CHARGER_ABORT_REASONS,
        enums.CHARGER_ABORT_FAULTS,
        enums.BMS_STATES,
    ],
)
def test_flags_do_not_overlap(flags: tuple[enums.Flag, ...]) -> None:
    assert len({flag.shift for flag in flags}) == len({flag.code for flag in flags}) == len(flags)
    assert all(flag.shift % 2 == 0 for flag in flags)
