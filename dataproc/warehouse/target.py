"""The table that a load goes into: what it is now, or what it will be when the load makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.errors import ContractViolationError, TargetRefusedError
from dataproc.domain.spec import Destination
from dataproc.warehouse.columns import Column, declare, meet

RESERVED = ("dataproc_load", "information_schema")

FIND = """
SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE') AS ours, pg_get_userbyid(c.relowner) AS owner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

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


@dataclass(frozen=True, slots=True)
class Target:
    """A target table and those of its columns that the load fills."""

    schema: str
    table: str
    columns: tuple[Column, ...]
    exists: bool

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
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)

    @property
    def fits_directly(self) -> bool:
        """Whether every value can travel in the binary form of its column."""
        return all(column.coding != "text" for column in self.columns)


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


def find_target(conn: psycopg.Connection, destination: Destination, schema: pa.Schema) -> Target:
    """Return the target for rows of `schema`; it is refused when it is not a table of ours or does not fit."""
    oid = find_table(conn, destination)
    if oid is None:
        columns = tuple(declare(field) for field in fields_of(schema))
    else:
        attributes = [Attribute(*row) for row in conn.execute(DESCRIBE, (oid,))]
        columns = match_columns(destination.table, attributes, fields_of(schema))
    return Target(destination.schema_name, destination.table_name, columns, exists=oid is not None)


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


def match_columns(
    table: str, attributes: Sequence[Attribute], fields: Sequence[pa.Field[pa.DataType]]
) -> tuple[Column, ...]:
    """Return how each field travels into its column; name every column that cannot be matched."""
    known = {attribute.name: attribute for attribute in attributes}
    names = [field.name for field in fields]
    refuse_some(table, "has no column", [name for name in names if name not in known])
    refuse_some(table, "computes by itself", [name for name in names if name in known and known[name].generated])
    needed = [a.name for a in attributes if a.required and not a.has_default and a.name not in names]
    refuse_some(table, "needs a value that the source lacks for", needed)
    return tuple(
        meet(
            field,
            sql_type=known[field.name].base_sql_type,
            base_type=known[field.name].base_type,
            required=known[field.name].required,
        )
        for field in fields
    )


def refuse_some(table: str, problem: str, columns: Sequence[str]) -> None:
    """Refuse when there are such columns."""
    if columns:
        listed = ", ".join(columns[:10])
        raise ContractViolationError(
            f"{table} {problem} {listed}; change the table, or rename or drop columns in a clean transform",
            columns=columns,
        )


def create(conn: psycopg.Connection, target: Target) -> None:
    """Make the target and its schema."""
    for statement in definition(target):
        conn.execute(statement)


def definition(target: Target) -> tuple[sql.Composed, ...]:
    """Return the statements that make the target and its schema."""
    columns = (sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.sql_type)) for c in target.columns)
    return (
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(target.schema)),
        sql.SQL("CREATE TABLE {} ({})").format(target.identifier, sql.SQL(", ").join(columns)),
    )
