"""Types of PostgreSQL as Arrow types: what each column is selected as, and how its cells are made exact.

What Arrow has no type for is carried as the text that PostgreSQL writes, which a column of the same type in the
warehouse reads back. A new table gets such a column for the types of PostgreSQL itself, and `text` for enumerations,
composite types and those of extensions, which the warehouse may lack. Infinite moments have no place in Arrow's types;
their rows are set aside.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.sources.database.fitting import Fitted, cast, without
from dataproc.sources.database.relation import Relation, checked

UUID, JSON = pa.uuid(), pa.json_()
NATIVE: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "name": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "uuid": UUID,
    "jsonb": JSON,
}
"""Types that come as they are."""
SAME_EVERYWHERE = frozenset(
    {
        "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "bytea", "date",
        "time", "timetz", "timestamp", "timestamptz", "uuid", "json", "jsonb",
    }
)  # fmt: skip
"""Types whose binary form every version from 15 on writes and reads alike; in `interval` that of infinity is new."""
KEPT = frozenset(
    {
        "numeric", "json", "interval", "timetz", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "point",
        "line", "lseg", "box", "path", "polygon", "circle", "tsvector", "tsquery", "jsonpath", "pg_lsn", "xid8",
        "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange", "int4multirange", "int8multirange",
        "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange",
    }
)  # fmt: skip
"""Types of PostgreSQL itself that Arrow has not; a new table in the warehouse has them as well."""
CAST_LATER = frozenset({"uuid", "jsonb"})
"""Types of which a later step casts the text, and not the bytes."""
NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
WIDEST = 76
"""Digits of Arrow's decimal256."""
FIRST_DAY = -2_440_588
"""PostgreSQL's calendar begins so many days from 1970. What is infinite, or too late for Arrow, comes as less."""
DAY = 86_400_000_000

DESCRIBE = """
SELECT CASE WHEN typnamespace = 'pg_catalog'::regnamespace THEN typname ELSE '' END,
       format_type(asked.oid, asked.modifier) FROM unnest(%s::oid[], %s::int[])
WITH ORDINALITY AS asked (oid, modifier, at) JOIN pg_type ON pg_type.oid = asked.oid ORDER BY at
"""
DIGITS_OF_MONEY = "SELECT scale(0::money::numeric)"

INFINITE = (
    "is infinite, or later than Arrow can tell; name the column in as_text of the source, or select it in a query "
    "as something else"
)
NO_NUMBER = "is not a number of the declared digits (NaN); name the column in as_text of the source"


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    """A column: its name, PostgreSQL's name for its type, what is selected for it, and the Arrow type of its cells.

    `as_is` is what is selected for it where its bytes are handed on, and PostgreSQL's name for the type of that. Where
    the type `is_kept`, cells travel as text, and a new table has a column of the same type.
    """

    name: str
    sql_type: str
    expression: str
    arrow_type: pa.DataType
    as_is: tuple[str, str] | None = None
    is_kept: bool = False

    @property
    def field(self) -> "pa.Field[pa.DataType]":
        """The Arrow field; its metadata names the SQL type that a new table gets for text."""
        return pa.field(self.name, self.arrow_type, metadata={"sql_type": self.sql_type} if self.is_kept else None)

    def fit(self, cells: Cells) -> Fitted:
        """Return cells in the column's type; those that it cannot hold are marked."""
        if isinstance(cells, pa.ExtensionArray) and cells.type != self.arrow_type:
            cells = cells.storage
        if t.is_decimal(self.arrow_type):
            return cast(cells, self.arrow_type, f"{self.name} {NO_NUMBER}")
        fitted = Fitted(cells) if cells.type == self.arrow_type else cast(cells, self.arrow_type, "does not fit")
        if t.is_date(self.arrow_type):
            return self.finite(fitted, cells.view(pa.int32()), FIRST_DAY)
        if t.is_timestamp(self.arrow_type):
            return self.finite(fitted, cells.view(pa.int64()), FIRST_DAY * DAY)
        return fitted

    def finite(self, fitted: Fitted, numbers: Cells, first: int) -> Fitted:
        """Return cells of which those before the beginning of the calendar are marked."""
        least = pc.min(numbers).as_py()
        if least is None or least >= first:
            return fitted
        return without(fitted, pc.less(numbers, pa.scalar(first, numbers.type)), f"{self.name} {INFINITE}")


