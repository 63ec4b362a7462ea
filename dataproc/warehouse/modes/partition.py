"""`replace_partition`: the partitions that occur among the rows are put in place of those that are there."""

from __future__ import annotations

from psycopg import sql

from dataproc.domain.errors import ContractViolationError
from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.checks import rows_named
from dataproc.warehouse.modes.kept import demand_none
from dataproc.warehouse.modes.move import Move, of

PARTS = "CREATE TEMPORARY TABLE dataproc_parts ON COMMIT DROP AS SELECT DISTINCT {values} FROM {staged} AS s"
COUNT = "SELECT count(*) FROM dataproc_parts WHERE {has_null}"
DELETE = "DELETE FROM {target} AS t USING dataproc_parts AS p WHERE {same} AND {within}"
LEFT = "FROM {target} AS t JOIN dataproc_parts AS p ON {same} WHERE {within}"
WITH_NULLS = "FROM {target} AS t WHERE ({null_here}) AND EXISTS (SELECT FROM dataproc_parts AS p WHERE {alike})"
INSERT = "INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged}"
STARTS = {
    "date": "date_trunc({period}, {column}::timestamp)::date",
    "timestamp": "date_trunc({period}, {column})",
    "timestamptz": "date_trunc({period}, {column}, 'UTC')",
}
"""When the period of a value begins. A time with a zone is that of UTC, whatever the session's zone is."""
TYPE = """
SELECT b.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid) WHERE a.attrelid = %s::regclass AND a.attname = %s
"""


def replace_partitions(move: Move) -> Effect:
    """Delete the partitions that occur among the rows, and insert these."""
    names = move.destination.partition.by
    values = [value_of(move, name) for name in names]
    here, there = ([sql.SQL(v).format(**part_of(move, a, n)) for v, n in zip(values, names, strict=True)] for a in "ts")
    aliased = [sql.SQL("{} AS {}").format(v, sql.Identifier(f"p{at}")) for at, v in enumerate(there)]
    move.run(PARTS, values=sql.SQL(", ").join(aliased))
    parts = [of("p", f"p{at}") for at in range(len(names))]
    deleted = delete(move, here, parts)
    with rows_named(move):
        inserted = move.run(INSERT).rowcount
    move.demand(inserted, move.rows, "added")
    return Effect(inserted, deleted=deleted)


def part_of(move: Move, alias: str, name: str) -> dict[str, sql.Composable]:
    """Return what the expression for a partition is made of."""
    return {"column": of(alias, name), "period": sql.Literal(move.destination.partition.period)}


def value_of(move: Move, name: str) -> str:
    """Return the expression that tells the partition of a row by one column."""
    if move.destination.partition.period is None:
        return "{column}"
    found = move.conn.execute(TYPE, (move.table, name)).fetchone()
    kind = found[0] if found else ""
    if kind not in STARTS:
        raise ContractViolationError(
            f"partition: column {name} of {move.target.name} is {kind}, and only dates and times have periods; "
            "cast it in a clean transform, or leave `period` out",
            column=name,
        )
    return STARTS[kind]


def delete(move: Move, here: list[sql.Composed], parts: list[sql.Identifier]) -> int:
    """Delete the rows of the partitions; return how many. Null is a partition as well."""
    pairs = list(zip(here, parts, strict=True))
    same = sql.SQL(" AND ").join(sql.SQL("{} = {}").format(*pair) for pair in pairs)
    deleted = move.run(DELETE, same=same, within=within(move)).rowcount
    demand_none(move, LEFT, "deleted", same=same, within=within(move))
    has_null = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(f"p{at}")) for at in range(len(parts)))
    if move.ask(COUNT, has_null=has_null) == (0,):
        return deleted
    null_here = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(value) for value in here)
    alike = sql.SQL(" AND ").join(sql.SQL("{} IS NOT DISTINCT FROM {}").format(*pair) for pair in pairs)
    deleted += move.run(f"DELETE {WITH_NULLS}", null_here=null_here, alike=alike).rowcount
    demand_none(move, WITH_NULLS, "deleted", null_here=null_here, alike=alike)
    return deleted


def within(move: Move) -> sql.Composable:
    """Return a condition that an index or PostgreSQL's own partitions can use: not before the first period."""
    if move.destination.partition.period is None:
        return sql.SQL("true")
    column = of("t", move.destination.partition.by[0])
    return sql.SQL("{} >= (SELECT min(p0) FROM dataproc_parts)").format(column)
