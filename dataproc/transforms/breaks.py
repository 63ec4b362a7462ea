"""Rows that broke rules, as rejects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import POSITION, REJECTS, no_rejects, texts_of

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Break:
    """A rule, and which rows broke it."""

    rule: str
    column: str
    reason: str
    mask: Mask


def broken(breaks: Sequence[Break], rows: int) -> Mask:
    """Return which rows broke any rule."""
    return np.logical_or.reduce([each.mask for each in breaks]) if breaks else np.zeros(rows, np.bool_)


def reject_table(rows: pa.Table, breaks: Sequence[Break]) -> pa.Table:
    """Return one reject for each row and rule that it broke, in the order of the rows."""
    at = broken(breaks, rows.num_rows).nonzero()[0].astype(np.int64)
    if not at.size:
        return no_rejects()
    bad = rows.take(at)
    positions = bad[POSITION].to_pylist()
    texts = texts_of(bad.drop_columns([POSITION]))
    rejects = [
        {
            "position": positions[i],
            "rule": b.rule,
            "column": b.column,
            "reason": b.reason[:LONGEST_REASON],
            "row": texts[i],
        }
        for i, row in enumerate(at)
        for b in breaks
        if b.mask[row]
    ]
    return pa.Table.from_pylist(rejects, schema=REJECTS)