def describe(
    conn: psycopg.Connection[Any], relation: Relation, text_columns: frozenset[str]
) -> tuple[PostgresColumn, ...]:
    """Return the columns of what is read; those in `text_columns` will get their type from a later step."""
    # Binary, because PostgreSQL takes only one statement then.
    cursor = conn.execute(f"{relation.select([relation.shown])} LIMIT 0".encode(), binary=True)
    names = [column.name for column in cursor.description or ()]
    checked(names, relation)
    oids = [column.type_code for column in cursor.description or ()]
    modifiers = [cursor.pgresult.fmod(at) for at in range(len(oids))] if cursor.pgresult else []
    types = conn.execute(DESCRIBE, (oids, modifiers)).fetchall()
    money = conn.execute(DIGITS_OF_MONEY).fetchone()
    digits = int(money[0]) if money else 2
    as_text = frozenset(relation.spec.as_text) | {
        name for name, (typname, _) in zip(names, types, strict=True) if name in text_columns and typname in CAST_LATER
    }
    return tuple(
        with_bytes(
            column_of(name, "" if name in as_text else typname, sql_type, relation.quoted(name), digits),
            typname, is_text=name in as_text,
        )
        for name, (typname, sql_type) in zip(names, types, strict=True)
    )  # fmt: skip


def with_bytes(column: PostgresColumn, typname: str, *, is_text: bool) -> PostgresColumn:
    """Return a column with how its bytes are handed on, where their form is that of one of `SAME_EVERYWHERE`."""
    if is_text:
        return replace(column, as_is=(column.expression, "text"))
    if typname == "oid":
        return replace(column, as_is=(column.expression, "bigint"))
    if typname in SAME_EVERYWHERE:
        return replace(column, as_is=(column.expression.removesuffix("::text"), column.sql_type))
    return column


def column_of(name: str, typname: str, sql_type: str, quoted: str, digits_of_money: int) -> PostgresColumn:
    """Return how a column is read."""
    if typname in NATIVE:
        return PostgresColumn(name, sql_type, quoted, NATIVE[typname])
    if typname == "oid":
        return PostgresColumn(name, sql_type, f"{quoted}::bigint", pa.int64())
    if typname == "money":
        return PostgresColumn(name, sql_type, f"{quoted}::numeric::text", pa.decimal128(19, digits_of_money))
    numeric = NUMERIC.fullmatch(sql_type) if typname == "numeric" else None
    if numeric and 0 <= int(numeric[2]) <= int(numeric[1]) <= WIDEST:
        return PostgresColumn(name, sql_type, quoted, decimal_of(int(numeric[1]), int(numeric[2])))
    return PostgresColumn(name, sql_type, f"{quoted}::text", pa.string(), is_kept=is_kept(typname))


def is_kept(typname: str) -> bool:
    """Whether every server has this type, or this type of arrays, and reads the text that another one writes."""
    element = typname.removeprefix("_")
    return element in KEPT or (element != typname and element in {*NATIVE, "money"} - {"name"})


def note_of(columns: Sequence[PostgresColumn]) -> Sequence[str]:
    """Return the sentence that names the columns which are text in a new table though they are none."""
    found = [
        f"{c.name} ({c.sql_type})"
        for c in columns
        if t.is_string(c.arrow_type) and c.expression.endswith("::text") and not c.is_kept
    ]
    return [f"these columns are text in a new table: {', '.join(found)}"] if found else []


def wire_of(conn: psycopg.Connection[Any], columns: Sequence[PostgresColumn]) -> tuple[tuple[str, str], ...]:
    """Return the names and types of columns whose bytes can be handed on; nothing where those of one cannot.

    The driver that reads bytes knows no Kerberos, so who logs in by that gets Arrow.
    """
    found = tuple((column.name, column.as_is[1]) for column in columns if column.as_is is not None)
    return found if len(found) == len(columns) and not conn.pgconn.used_gssapi else ()


def decimal_of(precision: int, scale: int) -> pa.DataType:
    """Return Arrow's decimal type of these digits."""
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def schema_of(columns: Sequence[PostgresColumn]) -> pa.Schema:
    """Return the Arrow schema of columns."""
    return pa.schema([column.field for column in columns])
