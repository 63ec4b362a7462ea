"""Rows as objects of Python, for rules that cannot look at whole columns."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any
from typing import cast as typed

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION, python_value
from dataproc.transforms.breaks import Break
from dataproc.transforms.columns import cells_of

Record = dict[str, Any]
Found = tuple[int, str, str, str]
"""A row's number, the rule it breaks, the column, and the reason."""


def records(rows: pa.Table, nested: Container[str], *, as_json: bool = False) -> list[Record]:
    """Return the rows, without `POSITION`; as JSON has them, dates and times are text.

    Sources of JSON give objects and arrays as text: in the columns in `nested` they are read.
    """
    names = [name for name in rows.column_names if name != POSITION]
    read = json_values if as_json else python_values
    columns = {name: read(cells_of(rows, name)) for name in names}
    values = [list(map(unfolded, cells)) if name in nested else cells for name, cells in columns.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def unfolded(value: object) -> object:
    """Return the object or array that a text holds; anything else stays."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def nested_properties(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the properties of a JSON Schema that are objects or arrays, and no text."""
    properties = document.get("properties", {})
    return frozenset(
        name
        for name, each in properties.items()
        if (found := types_of(each, document)) & {"object", "array"} and "string" not in found
    )


def types_of(node: Any, document: Mapping[str, Any], depth: int = 5) -> frozenset[str]:
    """Return the types that a part of a JSON Schema names, also those of its alternatives and of what it refers to."""
    if not isinstance(node, Mapping) or not depth:  # a schema may refer to itself
        return frozenset()
    told = node.get("type", ())
    found = frozenset([told] if isinstance(told, str) else told)
    kind, _, name = str(node.get("$ref", "")).removeprefix("#/").partition("/")
    if name and name in (shared := document.get(kind, {})):
        found |= types_of(shared[name], document, depth - 1)
    return found.union(*(types_of(each, document, depth - 1) for each in node.get("anyOf", ())))


def python_values(cells: Cells) -> Sequence[object]:
    """Return values as Python has them; moments beyond its calendar as numbers."""
    try:
        return cells.to_pylist()
    except (OverflowError, ValueError):
        return [python_value(cell) for cell in cells]


def json_values(cells: Cells) -> Sequence[object]:
    """Return values as JSON has them."""
    dtype = cells.type
    if isinstance(dtype, pa.TimestampType):
        told = "%Y-%m-%dT%H:%M:%S" + ("Z" if dtype.tz else "")
        in_utc = typed("Any", cells.cast(pa.timestamp("us", dtype.tz and "UTC")))
        return typed("Sequence[object]", pc.strftime(in_utc, told).to_pylist())
    if t.is_date(dtype) or t.is_time(dtype):
        return cells.cast(pa.string()).to_pylist()
    if t.is_nested(dtype) or t.is_binary(dtype) or t.is_duration(dtype):
        return [plain(value) for value in python_values(cells)]
    return cells.to_pylist()


def plain(value: object) -> object:
    """Return a value as JSON has it."""
    match value:
        case dict():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case date() | time() | datetime():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return value


def breaks_of(found: Iterable[Found], rows: int) -> Iterator[Break]:
    """Yield the breaks that were found row by row, in the order of the first row that shows each."""
    masks: dict[tuple[str, str, str], np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    for at, rule, column, reason in found:
        masks.setdefault((rule, column, reason), np.zeros(rows, np.bool_))[at] = True
    for (rule, column, reason), mask in masks.items():
        yield Break(rule, column, reason, mask)
