"""Rows that a merge finds in its target just as they come: workers look, and do not send them.

The publish keeps everybody else from changing the target before the first row is read, so what a worker sees of it
stays true until the rows are brought in. Rows are compared in the form in which they would be sent; one that only looks
different is sent, and compared by PostgreSQL.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import adbc_driver_manager as adbc_errors
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import WarehouseUnavailableError
from dataproc.warehouse.columns import Column
from dataproc.warehouse.keys import rule_of
from dataproc.warehouse.modes.indexes import is_unique_on, rows_before
from dataproc.warehouse.target import Target

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]  # it has no types

WORTH = 0.6
"""The share of the first rows that must be there already. To look at a row costs half of what it does to send it."""
PROBED = 4096
"""Rows of a chunk that are looked for first."""
MOST = 4
"""How many rows of the target a look may read for each row that came; a few thousand cost nothing."""
MOST_BYTES = 16 * 1024 * 1024
"""Bytes that these few thousand may have, if they are as wide as those that came."""

# Asked in a statement of its own, before the rows: what these show was committed before the lock was taken. Of all who
# may hold it only the publish of this load takes what a worker has found. If somebody waits for the table to himself,
# whoever looks waits behind him, and he behind the publish, which waits for us: so nobody waits for long.
HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE relation = {name}::regclass AND mode = 'ShareRowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), set_config('lock_timeout', '1s', true)
"""
LOOK = "SELECT {columns} FROM {target} WHERE {key} BETWEEN {low} AND {high} LIMIT {most}"
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
    conn: adbc.Connection | None = field(default=None, compare=False, repr=False)

    def rows_if(self, condition: str, query: str) -> pa.Table | None:
        """Return the rows of a query, if the first value of another one is true; `None` also if they cannot be had."""
        try:
            return self.asked(condition, query)
        except adbc_errors.OperationalError as exc:
            self.close()
            raise WarehouseUnavailableError("the warehouse does not answer a worker that compares rows") from exc
        except adbc_errors.Error as exc:
            self.close()
            logger.warning("rows not compared, so all are sent", extra={"error": type(exc).__name__})
            return None

    def asked(self, condition: str, query: str) -> pa.Table | None:
        """Ask both in one transaction, as a pooler such as pgBouncer needs it."""
        # The handshake takes 25 ms, so the session is kept; the driver imports polars, which takes a third of a second.
        from adbc_driver_postgresql.dbapi import connect

        self.conn = self.conn or connect(words_of(self.url), autocommit=True)
        with self.conn.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
            cursor.execute(condition)
            holds = (cursor.fetchone() or (False,))[0]
            if holds:
                cursor.execute(query)
            rows = cursor.fetch_arrow_table() if holds else None
            cursor.execute("COMMIT")
            return rows

    def close(self) -> None:
        """Close the connection, if it was opened."""
        if self.conn is not None:
            self.conn.close()
        self.conn = None


def words_of(url: str) -> str:
    """Return what libpq connects by; what we get is UTF-8, whatever the database says."""
    return make_conninfo(url, client_encoding="UTF8", connect_timeout=10, application_name="dataproc")


@dataclass(frozen=True, slots=True)
class Present:
    """Looks for the rows of chunks in the target; a unit of which too little is there is not looked for any further."""

    session: Session
    target: Target
    key: str
    hopeless: set[str] = field(default_factory=set, compare=False)

    def without(self, rows: pa.Table, chunk: Chunk) -> pa.Table:
        """Return the rows of a chunk, fitted to the target, less those that are there already."""
        left = None if chunk.unit in self.hopeless else self.worth_sending(rows, is_first=chunk.seq == 0)
        if chunk.last:
            self.session.close()
        if left is None:
            # The chunks of a unit always come in the same order: one that is read again decides the same.
            self.hopeless.add(chunk.unit)
            return rows
        return left

    def worth_sending(self, rows: pa.Table, *, is_first: bool) -> pa.Table | None:
        """Return the rows that are not there, or `None` if too many are not; of a unit's first ones, some tell."""
        if is_first and rows.num_rows > PROBED and self.different(rows.slice(0, PROBED)) is None:
            return None
        return self.different(rows)

    def different(self, rows: pa.Table) -> pa.Table | None:
        """Return the rows that are not there just as they came, or `None` if these are too many, or nobody can tell."""
        if rows.num_rows == 0:
            return rows
        if (there := self.there(rows)) is None:
            return None
        left = rows.filter(pa.array(~same(rows, there, self.key)))
        return left if left.num_rows <= (1 - WORTH) * rows.num_rows else None

    def there(self, rows: pa.Table) -> pa.Table | None:
        """Return the rows of the target between the least and the greatest key of these; `None`: nobody can tell."""
        count = rows.num_rows
        most = max(MOST * count, min(PROBED, MOST_BYTES * count // max(rows.nbytes, 1)))
        held = sql.SQL(HELD).format(name=sql.Literal(self.target.identifier.as_string()))
        look = sql.SQL(LOOK).format(
            columns=sql.SQL(", ").join(map(selected, self.target.columns)), target=self.target.identifier,
            key=sql.Identifier(self.key), low=sql.Literal(pc.min(rows[self.key]).as_py()),
            high=sql.Literal(pc.max(rows[self.key]).as_py()), most=sql.Literal(most + 1),
        )  # fmt: skip
        found = self.session.rows_if(held.as_string(), look.as_string())
        # The index may be gone by now, and does not hold for the children of a table: each key must come once.
        return found if found is not None and found.num_rows <= most and come_once(found[self.key]) else None


def present_in(conn: psycopg.Connection, url: str, target: Target, destination: Destination) -> Present | None:
    """Return what looks for the rows of a load; `None`: they are of another kind, or nothing can be found that way.

    It reads only catalogs, so that it waits for nobody: a table that was never analysed counts as empty.
    """
    updates = destination.mode == "merge" and destination.merge == "update" and destination.delete_flag is None
    if not updates or len(destination.keys) > 1 or not target.exists or not target.columns or target.alterations:
        return None
    name, key = target.identifier.as_string(conn), destination.keys[0]
    types = {attribute.name: attribute.base_type for attribute in target.attributes}
    if not all(is_compared(column, types[column.name]) for column in target.columns):
        return None
    rule = rule_of(target.columns, destination.keys)
    # Only whole numbers are likely to come in an order in which the keys of a chunk lie side by side in the index.
    if rule is None or not t.is_integer(rule.schema.field(0).type):
        return None
    if not is_unique_on(conn, name, destination.keys) or rows_before(conn, name) == 0:
        return None
    return Present(Session(url), target, key)


def is_compared(column: Column, base_type: str) -> bool:
    """Whether values of a column can be compared as they are sent; `char` has blanks that a text has not."""
    return (
        column.coding in ("plain", "uuid")
        and base_type != "bpchar"
        and (t.is_decimal(column.arrow_type) or any(column.arrow_type == dtype for _, dtype in COMPARED))
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
        if t.is_floating(mine.type):
            alike &= np.signbit(np.asarray(mine.to_numpy())) == np.signbit(np.asarray(other.to_numpy()))
    return alike


def come_once(keys: pa.ChunkedArray[Any]) -> bool:
    """Whether no key comes twice; by an index, they come in order."""
    numbers = keys.to_numpy()
    return bool((numbers[1:] > numbers[:-1]).all()) or pc.count_distinct(keys).as_py() == len(keys)


def is_true(answers: Any) -> Mask:
    """Return where an answer of Arrow is true, and neither false nor null."""
    return np.asarray(answers.fill_null(False), np.bool_)  # noqa: FBT003 - Arrow names it otherwise
