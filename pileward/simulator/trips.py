"""What came of the drivers: outcomes, odd things, and how long each step took."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from pileward.simulator.histogram import Histogram

STEPS: Final = ("prepay", "pay", "funded", "start", "charging", "bill", "refund")
"""From the first tap to the last fen: ordering (HTTP), paying (at WeChat), until the order is funded,
starting (HTTP), until it charges, from the stop (or the end) to the bill, from the bill to the refund.
"""


class Trips:
    """Counts and latencies of many trips; latencies are real seconds."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        """By the stable code of the answer."""
        self.oddities: Counter[str] = Counter()
        """Double taps, second scans, closed apps, lost requests."""
        self.wrongs: Counter[str] = Counter()
        """What must never be: money that does not add up, an answer that contradicts another."""
        self.underway = 0
        self.paid_fen = 0
        self.charged_fen = 0
        self.refunded_fen = 0
        self.debt_fen = 0
        """Billed beyond what was paid, or after it had gone back."""
        self.energy_e4_kwh = 0
        self.latencies = {step: Histogram() for step in STEPS}

    def ended(self, session: dict[str, Any]) -> None:
        """Count the money of a finished order, and see whether it adds up."""
        bill = session["bill"]
        paid = session["paid_fen"]
        total = bill["total_fen"] if bill is not None else 0
        back = sum(refund["fen"] for refund in session["refunds"] if refund["stage"] == "arrived")
        self.paid_fen += paid
        self.charged_fen += total
        self.refunded_fen += back
        self.debt_fen += session["debt_fen"]
        self.energy_e4_kwh += bill["energy_e4_kwh"] if bill is not None else 0
        if back != max(0, paid - total + session["debt_fen"]):
            self.wrongs["refund_is_not_the_rest"] += 1
        if bill is not None:
            self._check_bill(bill)

    def _check_bill(self, bill: dict[str, Any]) -> None:
        lines = bill["lines"]
        for name in ("electricity_fen", "service_fen", "total_fen", "energy_e4_kwh"):
            if sum(line[name] for line in lines) != bill[name]:
                self.wrongs[f"bill_column_{name}"] += 1
        if bill["electricity_fen"] + bill["service_fen"] != bill["total_fen"]:
            self.wrongs["bill_parts"] += 1

    def line(self) -> str:
        """The trips in one line, Chinese first."""
        good = self.outcomes["charged"]
        parts = [
            f"司机 drivers {self.underway}",
            f"完成 charged {good}",
            f"实付 paid {_yuan(self.paid_fen)}",
            f"电费服务费 billed {_yuan(self.charged_fen)}",
            f"退款 refunded {_yuan(self.refunded_fen)}",
        ]
        others = self.outcomes - Counter({"charged": good})
        parts += [f"{name} {count}" for name, count in others.most_common()]
        parts += [f"异常 WRONG {name} {count}" for name, count in self.wrongs.most_common()]
        return " · ".join(parts)


class TripsReport(msgspec.Struct, frozen=True):
    """Figures about trips for machines and tables; latencies in milliseconds, money in fen."""

    trips: int
    charged: int
    charged_per_s: float
    outcomes: dict[str, int]
    refusals: dict[str, int]
    oddities: dict[str, int]
    wrongs: dict[str, int]
    paid_fen: int
    billed_fen: int
    refunded_fen: int
    debt_fen: int
    energy_e4_kwh: int
    latencies: dict[str, dict[str, float]]


def report_of(trips: Trips, seconds: float) -> TripsReport:
    """The figures of trips that took so many seconds."""
    charged = trips.outcomes["charged"]
    return TripsReport(
        trips=trips.outcomes.total(),
        charged=charged,
        charged_per_s=round(charged / max(seconds, 1e-9), 2),
        outcomes=dict(trips.outcomes),
        refusals=dict(trips.refusals),
        oddities=dict(trips.oddities),
        wrongs=dict(trips.wrongs),
        paid_fen=trips.paid_fen,
        billed_fen=trips.charged_fen,
        refunded_fen=trips.refunded_fen,
        debt_fen=trips.debt_fen,
        energy_e4_kwh=trips.energy_e4_kwh,
        latencies={step: histogram.summary_ms() for step, histogram in trips.latencies.items()},
    )


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"
