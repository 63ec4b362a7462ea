"""Columns cast to another type: all cells at once where they fit, and exact about those that do not.

Text is trimmed where it is to become something else. Text without a zone is UTC as `timestamptz`, and
text with a zone is no `timestamp`. Numbers with a fraction are rounded to the digits of a decimal type
when they are binary (float64), but refused when they are text with more digits than the type has.
A finite number never becomes infinite, and a number other than zero never becomes zero: it does not fit.
"""

from contextlib import suppress
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.byte_strings import byte_strings
from dataproc.arrow.numbers import float_texts, is_true
from dataproc.arrow.timestamps import early_in, since_year_one, times_of, timestamps_of
from dataproc.domain.cells import Cells, Mask, cleared, failing, has_too_fine, has_wrapped, unfit
from dataproc.transforms.moments import in_zone
from dataproc.transforms.text_bytes import offsets_and_bytes

NUMBER = r"^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
ZONE = r":\d\d(?:\.\d+)?\s?(?:Z|[+-]\d\d(?::?\d\d)?)$"
MOST_DIGITS_OF_INT = 19
X, E, LOWER = np.uint8(ord("x")), np.uint8(ord("e")), np.uint8(ord("a") - ord("A"))
TINY = r"[eE]-0*(?:39|[4-9]\d|\d{3,})$"
"""Exponents that no decimal128 has; Arrow takes some of such numbers for zero."""


def cast(cells: Cells, dtype: pa.DataType, *, zone: str | None = None) -> tuple[Cells, Mask | None]:
    """Return the cells as `dtype`, null where they do not fit, and which do not; `None`: all do.

    Text that tells no zone is in `zone`, or UTC.
    """
    if cells.type == dtype:
        return cells, None
    if t.is_string(cells.type):
        after, bad = from_text(cells, dtype) if zone is None else from_local_text(cells, dtype, zone)
    elif t.is_floating(cells.type) and t.is_string(dtype):
        after, bad = float_texts(cells), None
    elif t.is_boolean(dtype):
        after, bad = truths_of(cells)
    else:
        after, bad = checked(wide(cells, dtype), dtype)
    return without_overflow(cells, after, bad) if t.is_floating(dtype) else (after, bad)


def can_cast(before: pa.DataType, after: pa.DataType) -> bool:
    """Whether values of a type can be cast to another at all; numbers and moments cannot, although Arrow casts them."""
    if (is_counted(before) and is_moment(after)) or (is_moment(before) and is_counted(after)):
        return False
    try:
        cast(pa.array([], before), after)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return False
    return True


def is_counted(dtype: pa.DataType) -> bool:
    """Return whether a type is that of numbers."""
    return t.is_integer(dtype) or t.is_floating(dtype) or t.is_decimal(dtype)


def is_moment(dtype: pa.DataType) -> bool:
    """Return whether a type is that of dates, times, moments or lengths of time."""
    return t.is_temporal(dtype)


def truths_of(numbers: Cells) -> tuple[Cells, Mask | None]:
    """Return numbers as true and false; only 1 and 0 are."""
    known = pc.is_in(numbers.cast(pa.float64()), pa.array([0.0, 1.0]))
    bad = ~(is_true(known) | np.asarray(numbers.is_null(), np.bool_))
    return cleared(numbers, bad).cast(pa.bool_()), bad if bad.any() else None


def checked(cells: Cells, dtype: pa.DataType) -> tuple[Cells, Mask | None]:
    """Return the cells as `dtype`, and which do not fit."""
    try:
        return cells.cast(dtype), None
    except pa.ArrowInvalid:
        bad = unfit(cells, dtype)
        return cleared(cells, bad).cast(dtype), bad


def without_overflow(before: Cells, after: Cells, bad: Mask | None) -> tuple[Cells, Mask | None]:
    """Return floating-point numbers, and which do not fit, with those that are beyond the range of their type."""
    numbers = np.asarray(after.to_numpy(zero_copy_only=False))
    infinite, zero = np.isinf(numbers), numbers == 0
    if not (infinite.any() or zero.any()):
        return after, bad
    beyond = (infinite & ~is_infinite(before)) | (zero & ~is_zero(before))
    if not beyond.any():
        return after, bad
    return cleared(after, beyond), beyond if bad is None else beyond | bad


def is_infinite(cells: Cells) -> Mask:
    """Return which numbers, or texts of numbers, are infinite: such texts have no digits."""
    if t.is_floating(cells.type):
        return np.asarray(np.isinf(cells.to_numpy(zero_copy_only=False)), np.bool_)
    return ~is_true(pc.match_substring_regex(cells.cast(pa.string()), r"\d"))


def is_zero(cells: Cells) -> Mask:
    """Return which numbers, or texts of numbers, are zero: such texts have no other digit before the exponent."""
    if t.is_floating(cells.type):
        return np.asarray(cells.to_numpy(zero_copy_only=False) == 0)
    return ~is_true(pc.match_substring_regex(cells.cast(pa.string()), r"^[^eE]*[1-9]"))


