"""What the API answers."""

import base64
from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from dataproc.domain.chunk import Account
from dataproc.domain.errors import InvalidSpecError, Problem
from dataproc.domain.job import Failure, Job, JobRun, Progress
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import Cursor
from dataproc.ports.warehouse import Effect, Reconciliation
from dataproc.services.jobs import RunLog

TIME = TypeAdapter(AwareDatetime)


class StageView(BaseModel):
    """How far one stage has come; the stages overlap, because rows stream through them."""

    units: int = Field(description="Units that are through this stage as a whole.")
    rows: int = Field(description="Rows that came out of this stage: read, left by the transforms, loaded.")


class ProgressView(BaseModel):
    """How far a run has come."""

    units_planned: int
    bytes_planned: int
    rows_announced: int | None
    rows_rejected: int
    rows_filtered: int
    rows_deduplicated: int
    units_resumed: int = Field(description="Units that an earlier run had staged, and that were not read again.")
    load: str | None
    warnings: list[str] = Field(description="What somebody should look at, though it stopped nothing.")
    choices: list[str] = Field(description="How the source is read where that was open, such as the delimiter of CSV.")
    waiting_for: str | None = Field(
        description="The obstacle of the job, where one is known: a shared rate limit and its end, a missing "
        "dispatcher, or runners that do not start, with the reason."
    )
    ingesting: StageView
    transforming: StageView
    loading: StageView

    @classmethod
    def of(cls, progress: Progress) -> "ProgressView":
        """Return what is told of `progress`."""
        # A unit is read, transformed and loaded by one task, which reports when it has done all three.
        done = progress.units_done
        left = progress.rows_read - progress.rows_rejected - progress.rows_filtered - progress.rows_deduplicated
        return cls(
            units_planned=progress.units_planned,
            bytes_planned=progress.bytes_planned,
            rows_announced=progress.rows_announced,
            rows_rejected=progress.rows_rejected,
            rows_filtered=progress.rows_filtered,
            rows_deduplicated=progress.rows_deduplicated,
            units_resumed=progress.units_resumed,
            load=progress.load,
            warnings=list(progress.warnings),
            choices=list(progress.choices),
            waiting_for=progress.waiting_for,
            ingesting=StageView(units=done, rows=progress.rows_read),
            transforming=StageView(units=done, rows=left),
            loading=StageView(units=done, rows=progress.rows_loaded),
        )


