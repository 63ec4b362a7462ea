"""Tables and queries of PostgreSQL, read in parallel on one snapshot, by binary COPY into Arrow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import psycopg
import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.boundary import notes_on
from dataproc.sources.database.cursors import EVERYTHING, AtEdge, Bounds, Part, flags_of
from dataproc.sources.database.fitting import piece_of
from dataproc.sources.database.postgres_copy import copying
from dataproc.sources.database.postgres_cursor import cursor_of
from dataproc.sources.database.postgres_errors import translated
from dataproc.sources.database.postgres_session import Held, PostgresLogin, Snapshot, take_snapshot
from dataproc.sources.database.postgres_types import PostgresColumn, describe, note_of, schema_of, wire_of
from dataproc.sources.database.ranges import Extent, conditions_of, extent_of
from dataproc.sources.database.relation import Relation, digest, refuse_long_names

SHARED = "read as one unit: other sessions cannot see this snapshot (a replica, or a pooler such as pgBouncer)"
NO_ROWS = pa.table({})
WHOLE = "read as one unit: only tables are divided, or a column that split names"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a worker asks for: a statement, the columns that it gives, and the snapshot that it is asked on.

    `as_is` is the statement whose rows are handed on as they are.
    """

    statement: str
    columns: tuple[PostgresColumn, ...]
    snapshot: str | None
    as_is: str = ""
    edge: AtEdge | None = None


