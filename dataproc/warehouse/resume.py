"""Going on where an earlier epoch of the job was lost: what it has staged is staged, and need not be read again.

The staging table is renamed to that of the new epoch, and its chunks are put under the new epoch's key, in one
transaction. A zombie of the old epoch then finds neither: it cannot add a row to what was taken over.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.chunk import LoadedChunk
from dataproc.domain.tally import kept
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.staging import end_users, identifier_of, key_names, staging_name, staging_table
from dataproc.warehouse.target import Target

CHUNK_FORMAT = 3
"""Raised when a release stages chunks otherwise: 2, text travels as the characters of the source; 3, with edges."""

EARLIER = """
SELECT epoch, staging_table, key_tables FROM dataproc_load.load_staging
WHERE job_id = %s AND epoch < %s AND target = %s AND fingerprint = %s ORDER BY epoch DESC LIMIT 1 FOR UPDATE
"""
SUM_LOADED = """
SELECT COALESCE(sum(rows_loaded), 0) FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch = %s AND target = %s
"""
REGISTER_ANEW = """
UPDATE dataproc_load.load_staging SET epoch = %s, staging_table = %s WHERE job_id = %s AND epoch = %s AND target = %s
"""
MOVE_CHUNKS = "UPDATE dataproc_load.load_chunk SET epoch = %s WHERE job_id = %s AND epoch = %s AND target = %s"
CHUNKS = """
SELECT unit, seq, last, rows_read, rows_loaded, rows_rejected, rows_filtered, digest, rows_deduplicated, mark, high,
       discarded, broken, edge
FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch = %s AND target = %s ORDER BY unit, seq
"""


def fingerprint(
    plan: SourcePlan,
    schema: pa.Schema,
    target: Target,
    across: Across = NOTHING,
) -> bytes:
    """Return what tells two loads of a job apart.

    The ids of the units hold the versions of what they are read from; another version of this program may cut chunks
    otherwise.
    """
    told = hashlib.sha256(f"{version('dataproc')} {CHUNK_FORMAT}".encode())
    load = (
        schema.to_string(),
        repr((target.staged_columns, target.placed, target.checks)),
        repr(plan.move),
        repr((across, [rule.schema.to_string() for rule in across.rules])),
    )
    for part in (*load, *(unit.id for unit in plan.units)):
        told.update(b"\0" + part.encode())
    return told.digest()


def take_over(conn: psycopg.Connection, load_id: LoadId, target: Target, same: bytes) -> bool:
    """Take over what the latest earlier epoch has staged, if it was loading the same; return whether there was such."""
    row = conn.execute(EARLIER, (load_id.job_id, load_id.epoch, target.name, same)).fetchone()
    if row is None:
        return False
    epoch, table, keys = row
    key = (load_id.job_id, epoch, target.name)
    # A transaction of its own within ours: what cannot be taken over is left for the next step to drop.
    with suppress(pg.UndefinedTable), conn.transaction():
        new = staging_name(load_id)
        for name, after in zip((table, *key_names(table, keys)), (new, *key_names(new, keys)), strict=True):
            rename(conn, name, after)
        if not is_as_told(conn, key, load_id):
            raise psycopg.Rollback
        conn.execute(MOVE_CHUNKS, (load_id.epoch, *key))
        conn.execute(REGISTER_ANEW, (load_id.epoch, staging_name(load_id), *key))
        return True
    return False


def rename(conn: psycopg.Connection, table: str, new: str) -> None:
    """Give a staging table its new name; from here on the zombies of the earlier epoch find no table."""
    end_users(conn, table)
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(identifier_of(table), sql.Identifier(new)))


def is_as_told(conn: psycopg.Connection, key: tuple[object, ...], load_id: LoadId) -> bool:
    """Whether the table has as many rows as the chunks under `key` say: PostgreSQL empties it when it recovers."""
    told = conn.execute(SUM_LOADED, key).fetchone()
    counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(staging_table(load_id))).fetchone()
    return told == counted


def chunks_to_keep(conn: psycopg.Connection, load_id: LoadId, target: Target) -> tuple[LoadedChunk, ...]:
    """Return the chunks that need not be read again; the others will be found to be twins."""
    rows = conn.execute(CHUNKS, (load_id.job_id, load_id.epoch, target.name)).fetchall()
    chunks = [as_chunk(row) for row in rows]
    return tuple(chunk for unit in by_unit(chunks) for chunk in kept(unit))


def as_chunk(row: tuple[Any, ...]) -> LoadedChunk:
    """Return the chunk that a row of `load_chunk` tells."""
    discarded, broken = (tuple((name, count) for name, count in each) for each in row[11:13])
    chunk = replace(LoadedChunk(*row[:8]), deduplicated=row[8], mark=row[9], high=row[10])
    return replace(chunk, discarded=discarded, broken=broken, edge=row[13])


def by_unit(chunks: Iterable[LoadedChunk]) -> Iterable[dict[int, LoadedChunk]]:
    """Return the chunks of each unit by their numbers."""
    units: dict[str, dict[int, LoadedChunk]] = {}
    for chunk in chunks:
        units.setdefault(chunk.unit, {})[chunk.seq] = chunk
    return units.values()
