"""Arrow rows as the bytes of PostgreSQL's binary COPY, without its header and trailer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pgpq
import pyarrow as pa
import pyarrow.compute as pc
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.warehouse.columns import Column

if TYPE_CHECKING:
    from pgpq._pgpq import EncoderBuilder  # a union that exists only in the stubs

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
"""Signature, no flags, no header extension."""
TRAILER = b"\xff\xff"


def digest(payload: bytes) -> bytes:
    """Return what tells two encodings of a chunk apart."""
    return blake2b(payload, digest_size=16).digest()


def encode(rows: pa.Table) -> bytes:
    """Return fitted `rows` in the binary form of COPY."""
    fields = [rows.schema.field(i) for i in range(rows.num_columns)]
    encoders = {field.name: encoder_of(field) for field in fields}
    encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(rows.schema, encoders)
    # The encoder keeps small batches back until `finish`, which also writes the trailer.
    parts = [encoder.write_header(), *map(encoder.write_batch, rows.to_batches()), encoder.finish()]
    return b"".join(parts).removeprefix(HEADER).removesuffix(TRAILER)


def encoder_of(field: pa.Field[pa.DataType]) -> EncoderBuilder:
    """Return pgpq's encoder for a column; jsonb is text with a version byte before it."""
    if (field.metadata or {}).get(b"coding") == b"jsonb":
        return StringEncoderBuilder.new_with_output(field, Jsonb())
    return pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)


def fit(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Return `rows` with exactly `columns`, each in the type that COPY expects; `POSITION` is left out.

    A value that would change on the way is refused with its column and position.
    """
    positions = rows[POSITION]
    arrays = [fit_column(rows[column.name], column, positions) for column in columns]
    fields = [
        pa.field(column.name, array.type, metadata={"coding": column.coding})
        for column, array in zip(columns, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def fit_column(values: pa.ChunkedArray[Any], column: Column, positions: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return `values` as the column's type."""
    if column.coding == "uuid":
        return pa.chunked_array([uuid_bytes(values, column, positions)])
    try:
        if pa.types.is_nested(values.type):
            return as_json(values)
        if values.type == column.arrow_type:
            return values
        return values.cast(column.arrow_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as exc:
        where = first_misfit(values, column.arrow_type, positions)
        raise ContractViolationError(
            f"column {column.name} is {column.sql_type} in the target, and the source's {values.type} does not fit"
            f"{where}; cast it in a clean transform, or set such rows aside in a validate transform",
            column=column.name,
        ) from exc


def first_misfit(values: pa.ChunkedArray[Any], to: pa.DataType, positions: pa.ChunkedArray[Any]) -> str:
    """Return ` (first at position …)` for the first value that does not cast, or nothing when the types never fit."""
    for value, position in zip(values, positions, strict=True):
        try:
            pa.array([value.as_py()], values.type).cast(to)
        except pa.ArrowInvalid:
            return f" (first at position {position.as_py()})"
        except pa.ArrowNotImplementedError:
            break
    return ""


def as_json(values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return nested values as JSON text."""
    texts = [None if value is None else json.dumps(value, default=str) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def uuid_bytes(values: pa.ChunkedArray[Any], column: Column, positions: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Return uuids as their 16 bytes."""
    if pa.types.is_fixed_size_binary(values.type) and values.type.byte_width == 16:
        return pc.cast(values, pa.binary()).combine_chunks()
    codes: list[bytes | None] = []
    for value, position in zip(values.to_pylist(), positions, strict=True):
        try:
            codes.append(None if value is None else UUID(value).bytes)
        except (ValueError, AttributeError, TypeError) as exc:
            message = (
                f"column {column.name}: the value at position {position.as_py()} is no uuid; validate it as `uuid`"
            )
            raise ContractViolationError(message, column=column.name) from exc
    return pa.array(codes, pa.binary())
