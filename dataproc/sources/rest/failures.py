"""Answers and silences that are no success, as our errors."""

import ssl
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

import httpcore2

from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.asks import Ask
from dataproc.sources.rest.connection import RestConnection
from dataproc.sources.rest.rates import is_limited, is_temporary
from dataproc.sources.rest.urls import origin_of, shown

REFUSES = ": it refuses the credentials; see `auth` of the connection"
GONE = ": there is no such thing; check the path"
MEANINGS: Mapping[int, tuple[type[DataprocError], str]] = {
    401: (SourceRefusedError, REFUSES),
    403: (SourceRefusedError, REFUSES),
    404: (SourceNotFoundError, GONE),
    410: (SourceNotFoundError, GONE),
    4: (SourceRefusedError, ": it refuses the request; check query and body"),
    5: (SourceRefusedError, ", which does not pass"),
    2: (BadDataError, ", which is no answer to a request for data"),
}
"""What to raise for a status, for all that begin with a digit, or for any other."""


def may_pass(exc: Exception) -> bool:
    """Whether another try may succeed."""
    return isinstance(exc, SourceUnavailableError) and exc.context.get("again") is True


def checked(answer: Answer, ask: Ask) -> Answer:
    """Return an answer of success, or raise what another one means."""
    if 200 <= answer.status < 300:
        return answer
    raise error_of(answer, ask)


def error_of(answer: Answer, ask: Ask) -> DataprocError:
    """Return the error that an answer without success means."""
    status = answer.status
    told = f"{ask.method} {shown(ask.url)} answered {status}"
    if is_limited(answer):
        return SourceUnavailableError(f"{told}: too many requests; set `rate` in the connection", again=True)
    if is_temporary(answer):
        return SourceUnavailableError(told, again=ask.repeatable, status=status)
    kind, words = MEANINGS.get(status) or MEANINGS.get(status // 100) or MEANINGS[2]
    return kind(f"{told}{words}", status=status)


def unreached(ask: Ask, exc: Exception) -> DataprocError:
    """Return the error for an answer that did not come."""
    told = f"{urlsplit(ask.url).hostname}:"
    if isinstance(exc.__cause__ or exc.__context__, ssl.SSLCertVerificationError):
        return SourceRefusedError(f"{told} the certificate of the server cannot be trusted; see `tls/authorities`")
    if isinstance(exc, httpcore2.TimeoutException):
        return SourceUnavailableError(f"{told} no answer in time; see `timeouts`", again=ask.repeatable)
    if isinstance(exc, httpcore2.LocalProtocolError):
        return SourceRefusedError(f"{told} the request cannot be written in HTTP; check headers and parameters")
    # Nothing was sent where no connection was made.
    again = ask.repeatable or isinstance(exc, httpcore2.ConnectError)
    return SourceUnavailableError(f"{told} the connection failed or broke off ({type(exc).__name__})", again=again)


def too_long(connection: RestConnection, wait: timedelta) -> SourceUnavailableError:
    """Return the error for an API that wants us to wait longer than we may."""
    host = origin_of(connection.base_url).host
    msg = f"{host} asks for a wait of {wait.total_seconds():.0f} s, longer than `max_wait` of the connection"
    return SourceUnavailableError(msg, again=False)
