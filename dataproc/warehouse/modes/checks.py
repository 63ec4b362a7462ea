"""What the keys of staged rows must be, and which rows broke a unique index: named by unit and position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.errors import BadDataError, ContractViolationError, RowRefusedError
from dataproc.warehouse.modes.move import Move, listed, matching
from dataproc.warehouse.target import Target

NULLS = "SELECT count(*) FROM {staged} WHERE {missing}"
FIRST_NULL = "SELECT __unit, __position FROM {staged} WHERE {missing} ORDER BY 1, 2 LIMIT 1"
UNIQUE = "CREATE UNIQUE INDEX ON {staged} ({keys})"
HAS_DOUBLES = "SELECT EXISTS (SELECT FROM {staged} GROUP BY {keys} HAVING count(*) > 1)"
DOUBLES = """
SELECT count(*), (array_agg(ARRAY[__unit, __position] ORDER BY __unit, __position))[1:1]
FROM (SELECT __unit, __position, row_number() OVER (PARTITION BY {keys} ORDER BY __unit, __position) AS place
      FROM {staged}) AS ranked
WHERE place > 1
"""
COLUMNS_OF = """
SELECT array_agg(a.attname::text ORDER BY k.place)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE n.nspname = ANY(%s) AND c.relname = %s AND k.place <= i.indnkeyatts
GROUP BY c.oid, n.nspname ORDER BY n.nspname = %s DESC LIMIT 1
"""
CLASHES = """
SELECT __unit, __position FROM {staged} AS s
WHERE EXISTS (SELECT FROM {target} AS t WHERE {same} AND NOT ({itself}))
   OR ROW({unique}) IN (SELECT {unique} FROM {staged} GROUP BY {unique} HAVING count(*) > 1)
ORDER BY 1, 2 LIMIT 4
"""
FOUND_LATER = "which ones is found out in staging"
NAMED = 3
"""Rows that an error names; there may be more."""


def count_nulls(move: Move, names: tuple[str, ...]) -> int:
    """Return how many rows have null in one of these columns."""
    (count,) = move.ask(NULLS, missing=missing_in(names))
    return int(count)


def missing_in(names: tuple[str, ...]) -> sql.Composed:
    """Return the condition for rows that have null in one of these columns."""
    return sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in names)


def refuse_unclear_keys(move: Move) -> None:
    """Refuse rows whose keys do not tell one from another, unless they are known to."""
    if not move.distinct:
        refuse_nulls(move, move.keys, "a key")
        refuse_doubles(move)


def refuse_nulls(move: Move, names: tuple[str, ...], role: str) -> None:
    """Refuse rows that have null in a column that must tell something; say how many, and which is the first."""
    if count := count_nulls(move, names):
        demand_places(move)
        unit, position = move.ask(FIRST_NULL, missing=missing_in(names))
        columns = ", ".join(map(repr, names))
        raise BadDataError(
            f"{count} rows have null in {columns} ({role}), the first is {place_of(move, unit, position)}; "
            "set such rows aside in a validate transform, or drop them in a clean transform",
            columns=names,
            rows=count,
        )


def refuse_doubles(move: Move) -> None:
    """Refuse rows with the same keys; afterwards there is an index on the keys of the staged rows."""
    keys = listed(move.keys)
    if not has_doubles(move, keys):
        return
    demand_places(move)
    count, [[unit, position]] = move.ask(DOUBLES, keys=keys)
    raise BadDataError(
        f"{count} rows have the same keys ({', '.join(map(repr, move.keys))}) as rows before them, "
        f"the first is {place_of(move, unit, position)}; add a dedupe transform with these keys",
        columns=move.keys,
        rows=count,
    )


def has_doubles(move: Move, keys: sql.Composed) -> bool:
    """Return whether keys come twice; building an index is the fastest way to find out, as it is parallel."""
    try:
        with move.conn.transaction():
            move.run(UNIQUE, keys=keys)
    except pg.UniqueViolation:
        return True
    except pg.ProgramLimitExceeded:
        # A key may be too long for an index.
        return bool(move.ask(HAS_DOUBLES, keys=keys)[0])
    return False


def demand_places(move: Move) -> None:
    """Send rows that do not tell where they come from the staged way, in which those that are wrong can be named."""
    if not move.placed:
        raise RowRefusedError(f"rows do not fit {move.target.name}; {FOUND_LATER}")


@contextmanager
def unless_doubled(target: Target) -> Iterator[None]:
    """Send rows that break a unique index on their way into it the staged way, in which they can be named."""
    try:
        yield
    except pg.UniqueViolation as exc:
        raise RowRefusedError(f"rows do not fit {target.name}; {FOUND_LATER}") from exc


def place_of(move: Move, unit: int, position: int) -> str:
    """Return where a staged row comes from."""
    return f"{move.plan.units[unit].id}, row {position}"


@contextmanager
def rows_named(move: Move) -> Iterator[None]:
    """Let an error about a unique index of the target name the rows that broke it, and none of their values."""
    try:
        with move.conn.transaction():
            yield
    except pg.UniqueViolation as exc:
        demand_places(move)
        diag = exc.diag
        # An index of a new table is gone with the savepoint; the one that it was made like is in the target's schema.
        schemas = [diag.schema_name, move.target.schema]
        columns = move.conn.execute(COLUMNS_OF, (schemas, diag.constraint_name, diag.schema_name)).fetchone()
        places = clashes(move, [name for name in (columns and columns[0]) or [] if name is not None])
        raise ContractViolationError(
            f'rows do not fit {move.target.name}: "{diag.constraint_name}" allows each key once{places}; '
            "leave such rows out, or change the table",
            constraint=diag.constraint_name,
        ) from exc


def clashes(move: Move, columns: list[str]) -> str:
    """Return which staged rows break a unique index on `columns`, as the end of a sentence."""
    loaded = {column.name for column in move.target.columns}
    if not columns or not loaded.issuperset(columns):
        return ""
    # `replace` leaves no row of the target that a new one could clash with.
    nothing = sql.SQL("true" if move.destination.mode == "replace" else "false")
    itself = matching(move.keys) if move.keys else nothing
    found = move.run(CLASHES, same=matching(columns), unique=listed(columns), itself=itself).fetchall()
    shown = "; ".join(place_of(move, unit, position) for unit, position in found[:NAMED])
    more = " and more" if len(found) > NAMED else ""
    return f", and these rows break that: {shown}{more}" if found else ""
