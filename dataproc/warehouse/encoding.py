"""Arrow rows as the bytes of PostgreSQL's binary COPY, without its header and trailer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pgpq
import pyarrow as pa
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb
from xxhash import xxh3_128_digest

from dataproc.domain.errors import ContractViolationError

if TYPE_CHECKING:
    from pgpq._pgpq import EncoderBuilder  # a union that exists only in the stubs

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
"""Signature, no flags, no header extension."""
TRAILER = b"\xff\xff"


def digest(payload: bytes | memoryview) -> bytes:
    """Return what tells two encodings of a chunk apart: against chance, not against an enemy, and so the fastest."""
    return xxh3_128_digest(payload)


def encode(rows: pa.Table) -> bytes:
    """Return fitted `rows` in the binary form of COPY; a column with a value beyond what it can hold is named."""
    if rows.num_columns == 0:
        return b""
    try:
        return encoded(rows)
    except ValueError as exc:
        name = next(name for name in rows.column_names if not is_encodable(rows.select([name])))
        raise ContractViolationError(
            f"column {name} holds a value beyond the range of its PostgreSQL type ({rows.schema.field(name).type}); "
            "set such rows aside in a validate transform",
            column=name,
        ) from exc


def encoded(rows: pa.Table) -> bytes:
    """Return rows as pgpq encodes them; raises `ValueError` for a value out of range."""
    fields = [rows.schema.field(i) for i in range(rows.num_columns)]
    encoders = {field.name: encoder_of(field) for field in fields}
    encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(rows.schema, encoders)
    # Small batches are kept back until `finish`, which also writes the trailer. A large one is not copied again.
    _, *parts, last = encoder.write_header(), *map(encoder.write_batch, rows.to_batches()), encoder.finish()
    kept = [part for part in (*parts, last[: -len(TRAILER)]) if part]
    return kept[0] if len(kept) == 1 else b"".join(kept)


def is_encodable(rows: pa.Table) -> bool:
    """Whether pgpq can encode all values."""
    try:
        encoded(rows)
    except ValueError:
        return False
    return True


def encoder_of(field: pa.Field[pa.DataType]) -> EncoderBuilder:
    """Return pgpq's encoder for a column; jsonb is text with a version byte before it."""
    if (field.metadata or {}).get(b"coding") == b"jsonb":
        return StringEncoderBuilder.new_with_output(field, Jsonb())
    return pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)
