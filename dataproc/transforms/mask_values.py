"""What stands in place of values without a key; and values as the texts that are hidden."""

from collections.abc import Callable
from typing import Any
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.transforms.mask import Shown
from dataproc.transforms.columns import written_out

LOOKED_AT = 4096
"""Cells by which we tell whether values repeat: to find the distinct ones costs half as much as to hash them all."""


def by_value(cells: Cells, change: Callable[[Cells], Cells]) -> Cells:
    """Return what `change` gives for the values, asked once for one that repeats; null stays null."""
    if repeats(cells):
        found = cells.dictionary_encode()
        return change(found.dictionary).take(found.indices)
    if not cells.null_count:
        return change(cells)
    there = cells.is_valid()
    places = pc.subtract(pc.cumulative_sum(there.cast(pa.int64())), 1)
    return change(cells.drop_null()).take(pc.if_else(there, places, None))


def repeats(cells: Cells) -> bool:
    """Whether most of the first values come more than once."""
    some = cells[:LOOKED_AT]
    return 2 * len(some.unique()) < len(some)


def texts(cells: Any) -> Cells:
    """Return values as text: numbers in digits, moments as in ISO 8601, bytes in hexadecimal."""
    dtype = cells.type
    if t.is_dictionary(dtype):
        return texts(written_out(cells))
    if isinstance(dtype, pa.BaseExtensionType):
        return texts(cells.storage)
    if t.is_binary(dtype) or t.is_large_binary(dtype) or t.is_fixed_size_binary(dtype):
        return pa.array([None if value is None else value.hex() for value in cells.to_pylist()], pa.string())
    found: Cells = cells if t.is_string(dtype) else cells.cast(pa.string())
    return found


def redacted(cells: Cells, by: str | None) -> Cells:
    """Return one text in place of each value; none: null."""
    if by is None:
        found: Cells = pa.nulls(len(cells), cells.type)
        return found
    return typed("Cells", pc.if_else(cells.is_valid(), pa.scalar(by, pa.string()), pa.scalar(None, pa.string())))


def partly(cells: Cells, shown: Shown) -> Cells:
    """Return texts with only some characters at their ends, of which a short one shows none."""
    whole: Any = texts(cells)
    by: Any = pa.scalar(shown.by)
    length: Any = pc.utf8_length(whole)
    hidden: Any = pc.subtract(length, pa.scalar(shown.keep_first + shown.keep_last, length.type))
    first = pc.utf8_slice_codeunits(whole, 0, shown.keep_first)
    last = pc.utf8_slice_codeunits(whole, -shown.keep_last) if shown.keep_last else ""
    joined = pc.binary_join_element_wise(first, pc.binary_repeat(by, pc.max_element_wise(hidden, 0)), last, "")
    return typed(
        "Cells", pc.if_else(pc.less_equal(hidden, pa.scalar(0, length.type)), pc.binary_repeat(by, length), joined)
    )
