"""Text cells put together."""

from __future__ import annotations

from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells


def joined_text(*parts: Cells | str) -> Cells:
    """Return the parts of text of each row as one; null where one of them is."""
    return typed("Cells", pc.call_function("binary_join_element_wise", [*map(as_datum, parts), pa.scalar("")]))


def as_datum(part: Cells | str) -> Cells | pa.StringScalar:
    """Return a part of text as Arrow takes it."""
    return pa.scalar(part) if isinstance(part, str) else part
