"""The run for which a source is read."""

from dataclasses import dataclass
from datetime import datetime

from dataproc.domain.job import JobId, RunId


@dataclass(frozen=True, slots=True)
class SourceRun:
    """A run, and when its job was accepted."""

    job_id: JobId
    run_id: RunId
    attempt: int
    accepted_at: datetime
