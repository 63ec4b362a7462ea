"""Cells of a database in the types of the plan; rows with a cell that no such type can hold are set aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask, cleared, unfit
from dataproc.domain.chunk import POSITION_FIELD, REJECTS, Piece, no_rejects, texts_of

RULE = "type"


@dataclass(frozen=True, slots=True)
class Fitted:
    """The cells of a column in its type, which of them do not fit, and why not."""

    cells: Cells
    bad: Mask | None = None
    reason: str = ""


def cast(cells: Cells, dtype: pa.DataType, reason: str) -> Fitted:
    """Return cells cast to `dtype`; those that cannot be are null, and marked."""
    try:
        return Fitted(cells.cast(dtype))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        bad = unfit(cells, dtype)
        return Fitted(cleared(cells, bad).cast(dtype), bad, reason)


def without(fitted: Fitted, more: Cells, reason: str) -> Fitted:
    """Return `fitted` with null where `more` is true, and these marked."""
    bad = np.asarray(pc.coalesce(more, pa.scalar(value=False)), np.bool_)
    if not bad.any():
        return fitted
    whole = bad if fitted.bad is None else bad | fitted.bad
    return Fitted(cleared(fitted.cells, bad), whole, reason)


def piece_of(schema: pa.Schema, columns: Sequence[Fitted], first: int, raw: pa.Table) -> Piece:
    """Return the rows whose cells all fit, numbered from `first`, and the others as rejects with the text of `raw`."""
    positions = np.arange(first, first + raw.num_rows, dtype=np.int64)
    arrays: list[pa.Array[Any]] = [column.cells for column in columns]
    rows = pa.table([*arrays, pa.array(positions)], schema=schema.append(POSITION_FIELD))
    marked = [(name, column) for name, column in zip(schema.names, columns, strict=True) if column.bad is not None]
    if not marked:
        return Piece(rows, no_rejects())
    bad = np.zeros(raw.num_rows, np.bool_)
    for _, column in marked:
        bad |= np.asarray(column.bad, np.bool_)
    return Piece(rows.filter(pa.array(~bad)), rejects_of(marked, bad, first, raw))


def rejects_of(marked: Sequence[tuple[str, Fitted]], bad: Mask, first: int, raw: pa.Table) -> pa.Table:
    """Return a reject for each cell that does not fit."""
    places = np.flatnonzero(bad)
    texts = dict(zip(places.tolist(), texts_of(raw.take(places)), strict=True))
    found = [
        {"position": first + at, "rule": RULE, "column": name, "reason": column.reason, "row": texts[at]}
        for name, column in marked
        for at in np.flatnonzero(np.asarray(column.bad)).tolist()
    ]
    return pa.Table.from_pylist(sorted(found, key=lambda reject: reject["position"]), schema=REJECTS)
