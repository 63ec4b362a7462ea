"""The HTTP API as the commands see it; its problem documents become errors of ours."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx2
import stamina

from dataproc.domain.errors import (
    ConflictError,
    DataprocError,
    ForbiddenError,
    InvalidSpecError,
    NotFoundError,
    Problem,
    RequestError,
    RetryableError,
    SetupError,
)

BUSY = (502, 503, 504)
NO_CONTENT = 204
CONFLICT = 409
PATIENCE = timedelta(seconds=3)
"""How long a request that met no answer is repeated."""

USUAL = 30.0
"""Seconds that the API may take to answer by itself."""

SLOW = 120.0
"""Seconds that a source may take to answer the API."""

Document = dict[str, Any] | list[Any]
"""What the API answers, as it stands: `--json` shows it unchanged."""


class ApiUnavailableError(RetryableError):
    """The API does not answer."""


class LostConnectionError(ApiUnavailableError):
    """The API ended the connection without an answer."""


class ApiBusyError(ApiUnavailableError):
    """The API, or what it needs, cannot answer now."""


class RefusedError(RequestError):
    """The API refused the request."""


@dataclass(frozen=True, slots=True)
class ApiClient:
    """A client of the API behind `http`."""

    http: httpx2.Client = field(repr=False)
    patience: timedelta = PATIENCE

    def submit(self, text: str, key: str) -> Document:
        """Submit a specification as it was written; `key` makes a repeat harmless."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/yaml"}
        return self.call("POST", "/jobs", content=text.encode(), headers=headers)

    def job(self, job_id: UUID, *, wait: float = 0.0) -> Document:
        """Return a job as it stands now; with `wait` as soon as it has ended, or after so many seconds."""
        # An API that does not know how to wait, or has too many callers who do, answers at once.
        return self.call("GET", f"/jobs/{job_id}", params=given({"wait": wait or None}), timeout=USUAL + wait)

    def jobs(self, which: Mapping[str, object]) -> Document:
        """Return a page of jobs."""
        return self.call("GET", "/jobs", params=given(which))

    def logs(self, job_id: UUID, *, limit: int) -> Document:
        """Return the last lines of each attempt at a job."""
        return self.call("GET", f"/jobs/{job_id}/logs", params={"limit": limit})

    def reconciliation(self, job_id: UUID) -> Document:
        """Return where the rows of a published load went."""
        return self.call("GET", f"/jobs/{job_id}/reconciliation")

    def rejects(self, job_id: UUID, which: Mapping[str, object]) -> Document:
        """Return a page of what a job has set aside."""
        return self.call("GET", f"/jobs/{job_id}/rejects", params=given(which))

    def reject_counts(self, job_id: UUID) -> Document:
        """Return how often each rule was broken."""
        return self.call("GET", f"/jobs/{job_id}/rejects/counts")

    def reject_file(self, job_id: UUID, which: Mapping[str, object]) -> Iterator[str]:
        """Yield all that a job has set aside, as a file of the format that `which` names."""
        path = f"/jobs/{job_id}/rejects"
        with translated(str(self.http.base_url)), self.http.stream("GET", path, params=given(which)) as response:
            if not response.is_success:
                response.read()
                document_of(response)
            yield from response.iter_text()

    def replay(self, job_id: UUID, text: str, which: Mapping[str, object], key: str) -> Document:
        """Replay what a job has set aside by a specification as it was written; `key` makes a repeat harmless."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/yaml"}
        path = f"/jobs/{job_id}/rejects/replay"
        return self.call("POST", path, content=text.encode(), headers=headers, params=given(which))

    def cancel(self, job_id: UUID) -> Document:
        """Cancel a job; a second time changes nothing."""
        return self.call("DELETE", f"/jobs/{job_id}")

    def retry(self, job_id: UUID) -> Document:
        """Let a job run again; not repeated when the answer is lost, since the job may have been revived."""
        return self.call("POST", f"/jobs/{job_id}/retry", again_on=(httpx2.ConnectError,))

    def sources(self) -> Document:
        """Return the registered sources."""
        return self.call("GET", "/sources")

    def put_source(self, name: str, source: Mapping[str, object]) -> Document:
        """Register a source, or change it."""
        return self.call("PUT", f"/sources/{quoted(name)}", json=dict(source))

    def remove_source(self, name: str) -> None:
        """Forget a source."""
        self.call("DELETE", f"/sources/{quoted(name)}", again_on=(httpx2.ConnectError,))

    def test_source(self, name: str) -> Document:
        """Log in to a source, and return what came of it."""
        return self.call("POST", f"/sources/{quoted(name)}/test", timeout=SLOW)

    def discover(self, name: str) -> Document:
        """Return what there is to read in a source."""
        return self.call("GET", f"/sources/{quoted(name)}/discover", timeout=SLOW)

    def call(
        self,
        method: str,
        path: str,
        *,
        again_on: tuple[type[Exception], ...] = (httpx2.TransportError, ApiBusyError),
        **options: Any,
    ) -> Document:
        """Return the document that the API answers; while `patience` lasts it is asked again, if that is harmless."""
        with translated(str(self.http.base_url)):
            for attempt in stamina.retry_context(
                on=again_on, attempts=None, timeout=self.patience, wait_initial=0.1, wait_max=2.0, wait_jitter=0.1
            ):
                with attempt:
                    response = self.http.request(method, path, **options)
                    refuse_busy(response)
        return document_of(response)


def given(which: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters that were given."""
    return {key: str(value) for key, value in which.items() if value is not None}


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


