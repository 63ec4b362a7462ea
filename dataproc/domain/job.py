"""Jobs, their runs, and the claim that lets one runner work on one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus

JobId = NewType("JobId", UUID)
RunId = NewType("RunId", UUID)


class Failure(BaseModel):
    """Why a run failed, in words."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    retryable: bool = False


class Progress(BaseModel):
    """How far a run has come."""

    model_config = ConfigDict(frozen=True)

    units_planned: int = 0
    units_done: int = 0
    rows_announced: int | None = None
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_filtered: int = 0
    rows_deduplicated: int = 0
    bytes_planned: int = 0
    units_resumed: int = 0
    load: str | None = None
    warnings: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    waiting_for: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted job as it stands now; its status is that of its latest run."""

    id: JobId
    spec: JobSpec
    owner: str
    status: RunStatus
    created_at: datetime
    updated_at: datetime
    scheduled_for: datetime
    attempt: int = 0
    epoch: int = 0
    cancel_requested: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure: Failure | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def version(self) -> str:
        """What tells two states of its life apart; progress within a stage makes no new version."""
        return f"{self.epoch}-{self.status.lower()}{'-cancelling' if self.cancel_requested else ''}"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One attempt at a job."""

    id: RunId
    job_id: JobId
    attempt: int
    epoch: int
    status: RunStatus
    holder: str
    started_at: datetime
    finished_at: datetime | None = None
    failure: Failure | None = None
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, until its lease ends; `epoch` fences off every earlier claim."""

    job_id: JobId
    run_id: RunId
    epoch: int
    attempt: int
    holder: str
    spec: JobSpec
    owner: str
    created_at: datetime
