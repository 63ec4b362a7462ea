"""What can be asked of a registered PostgreSQL: whether it lets us in, and what there is to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataproc.ports.connector import Discovered
from dataproc.sources.database.postgres_errors import translated
from dataproc.sources.database.postgres_session import PostgresLogin, one_row

READABLE = """
SELECT nspname || '.' || relname, CASE WHEN relkind = 'v' OR reltuples < 0 THEN NULL ELSE reltuples::bigint END,
       array_agg(attname::text ORDER BY attnum), array_agg(format_type(atttypid, atttypmod) ORDER BY attnum)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
  AND nspname <> 'information_schema' AND nspname !~ '^pg_' AND has_table_privilege(pg_class.oid, 'SELECT')
GROUP BY nspname, relname, relkind, reltuples ORDER BY nspname, relname
"""


@dataclass(frozen=True, slots=True)
class PostgresConnector:
    """A registered PostgreSQL."""

    login: PostgresLogin

    def test(self) -> str:
        """Log in; return the server's version."""
        with self.login.open() as conn, translated(self.login.told):
            return f"PostgreSQL {one_row(conn, 'SHOW server_version')[0]}"

    def discover(self) -> Sequence[Discovered]:
        """Return the tables and views that the user may read; the counts are the server's estimates."""
        with self.login.open() as conn, translated(self.login.told):
            found = conn.execute(READABLE).fetchall()
        return [Discovered(name, tuple(zip(columns, types, strict=True)), rows) for name, rows, columns, types in found]
