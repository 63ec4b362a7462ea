"""Rows set aside, on their way to the table `dataproc_load.reject`."""

from __future__ import annotations

import json
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.chunk import REJECTS, TEXT, LoadedChunk
from dataproc.domain.row_text import is_row
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse import encoding
from dataproc.warehouse.copying import copy_rows

COPY = """
COPY dataproc_load.reject
    (job_id, run_id, attempt, target, unit, position, rule, column_name, reason, raw_row, code, is_row, is_encrypted)
FROM STDIN (FORMAT BINARY)
"""
CODED = REJECTS.append(pa.field("code", TEXT))
"""Rejects with what machines tell them by, where that is not the rule: the SQLSTATE of what the warehouse refused."""
PACKED = pa.schema([*CODED, ("is_row", pa.bool_()), ("is_encrypted", pa.bool_())])
"""Rejects on their way: whether each holds a whole row, and whether nobody can read it without a key."""
TELLING = frozenset(
    {
        "type", "required", "ge", "gt", "le", "lt", "one_of", "pattern", "email", "uuid", "unique", "parse", "cursor",
        "warehouse", "contract", "expression", "lookup", "phone", "date", "json",
    }
)  # fmt: skip
"""Rules whose reasons are made of the rule and the column, and never show a value."""
KEPT_IN_MEMORY = 32 * 1024 * 1024
"""Bytes of packed rejects that a load keeps; the rest waits in a temporary file."""
LENGTHS = struct.Struct(">II")
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


class Aside:
    """The packed rejects of a load until they are written, in little memory however many they are."""

    def __init__(self, kept_in_memory: int = KEPT_IN_MEMORY) -> None:
        """Begin without any."""
        self._file = tempfile.SpooledTemporaryFile(max_size=kept_in_memory)  # noqa: SIM115 - closed by `__exit__`

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


def pack(rejects: pa.Table, cipher: Cipher | None = None) -> bytes:
    """Return rejects as bytes, without anything personal in the clear if there is a cipher; no rejects are no bytes."""
    if rejects.num_rows == 0:
        return b""
    told = told_of(rejects)
    told = told if cipher is None else hidden(told, cipher)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, PACKED, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(told)
    return sink.getvalue().to_pybytes()


def told_of(rejects: pa.Table) -> pa.Table:
    """Return rejects with their codes, and with which of them hold a whole row."""
    rules = rejects["rule"]
    codes = pc.coalesce(rejects["code"], rules) if "code" in rejects.column_names else rules
    whole = pa.array([text is not None and is_row(text) for text in rejects["row"].to_pylist()], pa.bool_())
    clear = pa.repeat(pa.scalar(value=False), rejects.num_rows)
    told = rejects.select(REJECTS.names).append_column("code", codes)
    return told.append_column("is_row", whole).append_column("is_encrypted", clear).cast(PACKED)


def hidden(told: pa.Table, cipher: Cipher) -> pa.Table:
    """Return rejects whose rows are encrypted, and whose reasons cannot show a value."""
    texts = pa.array(cipher.encrypt([text or "" for text in told["row"].to_pylist()]), TEXT)
    reasons = [
        each["reason"] if each["rule"] in TELLING else f"the row broke the rule {each['rule']!r}"
        for each in told.select(["rule", "reason"]).to_pylist()
    ]
    yes = pa.repeat(pa.scalar(value=True), told.num_rows)
    columns = {"reason": pa.array(reasons, TEXT), "row": texts, "is_encrypted": yes}
    return pa.table([columns.get(name, told[name]) for name in PACKED.names], schema=PACKED)


def unpack(packed: bytes) -> pa.Table:
    """Return the rejects that `pack` packed, this one or that of an earlier version."""
    found = pa.ipc.open_stream(packed).read_all() if packed else PACKED.empty_table()
    return found if found.schema.names == PACKED.names else told_of(found)


def copy_rejects(
    conn: psycopg.Connection, load_id: LoadId, target: str, packed_of_units: Iterable[tuple[str, bytes]]
) -> None:
    """Write the rejects of units."""
    holds_everything = conn.info.parameter_status("server_encoding") == "UTF8"

    def payloads() -> Iterator[bytes]:
        for unit, packed in packed_of_units:
            found = unpack(packed)
            found = found if holds_everything else in_ascii(found)
            yield encoding.encode(as_rows(load_id, target, unit, found))

    copy_rows(conn, COPY, payloads())


def as_rows(load_id: LoadId, target: str, unit: str, rejects: pa.Table) -> pa.Table:
    """Return rejects as rows of the table, without the one character that PostgreSQL's text cannot hold."""
    same: dict[str, Any] = {"job_id": load_id.job_id.bytes, "run_id": load_id.run_id.bytes}
    same |= {"attempt": pa.scalar(load_id.attempt, pa.int32()), "target": target, "unit": unit}
    columns: dict[str, Any] = {name: pa.repeat(value, rejects.num_rows) for name, value in same.items()}
    for name in rejects.column_names:
        told = rejects[name]
        columns[name] = pc.replace_substring(told, "\x00", "\\u0000") if pa.types.is_string(told.type) else told
    return pa.table(columns)


def in_ascii(rejects: pa.Table) -> pa.Table:
    """Return rejects as a database of any encoding can hold them; a row stays JSON."""
    rows = [
        {name: as_json(value) if name == "row" and row["is_row"] else escaped(value) for name, value in row.items()}
        for row in rejects.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=rejects.schema)


def escaped(value: object) -> object:
    """Return text in ASCII; other values as they are."""
    return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value


def as_json(text: str) -> str:
    """Return JSON in ASCII: what is more than that stands within its strings."""
    return BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