@contextmanager
def api_client(url: str, patience: timedelta = PATIENCE) -> Iterator[ApiClient]:
    """Give a client of the API at `url`."""
    # The hooks log every repeat, and structlog's default log is standard output: that is kept for answers.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        http = httpx2.Client(base_url=httpx2.URL(url), timeout=USUAL, trust_env=not is_loopback(url))
    except httpx2.InvalidURL as exc:
        raise wrong_url(url) from exc
    if http.base_url.scheme not in ("http", "https") or not http.base_url.host:
        raise wrong_url(url)
    with http:
        yield ApiClient(http, patience)


def is_loopback(url: str) -> bool:
    """Whether `url` is about this machine: no proxy of the environment can reach that."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def wrong_url(url: str) -> SetupError:
    """Return the error for a URL that is none."""
    return SetupError(f"{url!r} is no URL of the API; write --api http://host:port", setting="DATAPROC_API_URL")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn a request without an answer into an error of ours."""
    try:
        yield
    except httpx2.ConnectError as exc:
        raise ApiUnavailableError(
            f"the API at {url} does not answer: start it with `dataproc up`, or name another with --api"
        ) from exc
    except httpx2.HTTPError as exc:
        raise LostConnectionError(
            f"the API at {url} gave no answer: {str(exc) or type(exc).__name__}; try again"
        ) from exc


def refuse_busy(response: httpx2.Response) -> None:
    """Refuse an answer that may be another one a little later."""
    # A conflict that says when to come back is about the same request, which is still being carried out.
    in_flight = response.status_code == CONFLICT and "Retry-After" in response.headers
    if response.status_code in BUSY or in_flight:
        problem = problem_document(response)
        reason = detail_of(response, problem)
        told = problem.get("code")
        raise ApiBusyError(f"the API cannot answer now ({response.status_code}): {reason}", told_code=told)


def document_of(response: httpx2.Response) -> Document:
    """Return the document of an answer, or raise what a problem document says."""
    if response.status_code == NO_CONTENT:
        return {}
    body = body_of(response)
    if response.is_success and body is not None:
        return body
    if response.is_server_error:
        reason = detail_of(response, problem_document(response))
        raise ApiUnavailableError(f"the API has a fault ({response.status_code}): {reason}")
    if response.is_client_error:
        raise refusal(response, problem_document(response))
    raise ApiUnavailableError(f"what answers at {response.url} is not the API of dataproc; name another with --api")


def body_of(response: httpx2.Response) -> Document | None:
    """Return the JSON object or list of an answer; `None`: it has none."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict | list) else None


def problem_document(response: httpx2.Response) -> dict[str, Any]:
    """Return the problem document of an answer; an empty one, if it has none."""
    body = body_of(response)
    return body if isinstance(body, dict) else {}


def detail_of(response: httpx2.Response, problem: Mapping[str, Any]) -> str:
    """Return what an answer says is wrong."""
    return str(problem.get("detail") or response.reason_phrase)


def refusal(response: httpx2.Response, problem: Mapping[str, Any]) -> DataprocError:
    """Return the error that a problem document tells of."""
    detail, code = detail_of(response, problem), problem.get("code")
    if code in ("invalid-spec", "invalid-request"):
        return InvalidSpecError(detail, tuple(problem_of(wrong) for wrong in problem.get("errors", [])))
    kinds: dict[int, type[RequestError]] = {
        401: ForbiddenError,
        403: ForbiddenError,
        404: NotFoundError,
        CONFLICT: ConflictError,
    }
    return kinds.get(response.status_code, RefusedError)(detail, told_code=code)


def problem_of(wrong: Mapping[str, Any]) -> Problem:
    """Return one mistake of a problem document."""
    return Problem(str(wrong.get("pointer", "")), str(wrong.get("detail", "")), wrong.get("line"), wrong.get("column"))
