"""Metrics: what is counted is what Prometheus reads."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import pileward
from pileward.metrics import Histogram, Metrics
from pileward.ports import BusStats


class State(Enum):
    ONLINE = "Online"
    OFFLINE = 2


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape reads, by name and labels."""
    text = metrics.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_fresh_process_has_every_family() -> None:
    text = Metrics().render().decode()
    for name in (
        "connections",
        "frames_total",
        "garbage_total",
        "heartbeat_seconds",
        "logins_accepted_total",
        "piles",
        "guns",
        "store_queue",
        "store_batch_writes",
        "store_commit_seconds",
        "actor_restarts_total",
        "actor_quarantines_total",
        "alarms_open",
    ):
        assert f"# TYPE pileward_{name} " in text, name
    assert "process_resident_memory_bytes" in text


def test_frames_are_counted_by_protocol_direction_and_type() -> None:
    metrics = Metrics()
    counts = metrics.frame_counts("ykc", "up")
    counts[0x03] += 2
    counts["BootNotification"] += 1
    assert metrics.frame_counts("ykc", "up") is counts
    read = samples(metrics)
    assert read["pileward_frames_total", (("direction", "up"), ("protocol", "ykc"), ("type", "0x03"))] == 2
    labels = (("direction", "up"), ("protocol", "ykc"), ("type", "BootNotification"))
    assert read["pileward_frames_total", labels] == 1


def test_piles_move_between_states() -> None:
    metrics = Metrics()
    metrics.moved(metrics.piles, None, State.OFFLINE)
    metrics.moved(metrics.piles, None, State.OFFLINE)
    metrics.moved(metrics.piles, State.OFFLINE, State.ONLINE)
    read = samples(metrics)
    assert read["pileward_piles", (("state", "Online"),)] == 1
    assert read["pileward_piles", (("state", "offline"),)] == 1
    metrics.moved(metrics.piles, State.ONLINE, None)
    assert samples(metrics)["pileward_piles", (("state", "Online"),)] == 0


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.5, "1.0"), (1.0, "1.0"), (1.1, "5.0"), (5.0, "5.0"), (99.0, "+Inf")]
)
def test_a_value_falls_into_the_first_bucket_that_holds_it(value: float, bucket: str) -> None:
    histogram = Histogram((1, 5))
    histogram.observe(value)
    rows = histogram.buckets()
    assert next(name for name, count in rows if count) == bucket
    assert rows[-1] == ("+Inf", 1.0)


def test_gauges_of_others_and_the_bus_are_read_at_the_scrape() -> None:
    metrics, stats, depth = Metrics(), BusStats(), [0]
    metrics.gauge("engine_queue", "messages waiting", lambda: depth[0])
    metrics.watch_bus(stats)
    metrics.counter("engine_handled", "messages handled", lambda: 2 * depth[0])
    depth[0], stats.lagged, stats.dropped, stats.up = 7, 3, 4, False
    read = samples(metrics)
    assert read["pileward_engine_queue", ()] == 7
    assert read["pileward_engine_handled_total", ()] == 14
    assert read["pileward_bus_lost_total", (("where", "subscriber"),)] == 3
    assert read["pileward_bus_lost_total", (("where", "outgoing"),)] == 4
    assert read["pileward_bus_up", ()] == 0


def test_everything_is_counted_by_somebody() -> None:
    sources = [path for path in Path(pileward.__path__[0]).rglob("*.py") if path.name != "metrics.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    public = [name for name in vars(Metrics()) if not name.startswith("_") and name != "frames"]
    for name in [*public, "frame_counts"]:
        assert re.search(rf"metrics\.{name}\b", code), f"{name} is counted by nobody"
