"""Connections to the warehouse, and the one place where its errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from dataproc.domain.errors import RowRefusedError, SetupError, TargetRefusedError, WarehouseUnavailableError

ROW_ERRORS = (pg.DataError, pg.IntegrityError)
"""What PostgreSQL answers when a row does not fit."""


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection]:
    """Give a connection whose errors are ours; each transaction is opened explicitly."""
    with translated(), psycopg.connect(url, autocommit=True, prepare_threshold=None, connect_timeout=10) as conn:
        yield conn


@contextmanager
def translated() -> Iterator[None]:
    """Turn PostgreSQL's errors into ours, by what should happen next."""
    try:
        yield
    except ROW_ERRORS as exc:
        raise RowRefusedError(f"the warehouse refused a row: {exc.diag.message_primary}") from exc
    except pg.InsufficientPrivilege as exc:
        raise TargetRefusedError(f"the warehouse refused: {exc.diag.message_primary}; grant it to our role") from exc
    except (pg.InvalidCatalogName, pg.InvalidAuthorizationSpecification) as exc:
        raise SetupError("the warehouse refused the connection; see DATAPROC_WAREHOUSE_URL") from exc
    except (psycopg.OperationalError, psycopg.InternalError) as exc:
        raise WarehouseUnavailableError(f"the warehouse does not answer: {first_line(exc)}") from exc


def first_line(exc: psycopg.Error) -> str:
    """Return what PostgreSQL said, without the rows that some details carry."""
    return exc.diag.message_primary or str(exc).partition("\n")[0]
