"""Which cells of a column cannot be cast: one try for all of them, and a search only where it fails."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

Cells: TypeAlias = "pa.Array[Any]"
Mask = npt.NDArray[np.bool_]
SMALL = 16
MAX_DIGITS = 38
"""Digits that always fit the 128 bits of a decimal."""
TOO_FINE = r"\.[0-9]{77,}|[eE]-0*[1-9][0-9]{2,}"
"""Numbers with more digits after the point than the widest decimal of Arrow has."""
ALIKE = 1e-9
"""The share by which two doubles of the same number may differ."""


def unfit(cells: Cells, dtype: pa.DataType) -> Mask:
    """Return which cells cannot be cast; halves what fails until the culprits are alone."""
    if casts(cells, dtype):
        return np.zeros(len(cells), np.bool_)
    if len(cells) <= SMALL:
        return np.array([not casts(cells[i : i + 1], dtype) for i in range(len(cells))], np.bool_)
    middle = len(cells) // 2
    return np.concatenate([unfit(cells[:middle], dtype), unfit(cells[middle:], dtype)])


def cast_fitting(text: Cells, strange: Mask, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return text cast to a type, null where it is strange or does not fit, and where that is."""
    bad = strange | unfit(cleared(text, strange), dtype)
    return cleared(text, bad).cast(dtype), bad


def casts(cells: Cells, dtype: pa.DataType) -> bool:
    """Whether all cells can be cast."""
    is_number = t.is_string(cells.type) and t.is_decimal(dtype)
    if is_number and has_too_fine(cells):
        return False
    try:
        values = cells.cast(dtype)
    except pa.ArrowInvalid:
        return False
    return not (is_number and has_wrapped(cells, values))


def has_too_fine(text: Cells) -> bool:
    """Return whether a text has more digits after the point than any decimal.

    Arrow 26 takes their number as a place in a table of powers of ten: the text `1e-999999999` ends the process.
    """
    longest = pc.max(pc.call_function("binary_length", [text])).as_py() or 0
    if longest <= MAX_DIGITS and not pc.any(pc.match_substring(text, "e-", ignore_case=True)).as_py():
        return False
    return bool(pc.any(pc.match_substring_regex(text, TOO_FINE)).as_py())


def has_wrapped(text: Cells, values: Cells) -> bool:
    """Return whether a decimal is not the number of its text.

    Arrow 26 moves the point of a number without a look at the 128 bits that it has for its digits: the text `4E+29`
    becomes 59717633079061536536625392568.231788544 as `decimal128(38, 9)`.
    """
    scale = values.type.scale if isinstance(values.type, pa.Decimal128Type) else 0
    longest = pc.max(pc.call_function("binary_length", [text])).as_py() or 0
    has_power = pc.any(pc.match_substring(text, "e", ignore_case=True)).as_py()
    if longest + scale <= MAX_DIGITS and not has_power:
        return False
    numbers = pc.replace_substring_regex(pc.if_else(values.is_null(), None, text), r"^\s*\+", "").cast(pa.float64())
    found = values.cast(pa.float64())
    return bool(pc.any(pc.greater(pc.abs(pc.subtract(numbers, found)), pc.multiply(pc.abs(numbers), ALIKE))).as_py())


def failing(holds: Cells) -> Mask:
    """Return where `holds` is false; null is no failure."""
    return np.asarray(pc.if_else(holds.is_null(), pa.scalar(value=False), pc.invert(holds)), dtype=np.bool_)


def cleared(cells: Cells, bad: Mask) -> Cells:
    """Return cells with null in place of the bad ones."""
    return pc.if_else(pa.array(bad), None, cells) if bad.any() else cells
