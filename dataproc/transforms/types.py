"""Column types of specifications as Arrow types."""

from collections.abc import Mapping

import pyarrow as pa

from dataproc.domain.rules import DECIMAL
from dataproc.domain.source_columns import Field, text_field

PLAIN: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    # Text with a check of its own.
    "json": pa.string(),
    "email": pa.string(),
    "uuid": pa.string(),
}


NAMED = {"json": "jsonb", "uuid": "uuid"}
"""Types that travel as text, by the names of PostgreSQL."""


def made_field(name: str, declared: str) -> Field:
    """Return the field of a new column: in a new table it has the type that PostgreSQL has for it."""
    return text_field(name, NAMED[declared]) if declared in NAMED else pa.field(name, arrow_type(declared))


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column type."""
    decimal = DECIMAL.fullmatch(name)
    return PLAIN[name] if decimal is None else pa.decimal128(int(decimal["precision"]), int(decimal["scale"]))
