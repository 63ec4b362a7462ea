"""Arrow types and PostgreSQL types: how each column of a target is declared, and how its values travel.

The binary form of COPY checks nothing but lengths, so each value must be in exactly the form of the
column's type: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
A type without a binary encoding here travels as text into a temporary table and is cast by PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.contract import ContractKind
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import TargetColumn, sql_type_of
from dataproc.warehouse.families import family, plain_type

Coding = Literal["plain", "jsonb", "uuid", "numeric", "text"]
"""How values are coded: as pgpq does by itself, as jsonb, as the 16 bytes of a uuid, as the bytes of `numeric` with
every digit, or as text to be cast later."""

MOST_DIGITS = 38
"""Digits of Arrow's decimal128, the widest that has a binary encoding here."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a target: its SQL type, the Arrow type and coding of the values sent to it, and what misfits do."""

    name: str
    sql_type: str
    arrow_type: pa.DataType
    coding: Coding = "plain"
    required: bool = False
    contract: ContractKind | None = None
    base_sql_type: str = ""
    """The type of an existing column with its limits; that below a domain."""

    @property
    def is_text(self) -> bool:
        """Whether values travel as text that PostgreSQL casts."""
        return self.coding == "text"

    @property
    def without_limits(self) -> str:
        """The type of the values without the limits of the column, and below a domain."""
        name = LIMITS.sub("", self.base_sql_type or self.sql_type)
        return UNLIMITED.get(name, name)

    @property
    def is_array(self) -> bool:
        """Whether the column holds arrays of PostgreSQL."""
        return self.sql_type.endswith("[]")


FROM_ARROW: tuple[tuple[str, str, pa.DataType, Coding], ...] = (
    ("bool", "boolean", pa.bool_(), "plain"),
    ("int8|int16|uint8", "smallint", pa.int16(), "plain"),
    ("int32|uint16", "integer", pa.int32(), "plain"),
    ("int64|uint32", "bigint", pa.int64(), "plain"),
    ("uint64", "numeric(20,0)", pa.decimal128(20, 0), "plain"),
    ("halffloat|float", "real", pa.float32(), "plain"),
    ("double", "double precision", pa.float64(), "plain"),
    ("string|large_string|string_view|null", "text", pa.string(), "plain"),
    ("binary|large_binary|binary_view|fixed_size_binary\\[.*", "bytea", pa.binary(), "plain"),
    ("date32\\[day\\]|date64\\[ms\\]", "date", pa.date32(), "plain"),
    ("time(32|64)\\[.*", "time", pa.time64("us"), "plain"),
    ("timestamp\\[(s|ms|us|ns)\\]", "timestamp", pa.timestamp("us"), "plain"),
    ("timestamp\\[(s|ms|us|ns), tz=.*", "timestamp with time zone", pa.timestamp("us", "UTC"), "plain"),
    ("duration\\[.*", "interval", pa.duration("us"), "plain"),
    ("extension<arrow.uuid>", "uuid", pa.string(), "uuid"),
    ("extension<arrow.json.*", "jsonb", pa.string(), "jsonb"),
)

