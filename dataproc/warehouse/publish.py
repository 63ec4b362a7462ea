"""The publish transaction, and what to do when the reply to its COMMIT is lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from dataproc.domain.errors import WarehouseUnavailableError
from dataproc.domain.job import JobId
from dataproc.domain.spec import Destination
from dataproc.ports import LoadId, Published
from dataproc.warehouse.connection import connect, first_line, translated
from dataproc.warehouse.ledger import look_up
from dataproc.warehouse.target import Target, create, find_table

LOCK_TARGET = "SELECT pg_advisory_xact_lock(hashtextextended('dataproc_load.target:' || %s, 0))"


@contextmanager
def publishing(url: str, load_id: LoadId, target: Target) -> Iterator[psycopg.Connection]:
    """Give a transaction that holds the target's lock; it is committed, surely, at the end of the block.

    If the reply to COMMIT is lost, the fate of the transaction is asked for by its id, on new connections.
    """
    with translated(), psycopg.connect(url, prepare_threshold=None, connect_timeout=10) as conn:
        conn.execute(LOCK_TARGET, (target.name,))
        make_sure_of(conn, target)
        yield conn
        row = conn.execute("SELECT pg_current_xact_id()::text").fetchone()
        xid = row[0] if row else ""
        try:
            conn.commit()
        except psycopg.OperationalError as exc:
            if not was_committed(url, load_id.job_id, xid):
                raise WarehouseUnavailableError(f"the publish was rolled back: {first_line(exc)}") from exc


def make_sure_of(conn: psycopg.Connection, target: Target) -> None:
    """Make the target if it is missing, as it was when the load was planned."""
    destination = Destination(table=target.name)
    exists = find_table(conn, destination) is not None
    if exists != target.exists:
        raise WarehouseUnavailableError(f"{target.name} was made or dropped while this load was on its way")
    if not exists:
        create(conn, target)


def was_committed(url: str, job_id: JobId, xid: str, *, patience: float = 60.0) -> bool:
    """Return whether the transaction `xid` of a job was committed, asking until the server knows."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fate(url, job_id, xid) == "committed"
        except WarehouseUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def fate(url: str, job_id: JobId, xid: str) -> str:
    """Return `committed` or `aborted`; raise `WarehouseUnavailableError` while it is open."""
    with connect(url) as conn:
        if look_up(conn, job_id) is not None:
            return "committed"
        row = conn.execute("SELECT pg_xact_status(%s::xid8)", (xid,)).fetchone()
    status = row[0] if row else None
    if status == "in progress":
        raise WarehouseUnavailableError("the publish transaction is still open")
    return str(status)


def published(url: str, job_id: JobId) -> Published | None:
    """Return what the ledger says of a job."""
    with connect(url) as conn:
        return look_up(conn, job_id)
