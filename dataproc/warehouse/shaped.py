"""The targets of loads whose rows are shaped by queries: what staging holds, and what comes out of it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import POSITION
from dataproc.domain.destination import Destination
from dataproc.warehouse.attributes import Attribute, describe
from dataproc.warehouse.columns import FROM_SQL, NUMERIC, Column, declare
from dataproc.warehouse.keys import PLACE, UNIT
from dataproc.warehouse.shaping import Shaping
from dataproc.warehouse.target import Target, fields_of, find_target, refuse_names

PLANNED = sql.Identifier("pg_temp", "dataproc_planned")
OID = "SELECT %s::regclass::oid"


def held_rows(destination: Destination, schema: pa.Schema) -> Target:
    """Return what staging holds before the queries are asked: rows of `schema`, as a table of them would be made."""
    fields = fields_of(schema)
    refuse_names(destination.table, [field.name for field in fields])
    columns = tuple(map(declare, fields))
    return Target(destination.schema_name, destination.table_name, columns, exists=False, placed=True)


def shaped_target(
    conn: psycopg.Connection, destination: Destination, queries: Sequence[str], rows: sql.Identifier
) -> Target:
    """Return the target for what the queries give of `rows`, which may be empty."""
    table = Shaping(conn, queries).describe(rows)
    (oid,) = conn.execute(OID, (table.as_string(conn),)).fetchone() or (0,)
    found = [each for each in describe(conn, oid) if each.name not in (UNIT, POSITION)]
    target = find_target(conn, destination, pa.schema([pa.field(each.name, arrow_type(each)) for each in found]))
    return target if target.exists else replace(target, columns=tuple(as_found(target.columns, found)))


def planned_rows(conn: psycopg.Connection, held: Target) -> sql.Identifier:
    """Return an empty temporary table that looks like the staging table of a load."""
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.sql_type))
        for column in (*held.columns, *PLACE)
    ]
    conn.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(PLANNED, sql.SQL(", ").join(columns)))
    return PLANNED


def arrow_type(attribute: Attribute) -> pa.DataType:
    """Return the type by which a column meets its target; what has none meets it as text."""
    if numeric := NUMERIC.fullmatch(attribute.base_sql_type):
        return pa.decimal128(int(numeric[1]), int(numeric[2]))
    return FROM_SQL.get(attribute.base_type, (pa.string(), "text"))[0]


def as_found(columns: Iterable[Column], found: Iterable[Attribute]) -> Iterable[Column]:
    """Return the columns of a new table, each with the type that the queries give."""
    types = {each.name: each.sql_type for each in found}
    return (replace(column, sql_type=types[column.name]) for column in columns)
