"""Rows that a statement was to delete or to close, and that a trigger or a rule of the table keeps as they are.

The count that PostgreSQL returns does not show them: a BEFORE trigger that returns null, or a rule that does something
else instead, leaves a row out without an error (PostgreSQL manual, "Overview of Trigger Behavior" and "Rules on INSERT,
UPDATE, and DELETE"). So the condition of the statement is looked at again; tables that can keep no row are spared it.
"""

from __future__ import annotations

from psycopg import sql

from dataproc.domain.errors import CountMismatchError
from dataproc.warehouse.modes.move import Move

BEFORE = 2
"""The bit of `pg_trigger.tgtype` for triggers that run before the row is written (TRIGGER_TYPE_BEFORE)."""
MAY_KEEP_ROWS = """
WITH RECURSIVE tree AS (
    SELECT %(table)s::regclass::oid AS id UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = id
)
SELECT EXISTS (SELECT FROM tree JOIN pg_trigger ON tgrelid = id WHERE tgtype & %(before)s <> 0 AND tgenabled <> 'D')
    OR EXISTS (SELECT FROM tree JOIN pg_rewrite ON ev_class = id WHERE ev_enabled <> 'D')
    OR EXISTS (SELECT FROM tree JOIN pg_class ON oid = id WHERE relkind = 'f')
"""


def demand_none(move: Move, left: str, action: str, /, **parts: sql.Composable) -> None:
    """Fail the load if a query that begins with `left`, its FROM clause, finds rows to which `action` was not done."""
    if not may_keep_rows(move):
        return
    (kept,) = move.ask(f"SELECT count(*) {left}", **parts)
    if kept:
        raise CountMismatchError(
            f"{kept} rows of {move.target.name} were to be {action} and are still there; "
            "a trigger or a rule of the table keeps them: change it, or load into another table"
        )


def may_keep_rows(move: Move) -> bool:
    """Whether a table, or one of its partitions, has a trigger or a rule that may leave rows out, or lies elsewhere."""
    row = move.conn.execute(MAY_KEEP_ROWS, {"table": move.table, "before": BEFORE}).fetchone()
    return row is not None and bool(row[0])
