"""Arrow values as values of Python, also moments that Python's calendar does not have."""

from typing import Any

import pyarrow as pa
import pyarrow.types as t

OUT_OF_RANGE = "<"
"""What Arrow's texts of moments begin with that are beyond its own calendar."""


def python_values(values: "pa.ChunkedArray[Any] | pa.Array[Any]") -> list[Any]:
    """Return values as Python has them, and days and moments outside of the years 1 to 9999 as text.

    Raises:
        KeyError, TypeError: a map has a key twice, or one that a dictionary does not take.
    """
    try:
        return values.to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError):
        return [python_value(cell) for cell in values]


def python_value(cell: "pa.Scalar[Any]") -> Any:
    """Return one value; those within it are looked at one by one where Python cannot hold all of them."""
    if not cell.is_valid:
        return None
    try:
        return typed_value(cell)
    except (OverflowError, ValueError):
        if isinstance(cell, pa.MapScalar):
            return {python_value(key): python_value(value) for key, value in pairs_of(cell)}
        if isinstance(cell, pa.StructScalar):
            return {name: python_value(value) for name, value in cell.items()}
        if isinstance(cell, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
            return [python_value(each) for each in items_of(cell)]
        return moment_text(cell)


def typed_value(cell: Any) -> Any:
    """Return a value as Arrow gives it; maps as dictionaries."""
    return cell.as_py(maps_as_pydicts="strict")


def items_of(cell: Any) -> "pa.Array[Any]":
    """Return the items of a list."""
    items: pa.Array[Any] = cell.values
    return items


def pairs_of(cell: Any) -> list[tuple[Any, Any]]:
    """Return the keys and values of a map."""
    entries = cell.values
    return list(zip(entries.field(0), entries.field(1), strict=True))


def moment_text(cell: "pa.Scalar[Any]") -> str:
    """Return a day or a moment as ISO 8601 writes it."""
    text = str(cell.cast(pa.string()).as_py()) if t.is_date(cell.type) or t.is_timestamp(cell.type) else OUT_OF_RANGE
    if text.startswith(OUT_OF_RANGE):
        raise ValueError(f"a value of type {cell.type} has no counterpart in Python")
    if isinstance(cell.type, pa.TimestampType) and cell.type.tz is not None:
        utc = cell.cast(pa.timestamp(cell.type.unit, "UTC")).cast(pa.timestamp(cell.type.unit))
        return f"{moment_text(utc)}+00:00"
    return text.replace(" ", "T")
