"""Metrics: plain integers that the owners of things count up, turned into Prometheus text when somebody
scrapes.

Nothing on the frame path takes a lock, builds a label or looks one up: a connection asks once for its counter
of (protocol, direction) and then does `counts[frame_type] += 1`. Gauges that somebody already knows (a
queue's length, the engine's counters) are read by a callable at the scrape. All of it belongs to the event
loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pileward.ports import BusStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LATENCY_BOUNDS_S = (
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)
"""From a heartbeat answered at once (tens of microseconds) to one that has clearly gone wrong."""

BATCH_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Writes in one transaction; 500 is the store's limit."""

Counts = defaultdict[Any, int]
"""How often, by kind: a frame type (shown as 0x13), a reason, a state."""


class Histogram:
    """Counts of observations at most as large as each bound, and their sum; one bisection an observation."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts as Prometheus wants them, ending with +Inf."""
        names = [repr(float(bound)) for bound in self.bounds] + ["+Inf"]
        running, rows = 0, []
        for name, count in zip(names, self.counts, strict=True):
            running += count
            rows.append((name, float(running)))
        return rows


class Money:
    """What is counted of payments and refunds; attributes are public on purpose."""

    def __init__(self) -> None:
        self.payments: Counts = Counts(int)
        """Payments that are not over, by step, now."""
        self.confirmed: Counts = Counts(int)
        """Money that arrived, by what it means for its order."""
        self.notifications: Counts = Counts(int)
        """Notifications of providers: proven, or why not."""
        self.refunds: Counts = Counts(int)
        """Refunds that are not over, by step, now."""
        self.refunds_ended: Counts = Counts(int)
        """Refunds that are over, by how."""
        self.transit_fen = 0
        """Refunds decided and not yet back."""
        self.outbox_age_s = 0.0
        """Since the oldest refund was made that should have been asked for; clock seconds."""
        self.calls: Counts = Counts(int)
        """Calls to providers: `<call>:<done, or kind of failure>`."""

    def families(self) -> Iterator[Metric]:
        """Build the Prometheus families from what is counted now."""
        yield _by_state("payments", "payments that are not over, by state", self.payments)
        yield _by("payments_confirmed", "payments received", "verdict", self.confirmed)
        yield _by("notifications", "notifications of providers", "outcome", self.notifications)
        yield _by_state("refunds", "refunds that are not over, by state", self.refunds)
        yield _by("refunds_ended", "refunds that are over", "state", self.refunds_ended)
        yield _gauge("transit_fen", "refunds decided and not yet back, fen", self.transit_fen)
        yield _gauge("outbox_age_seconds", "age of the oldest refund not asked for", self.outbox_age_s)
        yield _by("provider_calls", "calls to providers", "call", self.calls)


