"""Text cells of a file turned into values, and which of them do not fit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.byte_strings import byte_strings
from dataproc.arrow.numbers import DOUBLE_DIGITS, edges_and_bytes, has_strange_bytes, is_true, out_of_range
from dataproc.arrow.timestamps import since_year_one, times_of, timestamps_of
from dataproc.domain.cells import Cells, Mask, cast_fitting, cleared, failing, unfit
from dataproc.sources.inference import is_exact_double

WHOLE = r"^-?[0-9]+$"
WHOLE_WITH_POWER = r"^[+-]?[0-9]+[eE][+-]?[0-9]+$"
POWERS = np.frombuffer(b"eE", np.uint8)
LIKE_A_NUMBER = r"(?i)^\s*[+-]?(nan|inf(inity)?|\.?[0-9][0-9a-fox_.+-]*)\s*$"


def text_of(cells: Cells) -> tuple[Cells, Mask]:
    """Return binary cells as text, and which of them are not UTF-8."""
    bad = unfit(cells, pa.string())
    return cleared(cells, bad).cast(pa.string()), bad


def values_of(
    cells: Cells, dtype: pa.DataType, *, is_exact: bool = False, has_codes: bool = True
) -> tuple[Cells, Mask]:
    """Return text cells as values of a type, and which of them do not fit.

    With `is_exact`, as for inferred types, no number is rounded, and codes such as `00501` do not fit; there are none
    in formats with numbers of their own.
    """
    if is_exact and (plain := plain_values(cells, dtype, has_codes=has_codes)) is not None:
        return plain, np.zeros(len(cells), np.bool_)
    text = cells if t.is_string(dtype) else pc.utf8_trim_whitespace(cells)
    if t.is_binary(dtype):
        return byte_strings(cells, dtype)
    if t.is_time(dtype):
        values, bad = times_of(text)
        return values.cast(dtype), bad
    if t.is_timestamp(dtype):
        return since_year_one(*timestamps_of(text, dtype))
    # Arrow takes hexadecimal digits for a whole number.
    strange = failing(pc.match_substring_regex(text, WHOLE)) if t.is_integer(dtype) else np.zeros(len(text), np.bool_)
    if is_exact and has_codes:
        strange |= written_otherwise(text, dtype)
    values, bad = cast_fitting(text, strange, dtype)
    if t.is_date(dtype):
        return since_year_one(values, bad)
    return in_range(text, values, bad, is_exact=is_exact) if t.is_floating(dtype) else (values, bad)


def in_range(text: Cells, values: Cells, bad: Mask, *, is_exact: bool) -> tuple[Cells, Mask]:
    """Return floating-point values without those of numbers out of range, and with `is_exact` without rounded ones."""
    lossy = out_of_range(text, values)
    if is_exact:
        lossy |= rounded(cleared(text, bad | lossy))
    return (cleared(values, lossy), bad | lossy) if lossy.any() else (values, bad)


def plain_values(cells: Cells, dtype: pa.DataType, *, has_codes: bool) -> Cells | None:
    """Return the values of cells if each has the form of its inferred type, else `None`."""
    if not (t.is_integer(dtype) or t.is_boolean(dtype) or t.is_floating(dtype)):
        return None
    if has_codes and written_otherwise(cells, dtype).any():
        return None
    try:
        values = cells.cast(dtype)
    except pa.ArrowInvalid:
        return None
    is_lossy = t.is_floating(dtype) and (out_of_range(cells, values).any() or rounded(cells).any())
    return None if is_lossy else values


def written_otherwise(text: Cells, dtype: pa.DataType) -> Mask:
    """Mark the cells that inference would not give this type: codes in number columns, `1` and `0` in boolean ones."""
    if t.is_boolean(dtype):
        edges, _ = edges_and_bytes(text)
        return np.asarray(np.diff(edges) == 1, np.bool_)
    return are_codes(text)


def are_codes(text: Cells) -> Mask:
    """Mark the cells that are read as numbers and written as codes: `007`, `0x1F`, `+4930123456`, `1E5`."""
    found = with_leading_zeros(text)
    edges, data = edges_and_bytes(text)
    some = np.flatnonzero(np.diff(edges) > 1)
    found[some] |= data[edges[some]] == ord("+")
    if np.isin(data[edges[0] : edges[-1]], POWERS).any():
        found |= is_true(pc.match_substring_regex(text, WHOLE_WITH_POWER))
    return found


def with_leading_zeros(text: Cells) -> Mask:
    """Mark the cells with a leading zero that a number would lose: `007` and `0x1F`, but not `0.5` and `0e5`."""
    edges, data = edges_and_bytes(text)
    found = np.zeros(len(text), np.bool_)
    lengths = np.diff(edges)
    some = np.flatnonzero(lengths > 1)
    starts = edges[some]
    starts = starts + ((data[starts] == ord("-")) & (lengths[some] > 2))
    found[some] = (data[starts] == ord("0")) & ~np.isin(data[starts + 1], list(b".eE"))
    return found


def rounded(text: Cells) -> Mask:
    """Return which numbers are not the ones that the shortest texts of their nearest doubles name."""
    edges, _ = edges_and_bytes(text)
    found = np.diff(edges) > DOUBLE_DIGITS
    found[found] = [not is_exact_double(str(each)) for each in text.filter(pa.array(found)).to_pylist()]
    return found


def words_in(text: Cells) -> Mask:
    """Return the cells that PostgreSQL reads as a number in none of its spellings."""
    if t.is_string(text.type) and not has_strange_bytes(text):
        # Digits, signs and points; a cell without a digit is rare enough to be left to PostgreSQL.
        return np.zeros(len(text), np.bool_)
    return (
        failing(pc.match_substring_regex(text, LIKE_A_NUMBER))
        if t.is_string(text.type)
        else np.zeros(len(text), np.bool_)
    )
