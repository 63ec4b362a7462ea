"""Rows that broke rules, as rejects."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import POSITION, REJECTS, no_rejects, shortened

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
    texts = [row_text(row) for row in bad.drop_columns([POSITION]).to_pylist()]
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


def row_text(row: dict[str, object]) -> str:
    """Return a row as JSON text, cut to what a reject may hold."""
    return shortened(json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False, default=str))


def plain(value: object) -> object:
    """Return a value that JSON has."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
