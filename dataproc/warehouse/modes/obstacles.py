"""What hangs on a table that a swap by renaming would lose, so that it is replaced in place."""

from __future__ import annotations

import psycopg

OBSTACLE = """
WITH t AS (SELECT *, oid AS id FROM pg_class WHERE oid = %(table)s::regclass),
i AS (SELECT c.*, x.indisclustered, x.indisreplident, x.indisvalid, k.oid AS constraint_id
      FROM t JOIN pg_index x ON x.indrelid = t.id JOIN pg_class c ON c.oid = x.indexrelid
      LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = t.id),
d AS (SELECT p.*, c.relkind, k.contype FROM t JOIN pg_depend p
      ON p.refobjid IN (t.id, t.reltype) AND p.refclassid IN ('pg_class'::regclass, 'pg_type'::regclass)
      LEFT JOIN pg_class c ON p.classid = 'pg_class'::regclass AND c.oid = p.objid
      LEFT JOIN pg_constraint k ON p.classid = 'pg_constraint'::regclass AND k.oid = p.objid)
SELECT 'it is partitioned' FROM t WHERE relkind <> 'r'
UNION ALL SELECT 'it is a partition, or has children' FROM t
    WHERE relispartition OR EXISTS (SELECT FROM pg_inherits WHERE t.id IN (inhrelid, inhparent))
UNION ALL SELECT 'it belongs to another role' FROM t WHERE pg_get_userbyid(relowner) <> current_user
UNION ALL SELECT 'nothing may be made in its schema' FROM t WHERE NOT has_schema_privilege(relnamespace, 'CREATE')
UNION ALL SELECT 'it has row security' FROM t WHERE relrowsecurity OR relforcerowsecurity
UNION ALL SELECT 'it is stored in a way of its own' FROM t
    WHERE relpersistence <> 'p' OR reltablespace <> 0 OR reloftype <> 0 OR relreplident <> 'd'
       OR relam <> (SELECT oid FROM pg_am WHERE amname = current_setting('default_table_access_method'))
       OR EXISTS (SELECT FROM pg_class o WHERE o.oid = t.reltoastrelid AND o.reloptions IS NOT NULL)
UNION ALL SELECT 'it has triggers or foreign keys' FROM t WHERE EXISTS (SELECT FROM pg_trigger WHERE tgrelid = t.id)
UNION ALL SELECT 'one of its columns has grants or settings of its own' FROM t WHERE EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = t.id AND attnum > 0 AND NOT attisdropped
    AND (attacl IS NOT NULL OR attstattarget >= 0 OR attidentity <> '' OR EXISTS (
        SELECT FROM unnest(attoptions) AS o WHERE split_part(o, '=', 1) = ANY (%(column_options)s))))
UNION ALL SELECT 'somebody else has granted rights on it' FROM t
    WHERE EXISTS (SELECT FROM aclexplode(t.relacl) AS a WHERE a.grantor <> t.relowner)
UNION ALL SELECT 'its index ' || relname || ' has settings of its own' FROM i
    WHERE indisclustered OR indisreplident OR NOT indisvalid OR reltablespace <> 0
       OR (constraint_id IS NOT NULL AND reloptions IS NOT NULL)
UNION ALL SELECT 'it has security labels' FROM t WHERE EXISTS (SELECT FROM pg_seclabel s WHERE s.objoid = t.id)
UNION ALL SELECT 'it belongs to an extension' FROM t WHERE EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = t.id AND deptype = 'e')
UNION ALL SELECT pg_describe_object(classid, objid, objsubid) || ' depends on it' FROM d
    WHERE (classid = 'pg_attrdef'::regclass OR relkind IN ('i', 't') OR contype IN ('p', 'u', 'c', 'x', 'n')
           OR (classid = 'pg_type'::regclass AND deptype = 'i')) IS NOT TRUE
LIMIT 1
"""
COLUMN_OPTIONS = ["n_distinct", "n_distinct_inherited"]
"""The options of a table's column that `ALTER TABLE` documents.

PostgreSQL 15.20 keeps an option of its own (`pg_attver`) at every column, which a new table gets by itself.
"""
DELETING = """
SELECT conname, conrelid::regclass::text FROM pg_constraint
WHERE confrelid = %s::regclass AND contype = 'f' AND confdeltype <> 'a' ORDER BY 1 LIMIT 1
"""


def obstacle(conn: psycopg.Connection, table: str) -> str | None:
    """Return why a table cannot be swapped for another without losing something; `None`: it can."""
    found = conn.execute(OBSTACLE, {"table": table, "column_options": COLUMN_OPTIONS}).fetchone()
    return None if found is None else str(found[0])


def deleting_key(conn: psycopg.Connection, table: str) -> tuple[str, str] | None:
    """Return a foreign key, and its table, that acts upon rows when those of `table` are deleted."""
    return conn.execute(DELETING, (table,)).fetchone()
