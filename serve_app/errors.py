"""Errors as problem documents (RFC 9457), with a pointer (RFC 6901) to each wrong field."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dataproc.domain.document import pointer_of
from dataproc.domain.errors import (
    ConflictError,
    DataprocError,
    FatalError,
    ForbiddenError,
    IdempotencyError,
    IllegalMoveError,
    InFlightError,
    InvalidSpecError,
    NotFoundError,
    PreconditionFailedError,
    Problem,
    RequestError,
    RetryableError,
    SecretNotFoundError,
    SourceNotFoundError,
    SourceRefusedError,
    TooLargeError,
)

logger = logging.getLogger(__name__)
RETRY_AFTER = "5"
IN_FLIGHT_AFTER = "1"
MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[DataprocError], HTTPStatus] = {
    InvalidSpecError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    IllegalMoveError: HTTPStatus.CONFLICT,
    ConflictError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    IdempotencyError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RequestError: HTTPStatus.BAD_REQUEST,
    SourceNotFoundError: HTTPStatus.FAILED_DEPENDENCY,
    SourceRefusedError: HTTPStatus.FAILED_DEPENDENCY,
    SecretNotFoundError: HTTPStatus.FAILED_DEPENDENCY,
    RetryableError: HTTPStatus.SERVICE_UNAVAILABLE,
    FatalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    DataprocError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class NotReadyError(RetryableError):
    """The API cannot do this yet: its installation is not complete."""


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document; what nobody expected is left to `middleware.RequestLog`."""
    app.add_exception_handler(DataprocError, answer_ours)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)


def status_of(exc: DataprocError) -> HTTPStatus:
    """Return the status of the closest known ancestor of `exc`."""
    return next(STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS)


def answer_ours(_: Request, exc: Exception) -> JSONResponse:
    """Answer one of our errors."""
    if not isinstance(exc, DataprocError):
        raise exc
    status = status_of(exc)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", extra={"error": exc.code}, exc_info=exc)
    problems = exc.problems if isinstance(exc, InvalidSpecError) else ()
    response = problem(status, exc.code, str(exc), problems)
    if isinstance(exc, InFlightError):
        response.headers["Retry-After"] = IN_FLIGHT_AFTER
    return response


def answer_invalid(_: Request, exc: Exception) -> JSONResponse:
    """Answer a query, path, header or body that does not fit."""
    if not isinstance(exc, RequestValidationError):
        raise exc
    wrong = [problem_of(error, exc.body) for error in exc.errors()]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "The request has mistakes.", wrong)


def problem_of(error: Mapping[str, Any], body: object) -> Problem:
    """Return one mistake; a pointer is into the body, or begins with `/query`, `/path` or `/header`."""
    part, *rest = error["loc"]
    if error["type"] == "json_invalid":
        line, column = place_in(str(body), int(rest[0]))
        return Problem("", f"this is no JSON: {error['ctx']['error']}", line, column)
    return Problem(pointer_of(rest if part == "body" else (part, *rest)), str(error["msg"]))


def place_in(text: str, position: int) -> tuple[int, int]:
    """Return line and column, both from 1, of a position in a text."""
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def answer_http(request: Request, exc: Exception) -> JSONResponse:
    """Answer an unknown path or method."""
    if not isinstance(exc, HTTPException):
        raise exc
    # FastAPI takes whatever ends the reading of a body for a body that cannot be parsed.
    if isinstance(exc.__cause__, DataprocError):
        return answer_ours(request, exc.__cause__)
    status = HTTPStatus(exc.status_code)
    response = problem(status, status.phrase.lower().replace(" ", "-"), str(exc.detail))
    response.headers.update(exc.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = allowed(request, response.headers.get("Allow", ""))
    return response


def allowed(request: Request, told: str) -> str:
    """Return all methods of the path that was asked for: FastAPI tells only those of one of its routes."""
    path = getattr(request.scope.get("route"), "path", "")
    methods = {method.strip() for method in told.split(",")}
    methods |= {method.upper() for method in request.app.openapi()["paths"].get(path, {})}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def answer_unexpected(exc: Exception) -> JSONResponse:
    """Answer anything else, without detail; the log has it."""
    logger.error("request failed unexpectedly", exc_info=exc)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "An unexpected error; the log of the API has it.")


def problem(status: HTTPStatus, code: str, detail: str, problems: Sequence[Problem] = ()) -> JSONResponse:
    """Return a problem document."""
    body: dict[str, object] = {"type": f"urn:dataproc:error:{code}", "title": status.phrase, "status": status.value}
    body |= {"code": code, "detail": detail}
    if problems:
        body["errors"] = [as_member(each) for each in problems]
    headers = {"Retry-After": RETRY_AFTER} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def as_member(wrong: Problem) -> dict[str, object]:
    """Return one thing wrong, for the document's `errors`."""
    place = {"line": wrong.line, "column": wrong.column}
    return {
        "pointer": wrong.pointer,
        "detail": wrong.message,
        **{key: value for key, value in place.items() if value is not None},
    }
