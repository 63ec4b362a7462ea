"""The table that a load goes into: what it is now, or what it will be when the load makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
import pyarrow as pa
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.contract import Contract
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, TargetRefusedError
from dataproc.warehouse.attributes import Attribute, describe
from dataproc.warehouse.change import Alteration, Change, weighed
from dataproc.warehouse.columns import Column, declare
from dataproc.warehouse.contract import Meeting, refuse_some
from dataproc.warehouse.shape import Shape, refusals, refuse_left_out

RESERVED = ("dataproc_load", "information_schema")
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts longer names, and then finds neither the column nor a difference between two."""
MOST_COLUMNS = 1600

FIND = """
SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE') AS ours, pg_get_userbyid(c.relowner) AS owner,
       row_security_active(c.oid) AS is_filtered,
       (SELECT min(rulename) FROM pg_rewrite WHERE ev_class = c.oid AND is_instead AND ev_enabled <> 'D'
        AND ev_type IN ('2', '3')) AS redirected_by
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

FIND_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
CHECKS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %(oid)s AND contype = 'c' AND conkey <@ (
    SELECT array_agg(attnum) FROM pg_attribute WHERE attrelid = %(oid)s AND attname = ANY(%(names)s)
)
ORDER BY conname
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A target table and those of its columns that the load fills; as it was found, to see whether it changed.

    `columns` are as they will be after the `alterations`; `left_out` are columns of the source that it does not take,
    `beside` those that only staging has, and `own` those that the mode fills itself. `placed` rows tell in staging
    where they come from. `lock` is what the publish holds of the table, so that nobody else changes what it looks at.
    """

    schema: str
    table: str
    columns: tuple[Column, ...]
    exists: bool
    attributes: tuple[Attribute, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    left_out: tuple[Column, ...] = ()
    alterations: tuple[Alteration, ...] = ()
    beside: tuple[Column, ...] = ()
    own: tuple[Column, ...] = ()
    placed: bool = False
    partitioned: bool = False
    lock: LiteralString = "ROW EXCLUSIVE"

    @property
    def staged_columns(self) -> tuple[Column, ...]:
        """The columns that travel with each row."""
        return (*self.columns, *self.beside)

    @property
    def change(self) -> Change:
        """What the load changes of a table that is there."""
        return Change(self.name, self.alterations)

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
    lock: LiteralString = "ROW EXCLUSIVE" if destination.mode == "append" else "SHARE ROW EXCLUSIVE"
    placed = bool(destination.keys)
    if oid is None or not fields:
        shape = Shape.of(destination, fields, ()) if fields else Shape(())
        return Target(
            *where, declared(shape.fields, destination.terms), exists=oid is not None, beside=shape.beside,
            own=shape.own, placed=placed, lock=lock,
        )  # fmt: skip
    attributes, (partitioned, is_unique) = describe(conn, oid), refusals(conn, oid)
    shape = Shape.of(destination, fields, attributes)
    fields = list(shape.fields)
    identifier = sql.Identifier(*where)
    met = [attribute for attribute in attributes if attribute.name not in destination.own_columns]
    match = Meeting(destination.table, identifier, met, fields, destination.terms).match()
    refuse_left_out(destination, match.left_out)
    refuse_many(destination.table, len(attributes) + match.change.added)
    change = weighed(conn, oid, match.change)
    checks = conn.execute(CHECKS, {"oid": oid, "names": [field.name for field in fields]}).fetchall()
    return Target(
        *where, match.columns, exists=True, attributes=attributes, checks=tuple((n, text) for n, text in checks),
        left_out=match.left_out, alterations=change.alterations, beside=shape.beside, own=shape.own,
        placed=placed or partitioned or is_unique, partitioned=partitioned, lock=lock,
    )  # fmt: skip


def declared(fields: Iterable[pa.Field[pa.DataType]], contract: Contract) -> tuple[Column, ...]:
    """Return the columns of a table that the load makes."""
    return tuple(replace(declare(field), contract=contract.of(field.name)) for field in fields)


def find_table(conn: psycopg.Connection, destination: Destination) -> int | None:
    """Return the oid of the target, or `None` when there is no such table yet."""
    if destination.schema_name in RESERVED or destination.schema_name.startswith("pg_"):
        raise TargetRefusedError(f"{destination.table}: the schema {destination.schema_name} is not for targets")
    row = conn.execute(FIND, (destination.schema_name, destination.table_name)).fetchone()
    if row is None:
        return None
    oid, kind, ours, owner, is_filtered, redirected_by = row
    if kind not in ("r", "p"):
        raise TargetRefusedError(f"{destination.table} is not a table; name another destination.table")
    if not ours:
        raise TargetRefusedError(f"{destination.table} belongs to {owner}, not to us; name another destination.table")
    if redirected_by is not None:
        raise TargetRefusedError(
            f"{destination.table}: its rule {redirected_by} does something else INSTEAD of an INSERT or UPDATE; "
            "load into the table that the rule fills, or drop the rule"
        )
    if is_filtered:
        raise TargetRefusedError(
            f"{destination.table}: its row security policies hide rows from our role; give the role BYPASSRLS, or "
            "let the table have row security without FORCE"
        )
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
    refuse_many(table, len(names))


def refuse_many(table: str, columns: int) -> None:
    """Refuse more columns than a table can have."""
    if columns > MOST_COLUMNS:
        raise ContractViolationError(
            f"{table} would have {columns} columns, and PostgreSQL holds {MOST_COLUMNS}; drop some in a clean transform"
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
    columns = (
        sql.SQL("{} {}{}").format(
            sql.Identifier(c.name), sql.SQL(c.sql_type), sql.SQL(" NOT NULL" if c.required else "")
        )
        for c in (*target.columns, *target.own)
    )
    return (
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(target.schema)),
        sql.SQL("CREATE TABLE {} ({})").format(target.identifier, sql.SQL(", ").join(columns)),
    )
