"""What became of every row of a published load."""

from uuid import UUID

import psycopg

from dataproc.domain.chunk import Account
from dataproc.domain.memory import Window
from dataproc.ports.warehouse import Reconciliation, UnitAccount
from dataproc.warehouse.ledger import effect_of

LEDGER = """
SELECT target, way, published_at, rows_announced,
       cursor, read_after, read_up_to, rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated,
       rows_inserted, rows_updated, rows_deleted, rows_unchanged, notes
FROM dataproc_load.load_ledger WHERE job_id = %s
"""
UNITS = """
SELECT unit, rows_announced, rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated
FROM dataproc_load.load_unit WHERE job_id = %s AND target = %s ORDER BY unit
"""


def reconcile(conn: psycopg.Connection, job_id: UUID) -> Reconciliation | None:
    """Return the account of a published load, unit by unit; `None`: nothing was published."""
    row = conn.execute(LEDGER, (job_id,)).fetchone()
    if row is None:
        return None
    target, way, published_at, announced, cursor, after, up_to, *counted = row
    units = conn.execute(UNITS, (job_id, target)).fetchall()
    accounts = tuple(UnitAccount(unit, told, Account(*rest)) for unit, told, *rest in units)
    window = None if cursor is None else Window(cursor, after, up_to)
    effect = effect_of(*counted[5:])
    return Reconciliation(target, way, published_at, Account(*counted[:5]), announced, accounts, window, effect)
