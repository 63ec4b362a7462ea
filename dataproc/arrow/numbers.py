"""Text of numbers: digits that are none, and values that a floating-point type cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask, failing

INFINITE = r"(?i)^[+-]?inf(inity)?$"
NOT_ZERO = r"^[+-]?[0.]*[1-9]"


def out_of_range(text: Cells, values: Cells) -> Mask:
    """Return which numbers are too large or too small for a floating-point type, as PostgreSQL refuses them.

    Arrow gives infinity or zero for such text.
    """
    infinite, zero = (is_true(each) for each in (pc.is_inf(values), pc.equal(values, pa.scalar(0, values.type))))
    found = np.zeros(len(text), np.bool_)
    if infinite.any():
        found |= infinite & failing(pc.match_substring_regex(text, INFINITE))
    if zero.any():
        found |= zero & ~failing(pc.match_substring_regex(text, NOT_ZERO))
    return found


def is_true(answers: Cells | pa.ChunkedArray[Any]) -> Mask:
    """Return where an answer is true, and neither false nor null."""
    return np.asarray(pc.coalesce(answers, pa.scalar(value=False)), np.bool_)


def has_strange_bytes(text: Cells) -> bool:
    """Whether a cell has more than digits, a sign and a point: Arrow takes hexadecimal digits for a number."""
    edges, data = edges_and_bytes(text)
    found = data[edges[0] : edges[-1]]
    return bool((found > ord("9")).any() or (found < ord("-")).any())


def edges_and_bytes(text: Cells) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Return where the texts of an array begin and end, one more than there are texts, and the bytes of all."""
    _, offsets, data = text.buffers()
    if offsets is None or data is None:
        return np.zeros(len(text) + 1, np.int32), np.empty(0, np.uint8)
    edges = np.frombuffer(memoryview(offsets), np.int32)[text.offset : text.offset + len(text) + 1]
    return edges, np.frombuffer(memoryview(data), np.uint8)
