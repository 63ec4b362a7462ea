"""The cursor of an incremental read, in the words of PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta

from psycopg import sql

from dataproc.domain.memory import CursorKind
from dataproc.domain.sources.incremental import Incremental
from dataproc.sources.database.cursors import Cursor, kind_of, place_of
from dataproc.sources.database.postgres_types import PostgresColumn
from dataproc.sources.database.relation import Relation

KINDS: dict[str, CursorKind] = {
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "numeric": "number",
    "date": "timestamp",
    "timestamp": "timestamp",
    "text": "text",
    "character varying": "text",
}
MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US'


def cursor_of(relation: Relation, wanted: Incremental, columns: Sequence[PostgresColumn]) -> Cursor:
    """Return the cursor that a job names."""
    sql_type = columns[place_of(relation, wanted, [column.name for column in columns])].sql_type
    base = sql_type.partition("(")[0].partition(" with")[0]
    kind = kind_of(relation, wanted, KINDS, base)
    quoted = relation.quoted(wanted.cursor)
    match kind:
        case "number":
            return Cursor(wanted, relation, kind, quoted, f"max({quoted})::text")
        case "text":
            # The order of the watermark is that of code points, whatever the column's collation.
            ordered = f'{quoted} COLLATE "C"'
            return Cursor(wanted, relation, kind, ordered, f"max({ordered})", literal=quoted_text)
        case "timestamp":
            shown, finite = shown_moment(quoted, sql_type), f"isfinite(max({quoted}))::int"
            return Cursor(wanted, relation, kind, quoted, shown, finite, old_enough(quoted, sql_type, wanted.lag))


def shown_moment(quoted: str, sql_type: str) -> str:
    """Return the greatest moment as ISO 8601; the session's zone is UTC."""
    greatest = f"max({quoted})"
    zone = " || '+00:00'" if sql_type.endswith("with time zone") else ""
    shown = f"to_char({greatest}, '{'YYYY-MM-DD' if sql_type == 'date' else MOMENT}'){zone}"
    # An infinite moment has no such form, and must be seen.
    return f"CASE WHEN isfinite({greatest}) THEN {shown} ELSE {greatest}::text END"


def old_enough(quoted: str, sql_type: str, lag: timedelta) -> Sequence[str]:
    """Return the condition that leaves young rows for the next run, by the server's clock; a day counts as its end."""
    if not lag:
        return ()
    before = f"now() - interval '{lag // timedelta(microseconds=1)} microseconds'"
    return (f"{quoted} < ({before})::date" if sql_type == "date" else f"{quoted} <= {before}",)


def quoted_text(text: str) -> str:
    """Return text as it stands in a statement."""
    return sql.Literal(text).as_string(None)
