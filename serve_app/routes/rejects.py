"""Rejects: rows that were set aside, to look at, to take away, and to replay."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from dataproc.domain.errors import FatalError
from dataproc.domain.replay import Selection
from dataproc.ports.rejects import StoredReject
from serve_app.dependencies import By, Rejections
from serve_app.description import problems, tagged
from serve_app.errors import NotReadyError
from serve_app.reject_schemas import Lines, RejectCountView, RejectList, csv_head, csv_text, ndjson_text
from serve_app.routes.jobs import Key, shown, text_of
from serve_app.schemas import JobView

router = APIRouter(prefix="/jobs", tags=["rejects"])

CSV, NDJSON = "text/csv", "application/x-ndjson"
FILES: dict[str, tuple[str, Lines]] = {CSV: (csv_head(), csv_text), NDJSON: ("", ndjson_text)}
"""What all rejects can be taken away as: the head of the file, and how its lines are written."""
FORMATS = {"csv": CSV, "ndjson": NDJSON}
FILE_REPLY: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in FILES}}
}
REPLAY_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "object"}} for kind in ("application/json", "application/yaml")},
        "description": "A job without `source`, for that is what was set aside: name, transforms, destination, …",
    }
}
Rule = Annotated[str | None, Query(min_length=1, max_length=200, description="Only rejects of this rule.")]
Column = Annotated[str | None, Query(min_length=1, max_length=63, description="Only rejects of this column.")]
FormatName = Annotated[
    Literal["json", "csv", "ndjson"] | None,
    Query(description="In place of `Accept`; a file (`csv`, `ndjson`) holds all rejects, and not only a page."),
]


@router.get("/{job_id}/rejects", response_model=RejectList, responses=FILE_REPLY | problems(404, 422, 503))
async def list_rejects(
    job_id: UUID,
    rejections: Rejections,
    *,
    rule: Rule = None,
    column: Column = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    format_name: Annotated[FormatName, Query(alias="format")] = None,
    accept: Annotated[str, Header()] = "application/json",
) -> RejectList | Response:
    """List what a completed job has set aside; `Accept: text/csv` or `application/x-ndjson` gives all of it."""
    selection = Selection(job_id, rule, column)
    media_type = wanted(accept) if format_name is None else FORMATS.get(format_name)
    with ready():
        if media_type is None:
            return RejectList.of(await rejections.page(selection, after=after, limit=limit))
        return file_of(job_id, media_type, await rejections.all(selection))


@router.get("/{job_id}/rejects/counts", responses=problems(404, 422, 503))
async def count_rejects(job_id: UUID, rejections: Rejections) -> list[RejectCountView]:
    """Show how often each rule was broken in each column, the most frequent first."""
    with ready():
        return [RejectCountView.of(each) for each in await rejections.counts(Selection(job_id))]


@router.post(
    "/{job_id}/rejects/replay",
    status_code=202,
    openapi_extra=REPLAY_BODY,
    responses=tagged(202) | problems(404, 409, 413, 422, 503),
)
async def replay_rejects(
    job_id: UUID,
    request: Request,
    response: Response,
    rejections: Rejections,
    by: By,
    *,
    rule: Rule = None,
    column: Column = None,
    key: Key = None,
) -> JobView:
    """Load rows that were set aside by a corrected specification, as a new job; each row is loaded once."""
    text = text_of(await request.body())
    job = await rejections.replay(Selection(job_id, rule, column), text, by=by, key=key)
    response.headers["Location"] = f"/jobs/{job.id}"
    return shown(job, response)


def wanted(accept: str) -> str | None:
    """Return the kind of file that a caller would rather have than JSON; `None`: JSON."""
    asked = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind if kind in FILES else None for kind in asked if kind in (*FILES, "application/json")), None)


def file_of(job_id: UUID, media_type: str, parts: AsyncIterator[Sequence[StoredReject]]) -> StreamingResponse:
    """Return all rejects as a file that is written as they are read."""
    head, lines = FILES[media_type]

    async def written() -> AsyncIterator[str]:
        yield head
        async for rejects in parts:
            yield lines(rejects)

    ending = next(name for name, kind in FORMATS.items() if kind == media_type)
    told = {"Content-Disposition": f'attachment; filename="rejects-{job_id}.{ending}"'}
    return StreamingResponse(written(), media_type=media_type, headers=told)


@contextmanager
def ready() -> Iterator[None]:
    """Tell a caller, who can do nothing about a warehouse that is not set up or refuses us, to come back."""
    try:
        yield
    except FatalError as exc:
        raise NotReadyError(str(exc)) from exc
