"""Text of binary formats that is not UTF-8: Arrow does not check it when it reads, and much that works on it does."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import POSITION, Piece, no_rejects, texts_of
from dataproc.sources.files.cells import text_of
from dataproc.sources.files.reasons import DamagedError
from dataproc.sources.rejects import Reject, reject_table


def without_odd_texts(rows: pa.Table, uri: str) -> Piece:
    """Return rows, without those that have a text which is not UTF-8; these are set aside.

    Raises:
        DamagedError: such a text is within a nested value.
    """
    odd = [name for name in rows.schema.names if not is_valid(rows[name])]
    if not odd:
        return Piece(rows, no_rejects())
    bad, rejects = np.zeros(rows.num_rows, np.bool_), list[Reject]()
    marks: dict[str, Mask] = {}
    shown = rows
    for name in odd:
        if not t.is_string(rows.schema.field(name).type):
            raise DamagedError(f"column {name!r} has a text that is not UTF-8")
        cells, at = rows[name].combine_chunks().cast(pa.binary()), rows.schema.get_field_index(name)
        texts, marks[name] = text_of(cells)
        rows = rows.set_column(at, name, pa.chunked_array([texts]))
        shown = shown.set_column(at, name, pa.chunked_array([replaced(cells, marks[name])]))
        bad |= marks[name]
    for name, mark in marks.items():
        found = shown.filter(pa.array(mark))
        shown_rows = zip(np.asarray(found[POSITION]).tolist(), texts_of(found.drop_columns([POSITION])), strict=True)
        rejects += [Reject(at, "parse", name, f"{uri}: column {name!r} is not UTF-8", text) for at, text in shown_rows]
    return Piece(rows.filter(pa.array(~bad)), reject_table(rejects))


def replaced(cells: "pa.Array[Any]", bad: Mask) -> "pa.Array[Any]":
    """Return bytes as text; in place of each byte that is not UTF-8 stands the sign for an unknown character."""
    odd: list[Any] = cells.filter(pa.array(bad)).to_pylist()
    found = [cell.decode(errors="replace") for cell in odd]
    texts: pa.Array[Any] = pc.replace_with_mask(text_of(cells)[0], pa.array(bad), pa.array(found, pa.string()))
    return texts


def is_valid(cells: "pa.ChunkedArray[Any]") -> bool:
    """Return whether all texts of a column, at any depth, are UTF-8."""
    if not may_hold_text(cells.type):
        return True
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def may_hold_text(dtype: pa.DataType) -> bool:
    """Return whether values have text, at any depth."""
    return t.is_string(dtype) or any(may_hold_text(dtype.field(at).type) for at in range(dtype.num_fields))
