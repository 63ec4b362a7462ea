"""Metrics for Prometheus: requests of this process, and the fleet's figures out of PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dataproc.domain.status import RunStatus
from dataproc.ports import QueueDepth

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class Metrics:
    """All metrics of one API process, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    jobs: Gauge = field(init=False)
    ready: Gauge = field(init=False)
    oldest: Gauge = field(init=False)

    def __post_init__(self) -> None:
        """Register them."""
        labels, registry = ("method", "route"), self.registry
        self.requests = Counter("dataproc_http_requests", "Requests answered.", (*labels, "status"), registry=registry)
        self.seconds = Histogram(
            "dataproc_http_request_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=registry
        )
        self.jobs = Gauge("dataproc_jobs", "Jobs in each status, in all.", ("status",), registry=registry)
        self.ready = Gauge("dataproc_queue_ready", "Jobs that wait for a runner now.", registry=registry)
        self.oldest = Gauge("dataproc_queue_oldest_seconds", "How long the oldest of them waits.", registry=registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def render(self, counts: Mapping[RunStatus, int], depth: QueueDepth) -> bytes:
        """Return everything in Prometheus's text format."""
        for status, count in counts.items():
            self.jobs.labels(status.value).set(count)
        self.ready.set(depth.ready)
        self.oldest.set(depth.oldest_ready.total_seconds() if depth.oldest_ready else 0)
        return generate_latest(self.registry)
