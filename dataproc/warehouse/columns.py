"""Arrow types and PostgreSQL types: how each column of a target is declared, and how its values travel.

The binary form of COPY checks nothing but lengths, so each value must be in exactly the form of the
column's type: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
A type without a binary encoding here travels as text into a staging table and is cast by PostgreSQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from dataproc.domain.errors import ContractViolationError

Coding = Literal["plain", "jsonb", "uuid", "text"]
"""How values are coded: as pgpq does by itself, as jsonb, as the 16 bytes of a uuid, or as text to be cast later."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a target: its SQL type, and the Arrow type and coding of the values sent to it."""

    name: str
    sql_type: str
    arrow_type: pa.DataType
    coding: Coding = "plain"
    required: bool = False

    @property
    def staging_type(self) -> str:
        """The SQL type of the column that receives the values."""
        return "text" if self.coding == "text" else self.sql_type


FROM_ARROW: tuple[tuple[str, str, pa.DataType], ...] = (
    ("bool", "boolean", pa.bool_()),
    ("int8|int16|uint8", "smallint", pa.int16()),
    ("int32|uint16", "integer", pa.int32()),
    ("int64|uint32", "bigint", pa.int64()),
    ("uint64", "numeric(20,0)", pa.decimal128(20, 0)),
    ("halffloat|float", "real", pa.float32()),
    ("double", "double precision", pa.float64()),
    ("string|large_string|string_view|null", "text", pa.string()),
    ("binary|large_binary|binary_view|fixed_size_binary\\[.*", "bytea", pa.binary()),
    ("date32\\[day\\]|date64\\[ms\\]", "date", pa.date32()),
    ("time(32|64)\\[.*", "time", pa.time64("us")),
    ("timestamp\\[(s|ms|us|ns)\\]", "timestamp", pa.timestamp("us")),
    ("timestamp\\[(s|ms|us|ns), tz=.*", "timestamp with time zone", pa.timestamp("us", "UTC")),
    ("duration\\[.*", "interval", pa.duration("us")),
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
NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")


def declare(field: pa.Field[pa.DataType]) -> Column:
    """Return the column that a new table gets for an Arrow field."""
    if pa.types.is_dictionary(field.type):
        return declare(pa.field(field.name, field.type.value_type))
    if pa.types.is_decimal(field.type):
        return declare_decimal(field.name, field.type.precision, field.type.scale)
    if pa.types.is_nested(field.type):
        return Column(field.name, "jsonb", pa.string(), "jsonb")
    for pattern, sql_type, arrow_type in FROM_ARROW:
        if re.fullmatch(pattern, str(field.type)):
            return Column(field.name, sql_type, arrow_type)
    raise ContractViolationError(f"column {field.name}: no PostgreSQL type is known for Arrow's {field.type}; cast it")


def declare_decimal(name: str, precision: int, scale: int) -> Column:
    """Return the column for a decimal; beyond 38 digits it travels as text."""
    sql_type = f"numeric({precision},{scale})"
    if precision > 38:
        return Column(name, sql_type, pa.string(), "text")
    return Column(name, sql_type, pa.decimal128(precision, scale))


def meet(field: pa.Field[pa.DataType], *, sql_type: str, base_type: str, required: bool) -> Column:
    """Return how values of `field` travel into an existing column of this type (`base_type` is its short name)."""
    if numeric := NUMERIC.fullmatch(sql_type):
        precision, scale = int(numeric[1]), int(numeric[2])
        if precision <= 38 and 0 <= scale <= precision:
            return Column(field.name, sql_type, pa.decimal128(precision, scale), "plain", required)
    arrow_type, coding = FROM_SQL.get(base_type, (pa.string(), "text"))
    return Column(field.name, sql_type, arrow_type, coding, required)
