"""Filling an empty table that has indexes: by a new one that takes its place, so that they are built after the data."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.checks import rows_named
from dataproc.warehouse.modes.indexes import is_bare
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.obstacles import obstacle
from dataproc.warehouse.modes.swap import NewTable
from dataproc.warehouse.target import Target

MANY = 100_000
"""Rows from which on it pays to build indexes after the data."""
LARGE = 16 * 1024 * 1024
"""Bytes of a source that has so many, where it does not say."""

INDEXED = "SELECT relhasindex FROM pg_class WHERE oid = %s::regclass"
HOLD = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE NOWAIT"
POUR = "INSERT INTO {target} ({columns}) SELECT {columns} FROM {new}"


def gives_many(plan: SourcePlan) -> bool:
    """Whether a source seems to give many rows."""
    return (plan.rows or 0) >= MANY or plan.size >= LARGE


def can_be_filled(conn: psycopg.Connection, target: Target) -> bool:
    """Whether a table is empty and has indexes; from then on nobody else fills it, or the answer is no."""
    name = target.identifier.as_string(conn)
    if not target.exists or conn.execute(INDEXED, (name,)).fetchone() != (True,) or not is_bare(conn, target):
        return False
    if obstacle(conn, name) is not None:
        return False
    try:
        with conn.transaction():
            conn.execute(sql.SQL(HOLD).format(target.identifier))
    except pg.LockNotAvailable:
        return False
    return is_bare(conn, target)


def fill_by(move: Move, new: NewTable, rows: int) -> Effect:
    """Let the new table, which has the rows, take the place of the empty one."""
    with rows_named(move):
        new.build_indexes()
    try:
        new.hold_old()
    except pg.LockNotAvailable:
        # Somebody is reading it, though there is nothing to read.
        move.demand(move.run(POUR, new=new.identifier).rowcount, rows, "added")
        new.run("DROP TABLE {new}")
        return Effect(inserted=rows)
    new.take_place()
    notes = (f"{move.target.name} was empty, and is a new table with the same indexes",)
    return Effect(inserted=rows, notes=notes, set_aside=True)
