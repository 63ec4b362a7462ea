"""Rows moved into a new table frozen: who looks with an older snapshot sees them too, and never an empty table.

Rows that `INSERT` writes are invisible to snapshots that were taken before; where a new table takes the place of
another, a transaction of level REPEATABLE READ would find it empty. Only COPY freezes rows, so they pass through here.
https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO

import psycopg
from psycopg import sql

from dataproc.warehouse.copying import copy_stream
from dataproc.warehouse.modes.swap import NewTable

IN_MEMORY = 64 * 1024 * 1024
"""Bytes of rows that are kept in memory on their way; more are kept in a file."""
BLOCKS = 4096
"""Blocks of a table that are moved at a time: 32 MB of rows, unless they are stored apart."""
AT_ONCE = 1024 * 1024

SIZE = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int"
SOME = "SELECT {columns} FROM {source} WHERE ctid >= {first} AND ctid < {end}"
OUT = "COPY ({query}) TO STDOUT (FORMAT BINARY)"
INTO = "COPY {new} ({columns}) FROM STDIN (FORMAT BINARY, FREEZE)"


def move_all(table: NewTable, source: sql.Identifier, blocks_at_once: int = BLOCKS) -> int:
    """Move the rows of a table, which has the columns of the target, some blocks at a time; return how many."""
    return sum(move_some(table, query) for query in pieces(table, source, blocks_at_once))


def pieces(table: NewTable, source: sql.Identifier, blocks_at_once: int) -> Iterator[sql.Composed]:
    """Yield queries that together return every row of a table once."""
    (blocks,) = table.conn.execute(SIZE, (source.as_string(table.conn),)).fetchone() or (0,)
    for first in range(0, blocks, blocks_at_once):
        ends = {"first": f"({first},0)", "end": f"({first + blocks_at_once},0)"}
        yield sql.SQL(SOME).format(
            columns=table.target.column_list, source=source, **{name: sql.Literal(tid) for name, tid in ends.items()}
        )


def move_some(table: NewTable, query: sql.Composable) -> int:
    """Move the rows of a query, which gives the columns that the load fills; return how many."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as rows:
        copy_out(table.conn, query, rows)
        rows.seek(0)
        into = sql.SQL(INTO).format(new=table.identifier, columns=table.target.column_list)
        return copy_stream(table.conn, into, iter(partial(rows.read, AT_ONCE), b""))


def copy_out(conn: psycopg.Connection, query: sql.Composable, into: IO[bytes]) -> None:
    """Write the rows of a query to a file."""
    with conn.cursor() as cursor, cursor.copy(sql.SQL(OUT).format(query=query)) as copy:
        for data in copy:
            into.write(data)
