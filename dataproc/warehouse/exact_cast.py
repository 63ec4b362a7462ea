"""Exact casts between Arrow types that are not text: a value is the same after the cast, or the cast fails.

Arrow's own casts round binary fractions to decimals, and decimals and doubles to the nearest float. Here a
value passes when the result is the same number, or when the shortest texts of both name the same number:
the double 0.1 becomes the real 0.1 and the numeric 0.10, and the double 16777217 does not become a real.
The shortest text of a number is the one that PostgreSQL writes:
https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-FLOAT
"""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.numbers import DOUBLE_DIGITS, float_texts
from dataproc.domain.cells import Cells, Mask, has_wrapped

WIDEST_SCALE = 18
"""Digits after the point that a decimal128 leaves to the 20 digits of a whole number."""
INT64_BITS = 63
MICROSECOND_DIGITS = 6
MONEY_SCALE = 2
NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
SECONDS = re.compile(r"(?:time|timestamp)\((\d)\).*|interval.*\((\d)\)")
WIDE = Context(prec=2000)
"""Room for any value of a `numeric` with limits, which has at most 1000 digits."""


def cast_exactly(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return cells as `dtype`.

    Raises:
        ValueError: a value would not be the same. Arrow's own errors for that are of this class too.
        pa.ArrowNotImplementedError: there is no cast between these types.
    """
    if t.is_float16(cells.type):
        cells = cells.cast(pa.float32())
    if t.is_floating(dtype):
        return to_floating(cells, dtype)
    if isinstance(dtype, pa.Decimal128Type):
        return to_decimal(cells, dtype)
    if t.is_string(dtype) and t.is_floating(cells.type):
        return float_texts(cells)
    after = cells.cast(dtype)
    if t.is_date(dtype) and t.is_timestamp(cells.type) and not after.cast(cells.type).equals(cells):
        msg = "a moment within a day is not a date"
        raise ValueError(msg)
    return after


def to_floating(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return numbers as a binary floating-point type."""
    if not (t.is_floating(cells.type) or t.is_integer(cells.type) or t.is_decimal(cells.type)):
        return cells.cast(dtype)
    # Arrow's cast from decimal is not rounded to the nearest, the one from text is.
    after = cells.cast(pa.string()).cast(dtype) if t.is_decimal(cells.type) else cells.cast(dtype, safe=False)
    demand(same_numbers(cells, after), f"a number would not be the same as {dtype}")
    return after


def same_numbers(before: Cells, after: Cells) -> Mask:
    """Return where floating-point numbers are those that they were cast from; null is the same as null."""
    if t.is_floating(before.type):
        same = same_floats(before, after)
    elif t.is_integer(before.type):
        same = same_whole_numbers(before, after)
    elif (
        isinstance(before.type, pa.Decimal128Type)
        and before.type.precision <= DOUBLE_DIGITS
        and t.is_float64(after.type)
    ):
        return np.ones(len(before), np.bool_)
    else:
        same = same_decimals(before, after)
    return same | np.asarray(before.is_null(), np.bool_)


def same_floats(before: Cells, after: Cells) -> Mask:
    """Return which numbers a smaller type holds as they are, or by its shortest text."""
    old, new = floats_of(before), floats_of(after)
    same: Mask = (old == new) | np.isnan(old)
    if not same.all():
        texts: Cells = pc.if_else(pa.array(same), None, after).cast(pa.string())
        same |= floats_of(texts.cast(before.type)) == old
    return np.asarray(same & (np.isinf(old) == np.isinf(new)), np.bool_)


def floats_of(cells: Cells) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return floating-point numbers as doubles, with NaN for null."""
    return np.asarray(cells.to_numpy(zero_copy_only=False), np.float64)


def same_whole_numbers(before: Cells, after: Cells) -> Mask:
    """Return which whole numbers a floating-point type holds."""
    old = np.asarray(before.fill_null(0).to_numpy(zero_copy_only=False))
    with np.errstate(invalid="ignore"):
        new = floats_of(after.fill_null(0))
        limits = np.iinfo(old.dtype)
        inside = (new >= float(limits.min)) & (new < float(limits.max) + (old.dtype.itemsize < 8))
        same: Mask = inside & (np.where(inside, new, 0).astype(old.dtype) == old)
    return same


def same_decimals(before: Cells, after: Cells) -> Mask:
    """Return which decimals a floating-point type holds as they are, or by its shortest text."""
    texts = after.cast(pa.string())
    with suppress(pa.ArrowInvalid):
        if texts.cast(before.type).equals(before):
            return np.ones(len(before), np.bool_)
    triples: Any = zip(before.to_pylist(), texts.to_pylist(), after.to_pylist(), strict=True)
    return np.array([number is None or is_same(number, text, each) for number, text, each in triples], np.bool_)


def is_same(number: Decimal, text: str, after: float) -> bool:
    """Whether a decimal is the number that a text names, or exactly the floating-point number."""
    return Decimal(text) == number or Decimal(after) == number


def to_decimal(cells: Cells, dtype: pa.Decimal128Type) -> Cells:
    """Return numbers as a decimal type."""
    if t.is_integer(cells.type):
        return widened(cells, dtype).cast(dtype)
    if t.is_floating(cells.type):
        return short_decimals(cells, dtype) if dtype.precision <= DOUBLE_DIGITS else named_decimals(cells, dtype)
    return cells.cast(dtype)


def widened(cells: Cells, dtype: pa.Decimal128Type) -> Cells:
    """Return whole numbers in a decimal type that holds them all: Arrow asks for room even where none is needed."""
    return cells.cast(pa.decimal128(38, dtype.scale) if dtype.scale <= WIDEST_SCALE else pa.string())


def named_decimals(cells: Cells, dtype: pa.Decimal128Type) -> Cells:
    """Return binary fractions as the decimals that their shortest texts name."""
    texts = cells.cast(pa.string())
    values = texts.cast(dtype)
    if has_wrapped(texts, values):
        msg = f"a number would not be the same as {dtype}"
        raise ValueError(msg)
    return values


def short_decimals(cells: Cells, dtype: pa.Decimal128Type) -> Cells:
    """Return binary fractions as decimals of at most 15 digits, without a text for each.

    A decimal of so few digits that reads back as the double is the one that the double's shortest text names:
    2.55 as numeric(12,2) is 255, and 255 / 100 is the double 2.55 again. For 2.555 it is 256, which is not.
    """
    numbers = floats_of(cells)
    valid = np.asarray(cells.is_valid(), np.bool_)
    if t.is_float32(cells.type):
        return named_decimals(cells, dtype)
    power = 10.0**dtype.scale
    with np.errstate(over="ignore", invalid="ignore"):
        units = np.rint(numbers * power)
        same = (units / power == numbers) & (np.abs(units) < 10.0**dtype.precision)
    if not same[valid].all():
        return named_decimals(cells, dtype)
    return decimals_of(np.where(valid, units, 0).astype(np.int64), valid, dtype)


def decimals_of(units: np.ndarray[Any, np.dtype[np.int64]], valid: Mask, dtype: pa.Decimal128Type) -> Cells:
    """Return decimals made of their units in the last place: 255 is 2.55 in numeric(12,2)."""
    words = np.empty((len(units), 2), np.int64)
    words[:, 0], words[:, 1] = units, units >> INT64_BITS
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(dtype, len(units), [bits, pa.py_buffer(words.tobytes())])


def demand(same: Mask, message: str) -> None:
    """Raise `ValueError` unless all values are the same."""
    if not same.all():
        raise ValueError(message)


def demand_limits(values: pa.ChunkedArray[Any], sql_type: str) -> None:
    """Raise `ValueError` where PostgreSQL would round a value to the digits of a column without a word.

    It does that for times (`timestamp(3)`), and for numbers that travel as text to a decimal type that has no
    binary encoding here, such as `numeric(50,2)`. `sql_type` is the type below a domain.
    """
    if (seconds := SECONDS.fullmatch(sql_type)) is not None and is_moment(values.type):
        demand_seconds(values, int(seconds[1] or seconds[2]))
    elif t.is_integer(values.type) or t.is_floating(values.type) or t.is_decimal(values.type):
        numeric = NUMERIC.fullmatch(sql_type)
        if numeric is not None or sql_type == "money":
            demand_scale(values, int(numeric[2]) if numeric is not None else MONEY_SCALE)


def is_moment(dtype: pa.DataType) -> bool:
    """Whether values have a fraction of a second."""
    return t.is_timestamp(dtype) or t.is_time(dtype) or t.is_duration(dtype)


def demand_seconds(values: pa.ChunkedArray[Any], digits: int) -> None:
    """Raise `ValueError` unless so many digits of a second are enough for times in microseconds."""
    step = 10 ** (MICROSECOND_DIGITS - digits)
    for chunk in values.chunks if step > 1 else []:
        ticks = np.asarray(chunk.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))
        if (ticks % step).any():
            msg = f"a time has more than {digits} digits of a second"
            raise ValueError(msg)


def demand_scale(values: pa.ChunkedArray[Any], scale: int) -> None:
    """Raise `ValueError` unless so many digits after the point are enough for the shortest texts of numbers."""
    unit = Decimal(1).scaleb(-scale)
    for text in values.cast(pa.string()).drop_null().unique().to_pylist():
        number = Decimal(str(text))
        try:
            same = not number.is_finite() or number.quantize(unit, context=WIDE) == number
        except InvalidOperation:
            same = True  # It has more digits than any column: PostgreSQL refuses it.
        if not same:
            msg = f"a number has more than {scale} digits after the point"
            raise ValueError(msg)
