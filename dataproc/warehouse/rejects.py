"""Rows set aside, on their way to the table `dataproc_load.reject`."""

from collections.abc import Iterable

import psycopg
import pyarrow as pa

from dataproc.domain.chunk import LoadedChunk, no_rejects
from dataproc.ports import LoadId

COPY = """
COPY dataproc_load.reject (job_id, run_id, target, unit, position, rule, column_name, reason, raw_row) FROM STDIN
"""


def pack(rejects: pa.Table) -> bytes:
    """Return rejects as bytes; no rejects are no bytes."""
    if rejects.num_rows == 0:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rejects.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rejects)
    return sink.getvalue().to_pybytes()


def unpack(packed: bytes) -> pa.Table:
    """Return the rejects that `pack` packed."""
    return pa.ipc.open_stream(packed).read_all() if packed else no_rejects()


def copy_rejects(conn: psycopg.Connection, load_id: LoadId, target: str, chunks: Iterable[LoadedChunk]) -> None:
    """Write the rejects of `chunks`."""
    with conn.cursor() as cursor, cursor.copy(COPY) as copy:
        for chunk in chunks:
            for row in unpack(chunk.rejects).to_pylist():
                reject = (row["position"], row["rule"], row["column"], safe(row["reason"]), safe(row["row"]))
                copy.write_row((load_id.job_id, load_id.run_id, target, chunk.unit, *reject))


def safe(text: str | None) -> str | None:
    """Return `text` without the one character that PostgreSQL's text cannot hold."""
    return None if text is None else text.replace("\x00", "\\u0000")