class JobView(BaseModel):
    """A job as it stands now."""

    id: UUID
    name: str
    owner: str
    status: RunStatus
    cancel_requested: bool
    attempt: int
    attempts: int
    priority: int
    created_at: datetime
    scheduled_for: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    rows_per_second: float | None
    progress: ProgressView
    error: Failure | None
    spec: JobSpec

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Return what is told of `job`."""
        seconds = duration(job)
        return cls(
            id=job.id,
            name=job.spec.name,
            owner=job.owner,
            status=job.status,
            cancel_requested=job.cancel_requested,
            attempt=job.attempt,
            attempts=job.spec.retry.attempts,
            priority=job.spec.priority,
            created_at=job.created_at,
            scheduled_for=job.scheduled_for,
            started_at=job.started_at,
            finished_at=job.finished_at,
            duration_seconds=seconds,
            rows_per_second=round(job.progress.rows_read / seconds, 1) if seconds else None,
            progress=ProgressView.of(job.progress),
            error=job.failure,
            spec=job.spec,
        )


def duration(job: Job) -> float | None:
    """Return for how many seconds the latest run lasted, up to its last sign of life; `None` while the job waits."""
    if job.started_at is None or job.status is RunStatus.PENDING:
        return None
    end = job.finished_at or max(job.updated_at, job.started_at)
    return round((end - job.started_at).total_seconds(), 3)


class JobList(BaseModel):
    """A page of jobs, newest first; `next` is the cursor of the following page."""

    jobs: list[JobView]
    next: str | None


class RunView(BaseModel):
    """One attempt at a job."""

    id: UUID
    attempt: int
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    error: Failure | None
    progress: ProgressView

    @classmethod
    def of(cls, run: JobRun) -> "RunView":
        """Return what is told of `run`."""
        return cls(
            id=run.id,
            attempt=run.attempt,
            status=run.status,
            started_at=run.started_at,
            finished_at=run.finished_at,
            error=run.failure,
            progress=ProgressView.of(run.progress),
        )


class LineView(BaseModel):
    """A line of a log, as `event="…" name=value`."""

    time: datetime
    level: str
    message: str


class RunLogView(BaseModel):
    """What an attempt at a job has logged; it is kept when the Ray cluster is gone."""

    run: UUID
    attempt: int
    lines: list[LineView]

    @classmethod
    def of(cls, log: RunLog) -> "RunLogView":
        """Return what is told of `log`."""
        lines = [LineView(time=line.logged_at, level=line.level, message=line.message) for line in log.lines]
        return cls(run=log.run.id, attempt=log.run.attempt, lines=lines)


class AccountView(BaseModel):
    """Where rows went: read = staged + rejected + deduplicated + filtered."""

    announced: int | None = Field(description="Rows that the source said it has; null: it does not say.")
    read: int
    staged: int = Field(description="Rows that are in the target.")
    rejected: int
    deduplicated: int
    filtered: int

    @classmethod
    def of(cls, account: Account, announced: int | None) -> "AccountView":
        """Return what is told of `account`."""
        return cls(
            announced=announced,
            read=account.read,
            staged=account.loaded,
            rejected=account.rejected,
            deduplicated=account.deduplicated,
            filtered=account.filtered,
        )


class UnitView(BaseModel):
    """A unit of the source, and where its rows went."""

    unit: str
    rows: AccountView


class WindowView(BaseModel):
    """Which rows an incremental source has given: those whose cursor is beyond `after`, up to and with `up_to`."""

    cursor: str
    after: str | None
    up_to: str | None


class EffectView(BaseModel):
    """What a load has done to the rows of its target."""

    inserted: int
    updated: int
    deleted: int | None = Field(description="Null: nobody counted, the table was swapped for a new one.")
    unchanged: int = Field(description="Rows that were in the target just as they came.")
    notes: list[str] = Field(description="How it was done, where somebody should know.")

    @classmethod
    def of(cls, effect: Effect) -> "EffectView":
        """Return what is told of `effect`."""
        return cls(
            inserted=effect.inserted,
            updated=effect.updated,
            deleted=effect.deleted,
            unchanged=effect.unchanged,
            notes=list(effect.notes),
        )


class ReconciliationView(BaseModel):
    """The proof that a load is complete; it was checked before the load was published."""

    target: str
    load: str
    published_at: datetime
    window: WindowView | None = Field(description="Which rows these were, where the source is incremental.")
    rows: AccountView
    effect: EffectView | None = Field(description="Null: the load is of a version that did not count it.")
    units: list[UnitView]

    @classmethod
    def of(cls, found: Reconciliation) -> "ReconciliationView":
        """Return what is told of `found`."""
        units = [UnitView(unit=each.unit, rows=AccountView.of(each.account, each.announced)) for each in found.units]
        total = AccountView.of(found.account, found.announced)
        told = found.window
        window = None if told is None else WindowView(cursor=told.cursor, after=told.after, up_to=told.up_to)
        head = {"target": found.target, "load": found.way, "published_at": found.published_at}
        effect = None if found.effect is None else EffectView.of(found.effect)
        return cls(**head, window=window, rows=total, effect=effect, units=units)


class HealthView(BaseModel):
    """Whether the API can do its work."""

    status: str
    metadata: str


def as_text(cursor: Cursor | None) -> str | None:
    """Return a cursor as a word that callers hand back."""
    if cursor is None:
        return None
    return base64.urlsafe_b64encode(f"{cursor.created_at.isoformat()} {cursor.id}".encode()).decode()


def as_cursor(text: str | None) -> Cursor | None:
    """Return the cursor that `as_text` wrote."""
    if text is None:
        return None
    try:
        created_at, _, job_id = base64.urlsafe_b64decode(text).decode().partition(" ")
        # One without a zone is not ours: it fails here, and not in the database.
        return Cursor(TIME.validate_python(created_at), UUID(job_id))
    except ValueError as exc:
        wrong = Problem("/query/after", "hand back the `next` of the page before, unchanged")
        raise InvalidSpecError("This cursor was not given by us.", problems=(wrong,)) from exc
