"""Rows made to fit the columns of a target: each value in the form that COPY expects, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.timestamps import to_microseconds
from dataproc.domain.cells import Cells, Mask
from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError, RowRefusedError
from dataproc.warehouse.arrays import with_fitted_elements
from dataproc.warehouse.columns import Column
from dataproc.warehouse.exact_cast import cast_exactly, demand_limits
from dataproc.warehouse.families import family, plain
from dataproc.warehouse.nested import texts_of
from dataproc.warehouse.text_cells import parsed
from dataproc.warehouse.widening import LIMITED

MISFITS = (ValueError, TypeError, KeyError, OverflowError, pa.ArrowNotImplementedError)
"""What is raised for a value that does not fit; Arrow's own error for that is a `ValueError`."""


def fit(rows: pa.Table, columns: Sequence[Column], unit: str = "") -> pa.Table:
    """Return `rows` with exactly `columns`, each in the type that COPY expects; `POSITION` is left out.

    A value that would change on the way is refused with its column, its unit and its position.
    """
    arrays = [fit_column(rows[column.name], column, rows[POSITION], unit) for column in columns]
    fields = [
        pa.field(column.name, array.type, metadata={"coding": column.coding})
        for column, array in zip(columns, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


class TextMisfitError(ValueError):
    """Text has a form that workers leave to PostgreSQL; `first` is the position of the first such cell."""

    def __init__(self, first: int) -> None:
        super().__init__(f"text at {first} is left to PostgreSQL")
        self.first = first


def fit_texts(rows: pa.Table, columns: Sequence[Column], unit: str = "") -> tuple[pa.Table, tuple[Column, ...]]:
    """Return the same as `fit`, and how the columns travel: as text where a cell is left to PostgreSQL.

    A column that its contract freezes is not left to it: a value that does not fit is drift.
    """
    try:
        return fit(rows, columns, unit), tuple(columns)
    except RowRefusedError:
        sent = tuple(
            as_text(each) if each.contract != "freeze" and is_left_to_postgres(rows[each.name], each) else each
            for each in columns
        )
        return fit(rows, sent, unit), sent


def as_text(column: Column) -> Column:
    """Return a column whose values travel as text."""
    return replace(column, arrow_type=pa.string(), coding="text")


def is_left_to_postgres(values: pa.ChunkedArray[Any], column: Column) -> bool:
    """Whether text has a cell that workers do not read."""
    values = plain(values)
    if not is_parsed(values.type, column):
        return False
    return any(parsed(chunk, column)[1].any() for chunk in values.chunks)


def is_parsed(dtype: pa.DataType, column: Column) -> bool:
    """Whether values are text that becomes something else on its way."""
    return t.is_string(dtype) and (column.coding in ("numeric", "uuid") or not t.is_string(column.arrow_type))


def fit_column(
    values: pa.ChunkedArray[Any], column: Column, positions: pa.ChunkedArray[Any], unit: str
) -> pa.ChunkedArray[Any]:
    """Return `values` as the column's type."""
    values = plain(values)

    def fitted(cells: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
        return fitted_to(column, cells)

    try:
        return fitted(values)
    except TextMisfitError as exc:
        if column.contract == "freeze":
            raise misfit(column, values.type, positions[exc.first].as_py(), unit) from exc
        where = f" of {unit}" if unit else ""
        raise RowRefusedError(
            f"column {column.name} is {column.sql_type}, and PostgreSQL has to read the text at position "
            f"{positions[exc.first].as_py()}{where}", column=column.name,
        ) from exc  # fmt: skip
    except MISFITS as exc:
        position = positions[first_misfit(values, fitted)].as_py()
        raise misfit(column, values.type, position, unit) from exc


def misfit(column: Column, dtype: pa.DataType, position: int, unit: str) -> ContractViolationError:
    """Return the error for a value that does not fit its column."""
    return ContractViolationError(
        f"column {column.name} is {column.sql_type} in the target, and the source's {dtype} does not fit "
        f"(first at position {position}{f' of {unit}' if unit else ''}); cast it in a clean transform, or set such "
        "rows aside in a validate transform or by `contract: discard_row`",
        column=column.name,
        position=position,
        unit=unit,
    )


def fit_or_clear(values: pa.ChunkedArray[Any], column: Column) -> tuple[pa.ChunkedArray[Any], Mask]:
    """Return `values` as the column's type, with null for those that do not fit, and which these are."""
    values, bad = plain(values), np.zeros(len(values), np.bool_)
    if is_parsed(values.type, column):
        fitted, bad = parsed_text(column, values)
    else:
        try:
            fitted = fitted_to(column, values)
        except MISFITS:
            bad = misfits(values, column)
            fitted = fitted_to(column, without(values, bad))
    long = too_long(fitted, column)
    return (without(fitted, long) if long.any() else fitted), bad | long


def without(values: pa.ChunkedArray[Any], bad: Mask) -> pa.ChunkedArray[Any]:
    """Return values of any type, with null in place of the bad ones."""
    places: pa.Int64Array = pa.array(np.arange(len(values)), pa.int64(), mask=bad)
    return values.take(places)


def misfits(values: pa.ChunkedArray[Any], column: Column) -> Mask:
    """Return which values do not fit; halves what fails until the culprits are alone."""
    try:
        fitted_to(column, values)
    except MISFITS:
        if len(values) == 1:
            return np.ones(1, np.bool_)
        middle = len(values) // 2
        return np.concatenate([misfits(values[:middle], column), misfits(values[middle:], column)])
    return np.zeros(len(values), np.bool_)


def too_long(values: pa.ChunkedArray[Any], column: Column) -> Mask:
    """Return which texts are longer than the column holds."""
    limit = LIMITED.fullmatch(column.sql_type)
    if limit is None or not t.is_string(values.type):
        return np.zeros(len(values), np.bool_)
    is_long: pa.ChunkedArray[Any] = pc.greater(pc.utf8_length(values), pa.scalar(int(limit[2])))
    return np.asarray(is_long.combine_chunks().fill_null(False), np.bool_)  # noqa: FBT003 - Arrow names it otherwise


def fitted_to(column: Column, values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return values as the column's type, or raise one of `MISFITS`."""
    if column.coding == "numeric" and t.is_decimal(values.type):
        values = shortest(values)
    if is_parsed(values.type, column):
        found, bad = parsed_text(column, values)
        if bad.any():
            raise TextMisfitError(int(bad.argmax()))
        return found
    if t.is_nested(values.type):
        if column.is_array and not t.is_map(values.type):
            values = with_fitted_elements(column, values, fitted_to)
        return texts_of(values, as_arrays=column.is_array)
    if column.coding == "uuid":
        return pa.chunked_array([pa.array(map(uuid_bytes, values.to_pylist()), pa.binary())])
    fitted = values if values.type == column.arrow_type else cast_to(column.arrow_type, values)
    demand_limits(values if column.is_text else fitted, column.base_sql_type)
    return fitted


def cast_to(dtype: pa.DataType, values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return values as `dtype`, or raise one of `MISFITS`."""
    chunks: list[Any] = [exactly(chunk, dtype) for chunk in values.chunks]
    return pa.chunked_array(chunks or [pa.array([], dtype)])


def shortest(values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return decimals as text without zeros at the end."""
    text = values.cast(pa.string())
    found: pa.ChunkedArray[Any] = pc.replace_substring_regex(text, r"(\.[0-9]*?)0+$", r"\1")
    return pc.replace_substring_regex(found, r"\.$", "")


def parsed_text(column: Column, values: pa.ChunkedArray[Any]) -> tuple[pa.ChunkedArray[Any], Mask]:
    """Return text as the values that are sent, null where workers do not read a cell, and where."""
    found = [parsed(chunk, column) for chunk in values.chunks]
    cells: list[Any] = [each for each, _ in found]
    bad = np.concatenate([mask for _, mask in found]) if found else np.zeros(0, np.bool_)
    return pa.chunked_array(cells or [pa.array([], column.arrow_type)]), bad


def exactly(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return cells cast to `dtype`, where Arrow's own cast is too strict or not strict enough."""
    return cells.cast(dtype) if family(cells.type) == "text" else cast_exactly(to_microseconds(cells), dtype)


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
