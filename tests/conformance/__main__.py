"""`python -m tests.conformance`: run Thespian's own suite against our engine and hold it against `suite`.

Most of its time passes in sleeping, so it is cut in two that run side by side. Exit code 1 and a list of what
is wrong when a test fails or is missing; the output of the tests themselves comes only then.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conformance.suite import SKIPPED, complaints, expected_to_pass

ROOT = Path(__file__).parents[2]
#: Seconds after which a part that still runs is hanging.
LIMIT_S = 1_500
PARTS = (
    "simpleSystemBase and TestFuncThreadedExternal",
    "simpleSystemBase and not TestFuncThreadedExternal",
)


def start(part: str, folder: Path, number: int) -> subprocess.Popen[str]:
    """Begin one part of the suite."""
    command = [
        *(sys.executable, "-m", "pytest", "--pyargs", "thespian.test"),
        *("-c", str(ROOT / "tests/conformance/pytest.ini"), "--rootdir", str(folder), "-k", part),
        *("--outcomes", str(folder / f"outcomes-{number}.json")),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run() -> list[str]:
    """Run all parts; what is wrong."""
    outcomes: dict[str, str] = {}
    outputs: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [start(part, folder, number) for number, part in enumerate(PARTS)]
        try:
            outputs = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
        except subprocess.TimeoutExpired:
            return [f"the suite did not end within {LIMIT_S} s"]
        finally:
            for process in processes:
                process.kill()
        for file in folder.glob("outcomes-*.json"):
            outcomes.update(json.loads(file.read_text(encoding="utf-8")))
    found = complaints(outcomes)
    if found:
        sys.stdout.write("\n".join(outputs))
    return found


def main() -> None:
    """Run, say how it went, exit."""
    began = time.monotonic()
    found = run()
    for line in found:
        sys.stdout.write(f"conformance: {line}\n")
    if found:
        raise SystemExit(1)
    skipped = sum(count for _, count, _ in SKIPPED)
    sys.stdout.write(
        f"conformance: {expected_to_pass()} of Thespian's tests passed, {skipped} do not apply "
        f"({time.monotonic() - began:.0f} s)\n"
    )


if __name__ == "__main__":
    main()
