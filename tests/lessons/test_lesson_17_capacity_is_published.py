"""Lesson 17: how much one process carries is published, with the benchmark that shows it.

Elsewhere, past a hundred chargers, some were always offline, and nobody knew the ceiling.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import bench_fleet

ROOT = Path(__file__).parents[2]


def test_the_benchmark_of_ten_thousand_piles_is_there() -> None:
    assert bench_fleet.PILES >= 10_000
    assert bench_fleet.MEMORY_BUDGET_KIB <= 10


def test_the_page_says_what_was_measured_and_how_to_measure_it() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert "make bench" in page
    assert "piles" in page
    assert "docs/performance.md" in (ROOT / "README.md").read_text()


def test_a_run_of_the_benchmarks_leaves_its_figures() -> None:
    results = ROOT / "build" / "bench.json"
    if results.exists():
        for row in json.loads(results.read_text()):
            assert set(row) >= {"name", "value", "unit", "reference", "ratio", "budget", "ok"}
