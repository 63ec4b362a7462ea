"""Lists on their way to columns of arrays: each element is held to the same rules as a value of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.warehouse.columns import Column, base_type_of, coded

Fit = Callable[[Column, "pa.ChunkedArray[Any]"], "pa.ChunkedArray[Any]"]
"""Returns values as a column's type, or raises an error for one that would not be the same."""


def element_column(column: Column, dtype: pa.DataType) -> Column:
    """Return the column that elements of an Arrow type would have by themselves."""
    sql_type = (column.base_sql_type or column.sql_type).removesuffix("[]")
    single = replace(column, sql_type=sql_type, base_sql_type=sql_type, arrow_type=pa.string(), coding="text")
    return coded(dtype, single, base_type_of(sql_type), sql_type)


def with_fitted_elements(column: Column, lists: pa.ChunkedArray[Any], fit: Fit) -> pa.ChunkedArray[Any]:
    """Return lists whose elements fit the elements of a column of arrays, at any depth.

    Records within lists stay as they are: they become text that PostgreSQL reads.
    """
    chunks = [fitted(column, chunk, fit) for chunk in lists.chunks]
    return pa.chunked_array(chunks) if chunks else lists


def fitted(column: Column, cells: Any, fit: Fit) -> Any:
    """Return one piece of lists, or of their elements."""
    if t.is_fixed_size_list(cells.type):
        cells = cells.cast(pa.list_(cells.type.value_type))
    if t.is_list(cells.type) or t.is_large_list(cells.type):
        lengths = np.asarray(pc.list_value_length(cells).fill_null(0), np.int64)
        nulls = np.append(np.asarray(cells.is_null(), np.bool_), False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64(), mask=nulls)
        return pa.LargeListArray.from_arrays(offsets, fitted(column, cells.flatten(), fit))
    if t.is_nested(cells.type) or t.is_null(cells.type):
        return cells
    single = element_column(column, cells.type)
    values = fit(single, pa.chunked_array([cells], cells.type))
    # Text that travels as bytes stays text within a list.
    return cells if single.coding in ("uuid", "numeric") else values.combine_chunks()
