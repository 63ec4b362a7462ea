"""Jobs: create, look at, cancel, retry."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, ValidationError

from dataproc.domain.document import read_spec
from dataproc.domain.errors import InvalidSpecError
from dataproc.domain.job import JobId
from dataproc.domain.spec import JobSpec, Name
from dataproc.domain.status import RunStatus
from dataproc.ports import JobFilter
from serve_app.dependencies import By, Jobs
from serve_app.description import problems
from serve_app.schemas import JobList, JobView, RunView, as_cursor, as_text

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
Time = Annotated[AwareDatetime | None, Query(description="A time with its zone, such as 2026-01-01T00:00:00Z.")]


@router.post("", status_code=202, openapi_extra=SPEC_BODY, responses=problems(413, 422, 503))
async def create_job(request: Request, response: Response, jobs: Jobs, by: By, key: Key = None) -> JobView:
    """Accept a job; a runner starts it as soon as one is free."""
    job = await jobs.create(spec_of(await request.body()), by=by, key=key)
    response.headers["Location"] = f"/jobs/{job.id}"
    return JobView.of(job)


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


@router.get("/{job_id}", responses=problems(404, 422, 503))
async def get_job(job_id: UUID, jobs: Jobs) -> JobView:
    """Show a job as it stands now."""
    return JobView.of(await jobs.get(JobId(job_id)))


@router.get("/{job_id}/runs", responses=problems(404, 422, 503))
async def list_runs(job_id: UUID, jobs: Jobs) -> list[RunView]:
    """Show the attempts at a job, the first one first."""
    return [RunView.of(run) for run in await jobs.runs(JobId(job_id))]


@router.delete("/{job_id}", status_code=202, responses=problems(404, 409, 422, 503))
async def cancel_job(job_id: UUID, jobs: Jobs, by: By) -> JobView:
    """Cancel a job; it ends in CANCELLED with nothing published, or, if the publish was faster, in COMPLETED."""
    return JobView.of(await jobs.cancel(JobId(job_id), by=by))


@router.post("/{job_id}/retry", status_code=202, responses=problems(404, 409, 422, 503))
async def retry_job(job_id: UUID, jobs: Jobs, by: By) -> JobView:
    """Let a job that failed or was cancelled run again."""
    return JobView.of(await jobs.retry(JobId(job_id), by=by))


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
