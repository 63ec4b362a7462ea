"""Lists, structs and maps as text: JSON for columns that hold JSON, array literals for arrays of PostgreSQL."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dataproc.arrow.python_values import python_values
from dataproc.domain.row_text import NOT_FINITE


def texts_of(values: pa.ChunkedArray[Any], *, as_arrays: bool) -> pa.ChunkedArray[Any]:
    """Return nested values as text; raises `KeyError` or `TypeError` for a map that JSON cannot express."""
    text_of = array_literal if as_arrays else json_text
    found = python_values(values)
    return pa.chunked_array([pa.array([None if each is None else text_of(each) for each in found], pa.string())])


def json_text(value: object) -> str:
    """Return JSON that loses nothing: decimals keep their digits, and NaN is the text that PostgreSQL writes for it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key_text(k))}: {json_text(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(json_text, value)) + "]"
        case Decimal():
            return str(value)
        case float() if not math.isfinite(value):
            return json.dumps(scalar_text(value))
        case None | bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return json.dumps(scalar_text(value))


def key_text(key: object) -> str:
    """Return the key of a map as JSON wants it."""
    return key if isinstance(key, str) else scalar_text(key)


def scalar_text(value: object) -> str:
    """Return a single value as text that PostgreSQL reads back."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return NOT_FINITE.get(str(value), str(value))
        case bytes():
            return "\\x" + value.hex()
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return f"PT{Decimal(value // timedelta(microseconds=1)).scaleb(-6):f}S"
        case _:
            return str(value)


def array_literal(value: Iterable[object]) -> str:
    """Return a list as `{…}`, the way PostgreSQL writes arrays."""
    return "{" + ",".join(map(array_element, value)) + "}"


def array_element(value: object) -> str:
    """Return an element of an array literal; only null stands without quotes."""
    match value:
        case None:
            return "NULL"
        case list():
            return array_literal(value)
        case dict():
            text = json_text(value)
        case _:
            text = scalar_text(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