@dataclass(frozen=True, slots=True)
class PostgresSource:
    """Rows of a table, a view or a query."""

    login: PostgresLogin
    spec: DatabaseSource
    text_columns: frozenset[str] = frozenset()

    @property
    def relation(self) -> Relation:
        """What is read."""
        return Relation(self.spec)

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"{self.login.told}, {self.relation.label}"

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Take a snapshot, and cut what is new on it into units; the snapshot lives as long as the plan's `hold`."""
        refuse_long_names(self.spec)
        conn = self.login.open()
        try:
            with translated(self.told):
                return self.planned(conn, memory)
        except BaseException:
            conn.close()
            raise

    def planned(self, conn: psycopg.Connection[Any], memory: Memory) -> SourcePlan:
        """Return the plan, on the snapshot of a session."""
        snapshot = take_snapshot(self.login, conn)
        columns = describe(conn, self.relation, self.text_columns)
        window = self.window(conn, columns, memory)
        units, announced = self.units(conn, snapshot, columns, window)
        is_divided = len(units) > len(window.parts)
        notes = (*self.notes(snapshot, is_divided=is_divided), *note_of(columns), *notes_on(window.move))
        # Digests need the values of rows, and rows that are handed on as they are stay encoded.
        wire = () if any(part.edge for part in window.parts) else wire_of(conn, columns)
        return SourcePlan(
            units, schema_of(columns), announced, move=window.move, notes=notes, wire=wire, hold=Held(conn)
        )

    def notes(self, snapshot: Snapshot, *, is_divided: bool) -> Sequence[str]:
        """Return why there is one unit, where one might expect more."""
        if is_divided or self.spec.split == "none":
            return ()
        if snapshot.exported is None:
            return (SHARED,)
        return () if self.spec.table is not None and self.spec.split == "auto" else (WHOLE,)

    def window(self, conn: psycopg.Connection[Any], columns: Sequence[PostgresColumn], memory: Memory) -> Bounds:
        """Return what is new."""
        if self.spec.incremental is None:
            return EVERYTHING
        cursor = cursor_of(self.relation, self.spec.incremental, columns)
        return cursor.bounds(lambda statement: conn.execute(statement.encode()).fetchone(), memory, schema_of(columns))

    def units(
        self,
        conn: psycopg.Connection[Any],
        snapshot: Snapshot,
        columns: tuple[PostgresColumn, ...],
        window: Bounds,
    ) -> tuple[tuple[Unit, ...], int | None]:
        """Return the units, and how many rows they have together where that was counted."""
        if not window.parts:
            return (), 0
        extent, units = extent_of(conn, self.relation), list[Unit]()
        for part in window.parts:
            pieces = self.pieces(conn, snapshot, extent) if part.is_divided else [""]
            size = self.size(conn, extent, part.conditions) // len(pieces)
            for piece in pieces:
                selection = self.selection(columns, part, [piece] if piece else [], snapshot)
                units.append(self.unit(len(units), selection, snapshot, size))
        counts = [self.counted(conn, extent, part.conditions) for part in window.parts]
        return tuple(units), None if None in counts else sum(count for count in counts if count is not None)

    def pieces(self, conn: psycopg.Connection[Any], snapshot: Snapshot, extent: Extent | None) -> Sequence[str]:
        """Return the conditions of the units; one unit where workers cannot see the same snapshot."""
        if snapshot.exported is None:
            return [""]
        return conditions_of(conn, self.relation, extent, snapshot.block_size)

    def selection(
        self, columns: tuple[PostgresColumn, ...], part: Part, piece: Sequence[str], snapshot: Snapshot
    ) -> Selection:
        """Return what a worker asks for."""
        conditions = [*part.conditions, *piece]
        named = [f"{column.expression} AS {self.relation.quoted(column.name)}" for column in columns]
        as_is = [column.as_is[0] for column in columns if column.as_is is not None]
        statement = self.relation.select([*named, *part.flags], conditions)
        return Selection(statement, columns, snapshot.exported, self.relation.select(as_is, conditions), part.edge)

    def unit(self, at: int, selection: Selection, snapshot: Snapshot, size: int) -> Unit:
        """Return a unit; its id holds whose data it has in which state, and what is asked for."""
        version = snapshot.identity
        uri = self.relation.uri
        name = f"{uri}@{version}#{at}-{digest(selection.statement)}"
        return Unit(name, uri, version, size, schema=schema_of(selection.columns), detail=selection)

    def size(self, conn: psycopg.Connection[Any], extent: Extent | None, bounds: Sequence[str]) -> int:
        """Return about how many bytes there are to read."""
        if extent is not None and not bounds and self.spec.where is None:
            return extent.size
        query = f"EXPLAIN (FORMAT JSON) {self.relation.select([self.relation.shown], bounds)}"
        row = conn.execute(query.encode()).fetchone()
        told = row[0] if row else []
        plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
        return int(plan["Plan Rows"] * max(plan["Plan Width"], 1))

    def counted(self, conn: psycopg.Connection[Any], extent: Extent | None, bounds: Sequence[str]) -> int | None:
        """Return how many rows there are on the snapshot, if the job wants them counted."""
        wanted = self.spec.verify_counts
        if wanted is False or (wanted is None and extent is None):
            return None
        row = conn.execute(self.relation.select(["count(*)"], bounds).encode()).fetchone()
        return int(row[0]) if row else None

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit, on the snapshot of the plan."""
        if not isinstance(selection := unit.detail, Selection):
            raise TypeError(unit.detail)
        if unit.as_is:
            return self.read_as_is(unit, selection)
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.read_pieces(selection, schema))

    def read_as_is(self, unit: Unit, selection: Selection) -> Iterator[Chunk]:
        """Yield the rows of a unit as their bytes; how many they are is known in the end."""
        with (
            copying(self.login, self.told, selection.snapshot) as copy,
            closing(copy.pieces(selection.as_is, len(selection.columns))) as pieces,
        ):
            for seq, (piece, following) in enumerate(pairwise(chain(pieces, [None]))):
                last = following is None
                yield Chunk(unit.id, seq, last, copy.rows if last else 0, NO_ROWS, wire=piece)

    def read_pieces(self, selection: Selection, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows of a unit in batches of some megabytes."""
        first, wide = 0, len(selection.columns)
        edge = None if selection.edge is None else selection.edge.begin()
        with translated(self.told), self.login.reader(selection.snapshot) as cursor:
            cursor.execute(selection.statement)
            # The reader that the cursor gives away tells no SQLSTATE when it fails.
            for batch in cursor._results.reader:  # noqa: SLF001 - as said above
                cells = batch.columns[:wide]
                fitted = [column.fit(each) for column, each in zip(selection.columns, cells, strict=True)]
                piece = piece_of(schema, fitted, first, pa.Table.from_batches([batch]).select(list(range(wide))))
                flags = flags_of(batch.columns[wide:], batch.num_rows)
                yield piece if edge is None else edge.piece(piece, flags, first)
                first += batch.num_rows
