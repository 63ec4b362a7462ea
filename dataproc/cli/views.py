"""The API's answers, as far as people are shown them; what else they hold is left aside."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ValidationError

from dataproc.cli.api_client import ApiUnavailableError, Document
from dataproc.domain.status import RunStatus


class StageView(BaseModel):
    """How far one stage has come."""

    units: int
    rows: int


class ProgressView(BaseModel):
    """How far a job has come."""

    units_planned: int
    rows_announced: int | None
    rows_rejected: int
    rows_filtered: int
    load: str | None
    ingesting: StageView
    transforming: StageView
    loading: StageView


class FailureView(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobView(BaseModel):
    """A job as it stands now."""

    id: UUID
    name: str
    status: RunStatus
    cancel_requested: bool
    attempt: int
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    rows_per_second: float | None
    progress: ProgressView
    error: FailureView | None


class PageView(BaseModel):
    """Some jobs, and the cursor of the next ones."""

    jobs: list[JobView]
    next: str | None


def job_of(document: Document) -> JobView:
    """Return the job that a document tells of."""
    try:
        return JobView.model_validate(document)
    except ValidationError as exc:
        raise not_ours() from exc


def page_of(document: Document) -> PageView:
    """Return the jobs that a document tells of."""
    try:
        return PageView.model_validate(document)
    except ValidationError as exc:
        raise not_ours() from exc


def not_ours() -> ApiUnavailableError:
    """Return the error for an answer that no API of this version gives."""
    return ApiUnavailableError(
        "the answer is not that of dataproc's API in this version; name another with --api, or use the same version"
    )
