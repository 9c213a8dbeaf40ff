"""The page of all settings, written from the structs: `python -m pileward.config.table docs/settings.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from pileward.config.settings import keys

BEGIN = "<!-- settings: begin (python -m pileward.config.table docs/settings.md) -->"
END = "<!-- settings: end -->"


def settings_table() -> str:
    """Return one Markdown row a setting."""
    rows = ["| key | environment | value | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for key in keys():
        default = f"`{key.default}`" if key.default else ""
        rows.append(f"| `{key.name}` | `{key.variable}` | {key.kind} | {default} | {key.meaning} |")
    return "\n".join(rows)


def write(page: Path) -> None:
    """Replace the table between the markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{settings_table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
