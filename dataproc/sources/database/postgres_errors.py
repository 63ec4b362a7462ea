"""What PostgreSQL answers, as our errors: by what should happen next, and without values of rows."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import adbc_driver_manager as adbc
import asyncpg
import psycopg

from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)

ALLOWED = (
    "password authentication failed|no password supplied|authentication failed|no pg_hba.conf entry"
    '|role ".*" (?:does not exist|is not permitted)|permission denied for database'
)
LOG_IN: tuple[tuple[str, type[DataprocError], str], ...] = (
    (ALLOWED, SourceRefusedError, "the server refused the user; check user, password and what the server lets in"),
    ('database ".*" does not exist', SourceNotFoundError, "the server has no such database; check database"),
    ("certificate|SSL|TLS|sslmode", SourceRefusedError, "the encrypted connection failed; check tls and ca"),
    (
        "could not translate host name|Name or service not known",
        SourceUnavailableError,
        "the name of the server is not known; check host",
    ),
    ("", SourceUnavailableError, "the server does not answer"),
)
"""What libpq says of a connection that was not made; it tells no SQLSTATE. The first that fits."""

ANSWERS: tuple[tuple[str, type[DataprocError], str], ...] = (
    ("3D000", SourceNotFoundError, "no such database: {}"),
    ("42P01|3F000|42704", SourceNotFoundError, "there is no such thing: {}; check its name and schema"),
    ("42501|28", SourceRefusedError, "it refused: {}; grant SELECT to the user of the connection"),
    ("25006", SourceRefusedError, "it refused: {}; a source is only read"),
    ("42", SourceRefusedError, "it refused the statement: {}; check query, where, columns and cursor"),
    (
        "57014",
        SourceUnavailableError,
        "the statement was cancelled: {}; raise statement_timeout of the connection, or read less at once",
    ),
    ("08|53|55|57|58|40|XX", SourceUnavailableError, "it could not answer: {}"),
    # What is said of these quotes a value of a row.
    ("22|21|23", BadDataError, "a value cannot be computed (SQLSTATE {}); see query, where and split"),
)
"""What becomes of an answer, by how its SQLSTATE begins; the first that fits."""
SNAPSHOT_GONE = re.compile(r"snapshot")
ROWS_HIDDEN = (
    "a row security policy would hide rows: {}; give the user BYPASSRLS, or set row_security: apply in the source"
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of both drivers into ours, which begin with `what` they are about."""
    try:
        yield
    except psycopg.Error as exc:
        primary = exc.diag.message_primary
        raise ours(what, exc.sqlstate, primary or str(exc), logged_in=primary is not None) from exc
    except adbc.Error as exc:
        # The driver's message is the server's, behind words of its own and before the text of the statement.
        found = re.search(r"(?:ERROR|FATAL|PANIC):\s+(.*)", str(exc))
        logged_in = "Failed to connect" not in str(exc)
        raise ours(what, exc.sqlstate, found[1] if found else str(exc), logged_in=logged_in) from exc


@contextmanager
def asyncpg_translated(what: str, *, logged_in: bool = True) -> Iterator[None]:
    """Turn the errors of asyncpg into ours; of a connection that is not made it raises those of the system as well."""
    try:
        yield
    except asyncpg.PostgresError as exc:
        raise ours(what, exc.sqlstate, str(exc.args[0]), logged_in=logged_in) from exc
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as exc:
        raise without_state(what, str(exc), logged_in=logged_in) from exc


def ours(what: str, sqlstate: str | None, told: str, *, logged_in: bool) -> DataprocError:
    """Return our error for one of PostgreSQL's."""
    if sqlstate is None:
        return without_state(what, told, logged_in=logged_in)
    if sqlstate in {"22023", "42704"} and SNAPSHOT_GONE.search(told):
        return SourceChangedError(f"{what}: the snapshot of this run is gone; another attempt takes a new one")
    if sqlstate == "42501" and "row-level security" in told:
        return SourceRefusedError(f"{what}: {ROWS_HIDDEN.format(told)}", sqlstate=sqlstate)
    for states, kind, words in ANSWERS:
        if re.match(states, sqlstate):
            return kind(f"{what}: {words.format(sqlstate if kind is BadDataError else told)}", sqlstate=sqlstate)
    return SourceRefusedError(f"{what}: it refused the statement: {told}", sqlstate=sqlstate)


def without_state(what: str, told: str, *, logged_in: bool) -> DataprocError:
    """Return our error for a connection that was not made, or was lost."""
    if logged_in:
        return SourceUnavailableError(f"{what}: the connection was lost")
    words = next((kind, words) for pattern, kind, words in LOG_IN if re.search(pattern, told))
    return words[0](f"{what}: {words[1]}")
