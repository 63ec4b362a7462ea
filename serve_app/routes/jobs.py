"""Jobs: create, look at, cancel, retry."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, ValidationError

from dataproc.domain.document import read_spec
from dataproc.domain.errors import FatalError, InvalidSpecError
from dataproc.domain.fields import Name
from dataproc.domain.job import Job, JobId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import JobFilter
from dataproc.services.waiting import MOST
from serve_app.dependencies import By, Jobs, Reconciliations, Waits
from serve_app.description import problems, tagged
from serve_app.errors import NotReadyError
from serve_app.etags import etag_of, versions_of
from serve_app.presence import while_there
from serve_app.schemas import JobList, JobView, ReconciliationView, RunLogView, RunView, as_cursor, as_text

router = APIRouter(prefix="/jobs", tags=["jobs"])

SPEC_REF = {"schema": {"$ref": "#/components/schemas/JobSpec"}}
SPEC_BODY = {"requestBody": {"required": True, "content": {"application/json": SPEC_REF, "application/yaml": SPEC_REF}}}
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Makes a repeat harmless: the same key with the same job gives the job that was made first.",
    ),
]
IfMatch = Annotated[
    list[str] | None,
    Header(
        alias="If-Match",
        description="The `ETag` of the job as you saw it: if its state has changed since, nothing is done (412).",
    ),
]
Time = Annotated[AwareDatetime | None, Query(description="A time with its zone, such as 2026-01-01T00:00:00Z.")]

Seconds = Annotated[
    float,
    Query(
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Answer when the job has ended, or after so many seconds, as it stands then. A replica lets "
        f"{MOST} callers wait; who comes then is answered at once: leave some time between two requests.",
    ),
]


@router.post("", status_code=202, openapi_extra=SPEC_BODY, responses=tagged(202) | problems(409, 413, 422, 503))
async def create_job(request: Request, response: Response, jobs: Jobs, by: By, key: Key = None) -> JobView:
    """Accept a job; a runner starts it as soon as one is free."""
    job = await jobs.create(spec_of(await request.body()), by=by, key=key)
    response.headers["Location"] = f"/jobs/{job.id}"
    return shown(job, response)


@router.get("", responses=problems(422, 503))
async def list_jobs(
    jobs: Jobs,
    *,
    status: RunStatus | None = None,
    name: Name | None = None,
    created_from: Time = None,
    created_until: Time = None,
    after: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JobList:
    """List jobs, newest first."""
    which = JobFilter(status, name, created_from, created_until)
    page = await jobs.find(which, after=as_cursor(after), limit=limit)
    return JobList(jobs=[JobView.of(job) for job in page.jobs], next=as_text(page.after))


@router.get("/{job_id}", responses=tagged(200) | problems(404, 422, 503))
async def get_job(
    job_id: UUID, request: Request, response: Response, *, jobs: Jobs, waits: Waits, wait: Seconds = 0
) -> JobView:
    """Show a job as it stands now, or when it ends; its `ETag` stays the same while only the progress changes."""
    job = await jobs.get(JobId(job_id))
    if wait and not job.status.is_final:
        job = await while_there(request, waits.end_of(job, within=timedelta(seconds=wait)))
    return shown(job, response)


@router.get("/{job_id}/runs", responses=problems(404, 422, 503))
async def list_runs(job_id: UUID, jobs: Jobs) -> list[RunView]:
    """Show the attempts at a job, the first one first."""
    return [RunView.of(run) for run in await jobs.runs(JobId(job_id))]


@router.get("/{job_id}/logs", responses=problems(404, 422, 503))
async def get_logs(
    job_id: UUID, jobs: Jobs, limit: Annotated[int, Query(ge=1, le=10_000, description="Lines of each run.")] = 1000
) -> list[RunLogView]:
    """Show the last lines that each attempt at a job has logged, the first attempt first."""
    return [RunLogView.of(log) for log in await jobs.logs(JobId(job_id), limit=limit)]


@router.get("/{job_id}/reconciliation", responses=problems(404, 422, 503))
async def get_reconciliation(job_id: UUID, reconciliations: Reconciliations) -> ReconciliationView:
    """Show where every row went, unit by unit, as the ledger in the warehouse has it; 404 when nothing is published."""
    try:
        return ReconciliationView.of(await reconciliations.of(JobId(job_id)))
    except FatalError as exc:
        # The caller can do nothing about a warehouse that is not set up, or refuses us.
        raise NotReadyError(str(exc)) from exc


@router.delete("/{job_id}", status_code=202, responses=tagged(202) | problems(404, 409, 412, 422, 503))
async def cancel_job(job_id: UUID, response: Response, jobs: Jobs, by: By, seen: IfMatch = None) -> JobView:
    """Cancel a job; it ends in CANCELLED with nothing published, or, if the publish was faster, in COMPLETED."""
    return shown(await jobs.cancel(JobId(job_id), by=by, seen=versions_of(seen)), response)


@router.post("/{job_id}/retry", status_code=202, responses=tagged(202) | problems(404, 409, 412, 422, 503))
async def retry_job(job_id: UUID, response: Response, jobs: Jobs, by: By, seen: IfMatch = None) -> JobView:
    """Let a job that failed or was cancelled run again."""
    return shown(await jobs.retry(JobId(job_id), by=by, seen=versions_of(seen)), response)


def shown(job: Job, response: Response) -> JobView:
    """Return what is told of a job, and put its version into the reply's `ETag`."""
    response.headers["ETag"] = etag_of(job.version)
    return JobView.of(job)


def spec_of(body: bytes) -> JobSpec:
    """Return the spec in a body of JSON or YAML, or every mistake in it with its place."""
    try:
        return JobSpec.model_validate_json(body)
    except ValidationError:
        # The slow reader takes YAML as well, and knows lines and columns.
        return read_spec(text_of(body))


def text_of(body: bytes) -> str:
    """Return a body as text."""
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise InvalidSpecError("The body is no UTF-8 text.") from exc
