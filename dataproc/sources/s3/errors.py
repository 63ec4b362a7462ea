"""Replies of S3 services, as our errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from dataproc.domain.errors import (
    DataprocError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)

NOBODY = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound, InvalidConfigError)
CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "NoSuchVersion", "InvalidRange", "404", "412", "416"})
STALE = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure", "403"})
"""Replies to credentials that are wrong, or were changed; the last is that of requests whose replies have no body."""

PERMANENT = frozenset({501, 505})
"""Statuses of services that do not support the request: another try has the same answer."""


@contextmanager
def translated(uri: str, *, planned: bool = False, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise our errors in place of those of the S3 client; `planned`: the object was there a moment ago."""
    try:
        yield
    except but:
        raise
    except ClientError as exc:
        raise refused(exc, uri, planned=planned) from exc
    except NOBODY as exc:
        msg = (
            f"{uri}: no credentials ({type(exc).__name__}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the "
            "workers a role or that profile, or name a connection with an access key"
        )
        raise SourceRefusedError(msg, uri=uri) from exc
    except ParamValidationError as exc:
        raise SourceNotFoundError(f"path: {uri} is no valid bucket and key", uri=uri) from exc
    except (HTTPClientError, BotoCoreError) as exc:
        raise SourceUnavailableError(f"{uri}: the S3 service does not answer: {type(exc).__name__}", uri=uri) from exc


def refused(exc: ClientError, uri: str, *, planned: bool) -> DataprocError:
    """Return our error for a reply of the service that is not a success."""
    code, status = code_of(exc), status_of(exc)
    if code == "NoSuchBucket":
        return SourceNotFoundError(
            f"path: the bucket of {uri} does not exist; check its name and the endpoint", uri=uri
        )
    if planned and (code in CHANGED or status in (404, 412, 416)):
        return SourceChangedError(f"{uri} changed or was removed after the run was planned", uri=uri)
    if status == 404:
        return SourceNotFoundError(f"path: {uri} does not exist", uri=uri)
    if (status >= 500 and status not in PERMANENT) or status in (408, 429) or code in ("SlowDown", "RequestTimeout"):
        return SourceUnavailableError(f"{uri}: the S3 service answers {status} {code}", uri=uri)
    return SourceRefusedError(f"{uri}: the S3 service refused with {status} {code}; {hint_of(exc)}", uri=uri)


def hint_of(exc: ClientError) -> str:
    """Return what to do about a refusal."""
    if exc.operation_name == "AssumeRole":
        return "role_arn: the role may not be assumed; check its trust policy and external_id"
    if status_of(exc) not in (401, 403):
        return "check region, endpoint and credentials"
    if code_of(exc) in ("AccessDenied", "403"):
        return (
            "check credentials and permissions; if the bucket is requester pays, set `requester_pays: true` "
            "on the connection"
        )
    return "check credentials and permissions"


def is_stale(exc: ClientError) -> bool:
    """Whether other credentials may succeed."""
    return code_of(exc) in STALE


def code_of(exc: ClientError) -> str:
    """Return the code of a reply."""
    return exc.response.get("Error", {}).get("Code", "")


def status_of(exc: ClientError) -> int:
    """Return the HTTP status of a reply."""
    return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
