"""Indexes of a target, made after the data, and whether its statistics still tell what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.move import Move, listed
from dataproc.warehouse.target import Target

EMPTY = "SELECT NOT EXISTS (SELECT FROM {})"
INDEX = "CREATE UNIQUE INDEX ON {target} ({keys}) {where}"
CURRENT = "WHERE {current}"
FITTING = """
SELECT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indexprs IS NULL
    AND (SELECT bool_or(a.attname = %s) FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0])
)
"""
UNIQUE_ON = """
SELECT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indisunique AND i.indimmediate
    AND i.indexprs IS NULL AND i.indpred IS NULL
    AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])) = %s
)
"""
ROWS_BEFORE = "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = %s::regclass"
TELLING = 0.1
"""From which share of a table on new rows make its statistics wrong; PostgreSQL thinks so too."""


def is_empty(move: Move) -> bool:
    """Whether the target has no row."""
    return not move.target.exists or is_bare(move.conn, move.target)


def is_bare(conn: psycopg.Connection, target: Target) -> bool:
    """Whether a table that is there has no row."""
    return conn.execute(sql.SQL(EMPTY).format(target.identifier)).fetchone() == (True,)


def index_keys(move: Move, current: str | None = None) -> None:
    """Give a table that the load has made a unique index on its keys, so that later loads find their rows."""
    where = sql.SQL("") if current is None else sql.SQL(CURRENT).format(current=sql.Identifier(current))
    try:
        with move.conn.transaction():
            move.run(INDEX, keys=listed(move.keys), where=where)
    except pg.ProgramLimitExceeded:
        # Keys that are too long for an index are joined by their hashes.
        return


def is_unique_on(conn: psycopg.Connection, table: str, keys: Sequence[str]) -> bool:
    """Whether a unique index of a table lets each key come once; keys with a null may come more often."""
    return conn.execute(UNIQUE_ON, (table, sorted(keys))).fetchone() == (True,)


def note_on_index(move: Move) -> tuple[str, ...]:
    """Return a note if no index of the target begins with a key: then all of it is read in each load."""
    name = move.table
    if any(move.conn.execute(FITTING, (name, key)).fetchone() == (True,) for key in move.keys):
        return ()
    keys = ", ".join(move.keys)
    return (f"{move.target.name} has no index on its keys ({keys}): each load reads all of it; a unique one is best",)


def with_staleness(move: Move, effect: Effect) -> Effect:
    """Return an effect with whether the load is large against what the statistics of the target tell."""
    changed = effect.inserted + effect.updated + (effect.deleted or 0)
    return replace(effect, stale=changed > TELLING * rows_before(move.conn, move.table))


def rows_before(conn: psycopg.Connection, table: str) -> float:
    """Return how many rows a table has, as its statistics tell."""
    (rows,) = conn.execute(ROWS_BEFORE, (table,)).fetchone() or (0.0,)
    return float(rows)
