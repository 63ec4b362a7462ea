"""Text cells of a file turned into values, and which of them do not fit."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask, cleared, unfit


def text_of(cells: Cells) -> tuple[Cells, Mask]:
    """Return binary cells as text, and which of them are not UTF-8."""
    bad = unfit(cells, pa.string())
    return cleared(cells, bad).cast(pa.string()), bad


def values_of(cells: Cells, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return text cells as values of a type, and which of them do not fit."""
    text = cells if t.is_string(dtype) else pc.utf8_trim_whitespace(cells)
    if t.is_time(dtype):
        values, bad = values_of(pc.replace_substring_regex(text, "^", "1970-01-01T"), pa.timestamp("us"))
        return values.cast(dtype), bad
    bad = unfit(text, dtype)
    return cleared(text, bad).cast(dtype), bad
