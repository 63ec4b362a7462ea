"""The laws of every transform: what comes out is what was announced, accounted for, in order, and always the same."""

import pickle
from typing import Any

import pyarrow as pa

from dataproc.domain.chunk import POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.ports.pipeline import Transform

KEY = "a2V5IGtleSBrZXkga2V5IGtleSBrZXkga2V5IGtleSE="
"""32 bytes in base64."""


def a_chunk(first: int = 0, **columns: Any) -> Chunk:
    """Return a chunk of these columns, whose rows are numbered from `first`."""
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), first), no_rejects()), last=True)


def schema_of(chunk: Chunk) -> pa.Schema:
    """Return the columns of a chunk without positions."""
    return chunk.rows.drop_columns([POSITION]).schema


def applied(step: Transform, chunk: Chunk) -> Chunk:
    """Return the chunk after a step that holds the laws."""
    announced = step.schema(schema_of(chunk))
    after = step.apply(chunk)
    assert after.rows.schema.names == [*announced.names, POSITION]
    assert after.rows.schema.types[:-1] == announced.types
    assert after.read == after.rows.num_rows + after.rejected + after.filtered + after.deduplicated
    assert positions(after) == sorted(set(positions(after)))
    assert set(positions(after)) <= set(positions(chunk))
    copy: Transform = pickle.loads(pickle.dumps(step))  # noqa: S301 - our own value
    assert copy.apply(chunk) == after
    return after


def in_pieces(step: Transform, chunk: Chunk, at: int) -> list[Chunk]:
    """Return what a step makes of a chunk that is cut in two."""
    step.schema(schema_of(chunk))
    pieces = [chunk.rows[:at], chunk.rows[at:]]
    return [step.apply(chunk_of("unit-1", 0, Piece(rows, no_rejects()), last=True)) for rows in pieces]


def demand_same_in_pieces(step: Transform, chunk: Chunk, at: int) -> None:
    """Refuse a step for which it matters where chunks end."""
    whole, parts = applied(step, chunk), in_pieces(step, chunk, at)
    assert pa.concat_tables(part.rows for part in parts).to_pylist() == whole.rows.to_pylist()
    assert pa.concat_tables(part.rejects for part in parts).to_pylist() == whole.rejects.to_pylist()
    assert sum(part.filtered for part in parts) == whole.filtered


def positions(chunk: Chunk) -> list[int]:
    """Return the positions of a chunk's rows."""
    found: list[Any] = chunk.rows[POSITION].to_pylist()
    return found


def columns(chunk: Chunk) -> dict[str, list[Any]]:
    """Return the columns of a chunk without positions."""
    found: dict[str, list[Any]] = chunk.rows.drop_columns([POSITION]).to_pydict()
    return found
