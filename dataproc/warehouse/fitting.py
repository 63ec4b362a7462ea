"""Rows made to fit the columns of a target: each value in the form that COPY expects, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.warehouse.columns import Column
from dataproc.warehouse.families import plain
from dataproc.warehouse.nested import texts_of

MISFITS = (ValueError, TypeError, KeyError, pa.ArrowNotImplementedError)
"""What is raised for a value that does not fit; Arrow's own error for that is a `ValueError`."""
WIDEST_SCALE = 18
"""Digits after the point that a decimal128 leaves to the 20 digits of a whole number."""


def fit(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Return `rows` with exactly `columns`, each in the type that COPY expects; `POSITION` is left out.

    A value that would change on the way is refused with its column and position.
    """
    arrays = [fit_column(rows[column.name], column, rows[POSITION]) for column in columns]
    fields = [
        pa.field(column.name, array.type, metadata={"coding": column.coding})
        for column, array in zip(columns, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def fit_column(values: pa.ChunkedArray[Any], column: Column, positions: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return `values` as the column's type."""
    values = plain(values)

    def fitted(cells: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
        return fitted_to(column, cells)

    try:
        return fitted(values)
    except MISFITS as exc:
        position = positions[first_misfit(values, fitted)].as_py()
        raise ContractViolationError(
            f"column {column.name} is {column.sql_type} in the target, and the source's {values.type} does not fit "
            f"(first at position {position}); cast it in a clean transform, or set such rows aside in a validate "
            "transform",
            column=column.name,
            position=position,
        ) from exc


def fitted_to(column: Column, values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return values as the column's type, or raise one of `MISFITS`."""
    if t.is_nested(values.type):
        return texts_of(values, as_arrays=column.is_array)
    if column.coding == "uuid":
        return pa.chunked_array([pa.array(map(uuid_bytes, values.to_pylist()), pa.binary())])
    if values.type == column.arrow_type:
        return values
    chunks: list[Any] = [exactly(chunk, column.arrow_type) for chunk in values.chunks]
    return pa.chunked_array(chunks or [pa.array([], column.arrow_type)])


def exactly(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return cells cast to `dtype`, where Arrow's own cast is too strict or not strict enough."""
    if t.is_decimal(dtype) and t.is_integer(cells.type):
        return widened(cells, dtype).cast(dtype)
    after = cells.cast(dtype)
    if t.is_date(dtype) and t.is_timestamp(cells.type) and not after.cast(cells.type).equals(cells):
        msg = "a moment within a day is no date"
        raise ValueError(msg)
    if t.is_float32(dtype) and t.is_float64(cells.type) and overflows(cells, after):
        msg = "a number is too large for a real"
        raise ValueError(msg)
    return after


def widened(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return whole numbers in a decimal type that holds them all: Arrow asks for room even where none is needed."""
    scale = dtype.scale if isinstance(dtype, pa.Decimal128Type) else 0
    return cells.cast(pa.decimal128(38, scale) if scale <= WIDEST_SCALE else pa.string())


def overflows(before: Cells, after: Cells) -> bool:
    """Whether a finite number became infinite."""
    return bool(pc.any(pc.and_(pc.is_finite(before), pc.is_inf(after))).as_py())


def uuid_bytes(value: object) -> bytes | None:
    """Return the 16 bytes of a uuid that is written as text or as bytes."""
    match value:
        case None:
            return None
        case bytes():
            return UUID(bytes=value).bytes
        case _:
            return UUID(str(value)).bytes


def first_misfit(values: pa.ChunkedArray[Any], fitted: Callable[[pa.ChunkedArray[Any]], object]) -> int:
    """Return where the first value is that does not fit, by halving."""
    start, stop = 0, len(values)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            fitted(values.slice(start, middle - start))
        except MISFITS:
            stop = middle
        else:
            start = middle
    return start
