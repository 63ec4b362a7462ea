"""The table that a load goes into: what it is now, or what it will be when the load makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, TargetRefusedError
from dataproc.warehouse.columns import Column, declare, meet

RESERVED = ("dataproc_load", "information_schema")
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts longer names, and then finds neither the column nor a difference between two."""
MOST_COLUMNS = 1600

FIND = """
SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE') AS ours, pg_get_userbyid(c.relowner) AS owner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

FIND_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
DESCRIBE = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
                      ELSE format_type(a.atttypid, a.atttypmod) END,
       b.typname, a.attnotnull, a.attgenerated <> '' OR a.attidentity = 'a',
       a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid)
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


CHECKS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %(oid)s AND contype = 'c' AND conkey <@ (
    SELECT array_agg(attnum) FROM pg_attribute WHERE attrelid = %(oid)s AND attname = ANY(%(names)s)
)
ORDER BY conname
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column as the catalog describes it."""

    name: str
    sql_type: str
    base_sql_type: str
    base_type: str
    required: bool
    generated: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A target table and those of its columns that the load fills; as it was found, to see whether it changed."""

    schema: str
    table: str
    columns: tuple[Column, ...]
    exists: bool
    attributes: tuple[Attribute, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The table's name as people write it."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name."""
        return sql.Identifier(self.schema, self.table)

    @property
    def column_list(self) -> sql.Composed:
        """The quoted names of the columns, separated by commas."""
        return names_of(self.columns)

    @property
    def fits_directly(self) -> bool:
        """Whether every value can travel in the binary form of its column."""
        return not any(column.is_text for column in self.columns)


def names_of(columns: Iterable[Column]) -> sql.Composed:
    """Return the quoted names of columns, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)


def find_target(conn: psycopg.Connection, destination: Destination, schema: pa.Schema) -> Target:
    """Return the target for rows of `schema`; it is refused when it is not a table of ours or does not fit.

    Rows without columns, such as those of empty files, need nothing of the target.
    """
    oid = find_table(conn, destination)
    fields = fields_of(schema)
    refuse_names(destination.table, [field.name for field in fields])
    where = (destination.schema_name, destination.table_name)
    if oid is None or not fields:
        return Target(*where, tuple(map(declare, fields)), exists=oid is not None)
    attributes = describe(conn, oid)
    columns = match_columns(destination.table, attributes, fields)
    checks = conn.execute(CHECKS, {"oid": oid, "names": [field.name for field in fields]}).fetchall()
    return Target(*where, columns, exists=True, attributes=attributes, checks=tuple((n, text) for n, text in checks))


def describe(conn: psycopg.Connection, oid: int) -> tuple[Attribute, ...]:
    """Return the columns of a table."""
    return tuple(Attribute(*row) for row in conn.execute(DESCRIBE, (oid,)))


def find_table(conn: psycopg.Connection, destination: Destination) -> int | None:
    """Return the oid of the target, or `None` when there is no such table yet."""
    if destination.schema_name in RESERVED or destination.schema_name.startswith("pg_"):
        raise TargetRefusedError(f"{destination.table}: the schema {destination.schema_name} is not for targets")
    row = conn.execute(FIND, (destination.schema_name, destination.table_name)).fetchone()
    if row is None:
        return None
    oid, kind, ours, owner = row
    if kind not in ("r", "p"):
        raise TargetRefusedError(f"{destination.table} is not a table; name another destination.table")
    if not ours:
        raise TargetRefusedError(f"{destination.table} belongs to {owner}, not to us; name another destination.table")
    return int(oid)


def fields_of(schema: pa.Schema) -> list[pa.Field[pa.DataType]]:
    """Return the fields of a schema."""
    return [schema.field(i) for i in range(len(schema.names))]


def refuse_names(table: str, names: Sequence[str]) -> None:
    """Refuse names that no table can have, and more columns than one can have."""
    refuse_some(table, "cannot hold two columns of the name", [name for name, n in Counter(names).items() if n > 1])
    odd = [name for name in names if not 0 < len(name.encode()) <= LONGEST_NAME or "\x00" in name]
    refuse_some(table, "cannot have a column whose name is empty or longer than 63 bytes, such as", odd)
    refuse_some(table, "cannot have a column of the name", [name for name in names if name in SYSTEM_COLUMNS])
    if len(names) > MOST_COLUMNS:
        raise ContractViolationError(
            f"{table} would have {len(names)} columns, and PostgreSQL holds {MOST_COLUMNS}; "
            "drop some in a clean transform"
        )


def match_columns(
    table: str, attributes: Sequence[Attribute], fields: Sequence[pa.Field[pa.DataType]]
) -> tuple[Column, ...]:
    """Return how each field travels into its column; name every column that cannot be matched."""
    known = {attribute.name: attribute for attribute in attributes}
    names = [field.name for field in fields]
    refuse_some(table, "has no column", [name for name in names if name not in known])
    refuse_some(table, "computes by itself", [name for name in names if known[name].generated])
    needed = [a.name for a in attributes if a.required and not a.has_default and a.name not in names]
    refuse_some(table, "needs a value that the source lacks for", needed)
    return tuple(matched(field, known[field.name]) for field in fields)


def matched(field: pa.Field[pa.DataType], attribute: Attribute) -> Column:
    """Return how values of `field` travel into an existing column."""
    column = Column(field.name, attribute.sql_type, pa.string(), "text", attribute.required)
    return meet(field, column, attribute.base_type, attribute.base_sql_type)


def refuse_some(table: str, problem: str, columns: Sequence[str]) -> None:
    """Refuse when there are such columns."""
    if columns:
        listed = ", ".join(repr(name) for name in columns[:10])
        raise ContractViolationError(
            f"{table} {problem} {listed}; change the table, or rename or drop columns in a clean transform",
            columns=columns,
        )


def create(conn: psycopg.Connection, target: Target) -> None:
    """Make the target and its schema, which another load may have made while we waited for it."""
    make_schema, make_table = definition(target)
    # A role that may not make schemas may well make tables in this one.
    if conn.execute(FIND_SCHEMA, (target.schema,)).fetchone() is None:
        with suppress(pg.UniqueViolation), conn.transaction():
            conn.execute(make_schema)
    conn.execute(make_table)


def definition(target: Target) -> tuple[sql.Composed, sql.Composed]:
    """Return the statements that make the target and its schema."""
    columns = (sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.sql_type)) for c in target.columns)
    return (
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(target.schema)),
        sql.SQL("CREATE TABLE {} ({})").format(target.identifier, sql.SQL(", ").join(columns)),
    )
