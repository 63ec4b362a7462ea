"""Connections to the metadata database, and the one place where its errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dataproc.domain.errors import ConflictError, MetadataUnavailableError, SetupError

LONGEST_IDLENESS = timedelta(minutes=1)
SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
NOT_FOUND = ("3D000", "28000", "28P01")
"""Answers of a server that is there: no such database, or no such user or password."""


def driver_url(url: str) -> URL:
    """Return a PostgreSQL URL as SQLAlchemy wants it; a socket's folder may stand in `?host=`."""
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise SetupError("DATAPROC_METADATA_URL is no URL; write postgresql://user@host/database") from exc
    if parsed.drivername not in SCHEMES:
        raise SetupError(f"DATAPROC_METADATA_URL begins with {parsed.drivername}://; only postgresql:// is known")
    return parsed.set(drivername="postgresql+psycopg")


def connect_options() -> dict[str, object]:
    """Return driver options; no prepared statements, so that pgBouncer may pool by transaction."""
    return {"prepare_threshold": None, "connect_timeout": 10, "application_name": "dataproc"}


def open_engine(url: str, *, pool_size: int, max_overflow: int) -> AsyncEngine:
    """Return a pool of connections to the metadata database; the first use opens the first one."""
    engine = create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=connect_options(),
    )
    event.listen(engine.sync_engine, "connect", forbid_idleness)
    return engine


def forbid_idleness(connection: DBAPIConnection, _: object) -> None:
    """Have the server end a transaction whose program hangs, so that its locks hold up nobody for long.

    It is said to the server and not while connecting, as pgBouncer refuses options that it does not know.
    """
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{LONGEST_IDLENESS.total_seconds():.0f}s'")
    cursor.close()
    connection.commit()


def open_sync_engine(url: str) -> Engine:
    """Return an engine without a pool, for migrations."""
    return create_engine(driver_url(url), poolclass=NullPool, hide_parameters=True, connect_args=connect_options())


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of the metadata database into ours, by what should happen next."""
    try:
        yield
    except ProgrammingError as exc:
        raise SetupError(f"the metadata database refused: {said(exc)}; run `python -m jobs.migrate`") from exc
    except IntegrityError as exc:
        raise ConflictError(f"the metadata database refused: {said(exc)}") from exc
    except OperationalError as exc:
        if getattr(exc.orig, "sqlstate", None) in NOT_FOUND or says_not_found(exc):
            raise SetupError(f"the metadata database refused: {said(exc)}; see DATAPROC_METADATA_URL") from exc
        raise MetadataUnavailableError(f"the metadata database does not answer: {said(exc)}") from exc
    except (InterfaceError, PoolTimeoutError) as exc:
        raise MetadataUnavailableError(f"the metadata database does not answer: {said(exc)}") from exc


def says_not_found(exc: DBAPIError) -> bool:
    """Whether the server refused database, role or password: while connecting, libpq gives only words."""
    words = said(exc)
    return "FATAL" in words and any(reason in words for reason in ("does not exist", "authentication failed"))


def said(exc: Exception) -> str:
    """Return what PostgreSQL said, without the values that some details carry."""
    cause = getattr(exc, "orig", None) or exc
    diag = getattr(cause, "diag", None)
    return str(getattr(diag, "message_primary", None) or str(cause).partition("\n")[0])
