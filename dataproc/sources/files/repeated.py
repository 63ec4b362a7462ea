"""Text columns of Parquet in which few values stand many times: unpacked, a small file of them may fill any memory."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataproc.sources.files.batches import CHUNK_BYTES

PLAIN = 4
"""Bytes that each value takes at least where it is not a reference to one that stands elsewhere."""


def repeated_columns(metadata: pq.FileMetaData, span: tuple[int, int]) -> list[str]:
    """Return the columns whose values in some row groups are references; they are faster to read as such, too."""
    groups = [metadata.row_group(index) for index in range(*span)]
    if not groups:
        return []
    return [
        groups[0].column(index).path_in_schema
        for index in range(metadata.num_columns)
        if all(is_repeated(group.column(index)) for group in groups)
    ]


def is_repeated(column: pq.ColumnChunkMetaData) -> bool:
    """Whether the text of a column takes less than it would if each value stood there.

    Arrow does not read values as references from pages that hold the differences between them.
    """
    if column.physical_type != "BYTE_ARRAY" or "." in column.path_in_schema:
        return False
    if any(encoding.startswith("DELTA_") for encoding in column.encodings):
        return False
    return column.total_uncompressed_size < PLAIN * column.num_values


def parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts that fit into memory when each value stands where it is referred to."""
    widest = sum(longest(array) for array in batch.columns if isinstance(array, pa.DictionaryArray))
    rows = max(CHUNK_BYTES // max(widest, 1), 1)
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def longest(array: "pa.DictionaryArray[Any, Any]") -> int:
    """Return the bytes of the longest value."""
    values = array.dictionary.cast(pa.large_binary())
    return int(pc.max(pc.binary_length(values)).as_py() or 0)  # type: ignore[call-overload]  # of any binary array
