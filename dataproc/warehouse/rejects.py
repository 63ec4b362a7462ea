"""Rows set aside, on their way to the table `dataproc_load.reject`."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.chunk import LoadedChunk, no_rejects
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse import encoding

COPY = """
COPY dataproc_load.reject (job_id, run_id, target, unit, position, rule, column_name, reason, raw_row)
FROM STDIN (FORMAT BINARY)
"""
KEPT_IN_MEMORY = 32 * 1024 * 1024
"""Bytes of packed rejects that a load keeps; the rest waits in a temporary file."""
LENGTHS = struct.Struct(">II")


class Aside:
    """The packed rejects of a load until they are written, in little memory however many they are."""

    def __init__(self) -> None:
        """Begin without any."""
        self._file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget them."""
        self._file.close()

    def add(self, chunk: LoadedChunk) -> None:
        """Keep the rejects of a chunk."""
        if chunk.rejects:
            unit = chunk.unit.encode()
            self._file.write(LENGTHS.pack(len(unit), len(chunk.rejects)) + unit + chunk.rejects)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield units and their packed rejects, in the order in which they came."""
        self._file.seek(0)
        while head := self._file.read(LENGTHS.size):
            unit, packed = LENGTHS.unpack(head)
            yield self._file.read(unit).decode(), self._file.read(packed)


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


def copy_rejects(
    conn: psycopg.Connection, load_id: LoadId, target: str, packed_of_units: Iterable[tuple[str, bytes]]
) -> None:
    """Write the rejects of units."""
    holds_everything = conn.info.parameter_status("server_encoding") == "UTF8"
    with conn.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(encoding.HEADER)
        for unit, packed in packed_of_units:
            found = unpack(packed)
            found = found if holds_everything else in_ascii(found)
            copy.write(encoding.encode(as_rows(load_id, target, unit, found)))
        copy.write(encoding.TRAILER)


def as_rows(load_id: LoadId, target: str, unit: str, rejects: pa.Table) -> pa.Table:
    """Return rejects as rows of the table, without the one character that PostgreSQL's text cannot hold."""
    same = {"job_id": load_id.job_id.bytes, "run_id": load_id.run_id.bytes, "target": target, "unit": unit}
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), rejects.num_rows) for name, value in same.items()}
    for name in rejects.column_names:
        told = rejects[name]
        columns[name] = pc.replace_substring(told, "\x00", "\\u0000") if pa.types.is_string(told.type) else told
    return pa.table(columns)


def in_ascii(rejects: pa.Table) -> pa.Table:
    """Return rejects as a database of any encoding can hold them."""
    rows = [{name: escaped(value) for name, value in row.items()} for row in rejects.to_pylist()]
    return pa.Table.from_pylist(rows, schema=rejects.schema)


def escaped(value: object) -> object:
    """Return text in ASCII; other values as they are."""
    return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value
