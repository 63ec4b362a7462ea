"""The publish transaction, and what to do when the reply to its COMMIT is lost."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.errors import WarehouseUnavailableError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import JobId
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.attributes import describe
from dataproc.warehouse.change import impatient, make
from dataproc.warehouse.connection import connect, first_line, opened, translated
from dataproc.warehouse.ledger import look_up
from dataproc.warehouse.target import Target, create, find_table

LOCK_TARGET = "SELECT pg_advisory_xact_lock(hashtextextended('dataproc_load.target:' || %s, 0))"
PATIENCE = 60.0
"""Seconds to ask for the fate of a publish, while the server is away or still holds it open."""

# The job has its own timeout. A publisher that vanished must not hold the fence for hours, as TCP would let it.
# The memory is for hashing, joining and sorting all rows of a load once.
# Without row security, a policy that hides rows of the target from our role is an error.
SESSION = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '60s', true),
       set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true),
       set_config('tcp_keepalives_count', '3', true),
       set_config('work_mem', '256MB', true), set_config('maintenance_work_mem', '256MB', true),
       set_config('row_security', 'off', true)
"""

logger = logging.getLogger(__name__)


@contextmanager
def publishing(url: str, load_id: LoadId, target: Target) -> Iterator[psycopg.Connection]:
    """Give a transaction that holds the target's lock; it is committed, surely, at the end of the block.

    If the reply to COMMIT is lost, the fate of the transaction is asked for on new connections.
    """
    with translated(), opened(url, autocommit=False) as conn:
        conn.execute(SESSION)
        conn.execute(LOCK_TARGET, (target.name,))
        reached(FaultPoint.LOCKED)
        if target.columns:
            make_sure_of(conn, target)
        yield conn
        row = conn.execute("SELECT pg_current_xact_id()::text").fetchone()
        xid = row[0] if row else ""
        reached(FaultPoint.COMMITTING)
        try:
            conn.commit()
        except psycopg.OperationalError as exc:
            ids = {"job_id": str(load_id.job_id), "epoch": load_id.epoch}
            logger.warning("the reply to a commit was lost", extra=ids)
            if not was_committed(url, load_id.job_id, xid):
                raise WarehouseUnavailableError(f"the publish was rolled back: {first_line(exc)}") from exc
        reached(FaultPoint.COMMITTED)


def make_sure_of(conn: psycopg.Connection, target: Target) -> None:
    """Make the target if it is missing; refuse one that is not as it was when the load was planned.

    What workers have encoded is right for those columns only: binary COPY would take the bytes for other values.
    """
    oid = find_table(conn, Destination(table=target.name))
    if (oid is not None) != target.exists:
        raise WarehouseUnavailableError(f"{target.name} was made or dropped while this load was on its way")
    if oid is None:
        create(conn, target)
        return
    mode = sql.SQL("ACCESS EXCLUSIVE" if target.alterations else target.lock)
    with impatient(conn) if target.alterations else nullcontext():
        conn.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(target.identifier, mode))
    if describe(conn, oid) != target.attributes:
        raise WarehouseUnavailableError(f"the columns of {target.name} were changed while this load was on its way")
    if target.alterations:
        change_target(conn, target)


def change_target(conn: psycopg.Connection, target: Target) -> None:
    """Make the changes that the contract asks for; they are undone with the transaction."""
    make(conn, target.change)
    logger.info("target changed", extra={"target": target.name, "fingerprint": target.change.fingerprint})


def was_committed(url: str, job_id: JobId, xid: str, *, patience: float = PATIENCE) -> bool:
    """Return whether the transaction `xid` of a job was committed, asking until the server knows."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return is_published(url, job_id, xid)
        except WarehouseUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def is_published(url: str, job_id: JobId, xid: str) -> bool:
    """Return whether the ledger has the job, once `xid` has ended; raise `WarehouseUnavailableError` before that."""
    with connect(url) as conn:
        if status_of(conn, xid) == "in progress":
            raise WarehouseUnavailableError("the publish transaction is still open")
        return look_up(conn, job_id) is not None


def status_of(conn: psycopg.Connection, xid: str) -> str | None:
    """Return what the server knows of a transaction; `None`: it forgot it, or lost it in a crash."""
    try:
        row = conn.execute("SELECT pg_xact_status(%s::xid8)", (xid,)).fetchone()
    except pg.InvalidParameterValue:
        return None
    return row[0] if row else None
