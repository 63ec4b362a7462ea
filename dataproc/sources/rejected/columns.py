"""Rows of rejects as columns: all values decide the types, and numbers keep their characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa

from dataproc.domain.source_columns import Field, Kind, SourceColumns
from dataproc.sources.inference import JSON, NULL, TEXT, joined
from dataproc.sources.json_values import Raw, converter, kind_of, text_of

BYTES = re.compile(rb'"\\\\x(?:[0-9a-f]{2})*"')
"""How bytes are written; a column with nothing else held bytes."""
BYTEA = Kind("bytea", pa.binary())
MISSING: Raw = b"null"

Row: TypeAlias = Mapping[str, Raw]


def schema_of(rows: Iterable[Row], columns: SourceColumns) -> pa.Schema:
    """Return the columns of rows, in the order in which they come."""
    kinds: dict[str, Kind] = {}
    for row in rows:
        for name, value in row.items():
            kinds[name] = joined_with_bytes(kinds.get(name, NULL), kind_of_value(value))
    return columns.schema({name: TEXT if kind == NULL else kind for name, kind in kinds.items()})


def kind_of_value(value: Raw) -> Kind:
    """Return the kind that a value of a reject shows."""
    return BYTEA if BYTES.fullmatch(value) else kind_of(value)


def joined_with_bytes(one: Kind, other: Kind) -> Kind:
    """Return the kind that holds values of both; bytes beside other text are text."""
    return joined(one, other) if JSON not in (one, other) or {one, other} <= {JSON, NULL} else TEXT


def table_of(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Return rows in the columns of a schema."""
    arrays: list[pa.Array[Any]] = [
        pa.array([fitted(row.get(column.name, MISSING), column) for row in rows], column.type) for column in schema
    ]
    return pa.table(arrays, schema=schema)


def fitted(value: Raw, column: Field) -> object:
    """Return a value as its column holds it; the types were told from all rows, so that each of them fits."""
    if value == MISSING:
        return None
    if column.type == pa.binary():
        return bytes.fromhex(text_of(value)[2:])
    return converter(column)(value)
