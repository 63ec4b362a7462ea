"""Errors as problem documents (RFC 9457), with a pointer (RFC 6901) to each wrong field."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dataproc.domain.errors import (
    ConflictError,
    DataprocError,
    FatalError,
    ForbiddenError,
    IdempotencyError,
    IllegalMoveError,
    InvalidSpecError,
    NotFoundError,
    PreconditionFailedError,
    Problem,
    RequestError,
    RetryableError,
    TooLargeError,
)

logger = logging.getLogger(__name__)
RETRY_AFTER = "5"

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
    RetryableError: HTTPStatus.SERVICE_UNAVAILABLE,
    FatalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    DataprocError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(DataprocError, answer_ours)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(Exception, answer_unexpected)


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
    return problem(status, exc.code, str(exc), problems)


def answer_invalid(_: Request, exc: Exception) -> JSONResponse:
    """Answer a query, path or header that does not fit."""
    if not isinstance(exc, RequestValidationError):
        raise exc
    wrong = [Problem("/" + "/".join(map(str, error["loc"])), str(error["msg"])) for error in exc.errors()]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "The request has mistakes.", wrong)


def answer_http(_: Request, exc: Exception) -> JSONResponse:
    """Answer an unknown path or method."""
    if not isinstance(exc, HTTPException):
        raise exc
    status = HTTPStatus(exc.status_code)
    response = problem(status, status.phrase.lower().replace(" ", "-"), str(exc.detail))
    response.headers.update(exc.headers or {})
    return response


def answer_unexpected(_: Request, exc: Exception) -> JSONResponse:
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
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def as_member(wrong: Problem) -> dict[str, object]:
    """Return one thing wrong, for the document's `errors`."""
    place = {"line": wrong.line, "column": wrong.column}
    return {
        "pointer": wrong.pointer,
        "detail": wrong.message,
        **{key: value for key, value in place.items() if value is not None},
    }
