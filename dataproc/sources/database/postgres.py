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
from dataproc.sources.database.cursors import EVERYTHING, Bounds
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
        notes = (*self.notes(snapshot, units), *note_of(columns))
        return SourcePlan(
            units, schema_of(columns), announced, move=window.move, notes=notes, wire=wire_of(conn, columns),
            hold=Held(conn),
        )  # fmt: skip

    def notes(self, snapshot: Snapshot, units: Sequence[Unit]) -> Sequence[str]:
        """Return why there is one unit, where one might expect more."""
        if len(units) > 1 or self.spec.split == "none":
            return ()
        if snapshot.exported is None:
            return (SHARED,)
        return () if self.spec.table is not None and self.spec.split == "auto" else (WHOLE,)

    def window(self, conn: psycopg.Connection[Any], columns: Sequence[PostgresColumn], memory: Memory) -> Bounds:
        """Return what is new."""
        if self.spec.incremental is None:
            return EVERYTHING
        cursor = cursor_of(self.relation, self.spec.incremental, columns)
        return cursor.bounds(lambda statement: conn.execute(statement.encode()).fetchone(), memory)

    def units(
        self,
        conn: psycopg.Connection[Any],
        snapshot: Snapshot,
        columns: tuple[PostgresColumn, ...],
        window: Bounds,
    ) -> tuple[tuple[Unit, ...], int | None]:
        """Return the units, and how many rows they have together where that was counted."""
        if (bounds := window.conditions) is None:
            return (), 0
        extent = extent_of(conn, self.relation)
        pieces = self.pieces(conn, snapshot, extent)
        size = self.size(conn, extent, bounds) // len(pieces)
        selections = [self.selection(columns, [*bounds, *filter(None, [piece])], snapshot) for piece in pieces]
        units = tuple(self.unit(at, selection, snapshot, size) for at, selection in enumerate(selections))
        return units, self.counted(conn, extent, bounds)

    def pieces(self, conn: psycopg.Connection[Any], snapshot: Snapshot, extent: Extent | None) -> Sequence[str]:
        """Return the conditions of the units; one unit where workers cannot see the same snapshot."""
        if snapshot.exported is None:
            return [""]
        return conditions_of(conn, self.relation, extent, snapshot.block_size)

    def selection(
        self, columns: tuple[PostgresColumn, ...], conditions: Sequence[str], snapshot: Snapshot
    ) -> Selection:
        """Return what a worker asks for."""
        named = [f"{column.expression} AS {self.relation.quoted(column.name)}" for column in columns]
        as_is = [column.as_is[0] for column in columns if column.as_is is not None]
        both = self.relation.select(named, conditions), self.relation.select(as_is, conditions)
        return Selection(both[0], columns, snapshot.exported, both[1])

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
        first = 0
        with translated(self.told), self.login.reader(selection.snapshot) as cursor:
            cursor.execute(selection.statement)
            # The reader that the cursor gives away tells no SQLSTATE when it fails.
            for batch in cursor._results.reader:  # noqa: SLF001 - as said above
                fitted = [column.fit(cells) for column, cells in zip(selection.columns, batch.columns, strict=True)]
                yield piece_of(schema, fitted, first, pa.Table.from_batches([batch]))
                first += batch.num_rows
