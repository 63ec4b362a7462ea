"""A table cut into pieces that cover every row once: by the places of rows on disk, or by the values of a column.

All pieces are read on one snapshot, so that a row which is moved by an update while they are read is in the piece
where the snapshot has it, and in no other. The run's session has the table open, so nobody rewrites it meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import psycopg
from psycopg import sql

from dataproc.domain.sources.database import Split
from dataproc.sources.database.relation import Relation

PIECE = 64 * 1024 * 1024
"""Bytes of a table that `auto` reads as one piece."""
MOST_PIECES = 1000
RANGE_SCANS = 140000
"""The version from which PostgreSQL reads a range of places without looking at the others."""
SAMPLED = 30_000
"""Rows of which a sample should consist, where statistics do not tell how values are spread."""

EXTENT = """
SELECT coalesce(max(pg_relation_size(leaf.oid)), 0)::bigint, coalesce(sum(pg_relation_size(leaf.oid)), 0)::bigint,
       coalesce(bool_and(leaf.relkind = 'r' AND amname = 'heap' OR leaf.relkind = 'm'), false),
       coalesce(sum(leaf.reltuples) FILTER (WHERE leaf.reltuples > 0), 0)::float8
FROM pg_class AS leaf LEFT JOIN pg_am ON pg_am.oid = leaf.relam
WHERE leaf.oid = %(table)s::regclass AND leaf.relkind IN ('r', 'm')
   OR leaf.oid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass) WHERE isleaf AND leaf.relkind <> 'p')
"""
CHILDREN = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = %s::regclass)"
HISTOGRAM = """
SELECT histogram_bounds::text::text[] FROM pg_stats
WHERE (quote_ident(schemaname) || '.' || quote_ident(tablename))::regclass = %s::regclass
  AND attname = %s AND most_common_vals IS NULL AND NOT inherited
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a table is: its largest part and all parts, in bytes; whether its rows have places; about its rows."""

    largest: int
    size: int
    has_places: bool
    rows: float


def extent_of(conn: psycopg.Connection[Any], relation: Relation) -> Extent | None:
    """Return how large a table is; `None` for a view or a query."""
    if relation.spec.table is None:
        return None
    row = conn.execute(EXTENT, {"table": relation.source}).fetchone()
    if row is None or row[1] == 0:
        return None
    children = conn.execute(CHILDREN, (relation.source,)).fetchone()
    partitioned = conn.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", (relation.source,))
    # A table that others inherit from gives their rows too, whose places are not in it.
    plain = bool((partitioned.fetchone() or (False,))[0]) or not (children and children[0])
    return Extent(row[0], row[1], bool(row[2]) and plain and conn.info.server_version >= RANGE_SCANS, row[3])


def conditions_of(
    conn: psycopg.Connection[Any], relation: Relation, extent: Extent | None, block_size: int
) -> Sequence[str]:
    """Return the conditions that cut what is read into pieces; an empty one stands for all rows."""
    split = relation.spec.split
    if isinstance(split, Split) and split.columns:
        cuts = cuts_of(conn, relation, extent, split.columns, split.units)
        return by_values(cuts, [relation.quoted(name) for name in split.columns])
    if split == "none" or extent is None or not extent.has_places:
        return [""]
    wanted = split.units if isinstance(split, Split) else ceil(extent.size / PIECE)
    return by_places(extent.largest // block_size, min(wanted, MOST_PIECES))


def by_places(blocks: int, pieces: int) -> Sequence[str]:
    """Return conditions on the place of a row; the first and the last piece are open, and hold whatever is outside."""
    edges = sorted({blocks * edge // pieces for edge in range(1, pieces)} - {0})
    lows = ["", *(f"ctid >= '({edge},0)'::tid" for edge in edges)]
    highs = [*(f"ctid < '({edge},0)'::tid" for edge in edges), ""]
    return [" AND ".join(filter(None, pair)) for pair in zip(lows, highs, strict=True)]


Cut = tuple[str, ...]
"""The values between two pieces, as text, one for each column."""


def by_values(cuts: Sequence[Cut], columns: Sequence[str]) -> Sequence[str]:
    """Return half-open conditions on columns, in their own order, and one for the rows that have no value in one.

    The cuts are written without a type: PostgreSQL takes those of the columns, with their collations.
    """
    if not cuts:
        return [""]
    key = in_row(columns)
    edges = [in_row([sql.Literal(value).as_string(None) for value in cut]) for cut in cuts]
    between = [f"{key} >= {low} AND {key} < {high}" for low, high in pairwise(edges)]
    ranges = [f"{key} < {edges[0]}", *between, f"{key} >= {edges[-1]}"]
    if len(columns) > 1:
        # A row compares as soon as its first columns differ, whether the others are null or not.
        present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        ranges = [f"{one} AND {present}" for one in ranges]
    return [*ranges, "(" + " OR ".join(f"{column} IS NULL" for column in columns) + ")"]


def in_row(parts: Sequence[str]) -> str:
    """Return a value, or several as a row."""
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def cuts_of(
    conn: psycopg.Connection[Any], relation: Relation, extent: Extent | None, columns: Sequence[str], pieces: int
) -> Sequence[Cut]:
    """Return the values between the pieces, without repetition: from the histogram, else from a sample."""
    one_column = relation.spec.table is not None and len(columns) == 1
    bounds = histogram(conn, relation, columns[0]) if one_column else ()
    found: Sequence[Cut]
    if len(bounds) > pieces:
        found = [(bounds[len(bounds) * at // pieces],) for at in range(1, pieces)]
    else:
        found = sample(conn, relation, extent, columns, pieces)
    return list(dict.fromkeys(found))


def histogram(conn: psycopg.Connection[Any], relation: Relation, column: str) -> Sequence[str]:
    """Return the bounds between which lie equally many rows.

    Empty without statistics, and where some values are common: the histogram leaves these out.
    """
    row = conn.execute(HISTOGRAM, (relation.source, column)).fetchone()
    return (row and row[0]) or ()


def sample(
    conn: psycopg.Connection[Any], relation: Relation, extent: Extent | None, columns: Sequence[str], pieces: int
) -> Sequence[Cut]:
    """Return the values at equal shares of a sample; the same data give the same ones."""
    names = [relation.quoted(name) for name in columns]
    key, present = ", ".join(names), " AND ".join(f"{name} IS NOT NULL" for name in names)
    source = relation.source
    if extent is not None and extent.rows > SAMPLED:
        source += f" TABLESAMPLE SYSTEM ({100 * SAMPLED / extent.rows}) REPEATABLE (0)"
    numbered = (
        f"SELECT {key}, row_number() OVER (ORDER BY {key}) AS place, count(*) OVER () AS total "
        f"FROM {source} WHERE {present}"
    )
    texts = ", ".join(f"{name}::text" for name in names)
    places = f"place = ANY(SELECT greatest(total * at / {pieces}, 1) FROM generate_series(1, {pieces - 1}) AS at)"
    query = f"SELECT {texts} FROM ({numbered}) AS numbered WHERE {places} ORDER BY place"
    return [tuple(row) for row in conn.execute(query.encode())]
