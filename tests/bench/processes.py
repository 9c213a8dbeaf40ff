"""What other processes cost: CPU time and memory, read from the kernel."""

from __future__ import annotations

import time
from pathlib import Path

_CPUCLOCK_SCHED = 2


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of a process have used, to the nanosecond.

    The kernel has a clock for each process; its number is made of the pid (clock_getcpuclockid(3)).
    """
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def rss_kib(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)
