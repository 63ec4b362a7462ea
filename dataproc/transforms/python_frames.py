"""Rows as the functions of users get them, and what these give back as columns of Arrow."""

from functools import partial
from typing import Any, Literal, assert_never

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.errors import TransformFailedError
from dataproc.domain.row_text import written

Frame = Literal["arrow", "pandas", "polars"]


def frame_of(rows: pa.Table, kind: Frame) -> Any:
    """Return rows as a table of Arrow or a data frame; in one of pandas, whole numbers with nulls stay whole."""
    match kind:
        case "arrow":
            return rows
        case "pandas":
            return rows.to_pandas(types_mapper=pandas_type)
        case "polars":
            import polars as pl

            return pl.from_arrow(rows)
        case _:
            assert_never(kind)


def pandas_type(dtype: pa.DataType) -> Any:
    """Return the type of pandas that can hold nulls among such values; `None`: the usual one can."""
    import pandas as pd

    if t.is_integer(dtype):
        return pd.api.types.pandas_dtype(str(dtype).replace("i", "I", 1).replace("uI", "UI"))
    if t.is_boolean(dtype):
        return pd.BooleanDtype()
    return pd.StringDtype() if t.is_string(dtype) or t.is_large_string(dtype) else None


def demand_frame(found: object, kind: Frame, told: str) -> None:
    """Raise `TransformFailedError` unless a function gave what it got."""
    if not isinstance(found, frame_type(kind)):
        msg = f"{told} gives {type(found).__name__}, not {frame_type(kind).__name__} of {kind}; let it return one"
        raise TransformFailedError(msg)


def frame_type(kind: Frame) -> type:
    """Return the type of such frames."""
    match kind:
        case "arrow":
            return pa.Table
        case "pandas":
            import pandas as pd

            return pd.DataFrame
        case "polars":
            import polars as pl

            return pl.DataFrame
        case _:
            assert_never(kind)


def cells_from(found: Any, name: str, kind: Frame, told: str, *, declared: str = "") -> Cells:
    """Return a column of what a function gave, or say what is wrong with it.

    Objects that are declared as `json`, `uuid` or a decimal come as text: objects and lists as JSON, whole numbers of
    any size with all their digits.
    """
    names = found.column_names if kind == "arrow" else list(found.columns)
    if name not in names:
        raise TransformFailedError(f"{told} gives no column {name!r}, which `returns` declares", column=name)
    try:
        match kind:
            case "arrow":
                column = found.column(name)
            case "pandas":
                column = pa.Array.from_pandas(as_texts(found[name], declared))
            case "polars":
                column = found.get_column(name).to_arrow()
            case _:
                assert_never(kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as exc:
        msg = f"{told} gives values in column {name!r} that have no type together; give them one type"
        raise TransformFailedError(msg, column=name) from exc
    whole = in_one_piece(column)
    if declared == "json" and t.is_nested(whole.type):
        return pa.array([None if each is None else written(each) for each in whole.to_pylist()], pa.string())
    return whole


def as_texts(values: Any, declared: str) -> Any:
    """Return the objects of a column of pandas as text where Arrow has no type for them; others as they are."""
    is_told = declared in ("json", "uuid") or declared.startswith("decimal")
    if not is_told or str(values.dtype) != "object":
        return values
    return values.map(partial(as_text, declared), na_action="ignore")


def as_text(declared: str, value: object) -> object:
    """Return an object as its text; a text is what the function wrote itself."""
    if isinstance(value, str) or value is None:
        return value
    return written(value) if declared == "json" else str(value)


def in_one_piece(column: Any) -> Cells:
    """Return a column as one array, with repeated values written out and text of the usual length."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    whole: Any = pa.concat_arrays([pa.array([], column.type), *chunks])
    if t.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    text = t.is_large_string(whole.type) or t.is_string_view(whole.type)
    found: Cells = whole.cast(pa.string()) if text else whole
    return found
