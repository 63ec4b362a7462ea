"""A merge that changes much of a table: the table is written anew, and takes the place of the old one.

An update writes each changed row beside its old version, enters it into every index and leaves the old one to vacuum;
for a million of two million rows that takes twice as long as writing all of them once. Here the rows of the load are in
the new table already, which was made like the target; those that the load does not have join them, indexes are built
after the data, and the old table is dropped. All rows are frozen: who looks with an old snapshot sees them, never none.
"""

from __future__ import annotations

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.unit import SourcePlan
from dataproc.warehouse.modes.checks import rows_named
from dataproc.warehouse.modes.filling import MANY
from dataproc.warehouse.modes.freezing import move_some
from dataproc.warehouse.modes.indexes import is_unique_on, rows_before
from dataproc.warehouse.modes.move import Move, matching
from dataproc.warehouse.modes.obstacles import obstacle
from dataproc.warehouse.modes.swap import NewTable
from dataproc.warehouse.target import Target

MUCH = 0.25
"""From which share of changed rows on a table is written anew."""

LEVEL = "SELECT current_setting('wal_level')"
COUNT = "SELECT count(*) FROM {target}"
OTHERS = "SELECT {columns} FROM {target} AS t WHERE NOT EXISTS (SELECT FROM {staged} AS s WHERE {same})"


def may_be_rebuilt(conn: psycopg.Connection, target: Target, destination: Destination, plan: SourcePlan) -> bool:
    """Whether the rows of a load should go into a table that could take the place of the target.

    Where changes are logged row by row, such a table costs more than one that only holds the rows for a while.
    """
    name = target.identifier.as_string(conn)
    return (
        destination.merge != "insert_only"
        and destination.delete_flag is None
        and conn.execute(LEVEL).fetchone() == ("minimal",)
        and (plan.rows is None or plan.rows >= MUCH * rows_before(conn, name))
        and {column.name for column in target.columns} == {a.name for a in target.attributes if not a.generated}
        and is_unique_on(conn, name, destination.keys)
        and obstacle(conn, name) is None
    )


def rebuild(move: Move, table: NewTable, new: int, changed: int) -> str | None:
    """Let the new table, which has the rows of the load, take the place of the target; return what to tell of that.

    `None`: an update is less work, others are reading the target and do not let go, or something hangs on it by now.
    """
    if changed < MANY:
        return None
    (before,) = move.ask(COUNT)
    others = before - (move.rows - new)
    if changed < max(MUCH * before, others) or obstacle(move.conn, move.table) is not None:
        return None
    try:
        table.hold_old()
    except pg.LockNotAvailable:
        return None
    if others:
        move.demand(move_some(table, others_of(move)), others, "kept")
    with rows_named(move):
        table.build_indexes()
    table.take_place()
    return f"much of {move.target.name} had changed: it was written anew, and is a new table with the same indexes"


def others_of(move: Move) -> sql.Composed:
    """Return the query for the rows of the target that the load does not have."""
    return sql.SQL(OTHERS).format(
        columns=move.target.column_list, target=move.target.identifier, staged=move.staged, same=matching(move.keys)
    )
