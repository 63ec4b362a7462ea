"""What others are told when a job ends; the ids are made from the end itself, so that they stay the same."""

from uuid import uuid5

from dataproc.domain.job import Claim, Failure, Job, Progress
from dataproc.domain.status import RunStatus
from dataproc.ports.events import Event


def run_ended(claim: Claim, to: RunStatus, progress: Progress | None, failure: Failure | None) -> Event:
    """Return the event `job.completed`, `job.failed` or `job.cancelled` of a run, with its counts and warnings."""
    done = progress or Progress()
    data: dict[str, object] = {
        "name": claim.spec.name,
        "owner": claim.owner,
        "run_id": str(claim.run_id),
        "attempt": claim.attempt,
        "rows": {
            "read": done.rows_read,
            "loaded": done.rows_loaded if to is RunStatus.COMPLETED else 0,
            "rejected": done.rows_rejected,
            "filtered": done.rows_filtered,
            "deduplicated": done.rows_deduplicated,
        },
        "warnings": list(done.warnings),
        "failure": None if failure is None else failure.model_dump(mode="json"),
    }
    return Event(uuid5(claim.job_id, str(claim.run_id)), f"job.{to.lower()}", claim.job_id, data)


def never_ran(job: Job) -> Event:
    """Return the event `job.cancelled` of a job that was cancelled while it waited."""
    data: dict[str, object] = {
        "name": job.spec.name,
        "owner": job.owner,
        "run_id": None,
        "attempt": job.attempt,
        "failure": None,
    }
    return Event(uuid5(job.id, f"waiting after epoch {job.epoch}"), "job.cancelled", job.id, data)
