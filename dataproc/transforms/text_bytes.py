"""The bytes of a column of text, for questions that a look at all of them answers faster than one at each cell."""

from typing import Any
from typing import cast as typed

import numpy as np
import numpy.typing as npt
import pyarrow.types as t

from dataproc.domain.cells import Cells

SPACE, DELETE = 0x20, 0x7F
"""Beyond these, in both directions, bytes are no letters of ASCII that can be seen."""


def has_plain_ends(cells: Cells) -> bool:
    """Whether each text is seen at once to begin and end with something of ASCII other than white space."""
    if not t.is_string(cells.type):
        return False
    edges, text = offsets_and_bytes(cells)
    lengths = np.diff(edges)
    starts, ends = edges[:-1][lengths > 0], edges[1:][lengths > 0]
    both = text[starts], text[ends - 1]
    return all(not len(one) or (one.min() > SPACE and one.max() <= DELETE) for one in both)


def offsets_and_bytes(cells: Cells) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return where each text begins, and the last one ends, in the bytes of all texts."""
    _, offsets, values = cells.buffers()
    if offsets is None or values is None:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    edges = np.frombuffer(typed("Any", offsets), np.int32)[cells.offset : cells.offset + len(cells) + 1].astype(
        np.int64
    )
    text = np.frombuffer(typed("Any", values), np.uint8)[edges[0] : edges[-1]]
    return edges - edges[0], text