def wide(cells: Cells, dtype: pa.DataType) -> Cells:
    """Return numbers in a type from which Arrow's cast is right.

    Whole numbers become decimals from a decimal that holds them all, because Arrow asks for room for them. Decimals
    become floating-point numbers from text, because Arrow's own cast does not give the nearest one: 0.35 would
    become 0.35000000000000003.
    """
    if t.is_decimal(cells.type) and t.is_floating(dtype):
        return cells.cast(pa.string())
    if not (isinstance(dtype, pa.Decimal128Type) and t.is_integer(cells.type)):
        return cells
    if dtype.scale > MOST_DIGITS_OF_INT or t.is_uint64(cells.type):
        return cells.cast(pa.string())
    return cells.cast(pa.decimal128(38, dtype.scale))


def from_text(text: Cells, dtype: pa.DataType) -> tuple[Cells, Mask | None]:
    """Return text as `dtype`, and which cells do not fit."""
    if t.is_binary(dtype):
        values, bad = byte_strings(text, dtype)
        return values, bad if bad.any() else None
    if t.is_time(dtype):
        times, bad = times_of(pc.utf8_trim_whitespace(text))
        return times.cast(dtype), bad if bad.any() else None
    if not is_misread(text, dtype):
        with suppress(pa.ArrowInvalid):
            found = text.cast(dtype)
            has_changed = t.is_decimal(dtype) and has_wrapped(text, found)
            if not has_changed and not (is_day(dtype) and early_in(found).any()):
                return found, None
    tidy = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^\+", "")
    if isinstance(dtype, pa.TimestampType) and dtype.tz is not None:
        values, bad = moments_with_zone(tidy, dtype)
    else:
        values, bad = sifted(tidy, dtype)
    if is_day(dtype):
        values, bad = since_year_one(values, bad)
    return values, bad if bad.any() else None


def is_misread(text: Cells, dtype: pa.DataType) -> bool:
    """Return whether Arrow may take a text for another number, or fail on it."""
    if t.is_decimal(dtype):
        return has_letter(text, E) or has_too_fine(text)
    return t.is_integer(dtype) and has_letter(text, X)


def is_day(dtype: pa.DataType) -> bool:
    """Return whether a type is that of days or moments."""
    return t.is_date(dtype) or t.is_timestamp(dtype)


def has_letter(text: Cells, letter: np.uint8) -> bool:
    """Whether a cell has a letter, such as the `x` of `0x1F`, which Arrow takes for a number."""
    _, found = offsets_and_bytes(text)
    return bool(((found | LOWER) == letter).any())


def sifted(text: Cells, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return text as `dtype`, and which cells do not fit; a pattern finds most of them faster than a search."""
    shape = shape_of(dtype)
    strange = np.zeros(len(text), np.bool_)
    if shape is not None:
        strange = failing(pc.match_substring_regex(text, shape))
    if t.is_decimal(dtype):
        strange |= is_true(pc.match_substring_regex(text, TINY))
    plausible = cleared(text, strange)
    if t.is_timestamp(dtype):
        values, bad = timestamps_of(plausible, dtype)
        return values, strange | bad
    bad = unfit(plausible, dtype)
    return cleared(plausible, bad).cast(dtype), strange | bad


@lru_cache(maxsize=64)
def shape_of(dtype: pa.DataType) -> str | None:
    """Return a pattern that all text of a type matches, if there is a simple one."""
    if t.is_integer(dtype):
        return r"^-?\d+$"
    if t.is_decimal(dtype):
        return NUMBER
    if t.is_date(dtype):
        return r"^\d{4}-\d\d-\d\d$"
    return r"^\d{4}-\d\d-\d\d" if t.is_timestamp(dtype) else None


def from_local_text(text: Cells, dtype: pa.DataType, zone: str) -> tuple[Cells, Mask | None]:
    """Return text as dates or times, as the clocks of a zone tell them."""
    tidy = pc.utf8_trim_whitespace(text)
    told = pc.match_substring_regex(tidy, ZONE)
    moments, _ = sifted(pc.if_else(told, tidy, None), pa.timestamp("us", "UTC"))
    local, _ = sifted(pc.if_else(told, None, tidy), pa.timestamp("us"))
    after = pc.coalesce(in_zone(moments, dtype, zone), in_zone(local, dtype, zone))
    if after.null_count == text.null_count:
        return after, None
    return after, np.asarray(pc.and_(after.is_null(), text.is_valid()), dtype=np.bool_)


def moments_with_zone(text: Cells, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return text as moments; where it tells no zone, it is UTC."""
    told = pc.match_substring_regex(text, ZONE)
    with_zone, bad = sifted(pc.if_else(told, text, None), dtype)
    without, bad_without = sifted(pc.if_else(told, None, text), pa.timestamp("us"))
    return pc.coalesce(with_zone, without.cast(dtype)), bad | bad_without
