"""Text of numbers: digits that are none, and values that a floating-point type cannot hold."""

import numpy as np
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask, failing

INFINITE = r"(?i)^[+-]?inf(inity)?$"
NOT_ZERO = r"^[+-]?[0.]*[1-9]"


def out_of_range(text: Cells, values: Cells) -> Mask:
    """Return which numbers are too large or too small for a floating-point type, as PostgreSQL refuses them.

    Arrow gives infinity or zero for such text.
    """
    infinite, zero = (np.asarray(each.fill_null(False), np.bool_) for each in (pc.is_inf(values), pc.equal(values, 0)))  # noqa: FBT003 - Arrow names it otherwise
    found = np.zeros(len(text), np.bool_)
    if infinite.any():
        found |= infinite & failing(pc.match_substring_regex(text, INFINITE))
    if zero.any():
        found |= zero & ~failing(pc.match_substring_regex(text, NOT_ZERO))
    return found


def has_strange_bytes(text: Cells) -> bool:
    """Whether a cell has more than digits, a sign and a point: Arrow takes hexadecimal digits for a number."""
    _, offsets, data = text.buffers()
    if data is None or len(text) == 0:
        return False
    edges = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    found = np.frombuffer(data, np.uint8)[edges[0] : edges[-1]]
    return bool((found > ord("9")).any() or (found < ord("-")).any())
