"""Metrics for Prometheus: requests of this process, and the fleet's figures out of PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dataproc.domain.status import RunStatus
from dataproc.ports.queue import QueueDepth

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How all jobs stand, as the metadata database tells."""

    counts: Mapping[RunStatus, int]
    depth: QueueDepth


@dataclass(slots=True)
class Metrics:
    """All metrics of one API process, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        """Register them."""
        labels, registry = ("method", "route"), self.registry
        self.requests = Counter("dataproc_http_requests", "Requests answered.", (*labels, "status"), registry=registry)
        self.seconds = Histogram(
            "dataproc_http_request_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def render(self, fleet: Fleet | None) -> bytes:
        """Return everything in Prometheus's text format; `None`: the metadata database does not answer."""
        return generate_latest(self.registry) + generate_latest(fleet_registry(fleet))


def fleet_registry(fleet: Fleet | None) -> CollectorRegistry:
    """Return the fleet's figures; a registry of their own each time, so that no old figure stays."""
    registry = CollectorRegistry()
    is_up = Gauge("dataproc_metadata_up", "Whether the metadata database answers.", registry=registry)
    is_up.set(fleet is not None)
    if fleet is not None:
        jobs = Gauge("dataproc_jobs", "Jobs in each status, in all.", ("status",), registry=registry)
        for status, count in fleet.counts.items():
            jobs.labels(status.value).set(count)
        waiting, oldest = fleet.depth.ready, fleet.depth.oldest_ready
        Gauge("dataproc_queue_ready", "Jobs that wait for a runner now.", registry=registry).set(waiting)
        age = Gauge("dataproc_queue_oldest_seconds", "How long the oldest of them waits.", registry=registry)
        age.set(oldest.total_seconds() if oldest else 0)
    return registry
