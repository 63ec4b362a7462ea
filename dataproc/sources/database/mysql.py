"""Tables and queries of MySQL and MariaDB: one unit, read on one consistent snapshot.

No other session can share a snapshot of theirs, so a table is not read in parallel. Rows that are written after the
plan and before the read are read too, unless the job is incremental: its bounds are those of the plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
from pymysql.constants import FIELD_TYPE

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.errors import CountMismatchError, SourceChangedError
from dataproc.domain.memory import CursorKind
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.incremental import Incremental
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.connector import Discovered
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.boundary import notes_on
from dataproc.sources.database.cursors import EVERYTHING, AtEdge, Batches, Bounds, Cursor, Part, kind_of, place_of
from dataproc.sources.database.fitting import piece_of
from dataproc.sources.database.mysql_session import MysqlLogin, Streaming, translated
from dataproc.sources.database.mysql_types import WHOLE, Description, MysqlColumn, column_of
from dataproc.sources.database.relation import Quotes, Relation, checked, digest

BATCH = 20_000
ONE_UNIT = "read as one unit: no two sessions of MySQL see the same snapshot"
QUOTES = Quotes("`", "`")
CURSORS: dict[str, CursorKind] = {"number": "number", "time": "timestamp", "text": "text"}
SIZE = "SELECT coalesce(max(data_length), 0) FROM information_schema.tables WHERE table_schema = {} AND table_name = {}"
READABLE = """
SELECT concat(c.table_schema, '.', c.table_name), c.column_name, c.column_type, t.table_rows
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = database() ORDER BY c.table_schema, c.table_name, c.ordinal_position
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a worker asks for, and the columns that it gives."""

    statement: str
    count: str | None
    columns: tuple[MysqlColumn, ...]
    edge: AtEdge | None = None


@dataclass(frozen=True, slots=True)
class MysqlSource:
    """Rows of a table, a view or a query."""

    login: MysqlLogin
    spec: DatabaseSource

    @property
    def relation(self) -> Relation:
        """What is read."""
        return Relation(self.spec, QUOTES)

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"{self.login.told}, {self.relation.label}"

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Return the one unit."""
        with self.login.session() as cursor, translated(self.told):
            columns = self.columns(cursor)
            schema = pa.schema([pa.field(column.name, column.arrow_type) for column in columns])
            window = self.window(cursor, memory, schema)
            size = self.size(cursor)
        units = tuple(self.unit(columns, schema, part, size) for part in window.parts)
        notes = (*((ONE_UNIT,) if units else ()), *notes_on(window.move))
        return SourcePlan(units, schema, None if units else 0, move=window.move, notes=notes)

    def columns(self, cursor: Streaming) -> tuple[MysqlColumn, ...]:
        """Return the columns as they are now."""
        fields = self.described(cursor)
        checked([field.name for field in fields], self.relation)
        return tuple(column_of(field, QUOTES(field.name), as_text=field.name in self.spec.as_text) for field in fields)

    def described(self, cursor: Streaming) -> tuple[Description, ...]:
        """Return what the server says of the columns."""
        cursor.execute(f"{self.relation.select([self.relation.shown])} LIMIT 0")
        fields = cursor.fields
        cursor.fetchall()
        return fields

    def window(self, cursor: Streaming, memory: Memory, schema: pa.Schema) -> Bounds:
        """Return what is new."""
        if self.spec.incremental is None:
            return EVERYTHING
        fields = self.described(cursor)
        at = place_of(self.relation, self.spec.incremental, [field.name for field in fields])
        words = cursor_of(self.relation, self.spec.incremental, fields[at])
        return words.bounds(lambda statement: first_row(cursor, statement), memory, schema)

    def size(self, cursor: Streaming) -> int:
        """Return about how many bytes there are to read; 1 where that is not known."""
        if self.spec.table is None:
            return 1
        schema, _, table = self.spec.table.rpartition(".")
        where = "database()" if not schema else literal(schema)
        row = first_row(cursor, SIZE.format(where, literal(table)))
        return max(int(row[0]) if row else 1, 1)

    def unit(self, columns: tuple[MysqlColumn, ...], schema: pa.Schema, part: Part, size: int) -> Unit:
        """Return the unit that is all rows of a part."""
        selected = [f"{column.expression} AS {QUOTES(column.name)}" for column in columns]
        statement = self.relation.select([*selected, *part.flags], part.conditions)
        count = self.relation.select(["count(*)"], part.conditions) if self.spec.verify_counts else None
        version = digest(statement)
        detail = Selection(statement, count, columns, part.edge)
        return Unit(f"{self.relation.uri}@{version}", self.relation.uri, version, size, schema=schema, detail=detail)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of the unit."""
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.read_pieces(unit, schema))

    def read_pieces(self, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows in bounded batches."""
        if not isinstance(selection := unit.detail, Selection):
            raise TypeError(unit.detail)
        with self.login.session() as cursor, translated(self.told):
            if self.columns(cursor) != selection.columns:
                raise SourceChangedError(f"{self.told}: its columns changed after the run was planned")
            counted = first_row(cursor, selection.count) if selection.count else None
            cursor.execute(selection.statement)
            batches = Batches(len(selection.columns), selection.edge)
            while rows := cursor.fetchmany(BATCH):
                yield batches.piece(rows, partial(batch, selection.columns, schema))
            if counted is not None and int(counted[0]) != batches.first:
                raise CountMismatchError(f"{self.told}: {counted[0]} rows were counted, but {batches.first} read")


