"""Connections to the warehouse, and the one place where its errors become ours."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from dataproc.domain.errors import (
    ContractViolationError,
    DataprocError,
    FencedError,
    RowRefusedError,
    SetupError,
    TargetRefusedError,
    WarehouseUnavailableError,
)

ROW_ERRORS = (
    pg.DataError, pg.IntegrityError, pg.RaiseException, pg.ProgramLimitExceeded, pg.WithCheckOptionViolation,
)  # fmt: skip
"""What PostgreSQL answers when a row does not fit: also a trigger that raises, and a row wider than a page."""


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection]:
    """Give a connection whose errors are ours; each transaction is opened explicitly."""
    with translated(), opened(url, autocommit=True) as conn:
        yield conn


def opened(url: str, *, autocommit: bool) -> psycopg.Connection:
    """Return a connection; what we send is UTF-8, whatever the database or the environment say."""
    return psycopg.connect(
        url, autocommit=autocommit, prepare_threshold=None, connect_timeout=10, client_encoding="UTF8"
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn PostgreSQL's errors into ours, by what should happen next."""
    try:
        yield
    except psycopg.Error as exc:
        raise ours(exc) from exc


def ours(exc: psycopg.Error) -> DataprocError:
    """Return our error for one of PostgreSQL's."""
    for kinds, make in ANSWERS:
        if isinstance(exc, kinds):
            return make(exc)
    return TargetRefusedError(f"the warehouse refused: {first_line(exc)}")


def conflict(exc: psycopg.Error) -> DataprocError:
    """Return the error for rows that no other way of loading would bring in."""
    return ContractViolationError(
        f"the rows do not fit the target: {first_line(exc)}; leave such rows out, or change the table",
        constraint=exc.diag.constraint_name,
    )


def row_refused(exc: psycopg.Error) -> DataprocError:
    """Return the error for a row; the texts of data errors may show its values, so they are left out."""
    what = first_line(exc) if isinstance(exc, (pg.IntegrityError, pg.RaiseException)) else words_of(exc)
    where = "".join(f", column {name}" for name in [column_of(exc)] if name)
    return RowRefusedError(f"the warehouse refused a row: {what}{where}", constraint=exc.diag.constraint_name)


def remedy_for(message: str) -> str:
    """Return the remedy for a missing privilege."""
    return "give our role BYPASSRLS" if "row-level security" in message else "grant it to our role"


def missing(exc: psycopg.Error) -> DataprocError:
    """Return the error for a table or column that is not there: ours, or the target's."""
    told = first_line(exc)
    if "dataproc_load.staging_" in told:
        return FencedError("the staging table of this epoch is gone: the epoch is over")
    if "dataproc_load" in told:
        return SetupError("the warehouse has no schema dataproc_load, or an old one; run `dataproc migrate`")
    return WarehouseUnavailableError(f"the target was changed while this load was on its way: {told}")


ANSWERS: tuple[tuple[tuple[type[psycopg.Error], ...], Callable[[psycopg.Error], DataprocError]], ...] = (
    ((pg.UniqueViolation, pg.ForeignKeyViolation, pg.ExclusionViolation), conflict),
    (ROW_ERRORS, row_refused),
    ((pg.TooManyColumns,), lambda exc: ContractViolationError(f"{first_line(exc)}; drop some in a clean transform")),
    (
        (pg.InsufficientPrivilege,),
        lambda exc: TargetRefusedError(f"the warehouse refused: {first_line(exc)}; {remedy_for(first_line(exc))}"),
    ),
    ((pg.UndefinedTable, pg.UndefinedColumn, pg.InvalidSchemaName, pg.DuplicateTable), missing),
    (
        (pg.InvalidCatalogName, pg.InvalidAuthorizationSpecification),
        lambda _: SetupError("the warehouse refused the connection; see DATAPROC_WAREHOUSE_URL"),
    ),
    (
        (pg.LockNotAvailable,),
        lambda _: WarehouseUnavailableError("the warehouse has a session that holds what is needed; it is asked again"),
    ),
    (
        (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError),
        lambda exc: WarehouseUnavailableError(f"the warehouse does not answer: {first_line(exc)}"),
    ),
)
"""Which errors become what; the first that fits."""

COLUMN_IN_COPY = re.compile(r"^COPY .*, line \d+, column ([^:\n]+)", re.MULTILINE)


def column_of(exc: psycopg.Error) -> str | None:
    """Return the column that PostgreSQL names, if it names one."""
    if exc.diag.column_name:
        return exc.diag.column_name
    found = COLUMN_IN_COPY.search(exc.diag.context or "")
    return found[1] if found else None


def words_of(exc: psycopg.Error) -> str:
    """Return the kind of an error in words, such as `string data right truncation`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", type(exc).__name__).lower()


def first_line(exc: psycopg.Error) -> str:
    """Return the message of PostgreSQL without its details, which may show rows, and without staging table names."""
    message = exc.diag.message_primary or str(exc).partition("\n")[0]
    return re.sub(r' (?:of|for) relation "staging_[0-9a-f_]+"', "", message)
