"""Text cells of a file turned into values, and which of them do not fit."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.numbers import edges_and_bytes, has_strange_bytes, out_of_range
from dataproc.arrow.timestamps import times_of, timestamps_of
from dataproc.domain.cells import Cells, Mask, cleared, failing, unfit
from dataproc.sources.inference import is_exact_double

EXACT_DIGITS = 15
"""A double keeps any number of so many digits (DBL_DIG of C)."""
WHOLE = r"^-?[0-9]+$"
LIKE_A_NUMBER = r"(?i)^\s*[+-]?(nan|inf(inity)?|\.?[0-9][0-9a-fox_.+-]*)\s*$"


def text_of(cells: Cells) -> tuple[Cells, Mask]:
    """Return binary cells as text, and which of them are not UTF-8."""
    bad = unfit(cells, pa.string())
    return cleared(cells, bad).cast(pa.string()), bad


def values_of(cells: Cells, dtype: pa.DataType, *, is_exact: bool = False) -> tuple[Cells, Mask]:
    """Return text cells as values of a type, and which of them do not fit; with `is_exact`, no number is rounded."""
    text = cells if t.is_string(dtype) else pc.utf8_trim_whitespace(cells)
    if t.is_time(dtype):
        values, bad = times_of(text)
        return values.cast(dtype), bad
    if t.is_timestamp(dtype):
        return timestamps_of(text, dtype)
    # Arrow takes hexadecimal digits for a whole number.
    strange = failing(pc.match_substring_regex(text, WHOLE)) if t.is_integer(dtype) else np.zeros(len(text), np.bool_)
    plausible = cleared(text, strange)
    bad = strange | unfit(plausible, dtype)
    values = cleared(text, bad).cast(dtype)
    if not t.is_floating(dtype):
        return values, bad
    lossy = out_of_range(text, values)
    if is_exact:
        lossy |= rounded(cleared(text, bad | lossy))
    return (cleared(values, lossy), bad | lossy) if lossy.any() else (values, bad)


def rounded(text: Cells) -> Mask:
    """Return which numbers are not the ones that the shortest texts of their nearest doubles name."""
    edges, _ = edges_and_bytes(text)
    found = np.diff(edges) > EXACT_DIGITS
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
