"""Rows that a merge finds in its target just as they come: workers look, and do not send them.

The publish keeps everybody else from changing the target before the first row is read, so what a worker sees of it
stays true until the rows are brought in. Rows are compared in the form in which they would be sent; one that only looks
different is sent, and compared by PostgreSQL.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import adbc_driver_manager as adbc_errors
import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]  # it has no types
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t
from psycopg import sql

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import WarehouseUnavailableError
from dataproc.warehouse.columns import Column
from dataproc.warehouse.modes.indexes import is_bare, is_unique_on
from dataproc.warehouse.target import Target

WORTH = 0.6
"""The share of the first rows that must be there already. To look at a row costs half of what it does to send it."""
PROBED = 4096
"""Rows of a chunk that are looked for first."""
MOST = 4
"""How many rows of the target a look may read for each row that came; a few thousand cost nothing."""

# Only whoever publishes a merge holds this lock, and at most one does. Without it, nothing would be certain.
LOOK = """
SELECT {columns} FROM {target} WHERE {key} BETWEEN {low} AND {high} AND EXISTS (
    SELECT FROM pg_locks WHERE relation = {name}::regclass AND mode = 'ShareRowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) LIMIT {most}
"""
COMPARED: tuple[tuple[str, pa.DataType], ...] = (
    ("boolean", pa.bool_()),
    ("smallint", pa.int16()),
    ("integer", pa.int32()),
    ("bigint", pa.int64()),
    ("real", pa.float32()),
    ("double precision", pa.float64()),
    ("text", pa.string()),
    ("bytea", pa.binary()),
    ("date", pa.date32()),
    ("time", pa.time64("us")),
    ("timestamp", pa.timestamp("us")),
    ("timestamptz", pa.timestamp("us", "UTC")),
)
"""What is selected for a column, by the Arrow type in which its values are sent."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """A connection that gives Arrow tables; it is opened when it is needed."""

    url: str = field(repr=False)
    conn: adbc.Connection | None = field(default=None, compare=False)

    def ask(self, query: str) -> pa.Table | None:
        """Return the rows of a query; `None`, if the driver cannot carry one of them."""
        try:
            # It takes 25 ms to open.
            self.conn = self.conn or adbc.connect(self.url, autocommit=True)
            with self.conn.cursor() as cursor:
                cursor.execute(query)
                rows: pa.Table = cursor.fetch_arrow_table()
                return rows
        except adbc_errors.OperationalError as exc:
            self.close()
            raise WarehouseUnavailableError("the warehouse does not answer a worker that compares rows") from exc
        except adbc_errors.Error as exc:
            self.close()
            logger.warning("rows not compared, so all are sent", extra={"error": type(exc).__name__})
            return None

    def close(self) -> None:
        """Close the connection, if it was opened."""
        if self.conn is not None:
            self.conn.close()
        self.conn = None


@dataclass(frozen=True, slots=True)
class Present:
    """Looks for the rows of chunks in the target; a unit of which too little is there is not looked for any further."""

    session: Session
    target: Target
    key: str
    hopeless: set[str] = field(default_factory=set, compare=False)

    def without(self, rows: pa.Table, chunk: Chunk) -> pa.Table:
        """Return the rows of a chunk, fitted to the target, less those that are there already."""
        left = self.different(rows) if self.is_worth_it(rows, chunk.unit) else rows
        if chunk.last:
            self.session.close()
        return left

    def is_worth_it(self, rows: pa.Table, unit: str) -> bool:
        """Whether most of the first rows are there already; if not, the rest of the unit is not looked for either.

        The chunks of a unit always come in the same order, so one that is read again gives the same.
        """
        first = rows.slice(0, PROBED)
        if unit not in self.hopeless and self.different(first).num_rows > (1 - WORTH) * first.num_rows:
            self.hopeless.add(unit)
        return unit not in self.hopeless

    def different(self, rows: pa.Table) -> pa.Table:
        """Return the rows that are not there just as they came."""
        if rows.num_rows == 0:
            return rows
        return rows.filter(pa.array(~same(rows, self.there(rows), self.key)))

    def there(self, rows: pa.Table) -> pa.Table:
        """Return rows of the target, among them all that have a key of these, unless there are too many."""
        least, greatest = pc.min(rows[self.key]).as_py(), pc.max(rows[self.key]).as_py()
        most = max(MOST * rows.num_rows, PROBED)
        query = sql.SQL(LOOK).format(
            columns=sql.SQL(", ").join(map(selected, self.target.columns)), target=self.target.identifier,
            key=sql.Identifier(self.key), low=sql.Literal(least), high=sql.Literal(greatest),
            name=sql.Literal(self.target.identifier.as_string()), most=sql.Literal(most + 1),
        )  # fmt: skip
        found = self.session.ask(query.as_string())
        return rows.slice(0, 0) if found is None or found.num_rows > most else found


def present_in(conn: psycopg.Connection, url: str, target: Target, destination: Destination) -> Present | None:
    """Return what looks for the rows of a load; `None`: they are of another kind, or nothing can be found that way."""
    name = target.identifier.as_string(conn)
    updates = destination.mode == "merge" and destination.merge == "update" and destination.delete_flag is None
    if not updates or len(destination.keys) > 1 or not target.exists or target.alterations:
        return None
    key = destination.keys[0]
    known = {column.name: column for column in target.columns}
    # Only whole numbers are likely to come in an order in which the keys of a chunk lie side by side in the index.
    if not all(map(is_compared, known.values())) or not t.is_integer(known[key].arrow_type):
        return None
    if not is_unique_on(conn, name, destination.keys) or is_bare(conn, target):
        return None
    return Present(Session(url), target, key)


def is_compared(column: Column) -> bool:
    """Whether values of a column can be compared as they are sent."""
    return column.coding in ("plain", "uuid") and (
        t.is_decimal(column.arrow_type) or any(column.arrow_type == dtype for _, dtype in COMPARED)
    )


def selected(column: Column) -> sql.Composable:
    """Return what is selected for a column, so that it comes as its values are sent."""
    name = sql.Identifier(column.name)
    if column.coding == "uuid":
        return sql.SQL("uuid_send({0}) AS {0}").format(name)
    kinds = (sql_type for sql_type, dtype in COMPARED if dtype == column.arrow_type)
    return sql.SQL("{0}::{1} AS {0}").format(name, sql.SQL(next(kinds, "text")))


def same(rows: pa.Table, there: pa.Table, key: str) -> Mask:
    """Return for each row whether there is one of its key that has the same in all columns; null is like null."""
    if not rows[key].equals(there[key]):
        there = there.take(pc.index_in(rows[key], there[key], skip_nulls=True))
    alike = is_true(pc.equal(rows[key], there[key]))
    for name in rows.column_names:
        mine = rows[name].cast(pa.string()) if t.is_decimal(rows[name].type) else rows[name]
        other = there[name].cast(mine.type)
        both_null = is_true(pc.and_(pc.is_null(mine), pc.is_null(other)))
        alike &= is_true(pc.equal(mine, other)) | both_null
    return alike


def is_true(answers: Any) -> Mask:
    """Return where an answer of Arrow is true, and neither false nor null."""
    return np.asarray(answers.fill_null(False), np.bool_)  # noqa: FBT003 - Arrow names it otherwise
