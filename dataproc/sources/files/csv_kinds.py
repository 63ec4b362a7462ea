"""Kinds of CSV columns, told from what Arrow's reader takes them for and from how they are written."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.timestamps import early_in
from dataproc.domain.source_columns import Kind
from dataproc.sources.inference import (
    BOOLEAN,
    DATE,
    NULL,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    joined,
    number_kind,
)

KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (t.is_null, NULL),
    (t.is_date, DATE),
    (t.is_time, TIME),
    (lambda dtype: isinstance(dtype, pa.TimestampType) and dtype.tz is not None, TIMESTAMPTZ),
    (t.is_timestamp, TIMESTAMP),
)
"""What Arrow's reader tells of columns; text that is not UTF-8 is text, and its cells are set aside."""


def is_number(dtype: pa.DataType) -> bool:
    """Return whether Arrow takes a column for numbers."""
    return t.is_integer(dtype) or t.is_floating(dtype)


def cell_kind(dtype: pa.DataType, written: "pa.ChunkedArray[Any]") -> Kind:
    """Return the kind of a column that Arrow's reader takes for `dtype`, and that is `written` like that.

    Arrow takes codes such as `007` for numbers, rounds long ones, takes `1` beside `true` for a truth value, and has
    the year 0.
    """
    if is_number(dtype):
        texts = pc.unique(pc.utf8_trim_whitespace(written)).drop_null()
        return reduce(joined, (number_kind(str(text), powers_are_numbers=False) for text in texts.to_pylist()), NULL)
    if t.is_boolean(dtype):
        words = pc.unique(pc.utf8_lower(written)).drop_null().to_pylist()
        return BOOLEAN if {"true", "false"}.issuperset(words) else TEXT
    if (t.is_date(dtype) or t.is_timestamp(dtype)) and early_in(written).any():
        return TEXT
    return next((kind for is_such, kind in KINDS if is_such(dtype)), TEXT)
