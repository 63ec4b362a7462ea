"""The PostgreSQL server that all contenders share: fresh tables, checkpoints, and a look at the rows."""

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bench.errors import PeerError, WrongRowsError
from bench.orders import COLUMNS, Orders
from dataproc.embedded.programs import MAJOR, installed

ACTIVE = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND backend_type = 'client backend'
"""
QUIET = 0.5
"""Seconds without any statement after which a server is quiet: a job's ANALYZE comes when it is COMPLETED already."""
MEMORY = 2 * 1024**3
"""Bytes of memory that are touched before each load. A virtual machine gives freed memory back to its host, and whoever
needs it next waits for it: up to a second for what a load writes, whichever contender it meets."""


@dataclass(frozen=True, slots=True)
class Database:
    """The warehouse, as a benchmark uses it."""

    url: str = field(repr=False)

    @property
    def version(self) -> str:
        """The server's version."""
        with self.connect() as conn:
            return str(conn.info.parameter_status("server_version"))

    @property
    def host_url(self) -> str:
        """The URL with a socket's folder as its host, for clients that know no `?host=`; and with some password."""
        parts = conninfo_to_dict(self.url)
        host, port = quote(str(parts.get("host", "")), safe=""), parts.get("port", 5432)
        user = f"{quote(str(parts['user']))}:{quote(str(parts.get('password', 'none')))}"
        return f"postgresql://{user}@{host}:{port}/{parts['dbname']}"

    def connect(self) -> psycopg.Connection:
        """Return a connection."""
        return psycopg.connect(self.url, autocommit=True)

    def settle(self) -> None:
        """Wait for what earlier runs still do, and write out what they left in memory: no run pays for another."""
        with self.connect() as conn:
            quiet_since = time.monotonic()
            while time.monotonic() - quiet_since < QUIET:
                time.sleep(QUIET / 10)
                if conn.execute(ACTIVE).fetchone() != (0,):
                    quiet_since = time.monotonic()
            conn.execute("CHECKPOINT")
        np.ones(MEMORY, np.uint8)

    def make_table(self, schema: str) -> None:
        """Make an empty table `orders` in a schema of its own."""
        with self.connect() as conn:
            conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            table = sql.SQL("CREATE TABLE {} ({})")
            conn.execute(table.format(sql.Identifier(schema, "orders"), sql.SQL(COLUMNS)))

    def verify(self, schema: str, expected: Orders, times: int = 1) -> None:
        """Raise `WrongRowsError` unless the table holds the data set so many times; then drop it with its schema."""
        wanted = (expected.rows * times, expected.total * times)
        query = sql.SQL("SELECT count(*), sum(order_id) FROM {}").format(sql.Identifier(schema, "orders"))
        with self.connect() as conn:
            count, total = conn.execute(query).fetchone() or (None, None)
            if (count, total) != wanted:
                words = f"{schema}.orders holds {count} rows of sum {total}, expected are {wanted[0]} of {wanted[1]}"
                raise WrongRowsError(words)
            conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))

    def copy_csv(self, schema: str, csv: Path) -> None:
        """Load a CSV with psql, as people do."""
        table = f'"{schema}".orders'
        command = f"\\copy {table} from '{csv}' with (format csv, header true)"
        words = [psql(), self.url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", command]
        done = subprocess.run(words, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"psql failed; it said: {done.stderr.strip()}")


def psql() -> str:
    """Return the embedded server's own psql, or the one on the PATH."""
    own = installed() / f"pginstall{MAJOR}" / "bin" / "psql"
    return str(own) if own.exists() else shutil.which("psql") or "psql"
