"""Blocks of CSV with bytes that are not UTF-8: Arrow's reader takes each byte as a character, and gives it back.

Arrow decodes the text of a row with too few or too many cells before it hands the row over, and fails on such bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.types as t

from dataproc.domain.sources.files import CsvOptions

Parse = Callable[[bytes, CsvOptions, Sequence[str], Mapping[str, pa.DataType], list[pa_csv.InvalidRow]], pa.Table]


def is_utf8(block: bytes) -> bool:
    """Return whether a block is UTF-8; Arrow checks it without a copy."""
    edges = pa.array([0, len(block)], pa.int64()).buffers()[1]
    text: pa.Array[Any] = pa.Array.from_buffers(pa.large_string(), 1, [None, edges, pa.py_buffer(block)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def parsed_bytes(
    parse: Parse,
    block: bytes,
    options: CsvOptions,
    names: Sequence[str],
    types: Mapping[str, pa.DataType],
    *,
    ragged: list[pa_csv.InvalidRow],
) -> pa.Table:
    """Return the rows that `parse` finds; columns of bytes have those of the block, columns of text may not."""
    found: list[pa_csv.InvalidRow] = []
    nulls = tuple(each.encode().decode("latin-1") for each in options.nulls)
    characters = block.decode("latin-1").encode()
    rows = parse(characters, options.model_copy(update={"nulls": nulls}), names, types, found)
    ragged += [restored(row) for row in found]
    columns = [bytes_of(rows[name]) if t.is_binary(rows[name].type) else rows[name] for name in rows.schema.names]
    return pa.table(columns, names=rows.schema.names)


def restored(row: Any) -> pa_csv.InvalidRow:
    """Return a row with the text that its characters stand for."""
    found: pa_csv.InvalidRow = row._replace(text=row.text.encode("latin-1").decode(errors="replace"))
    return found


def bytes_of(cells: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """Return the bytes that the characters of cells stand for."""
    found = [None if cell is None else cell.decode().encode("latin-1") for cell in cells.to_pylist()]
    return pa.chunked_array([pa.array(found, pa.binary())])
