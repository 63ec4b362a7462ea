"""The API's answers, as far as people are shown them; what else they hold is left aside."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

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
    rows_deduplicated: int
    units_resumed: int
    load: str | None
    warnings: list[str]
    choices: list[str] = []
    waiting_for: str | None = None
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
    scheduled_for: datetime
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


class LineView(BaseModel):
    """A line of a log."""

    time: datetime
    level: str
    message: str


class RunLogView(BaseModel):
    """What an attempt at a job has logged."""

    run: UUID
    attempt: int
    lines: list[LineView]


class AccountView(BaseModel):
    """Where rows went."""

    announced: int | None
    read: int
    staged: int
    rejected: int
    deduplicated: int
    filtered: int


class UnitView(BaseModel):
    """A unit of the source, and where its rows went."""

    unit: str
    rows: AccountView


class WindowView(BaseModel):
    """Which rows an incremental source has given."""

    cursor: str
    after: str | None
    up_to: str | None


class EffectView(BaseModel):
    """What a load has done to its target."""

    inserted: int
    updated: int
    deleted: int | None
    unchanged: int
    notes: list[str]


class ReconciliationView(BaseModel):
    """Where all rows of a published load went."""

    target: str
    load: str
    published_at: datetime
    window: WindowView | None = None
    rows: AccountView
    effect: EffectView | None = None
    units: list[UnitView]


class SourceView(BaseModel):
    """A registered source."""

    name: str
    kind: str
    config: dict[str, object]


class TestedView(BaseModel):
    """Whether a source can be reached."""

    works: bool
    told: str | None
    code: str | None
    detail: str | None


class ColumnView(BaseModel):
    """A column of a source."""

    name: str
    type: str


class DiscoveredView(BaseModel):
    """Something that a job can read."""

    name: str
    columns: list[ColumnView]
    rows: int | None


View = TypeVar("View")


def job_of(document: Document) -> JobView:
    """Return the job that a document tells of."""
    return view_of(JobView, document)


def page_of(document: Document) -> PageView:
    """Return the jobs that a document tells of."""
    return view_of(PageView, document)


def logs_of(document: Document) -> list[RunLogView]:
    """Return the logs that a document tells of."""
    return view_of(list[RunLogView], document)


def reconciliation_of(document: Document) -> ReconciliationView:
    """Return the account of a load that a document tells of."""
    return view_of(ReconciliationView, document)


def view_of(kind: type[View], document: Document) -> View:
    """Return what a document tells of."""
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as exc:
        raise not_ours() from exc


def not_ours() -> ApiUnavailableError:
    """Return the error for an answer that no API of this version gives."""
    return ApiUnavailableError(
        "the answer is not that of dataproc's API in this version; name another with --api, or use the same version"
    )
