"""The columns of a table that is there, as the catalog describes them."""

from dataclasses import dataclass

import psycopg

DESCRIBE = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
                      ELSE format_type(a.atttypid, a.atttypmod) END,
       b.typname, a.attnotnull, a.attgenerated <> '' OR a.attidentity = 'a',
       a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid)
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column as the catalog describes it."""

    name: str
    sql_type: str
    base_sql_type: str
    base_type: str
    required: bool
    generated: bool
    has_default: bool

    @property
    def is_filled_by_table(self) -> bool:
        """Whether the table has a value where the source has none."""
        return self.generated or self.has_default


def describe(conn: psycopg.Connection, oid: int) -> tuple[Attribute, ...]:
    """Return the columns of a table."""
    return tuple(Attribute(*row) for row in conn.execute(DESCRIBE, (oid,)))
