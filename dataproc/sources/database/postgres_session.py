"""Sessions with a PostgreSQL source: read only, on one snapshot, with the settings in which values are exact text."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from dataproc.sources.database.connection import PORTS
from dataproc.sources.database.login import ServerLogin
from dataproc.sources.database.postgres_errors import translated

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]  # it has no types

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
}
"""How values are written as text, so that they are read back as they were."""
HOLDING = {"idle_in_transaction_session_timeout": "0"}
"""What a session sets that holds a snapshot while others read."""
READING = {"max_parallel_workers_per_gather": "0", "synchronize_seqscans": "off"}
"""What a session sets that reads a unit: twice the same unit gives the same rows in the same order."""
IDENTITY = """
SELECT pg_backend_pid(), pg_current_snapshot()::text, pg_is_in_recovery(),
       current_setting('block_size')::int, (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SYSTEM = "SELECT system_identifier FROM pg_control_system()"
MAY_ASK = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
EXPORT = "SELECT pg_export_snapshot()"
TRANSACTION_TIMEOUT = 170000
"""The version from which a server may end transactions that are open for long."""


@dataclass(frozen=True, slots=True)
class PostgresLogin(ServerLogin):
    """How to log in to PostgreSQL; unless `filtered`, a row security policy that would hide rows is an error."""

    filtered: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """What every session sets that reads rows."""
        timeout = milliseconds(self.server.statement_timeout)
        return SETTINGS | {"row_security": "on" if self.filtered else "off", "statement_timeout": timeout}

    @contextmanager
    def words(self) -> Iterator[str]:
        """Give what libpq connects by; the file of certificates is there until the block ends."""
        with TemporaryDirectory(prefix="dataproc-") as folder:
            server, found = self.server, {}
            if (password := self.password()) is not None:
                found["password"] = password
            if server.ca is not None:
                found["sslrootcert"] = str(written(Path(folder) / "ca.pem", server.ca))
            elif server.tls in {"verify-ca", "verify-full"}:
                found["sslrootcert"] = "system"
            yield make_conninfo(
                "", host=server.host, port=server.port or PORTS["postgresql"], dbname=server.database,
                user=server.user, sslmode=server.tls, connect_timeout=10, application_name="dataproc",
                client_encoding="UTF8", keepalives_idle=60, **found,
            )  # fmt: skip

    def open(self) -> psycopg.Connection[Any]:
        """Return a connection for planning, in a read-only transaction that stays open."""
        with translated(self.told), self.words() as words:
            conn: psycopg.Connection[Any] = psycopg.connect(words, autocommit=True, prepare_threshold=None)
        try:
            with translated(self.told):
                self.begin(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def begin(self, conn: psycopg.Connection[Any]) -> None:
        """Begin a transaction that holds its snapshot."""
        conn.execute(BEGIN)
        settings = self.settings | HOLDING
        if conn.info.server_version >= TRANSACTION_TIMEOUT:
            settings["transaction_timeout"] = "0"
        conn.execute(local(settings))

    @contextmanager
    def reader(self, snapshot: str | None) -> "Iterator[adbc.Cursor]":
        """Give a cursor for Arrow batches, on `snapshot` if there is one."""
        # The driver imports polars, which takes a third of a second.
        from adbc_driver_postgresql.dbapi import connect

        with self.words() as words:
            conn = connect(words, autocommit=True)
        with conn, conn.cursor() as cursor:
            cursor.execute(BEGIN)
            if snapshot is not None:
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            cursor.execute(local(self.settings | READING))
            yield cursor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a run sees of the database: whose data in which state, and by which name other sessions can see it too."""

    identity: str
    exported: str | None
    block_size: int


@dataclass(frozen=True, slots=True)
class Held:
    """Keeps the snapshot of a run until the run is over."""

    conn: psycopg.Connection[Any]

    def __enter__(self) -> None:
        """Keep it."""

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go."""
        self.conn.close()


def take_snapshot(login: PostgresLogin, conn: psycopg.Connection[Any]) -> Snapshot:
    """Return the snapshot of this transaction, exported where other sessions can reach the same server."""
    pid, snapshot, in_recovery, block_size, database = one_row(conn, IDENTITY)
    system = one_row(conn, SYSTEM)[0] if one_row(conn, MAY_ASK)[0] else "unknown"
    # A pooler answers with a process of its own, and may send the next session to another server.
    exported = None if pid != conn.info.backend_pid else export(login, conn, in_recovery=in_recovery)
    return Snapshot(f"{system}-{database}-{snapshot}", exported, block_size)


def export(login: PostgresLogin, conn: psycopg.Connection[Any], *, in_recovery: bool) -> str | None:
    """Return the name of the exported snapshot; `None` for a replica that does not let us."""
    try:
        return str(one_row(conn, EXPORT)[0])
    except psycopg.Error:
        if not in_recovery:
            raise
        conn.execute("ROLLBACK")
        login.begin(conn)
        return None


def one_row(conn: psycopg.Connection[Any], statement: str) -> tuple[Any, ...]:
    """Return the row of a statement that gives one."""
    row: tuple[Any, ...] | None = conn.execute(statement.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("no row came back")
    return row


def local(settings: dict[str, str]) -> str:
    """Return the statement that makes settings for this transaction."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    return f"SELECT {calls}"


def milliseconds(length: timedelta) -> str:
    """Return a length of time as PostgreSQL takes it."""
    return str(max(length // timedelta(milliseconds=1), 1))


def written(path: Path, text: str) -> Path:
    """Write a file; return its path."""
    path.write_text(text, encoding="ascii")
    return path