FROM_SQL: dict[str, tuple[pa.DataType, Coding]] = {
    "bool": (pa.bool_(), "plain"),
    "int2": (pa.int16(), "plain"),
    "int4": (pa.int32(), "plain"),
    "int8": (pa.int64(), "plain"),
    "float4": (pa.float32(), "plain"),
    "float8": (pa.float64(), "plain"),
    "text": (pa.string(), "plain"),
    "varchar": (pa.string(), "plain"),
    "bpchar": (pa.string(), "plain"),
    "json": (pa.string(), "plain"),
    "jsonb": (pa.string(), "jsonb"),
    "uuid": (pa.string(), "uuid"),
    "bytea": (pa.binary(), "plain"),
    "date": (pa.date32(), "plain"),
    "time": (pa.time64("us"), "plain"),
    "timestamp": (pa.timestamp("us"), "plain"),
    "timestamptz": (pa.timestamp("us", "UTC"), "plain"),
}
FULL_NAMES_OF_BASES = {
    "bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real",
    "float8": "double precision", "varchar": "character varying", "bpchar": "character",
    "time": "time without time zone", "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}  # fmt: skip
"""Types that the catalog calls by another name than SQL does."""
TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*( [a-z]+)*(\(\d+(,-?\d+)?\))?( with(out)? time zone)?(\[\])?")
"""Names of types as PostgreSQL writes its own; they become part of a statement, so nothing else is taken."""
FULL_NAMES = {"timestamp": "timestamp without time zone", "time": "time without time zone"}
"""Types of new columns, as PostgreSQL calls them."""
LIMITS = re.compile(r"\((\d+)(,-?\d+)?\)")
UNLIMITED = {"bit": "bit varying", "bit[]": "bit varying[]", "character": "bpchar", "character[]": "bpchar[]"}
"""Types that have the length 1 when none is given, and those that have none then."""
TEXTS = frozenset({"text", "character varying", "character", "bpchar"})
NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
EVERYTHING = frozenset({"bool", "int", "float", "decimal", "text", "binary", "date", "time", "timestamp"})
TAKES: dict[str, frozenset[str]] = {
    "bool": frozenset({"bool", "text"}),
    "int": frozenset({"int", "bool", "float", "decimal", "text"}),
    "float": frozenset({"float", "int", "decimal", "text"}),
    "decimal": frozenset({"decimal", "int", "float", "text"}),
    "binary": frozenset({"binary", "text"}),
    "date": frozenset({"date", "timestamp", "text"}),
    "time": frozenset({"time", "text"}),
    "timestamp": frozenset({"timestamp", "date", "text"}),
    "interval": frozenset({"duration", "text"}),
    "uuid": frozenset({"text", "binary"}),
    "json": frozenset({"text", "nested", "bool", "int", "float", "decimal"}),
    "characters": EVERYTHING | {"nested"},
    "array": frozenset({"text", "nested"}),
    "other": EVERYTHING,
}
"""What kinds of values each kind of column takes. Arrow casts more, such as a number to a moment in time."""
KINDS = {"json": "json", "jsonb": "json", "uuid": "uuid", "numeric": "decimal", "interval": "interval", "time": "time"}
"""The kinds of columns that their Arrow type does not tell."""


def takes_as_is(columns: Sequence[Column], wire: Sequence[tuple[str, str]]) -> bool:
    """Whether rows in the binary form of COPY are right for these columns: the same names, in order, and types."""
    return len(columns) == len(wire) > 0 and all(
        column.name == name and takes_bytes(FULL_NAMES.get(column.sql_type, column.sql_type), sql_type)
        for column, (name, sql_type) in zip(columns, wire, strict=True)
    )


def takes_bytes(target: str, source: str) -> bool:
    """Whether a value of one type has the same bytes, and stays the same, in another: one without the limits."""
    unlimited = LIMITS.sub("", source)
    return target in {source, "text" if unlimited in TEXTS else unlimited}


def declare(field: pa.Field[pa.DataType]) -> Column:
    """Return the column that a new table gets for an Arrow field; metadata may name a type that Arrow lacks."""
    if (sql_type := wanted_type(field)) is not None:
        return declare_named(field, sql_type)
    if t.is_dictionary(field.type) or t.is_run_end_encoded(field.type):
        return declare(pa.field(field.name, field.type.value_type))
    if t.is_decimal(field.type):
        return declare_decimal(field.name, field.type.precision, field.type.scale)
    if t.is_nested(field.type):
        return Column(field.name, "jsonb", pa.string(), "jsonb")
    for pattern, sql_type, arrow_type, coding in FROM_ARROW:
        if re.fullmatch(pattern, str(field.type)):
            return Column(field.name, sql_type, arrow_type, coding)
    raise ContractViolationError(
        f"column {field.name}: no PostgreSQL type is known for Arrow's {field.type}; drop it in a clean transform",
        column=field.name,
    )


def declare_named(field: pa.Field[pa.DataType], sql_type: str) -> Column:
    """Return the column of a type that a field's metadata names."""
    column = Column(field.name, sql_type, pa.string(), "text")
    return with_shortest(field, coded(plain_type(field.type), column, base_type_of(sql_type), sql_type))


def base_type_of(sql_type: str) -> str:
    """Return the catalog's name of a type, without its limits."""
    unlimited = LIMITS.sub("", sql_type)
    return next((base for base, full in FULL_NAMES_OF_BASES.items() if full == unlimited), unlimited)


def with_shortest(field: pa.Field[pa.DataType], column: Column) -> Column:
    """Return a column as it takes decimals of an inferred scale: without the zeros that fill them up."""
    is_inferred = t.is_decimal(field.type) and sql_type_of(field) == "numeric" and column.sql_type == "numeric"
    return replace(column, arrow_type=pa.binary(), coding="numeric") if is_inferred else column


def wanted_type(field: pa.Field[pa.DataType]) -> str | None:
    """Return the SQL type that the metadata of a field names; `None`: it names none, or something else."""
    name = sql_type_of(field)
    return name if name is not None and TYPE_NAME.fullmatch(name) else None


def declare_decimal(name: str, precision: int, scale: int) -> Column:
    """Return the column for a decimal; what decimal128 cannot hold travels as text."""
    return numeric_column(Column(name, f"numeric({precision},{scale})", pa.string(), "text"), precision, scale)


def numeric_column(column: Column, precision: int, scale: int) -> Column:
    """Return `column` for binary decimals of these digits, or as it is where these have no binary encoding."""
    if precision <= MOST_DIGITS and 0 <= scale <= precision:
        return replace(column, arrow_type=pa.decimal128(precision, scale), coding="plain")
    return column


def meet(field: pa.Field[pa.DataType], column: Column, base_type: str, base_sql_type: str) -> Column:
    """Return how values of `field` travel into an existing `column`; the base types are those below a domain."""
    dtype = plain_type(field.type)
    limited = replace(column, base_sql_type=base_sql_type)
    column = with_shortest(field, coded(dtype, limited, base_type, base_sql_type))
    allowed = TAKES[kind_of(column, base_type)] | {"null"}
    if family(dtype) not in allowed:
        raise ContractViolationError(
            f"column {field.name} is {column.sql_type} in the target, and the source's {field.type} "
            "can never become that; cast, rename or drop it in a clean transform",
            column=field.name,
        )
    return column


def coded(dtype: pa.DataType, column: Column, base_type: str, base_sql_type: str) -> Column:
    """Return `column` with the Arrow type and the coding in which values of `dtype` reach it."""
    if base_type == "interval" and t.is_duration(dtype):
        return replace(column, arrow_type=pa.duration("us"), coding="plain")
    if base_type == "numeric":
        return coded_numeric(dtype, column, base_sql_type)
    if base_type not in FROM_SQL:
        return replace(column, arrow_type=pa.string(), coding="text")
    arrow_type, coding = FROM_SQL[base_type]
    return replace(column, arrow_type=arrow_type, coding=coding)


def coded_numeric(dtype: pa.DataType, column: Column, base_sql_type: str) -> Column:
    """Return a `numeric` column with the Arrow type and the coding in which values of `dtype` reach it."""
    if t.is_string(dtype):
        return replace(column, arrow_type=pa.binary(), coding="numeric")
    if numeric := NUMERIC.fullmatch(base_sql_type):
        return numeric_column(column, int(numeric[1]), int(numeric[2]))
    as_text = replace(column, arrow_type=pa.string(), coding="text")
    if t.is_integer(dtype):
        return numeric_column(as_text, 20, 0)
    return numeric_column(as_text, dtype.precision, dtype.scale) if t.is_decimal(dtype) else as_text


def computed_column(base_type: str, sql_type: str, base_sql_type: str) -> TargetColumn:
    """Return an existing column with the Arrow type in which steps compute with its values."""
    if numeric := NUMERIC.fullmatch(base_sql_type):
        precision, scale = int(numeric[1]), int(numeric[2])
        has_arrow = precision <= MOST_DIGITS and 0 <= scale <= precision
        return TargetColumn(sql_type, pa.decimal128(precision, scale) if has_arrow else None)
    dtype, coding = FROM_SQL.get(base_type, (None, "text"))
    return TargetColumn(sql_type, dtype if coding == "plain" and base_type != "json" else None)


def kind_of(column: Column, base_type: str) -> str:
    """Return which kind of values a column takes, as `TAKES` lists them."""
    if base_type in KINDS:
        return KINDS[base_type]
    if column.is_text:
        return "array" if column.is_array else "other"
    kind = family(column.arrow_type)
    return "characters" if kind == "text" else kind
