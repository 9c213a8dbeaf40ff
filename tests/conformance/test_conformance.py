"""The judgement about a run of Thespian's suite; the run itself is `make conformance`."""

from __future__ import annotations

import pytest

from tests.conformance.suite import (
    ALSO_APPLY,
    SKIPPED,
    complaints,
    expected_to_pass,
    without_parameters,
)


def good_run() -> dict[str, str]:
    """A run as it must be."""
    outcomes = {
        f"test_x.py::test_{number}[simpleSystemBase]": "passed" for number in range(expected_to_pass())
    }
    for start, count, _ in SKIPPED:
        outcomes |= {f"lib/{start}_{number}[simpleSystemBase]": "skipped" for number in range(count)}
    return outcomes


def test_a_complete_run_is_good() -> None:
    assert complaints(good_run()) == []


def test_a_failing_test_is_named() -> None:
    outcomes = good_run() | {"test_x.py::test_0[simpleSystemBase]": "failed"}
    assert complaints(outcomes) == [
        "test_x.py::test_0[simpleSystemBase] failed",
        f"{expected_to_pass() - 1} tests passed, not {expected_to_pass()}",
    ]


def test_a_missing_test_is_noticed() -> None:
    outcomes = good_run()
    del outcomes["test_x.py::test_0[simpleSystemBase]"]
    assert len(complaints(outcomes)) == 1
    assert complaints({})


def test_a_skip_needs_a_reason() -> None:
    outcomes = good_run() | {"test_x.py::test_new[simpleSystemBase]": "skipped"}
    assert complaints(outcomes) == ["test_x.py::test_new was skipped, for no reason given here"]


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("a/b/test_x.py::Class::test_y[simpleSystemBase-1]", "test_x.py::Class::test_y"),
        ("test_x.py::test_y", "test_x.py::test_y"),
    ],
)
def test_names_are_compared_without_folders_and_parameters(node: str, name: str) -> None:
    assert without_parameters(node) == name


def test_what_applies_is_not_listed_as_skipped_one_by_one() -> None:
    assert not any(start in ALSO_APPLY for start, _, _ in SKIPPED)
