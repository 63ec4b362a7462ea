"""Families of Arrow types: which kind of value a type holds, whatever its width, unit or encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

FAMILIES: tuple[tuple[str, tuple[Callable[[Any], bool], ...]], ...] = (
    ("null", (t.is_null,)),
    ("bool", (t.is_boolean,)),
    ("int", (t.is_integer,)),
    ("float", (t.is_floating,)),
    ("decimal", (t.is_decimal,)),
    ("text", (t.is_string, t.is_large_string, t.is_string_view)),
    ("binary", (t.is_binary, t.is_large_binary, t.is_binary_view, t.is_fixed_size_binary)),
    ("date", (t.is_date,)),
    ("time", (t.is_time,)),
    ("timestamp", (t.is_timestamp,)),
    ("duration", (t.is_duration,)),
    ("nested", (t.is_nested,)),
)
KNOWN_EXTENSIONS = ("extension<arrow.uuid>", "extension<arrow.json")


def family(dtype: pa.DataType) -> str:
    """Return the family of a plain type; `unknown` for one that we do not carry."""
    for name, tests in FAMILIES:
        if any(test(dtype) for test in tests):
            return name
    return "unknown"


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type of the values below a dictionary, run lengths or a known extension."""
    if t.is_dictionary(dtype) or t.is_run_end_encoded(dtype):
        return plain_type(dtype.value_type)
    if isinstance(dtype, pa.BaseExtensionType) and str(dtype).startswith(KNOWN_EXTENSIONS):
        return dtype.storage_type
    return dtype


def plain(values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return values without the dictionary, the run lengths or the extension around them."""
    if t.is_run_end_encoded(values.type):
        decoded: pa.ChunkedArray[Any] = pc.call_function("run_end_decode", [values])
        return decoded
    dtype = plain_type(values.type)
    return values if dtype == values.type else values.cast(dtype)
