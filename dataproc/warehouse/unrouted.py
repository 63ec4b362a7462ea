"""Rows that belong to no partition of their target: PostgreSQL names none of them, and refuses the whole statement.

They are found by the constraints of the partitions (`pg_get_partition_constraintdef`), once a statement was refused, so
that other loads do not pay for it.
"""

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.warehouse.connection import first_line
from dataproc.warehouse.others import Others, Reason

CONSTRAINTS = """
WITH RECURSIVE tree AS (
    SELECT %s::regclass::oid AS id UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = id
)
SELECT COALESCE(pg_get_partition_constraintdef(id), 'true') FROM tree JOIN pg_class ON oid = id WHERE relkind <> 'p'
"""
FIND = """
CREATE TEMPORARY TABLE dataproc_others ON COMMIT DROP AS
SELECT __unit, __position FROM {rows} WHERE ({fits}) IS NOT TRUE
"""


def is_unrouted(exc: pg.CheckViolation) -> bool:
    """Whether PostgreSQL found no partition for a row: unlike a check, that has no constraint with a name."""
    return exc.diag.constraint_name is None


def set_aside_unrouted(others: Others, exc: pg.CheckViolation) -> bool:
    """Set aside the rows that PostgreSQL refused with `exc`; return whether they could be found.

    They cannot where the partition key has a column that the load does not fill.
    """
    table = others.target.identifier.as_string(others.conn)
    found = [sql.SQL(text) for (text,) in others.conn.execute(CONSTRAINTS, (table,)).fetchall()]
    fits = sql.SQL(" OR ").join(sql.SQL("({})").format(each) for each in found) if found else sql.SQL("false")
    try:
        with others.conn.transaction():
            others.conn.execute(sql.SQL(FIND).format(rows=others.rows, fits=fits))
    except psycopg.errors.UndefinedColumn:
        return False
    before = others.tally.account.rejected
    others.set_aside(Reason("warehouse", None, first_line(exc), exc.sqlstate))
    others.forget()
    return others.tally.account.rejected > before
