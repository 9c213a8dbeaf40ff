"""`python -m tests.bench [NAME …]`: run the benchmarks, print a table, write `build/bench.json`.

A benchmark is a module `bench_<name>.py` with `run()`, which returns rows `{"name", "value", "unit",
"reference", "ratio", "budget", "ok"}`; reference, ratio and budget may be None. A missed budget is shown and
does not fail the run: figures depend on the machine. A benchmark that raises does.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
KEYS = ("name", "value", "unit", "reference", "ratio", "budget", "ok")


@click.command(help="Run the benchmarks; NAME selects some (frame_path for bench_frame_path.py).")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--list", "is_list", is_flag=True, help="Name the benchmarks and stop.")
@click.option("--write-docs", is_flag=True, help="Write the figures into docs/performance.md.")
def main(names: tuple[str, ...], *, is_list: bool, write_docs: bool) -> None:
    """Run, show, write; exit 1 when a benchmark raised."""
    console = Console()
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if is_list:
        console.print("\n".join(known))
        return
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are {', '.join(known)}")
    rows: list[Row] = []
    failed: list[str] = []
    for name in names or known:
        rows += _run_one(name, console, failed)
    results = _merged(rows) if names else rows
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    console.print(_table(rows))
    if write_docs:
        write_page(PAGE, results)
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}[/red]")
        raise SystemExit(1)


def _run_one(name: str, console: Console, failed: list[str]) -> list[Row]:
    began = time.monotonic()
    try:
        with console.status(f"{name} …"):
            module = importlib.import_module(f"tests.bench.bench_{name}")
            rows: list[Row] = [{key: row.get(key) for key in KEYS} for row in module.run()]
    except Exception:
        traceback.print_exc()
        failed.append(name)
        return []
    console.print(f"{name}: {len(rows)} figures in {time.monotonic() - began:.0f} s", highlight=False)
    return rows


def _merged(rows: list[Row]) -> list[Row]:
    """Put the new rows in the place of those of the same name from an earlier run."""
    earlier: list[Row] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    new = {row["name"]: row for row in rows}
    kept = [new.pop(row["name"], row) for row in earlier]
    return kept + list(new.values())


def _table(rows: Iterable[Row]) -> Table:
    table = Table(title="Pileward benchmarks")
    for heading in ("what", "value", "reference", "ratio", "budget", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right", overflow="fold")
    for row in rows:
        verdict = {True: "[green]ok[/green]", False: "[red]over[/red]"}.get(row["ok"], "")
        table.add_row(*_cells(row), verdict)
    return table


def _cells(row: Row) -> list[str]:
    unit = row["unit"] or ""
    return [
        row["name"],
        f"{_number(row['value'])} {unit}".strip(),
        f"{_number(row['reference'])} {unit}".strip() if row["reference"] is not None else "",
        _number(row["ratio"]),
        _number(row["budget"]),
    ]


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if value == int(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def write_page(page: Path, rows: Iterable[Row]) -> None:
    """Replace the figures between the markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}.", ""]
    lines += ["| what | value | reference | ratio | budget | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for row in rows:
        verdict = {True: "ok", False: "**over**"}.get(row["ok"], "")
        lines.append("| " + " | ".join([*_cells(row), verdict]) + " |")
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def machine() -> str:
    """What the figures were measured on."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
