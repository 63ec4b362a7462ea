"""Which cells of a column cannot be cast: one try for all of them, and a search only where it fails."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Cells: TypeAlias = "pa.Array[Any]"
Mask = npt.NDArray[np.bool_]
SMALL = 16


def unfit(cells: Cells, dtype: pa.DataType) -> Mask:
    """Return which cells cannot be cast; halves what fails until the culprits are alone."""
    if casts(cells, dtype):
        return np.zeros(len(cells), np.bool_)
    if len(cells) <= SMALL:
        return np.array([not casts(cells[i : i + 1], dtype) for i in range(len(cells))], np.bool_)
    middle = len(cells) // 2
    return np.concatenate([unfit(cells[:middle], dtype), unfit(cells[middle:], dtype)])


def casts(cells: Cells, dtype: pa.DataType) -> bool:
    """Whether all cells can be cast."""
    try:
        cells.cast(dtype)
    except pa.ArrowInvalid:
        return False
    return True


def failing(holds: Cells) -> Mask:
    """Return where `holds` is false; null is no failure."""
    return np.asarray(pc.if_else(holds.is_null(), pa.scalar(value=False), pc.invert(holds)), dtype=np.bool_)


def cleared(cells: Cells, bad: Mask) -> Cells:
    """Return cells with null in place of the bad ones."""
    return pc.if_else(pa.array(bad), None, cells) if bad.any() else cells