def batch(columns: Sequence[MysqlColumn], schema: pa.Schema, first: int, rows: Sequence[Any]) -> Piece:
    """Return rows as a piece."""
    values = list(zip(*rows, strict=True))
    fitted = [column.fit(cells) for column, cells in zip(columns, values, strict=True)]
    if all(column.bad is None for column in fitted):
        return piece_of(schema, fitted, first, pa.table([column.cells for column in fitted], schema=schema))
    raw = [pa.array(map(shown, cells), pa.string()) for cells in values]
    return piece_of(schema, fitted, first, pa.table(raw, names=schema.names))


def shown(value: str | bytes | None) -> str | None:
    """Return a value as text."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def first_row(cursor: Streaming, statement: str) -> Sequence[Any] | None:
    """Return the first row of a statement."""
    cursor.execute(statement)
    rows = cursor.fetchall()
    return rows[0] if rows else None


def literal(text: str) -> str:
    """Return text as it stands in a statement."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def cursor_of(relation: Relation, wanted: Incremental, field: Description) -> Cursor:
    """Return the cursor of an incremental read, in the words of MySQL."""
    quoted, code = QUOTES(wanted.cursor), field.type_code
    if code in {FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP}:
        kind = kind_of(relation, wanted, CURSORS, "time")
        return moment(relation, wanted, quoted, code, kind)
    if code in WHOLE or code == FIELD_TYPE.NEWDECIMAL:
        kind = kind_of(relation, wanted, CURSORS, "number")
        return Cursor(wanted, relation, kind, quoted, f"CAST(max({quoted}) AS CHAR)")
    kind = kind_of(relation, wanted, CURSORS, "text" if code in {FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING} else "other")
    ordered = f"CONVERT({quoted} USING utf8mb4) COLLATE utf8mb4_bin"
    return Cursor(wanted, relation, kind, ordered, f"max({ordered})", literal=literal)


def moment(relation: Relation, wanted: Incremental, quoted: str, code: int, kind: CursorKind) -> Cursor:
    """Return the cursor of a column of times."""
    zone = "+00:00" if code == FIELD_TYPE.TIMESTAMP else ""
    shown_value = f"concat(CAST(max({quoted}) AS CHAR), '{zone}')"
    age = wanted.lag // timedelta(microseconds=1)
    before = f"now(6) - INTERVAL {age} MICROSECOND"
    young = f"{quoted} < date({before})" if code == FIELD_TYPE.DATE else f"{quoted} <= {before}"
    # The zone is not part of what the server compares with: the session's is UTC.
    return Cursor(
        wanted, relation, kind, quoted, shown_value, "1", (young,) if wanted.lag else (),
        literal=lambda text: literal(text.removesuffix("+00:00")),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MysqlConnector:
    """A registered MySQL or MariaDB."""

    login: MysqlLogin

    def test(self) -> str:
        """Log in; return the server's version."""
        with self.login.session() as cursor, translated(self.login.told):
            row = first_row(cursor, "SELECT concat(@@version_comment, ' ', version())")
        return str(row[0]) if row else ""

    def discover(self) -> Sequence[Discovered]:
        """Return the tables and views of the database; the counts are the server's estimates."""
        with self.login.session() as cursor, translated(self.login.told):
            cursor.execute(READABLE)
            rows = cursor.fetchall()
        return [described(str(name), list(found)) for name, found in groupby(rows, key=itemgetter(0))]


def described(name: str, rows: Sequence[Any]) -> Discovered:
    """Return a table."""
    estimate = rows[0][3]
    return Discovered(
        name, tuple((str(row[1]), str(row[2])) for row in rows), None if estimate is None else int(estimate)
    )
