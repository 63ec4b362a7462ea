"""Rows of the metadata database as values of the domain, and back."""

import json
from collections.abc import Mapping
from datetime import timedelta

from pydantic import BaseModel
from sqlalchemy import RowMapping

from dataproc.domain.job import Claim, Failure, Job, JobId, JobRun, Progress, RunId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.ports.events import Event
from dataproc.ports.queue import ExpiredLease, LogLine


def to_job(row: RowMapping) -> Job:
    """Return the job of a row of `jobs`, with its progress."""
    return Job(
        id=JobId(row["id"]),
        spec=JobSpec.model_validate(row["spec"]),
        owner=row["owner"],
        status=RunStatus(row["status"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        scheduled_for=row["scheduled_for"],
        attempt=row["attempt"],
        epoch=row["epoch"],
        cancel_requested=row["cancel_requested"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        failure=to_failure(row["failure"]),
        progress=Progress.model_validate(row["progress"] or {"waiting_for": row["waiting_for"]}),
    )


def to_run(row: RowMapping) -> JobRun:
    """Return the run of a row of `job_runs`."""
    return JobRun(
        id=RunId(row["id"]),
        job_id=JobId(row["job_id"]),
        attempt=row["attempt"],
        epoch=row["epoch"],
        status=RunStatus(row["status"]),
        holder=row["holder"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        failure=to_failure(row["failure"]),
        progress=Progress.model_validate(row["progress"]),
    )


def to_claim(row: RowMapping) -> Claim:
    """Return the claim of a row that joins a job with its lease."""
    return Claim(
        job_id=JobId(row["job_id"]),
        run_id=RunId(row["run_id"]),
        epoch=row["epoch"],
        attempt=row["attempt"],
        holder=row["holder"],
        spec=JobSpec.model_validate(row["spec"]),
        owner=row["owner"],
        created_at=row["created_at"],
    )


def to_expired(row: RowMapping) -> ExpiredLease:
    """Return the lease that was taken over."""
    return ExpiredLease(to_claim(row), cancel_requested=row["cancel_requested"], lost_holder=row["lost_holder"])


def to_event(row: RowMapping) -> Event:
    """Return the event of a row of `outbox`."""
    return Event(
        id=row["id"],
        kind=row["kind"],
        job_id=JobId(row["job_id"]),
        data=row["data"],
        created_at=row["created_at"],
        attempts=row["attempts"],
    )


def to_line(row: RowMapping) -> LogLine:
    """Return the line of a row of `run_logs`."""
    return LogLine(row["logged_at"], row["level"], row["message"])


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL cannot hold: NUL, and halves of characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def to_failure(value: Mapping[str, object] | None) -> Failure | None:
    """Return the failure, if there was one."""
    return None if value is None else Failure.model_validate(value)


def as_json(value: BaseModel | None) -> str | None:
    """Return the value as JSON text for a statement; `None` stays null."""
    return None if value is None else json.dumps(value.model_dump(mode="json"))


def in_seconds(length: timedelta) -> float:
    """Return a length of time for `make_interval(secs => …)`."""
    return length.total_seconds()