class Metrics:
    """All counters and gauges of one process; attributes are public on purpose."""

    def __init__(self) -> None:
        # connections and frames
        self.connections = 0
        self.connections_opened = 0
        self.connections_refused: Counts = Counts(int)
        """By reason: full, address_full, …"""
        self.connections_closed: Counts = Counts(int)
        """By reason."""
        self.frames: dict[tuple[str, str], Counts] = {}
        """By (protocol, "up" or "down"), then by frame type; see `frame_counts`."""
        self.garbage: Counts = Counts(int)
        """Damaged frames by reason."""
        self.implausible: Counts = Counts(int)
        """Impossible values in frames that were otherwise good, by field."""
        self.misplaced: Counts = Counts(int)
        """Frames that may not be here, by reason: before_login, other_pile, …"""
        self.paused_sockets = 0
        self.heartbeat_s = Histogram(LATENCY_BOUNDS_S)
        """From the bytes' arrival to the answer's write, seconds."""
        self.logins_accepted = 0
        self.logins_refused: Counts = Counts(int)
        """By reason: unknown_pile, other_version, …"""
        # piles and guns
        self.piles: Counts = Counts(int)
        """Piles by state, now."""
        self.guns: Counts = Counts(int)
        """Guns by state, now."""
        self.sessions: Counts = Counts(int)
        """Charges by state, now."""
        self.alarms_open = 0
        self.alarms_raised: Counts = Counts(int)
        """By code."""
        self.commands: Counts = Counts(int)
        """Commands by outcome."""
        # store
        self.store_queue = 0
        self.store_batch = Histogram(BATCH_BOUNDS)
        self.store_commit_s = Histogram(LATENCY_BOUNDS_S)
        self.store_writes = 0
        self.store_failures = 0
        self.samples_shed = 0
        self.records_dropped = 0
        self.money = Money()
        # engine
        self.restarts = 0
        self.quarantines = 0
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self._bus: BusStats | None = None
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def frame_counts(self, protocol: str, direction: str) -> Counts:
        """Return the counter of frames by type of one protocol and direction; ask once, then count on it."""
        return self.frames.setdefault((protocol, direction), Counts(int))

    def moved(self, counts: Counts, before: Any, after: Any) -> None:
        """Move one thing of `piles` or `guns` from a state to another; None stands for outside."""
        if before is not None:
            counts[before] -= 1
        if after is not None:
            counts[after] += 1

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show what somebody else knows, e.g. the engine's queue; `read` is called at each scrape."""
        self._gauges[name] = (meaning, read)

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show what somebody else counts and never takes back, e.g. the engine's messages."""
        self._counters[name] = (meaning, read)

    def watch_bus(self, stats: BusStats) -> None:
        """Show the counters of the bus."""
        self._bus = stats

    def render(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """Build the Prometheus families from what is counted now."""
        yield _gauge("connections", "pile connections open", self.connections)
        yield _counter("connections_opened", "pile connections accepted", self.connections_opened)
        yield _by("connections_refused", "pile connections refused", "reason", self.connections_refused)
        yield _by("connections_closed", "pile connections closed", "reason", self.connections_closed)
        yield self._frames()
        yield _by("garbage", "damaged frames", "reason", self.garbage)
        yield _by("implausible", "impossible values in good frames", "field", self.implausible)
        yield _by("misplaced", "frames that may not be where they came", "reason", self.misplaced)
        yield _gauge(
            "paused_sockets", "sockets held back: too much comes or a pile lags", self.paused_sockets
        )
        yield _histogram("heartbeat_seconds", "heartbeat received to answer written", self.heartbeat_s)
        yield _counter("logins_accepted", "logins accepted", self.logins_accepted)
        yield _by("logins_refused", "logins refused", "reason", self.logins_refused)
        yield _by_state("piles", "piles by state", self.piles)
        yield _by_state("guns", "guns by state", self.guns)
        yield _by_state("sessions", "charges by state", self.sessions)
        yield _gauge("alarms_open", "alarms open", self.alarms_open)
        yield _by("alarms_raised", "alarms raised", "code", self.alarms_raised)
        yield _by("commands", "commands to piles", "outcome", self.commands)
        yield from self._store()
        yield from self.money.families()
        yield _counter("actor_restarts", "actors restarted after a failure", self.restarts)
        yield _counter("actor_quarantines", "actors quarantined after repeated failures", self.quarantines)
        for name, (meaning, read) in self._gauges.items():
            yield _gauge(name, meaning, read())
        for name, (meaning, read) in self._counters.items():
            yield _counter(name, meaning, read())
        if self._bus is not None:
            yield from _bus(self._bus)

    def _frames(self) -> Metric:
        family = CounterMetricFamily(
            "pileward_frames", "frames by type", labels=("protocol", "direction", "type")
        )
        for (protocol, direction), counts in self.frames.items():
            for kind, count in counts.items():
                family.add_metric((protocol, direction, _name(kind)), count)
        return family

    def _store(self) -> Iterator[Metric]:
        yield _gauge("store_queue", "writes waiting for a transaction", self.store_queue)
        yield _histogram("store_batch_writes", "writes in one transaction", self.store_batch)
        yield _histogram("store_commit_seconds", "time of one transaction", self.store_commit_s)
        yield _counter("store_writes", "writes committed", self.store_writes)
        yield _counter("store_failures", "writes refused by the database", self.store_failures)
        yield _counter("samples_shed", "telemetry samples shed under pressure", self.samples_shed)
        yield _counter("records_dropped", "records dropped unconfirmed under pressure", self.records_dropped)


class _Collector(Collector):
    """What the registry calls at a scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()

    def describe(self) -> list[Metric]:
        """Nothing in advance: families exist from the first scrape on."""
        return []


def _bus(stats: BusStats) -> Iterator[Metric]:
    yield _gauge("bus_up", "1 while the live feed flows", int(stats.up))
    yield _gauge("bus_subscribers", "subscriptions of this process", stats.subscribers)
    yield _counter("bus_published", "events taken for somebody", stats.published)
    yield _counter("bus_delivered", "events put before subscribers", stats.delivered)
    yield _by("bus_lost", "events lost", "where", {"subscriber": stats.lagged, "outgoing": stats.dropped})
    yield _counter("bus_interruptions", "times the bus was lost", stats.interruptions)
    yield _counter("rate_limited", "calls refused by a rate limit", stats.refused)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pileward_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"pileward_{name}", meaning, value=value)


def _by(name: str, meaning: str, label: str, counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"pileward_{name}", meaning, labels=(label,))
    for kind, count in counts.items():
        family.add_metric((_name(kind),), count)
    return family


def _by_state(name: str, meaning: str, counts: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"pileward_{name}", meaning, labels=("state",))
    for state, count in counts.items():
        family.add_metric((_name(state),), count)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(
        f"pileward_{name}", meaning, buckets=histogram.buckets(), sum_value=histogram.total
    )


def _name(kind: object) -> str:
    """A frame type as 0x13, an enum and a class of messages by name, anything else as it is."""
    if isinstance(kind, Enum):
        return kind.value if isinstance(kind.value, str) else kind.name.lower()
    if isinstance(kind, type):
        return kind.__name__
    return f"0x{kind:02X}" if isinstance(kind, int) else str(kind)
