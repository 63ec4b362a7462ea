"""Chunks as rows of a Ray Dataset.

Each row of the Dataset is one whole chunk: its number and account as plain columns, its rows as the bytes of
an Arrow stream. Ray may split, join, reorder, skip empty, or repeat its blocks as it likes;
a chunk stays one thing, and the tally of the load sees whether all of them came.

An error travels as a row too: Ray would write advice of its own into the message of an exception, wrap it, and
retry some by words in their text.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.errors import DataprocError, FatalError

HEAD: list[tuple[str, pa.DataType]] = [
    ("failure", pa.large_binary()), ("unit", pa.string()), ("seq", pa.int32()), ("last", pa.bool_()),
    ("read", pa.int64()), ("filtered", pa.int64()), ("deduplicated", pa.int64()), ("mark", pa.string()),
    ("high", pa.string()), ("discarded", pa.map_(pa.string(), pa.int64())), ("edge", pa.binary()),
]  # fmt: skip
CHUNKS = pa.schema([*HEAD, ("rows", pa.large_binary()), ("rejects", pa.large_binary()), ("wire", pa.large_binary())])
LOADED = pa.schema(
    [
        *HEAD, ("loaded", pa.int64()), ("rejected", pa.int64()), ("digest", pa.binary()),
        ("payload", pa.large_binary()), ("rejects", pa.large_binary()), ("keys", pa.list_(pa.large_binary())),
        ("present", pa.int64()), ("broken", pa.map_(pa.string(), pa.int64())),
    ]
)  # fmt: skip


def pack(chunk: Chunk) -> pa.Table:
    """Return a block of one row that holds `chunk`."""
    head = {name: getattr(chunk, name, None) for name, _ in HEAD}
    body = {"rows": stream_of(chunk.rows), "rejects": stream_of(chunk.rejects), "wire": chunk.wire}
    return one_row(CHUNKS, {**head, **body})


def unpack(block: pa.Table) -> Iterator[Chunk]:
    """Yield the chunks of a block, or raise the error in it; their rows share the block's memory."""
    for row in rows_of(block):
        raise_failure(row)
        rows, rejects = table_of(row["rows"]), table_of(row["rejects"])
        wire = memoryview(row["wire"].as_buffer()) if row["wire"].is_valid else None
        head = {name: row[name].as_py() for name, _ in HEAD if name != "failure"}
        head["discarded"] = tuple(head["discarded"])
        yield Chunk(**head, rows=rows, rejects=rejects, wire=wire)


def pack_loaded(chunk: LoadedChunk) -> pa.Table:
    """Return a block of one row that holds the account of a chunk, and its bytes."""
    return one_row(LOADED, {name: getattr(chunk, name, None) for name in LOADED.names})


def unpack_loaded(block: pa.Table) -> Iterator[LoadedChunk]:
    """Yield the loaded chunks of a block, or raise the error in it; the payload shares the block's memory."""
    for row in rows_of(block):
        raise_failure(row)
        plain = {
            name: row[name].as_py() for name in LOADED.names if name not in {"failure", "payload", "rejects", "keys"}
        }
        plain |= {name: tuple(row[name].as_py()) for name in ("keys", "discarded", "broken")}
        yield LoadedChunk(**plain, payload=memoryview(row["payload"].as_buffer()), rejects=row["rejects"].as_py())


def pack_failure(schema: pa.Schema, exc: Exception) -> pa.Table:
    """Return a block of one row that holds an error."""
    return one_row(schema, {"failure": pickle.dumps(as_ours(exc))})


def as_ours(exc: BaseException) -> DataprocError:
    """Return an error of ours as it is, and for another one ours."""
    return exc if isinstance(exc, DataprocError) else unexpected(exc)


def unexpected(exc: BaseException) -> FatalError:
    """Return our error for a fault in the code, which would fail the same way again; it tells where in a note."""
    kind = type(exc).__name__
    error = FatalError(f"a worker failed unexpectedly with {kind}; the runner's log has the traceback", kind=kind)
    error.add_note("".join(traceback.format_exception(exc)))
    return error


def raise_failure(row: dict[str, Any]) -> None:
    """Raise the error that a row holds, if it holds one."""
    if row["failure"].is_valid:
        raise pickle.loads(row["failure"].as_py())  # noqa: S301 - our own workers wrote it


def one_row(schema: pa.Schema, values: dict[str, object]) -> pa.Table:
    """Return a table of one row; large bytes are taken over without a copy."""
    arrays = [one_value(values.get(name), schema.field(name).type) for name in schema.names]
    return pa.table(arrays, schema=schema)


def one_value(value: Any, kind: pa.DataType) -> pa.Array[Any]:
    """Return an array of one value."""
    if value is None or not pa.types.is_large_binary(kind):
        return pa.array([value], kind)
    body = pa.py_buffer(value)
    offsets = pa.array([0, body.size], pa.int64()).buffers()[1]
    return pa.Array.from_buffers(kind, 1, [None, offsets, body])


def stream_of(table: pa.Table) -> pa.Buffer:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def table_of(value: Any) -> pa.Table:
    """Return the table of an Arrow stream, without a copy."""
    return pa.ipc.open_stream(value.as_buffer()).read_all()


def rows_of(block: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each row of a block as Arrow scalars."""
    for i in range(block.num_rows):
        yield {name: block.column(name)[i] for name in block.column_names}
