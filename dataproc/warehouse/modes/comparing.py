"""Which rows of the target differ from the staged ones."""

from __future__ import annotations

from psycopg import sql

from dataproc.warehouse.modes.move import Move, listed, of

SPELLED_ALIKE = """
SELECT a.attname FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid)
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
  AND COALESCE(l.collisdeterministic, true)
  AND (b.typname IN ('bool', 'int2', 'int4', 'int8', 'oid', 'text', 'varchar', 'name', 'bytea', 'uuid', 'date',
                     'time', 'timestamp', 'timestamptz')
       OR (b.typname = 'numeric' AND (a.atttypmod >= 0 OR t.typtypmod >= 0)))
"""
"""Columns whose equal values are also written alike. Others (numbers of any scale, char, citext, the zeros of
floating-point numbers, numbers within jsonb) may be equal and look different, or have no equality at all (json, point):
for these the bytes decide."""


def spelled_alike(move: Move) -> set[str]:
    """Return the columns of the target whose equal values are written alike."""
    return {name for (name,) in move.conn.execute(SPELLED_ALIKE, (move.table,)).fetchall()}


def is_told_by_bytes(move: Move) -> bool:
    """Whether keys that are written differently are different keys, whatever the table's collations say."""
    return spelled_alike(move).issuperset(move.keys)


def differing(move: Move, names: tuple[str, ...]) -> sql.Composable:
    """Return the condition under which `s` and `t` differ in these columns; null is like null, NaN like NaN."""
    plain = spelled_alike(move)
    parts: list[sql.Composable] = [
        sql.SQL("{} IS DISTINCT FROM {}").format(of("s", name), of("t", name)) for name in names if name in plain
    ]
    if by_bytes := [name for name in names if name not in plain]:
        rows = (sql.SQL("ROW({})").format(listed(by_bytes, alias)) for alias in "st")
        parts.append(sql.SQL("record_image_ne({}, {})").format(*rows))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts)) if parts else sql.SQL("false")
