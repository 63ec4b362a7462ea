"""Fractions of a second finer than a microsecond, rounded as PostgreSQL rounds them.

PostgreSQL reads the fraction as a double, multiplies it by a million and rounds half to even (`rint` in
`ParseFractionalSecond`, src/backend/utils/adt/datetime.c). Every format is rounded the same way here.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.numbers import is_true
from dataproc.arrow.texts import joined_text
from dataproc.domain.cells import Cells, Mask, casts, cleared, unfit

FINE = r"[.,][0-9]{7,}"
MICROSECONDS = 1_000_000
NANOSECONDS = 1_000_000_000
DAY = 86_400 * MICROSECONDS


def timestamps_of(text: Cells, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return text (ISO 8601) as `timestamp[us]`, with or without a zone, null where it does not fit, and where."""
    if casts(text, dtype):
        return text.cast(dtype), np.zeros(len(text), np.bool_)
    coarse, micros = without_fine_fractions(text)
    bad = unfit(coarse, dtype)
    found = cleared(coarse, bad).cast(dtype)
    if micros is not None:
        whole: Cells = pc.add(found.cast(pa.int64()), micros)
        found = whole.cast(dtype)
    return found, bad


def times_of(text: Cells) -> tuple[Cells, Mask]:
    """Return text as `time64[us]`, null where it does not fit, and where.

    A fraction that rounds up to midnight is 24:00:00 in PostgreSQL; Arrow does not have that time.
    """
    moments, bad = timestamps_of(joined_text("1970-01-01T", text), pa.timestamp("us"))
    late = is_true(pc.greater_equal(moments.cast(pa.int64()), pa.scalar(DAY)))
    return cleared(moments, late).cast(pa.time64("us")), bad | late


def since_year_one(values: Cells, bad: Mask) -> tuple[Cells, Mask]:
    """Return days and times with null before the year 1, because PostgreSQL has no year 0, and mark these as bad."""
    early = early_in(values)
    return (cleared(values, early), bad | early) if early.any() else (values, bad)


def early_in(values: Cells | pa.ChunkedArray[Any]) -> Mask:
    """Mark the days and times before the year 1. A timestamp in nanoseconds begins in 1677, so none of them is."""
    dtype = values.type
    if isinstance(dtype, pa.TimestampType) and dtype.unit == "ns":
        return np.zeros(len(values), np.bool_)
    first = pa.scalar(date.min if t.is_date(dtype) else datetime.min).cast(dtype)  # noqa: DTZ901 - all are in UTC
    return is_true(pc.less(values, first))


def without_fine_fractions(text: Cells) -> tuple[Cells, Cells | None]:
    """Return text without fractions of seven digits and more, and the microseconds (`int64`) that these round to."""
    is_fine = pc.match_substring_regex(text, FINE)
    if not pc.any(is_fine).as_py():
        return text, None
    digits = pc.struct_field(pc.extract_regex(text, r"[.,](?P<digits>[0-9]{7,})"), "digits")
    fractions = joined_text("0.", digits).cast(pa.float64())
    micros = np.rint(np.asarray(fractions.fill_null(0.0)) * MICROSECONDS).astype(np.int64)
    return pc.replace_substring_regex(text, FINE, "", max_replacements=1), pa.array(micros)


def to_microseconds(cells: Cells) -> Cells:
    """Return timestamps, times or durations in nanoseconds in microseconds, rounded; others as they are."""
    dtype = cells.type
    if not ((t.is_timestamp(dtype) or t.is_time64(dtype) or t.is_duration(dtype)) and dtype.unit == "ns"):
        return cells
    seconds, fraction = np.divmod(np.asarray(cells.cast(pa.int64()).fill_null(0), np.int64), NANOSECONDS)
    micros = seconds * MICROSECONDS + np.rint(fraction / NANOSECONDS * MICROSECONDS).astype(np.int64)
    found: Cells = pa.array(micros, mask=np.asarray(cells.is_null(), np.bool_))
    return found.cast(in_microseconds(dtype))


def nested_microseconds(cells: Any) -> Cells:
    """Return nested values whose times in nanoseconds are in microseconds, rounded."""
    cells = cells.take(pa.array(np.arange(len(cells))))  # a slice has offsets that Arrow does not take with a mask
    dtype, empty = cells.type, cells.is_null()
    if isinstance(dtype, pa.StructType):
        parts = [nested_microseconds(cells.field(at)) for at in range(dtype.num_fields)]
        return pa.StructArray.from_arrays(parts, names=[field.name for field in dtype], mask=empty)
    if isinstance(dtype, pa.MapType):
        return pa.MapArray.from_arrays(
            cells.offsets, nested_microseconds(cells.keys), nested_microseconds(cells.items), mask=empty
        )
    if t.is_list(dtype):
        return pa.ListArray.from_arrays(cells.offsets, nested_microseconds(cells.values), mask=empty)
    return to_microseconds(cells)


def in_microseconds(dtype: pa.DataType) -> pa.DataType:
    """Return a type of time in microseconds."""
    if isinstance(dtype, pa.TimestampType):
        return pa.timestamp("us", dtype.tz)
    return pa.time64("us") if t.is_time64(dtype) else pa.duration("us")
