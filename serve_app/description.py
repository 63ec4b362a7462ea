"""The API's description of itself (OpenAPI): jobs as they are written, and errors as they are answered."""

import json
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field
from typing_extensions import override

from dataproc.domain.schema import job_schema
from serve_app.errors import MEDIA_TYPE

COMPONENTS = "#/components/schemas/"
REASONS = {
    404: "There is no such thing.",
    409: "Its state does not allow this, or the same request is in flight.",
    412: "It has changed since it was read.",
    413: "The body is too large.",
    422: "The request has mistakes; `errors` has each of them.",
    424: "The source, or the place that keeps its secret, refused or knows no such thing.",
    503: "A database that is needed does not answer, or is not set up; ask again after `Retry-After` seconds.",
}


class ErrorView(BaseModel):
    """One thing wrong in a request."""

    pointer: str = Field(description="JSON pointer into the body; or it begins with /query, /path or /header.")
    detail: str = Field(description="What is wrong, and what to do.")
    line: int | None = Field(default=None, description="Line in the body, from 1.")
    column: int | None = Field(default=None, description="Column in that line, from 1.")


class ProblemView(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(description="The kind of problem, as a URN.")
    title: str = Field(description="The HTTP status in words.")
    status: int
    code: str = Field(description="A stable, lower-case name, such as `invalid-spec`.")
    detail: str = Field(description="What is wrong, and what to do.")
    errors: list[ErrorView] = Field(default=[], description="Each thing wrong in the request.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the errors that an endpoint may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{COMPONENTS}ProblemView"}}}
    return {status: {"description": REASONS[status], "content": content} for status in sorted(statuses)}


def tagged(status: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of a reply that tells the version of a job."""
    told = {"description": "The version of the job, for `If-Match`; it changes with the state, not with the progress."}
    return {status: {"headers": {"ETag": {**told, "required": True, "schema": {"type": "string"}}}}}


class DescribedApi(FastAPI):
    """An application whose description names what FastAPI cannot see."""

    @override
    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        if self.openapi_schema is None:
            described = super().openapi()
            described["components"]["schemas"] |= job_schemas() | problem_schemas()
            self.openapi_schema = described
        return self.openapi_schema


def job_schemas() -> dict[str, Any]:
    """Return the schema of a job and its parts, as they are written."""
    schema = json.loads(json.dumps(job_schema()).replace("#/$defs/", COMPONENTS))
    parts = schema.pop("$defs")
    root = {key: value for key, value in schema.items() if not key.startswith("$")}
    return {**parts, "JobSpec": root}


def problem_schemas() -> dict[str, Any]:
    """Return the schema of a problem document and its parts."""
    schema = ProblemView.model_json_schema(ref_template=COMPONENTS + "{model}")
    return {**schema.pop("$defs"), "ProblemView": schema}
