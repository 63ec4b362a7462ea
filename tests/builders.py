"""Values with sensible defaults: a test names only what matters to it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa

from dataproc.domain.destination import Destination
from dataproc.domain.job import Claim, Failure, Job, JobId, Progress, RunId
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.events import Event
from dataproc.ports.queue import LogLine
from dataproc.ports.store import Connection, StoredReply
from dataproc.sources.factory import Surroundings
from dataproc.transforms.factory import Surroundings as TransformSurroundings
from tests.fakes.secrets import FakeSecrets

SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def a_spec(**fields: Any) -> JobSpec:
    """Return a job's specification: files to `analytics.orders`."""
    defaults: dict[str, Any] = {
        "name": "orders-daily",
        "source": FilesSource(kind="files", path="orders/*.parquet"),
        "destination": Destination(table="analytics.orders"),
    }
    return JobSpec(**(defaults | fields))


def a_job(**fields: Any) -> Job:
    """Return a job that waits to be claimed."""
    defaults: dict[str, Any] = {
        "id": JobId(uuid4()),
        "spec": a_spec(),
        "owner": "ann",
        "status": RunStatus.PENDING,
        "created_at": SOME_TIME,
        "updated_at": SOME_TIME,
        "scheduled_for": SOME_TIME,
    }
    return Job(**(defaults | fields))


def a_claim(**fields: Any) -> Claim:
    """Return the first claim on a job."""
    defaults: dict[str, Any] = {
        "job_id": JobId(uuid4()),
        "run_id": RunId(uuid4()),
        "epoch": 1,
        "attempt": 1,
        "holder": "runner-1",
        "spec": a_spec(),
        "owner": "ann",
        "created_at": SOME_TIME,
    }
    return Claim(**(defaults | fields))


def a_failure(**fields: Any) -> Failure:
    """Return a failure that may go away."""
    defaults: dict[str, Any] = {
        "code": "source-unavailable",
        "message": "The source does not answer.",
        "retryable": True,
    }
    return Failure(**(defaults | fields))


def some_progress(**fields: Any) -> Progress:
    """Return the progress of a run that is half way."""
    defaults: dict[str, Any] = {"units_planned": 4, "units_done": 2, "rows_read": 100, "rows_loaded": 90}
    return Progress(**(defaults | fields))


def a_connection(**fields: Any) -> Connection:
    """Return a registered bucket."""
    defaults: dict[str, Any] = {"name": "lake", "kind": "s3", "config": {"bucket": "lake"}}
    return Connection(**(defaults | fields))


def surroundings(**fields: Any) -> Surroundings:
    """Return what a source is given besides its specification: no connection, no folder, no secrets."""
    defaults: dict[str, Any] = {"secrets": FakeSecrets()}
    return Surroundings(**(defaults | fields))


def around_transforms(**fields: Any) -> TransformSurroundings:
    """Return what a transform is given besides its specification: no keys, no secrets, no lookups."""
    defaults: dict[str, Any] = {"secrets": FakeSecrets()}
    return TransformSurroundings(**(defaults | fields))


def plan_of_size(size: int, **fields: Any) -> SourcePlan:
    """Return a plan of one unit of so many bytes."""
    return SourcePlan((Unit("u0", "list/0", "1", size),), pa.schema([("id", pa.int64())]), **fields)


def a_reply(**fields: Any) -> StoredReply:
    """Return what an Idempotency-Key was used for."""
    defaults: dict[str, Any] = {"fingerprint": "f1", "job_id": JobId(uuid4())}
    return StoredReply(**(defaults | fields))


def an_event(**fields: Any) -> Event:
    """Return an event of a job."""
    defaults: dict[str, Any] = {"id": uuid4(), "kind": "job.completed", "job_id": JobId(uuid4()), "data": {}}
    return Event(**(defaults | fields))


def a_line(**fields: Any) -> LogLine:
    """Return a line that a run has logged."""
    defaults: dict[str, Any] = {"logged_at": SOME_TIME, "level": "INFO", "message": "run begun"}
    return LogLine(**(defaults | fields))
