"""Tables and queries of a SQLite file: opened read only, one unit, on one transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.memory import CursorKind
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.connector import Discovered
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.boundary import notes_on
from dataproc.sources.database.cursors import EVERYTHING, AtEdge, Batches, Bounds, Cursor, Part, kind_of, place_of
from dataproc.sources.database.fitting import piece_of
from dataproc.sources.database.relation import Quotes, Relation, checked, digest
from dataproc.sources.database.sqlite_types import SqliteColumn, column_of

BATCH = 20_000
PATIENCE = 2.0
"""Seconds to wait for a writer."""
QUOTES = Quotes("`", "`")
"""In double quotes a name of no column would be taken for text."""
SAMPLED = 1000
CURSORS: dict[str, CursorKind] = {"int64": "number", "string": "text"}
TABLES = """
SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name
"""
ANSWERS: tuple[tuple[int, type[DataprocError], str], ...] = (
    (sqlite3.SQLITE_BUSY, SourceUnavailableError, "the file is locked by a writer"),
    (sqlite3.SQLITE_LOCKED, SourceUnavailableError, "the file is locked by a writer"),
    (sqlite3.SQLITE_IOERR, SourceUnavailableError, "the file cannot be read now"),
    (sqlite3.SQLITE_CANTOPEN, SourceNotFoundError, "there is no such file, or we may not read it; check file"),
    (sqlite3.SQLITE_PERM, SourceRefusedError, "we may not read the file"),
    (sqlite3.SQLITE_READONLY, SourceRefusedError, "a source is only read"),
    (sqlite3.SQLITE_AUTH, SourceRefusedError, "a source is only read"),
    (sqlite3.SQLITE_NOTADB, SourceRefusedError, "the file is no SQLite database, or it is encrypted"),
    (sqlite3.SQLITE_CORRUPT, BadDataError, "the file is damaged"),
)


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file below the folder for files."""

    name: str
    root: Path
    file: str

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"connection {self.name!r}"

    @property
    def path(self) -> Path:
        """Where the file is; one outside of the folder is refused."""
        path = (self.root / self.file).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise SourceRefusedError(f"{self.told}: file: {self.file!r} is outside of the folder for files")
        if not path.is_file():
            raise SourceNotFoundError(f"{self.told}: file: there is no {self.file!r} in the folder for files")
        return path

    @property
    def version(self) -> str:
        """What changes when somebody writes: size and time of the file, and of the log beside it."""
        path = self.path
        found = [path, path.with_name(f"{path.name}-wal")]
        stats = [each.stat() for each in found if each.exists()]
        return "-".join(f"{stat.st_mtime_ns:x}.{stat.st_size:x}" for stat in stats if stat.st_size)

    @contextmanager
    def session(self, what: str) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction that only reads."""
        path = self.path
        with translated(what):
            conn = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=PATIENCE)
            try:
                conn.text_factory = text_or_bytes
                conn.execute("BEGIN")
                yield conn
            finally:
                conn.close()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise ours(what, exc) from exc


def ours(what: str, exc: sqlite3.Error) -> DataprocError:
    """Return our error for one of SQLite's."""
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if str(exc).startswith("no such table"):
        return SourceNotFoundError(f"{what}: there is {exc}; check its name")
    for known, kind, words in ANSWERS:
        if code == known:
            return kind(f"{what}: {words}")
    return SourceRefusedError(f"{what}: it refused the statement: {exc}; check query, where, columns and cursor")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a worker asks for, and the columns that it gives."""

    statement: str
    columns: tuple[SqliteColumn, ...]
    edge: AtEdge | None = None


@dataclass(frozen=True, slots=True)
class SqliteSource:
    """Rows of a table, a view or a query."""

    file: SqliteFile
    spec: DatabaseSource

    @property
    def relation(self) -> Relation:
        """What is read."""
        return Relation(self.spec, QUOTES)

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"{self.file.told}, {self.relation.label}"

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Return the one unit, with its count."""
        version = self.file.version
        with self.file.session(self.told) as conn:
            columns = self.columns(conn)
            schema = pa.schema([pa.field(column.name, column.arrow_type) for column in columns])
            window = self.window(conn, columns, memory, schema)
            units = tuple(self.unit(conn, part, columns, schema, version) for part in window.parts)
        return SourcePlan(units, schema, None if units else 0, move=window.move, notes=notes_on(window.move))

    def unit(
        self, conn: sqlite3.Connection, part: Part, columns: tuple[SqliteColumn, ...], schema: pa.Schema, version: str
    ) -> Unit:
        """Return the unit that is all rows of a part."""
        statement = self.relation.select([self.relation.shown, *part.flags], part.conditions)
        name = f"{self.relation.uri}@{version}#{digest(statement)}"
        size = max(self.file.path.stat().st_size, 1)
        rows = self.counted(conn, part.conditions)
        selection = Selection(statement, columns, part.edge)
        return Unit(name, self.relation.uri, version, size, None, rows, schema, selection)

    def columns(self, conn: sqlite3.Connection) -> tuple[SqliteColumn, ...]:
        """Return the columns, by their declared types where they have one."""
        conn.execute("CREATE TEMP VIEW dataproc_columns AS " + self.relation.select([self.relation.shown]))
        declared = conn.execute("PRAGMA temp.table_xinfo('dataproc_columns')").fetchall()
        conn.execute("DROP VIEW temp.dataproc_columns")
        names = [str(row[1]) for row in declared]
        checked(names, self.relation)
        return tuple(
            column_of(name, row[2], self.sampled(conn, name) if not row[2] else (), as_text=name in self.spec.as_text)
            for name, row in zip(names, declared, strict=True)
        )

    def sampled(self, conn: sqlite3.Connection, name: str) -> Sequence[str]:
        """Return the types of the first values of a column."""
        some = f"{self.relation.select([self.relation.shown])} LIMIT {SAMPLED}"
        found = conn.execute(f"SELECT DISTINCT typeof({self.relation.quoted(name)}) FROM ({some})")
        return [str(row[0]) for row in found.fetchall()]

    def window(
        self, conn: sqlite3.Connection, columns: Sequence[SqliteColumn], memory: Memory, schema: pa.Schema
    ) -> Bounds:
        """Return what is new."""
        wanted = self.spec.incremental
        if wanted is None:
            return EVERYTHING
        column = columns[place_of(self.relation, wanted, [column.name for column in columns])]
        kind = kind_of(self.relation, wanted, CURSORS, str(column.arrow_type))
        quoted = self.relation.quoted(wanted.cursor)
        # Without a collation of its own, text is compared by its bytes, which is the order of code points.
        ordered = f"{quoted} COLLATE BINARY" if kind == "text" else quoted
        fits = f"count(*) = sum(typeof({quoted}) = '{'integer' if kind == 'number' else 'text'}')"
        cursor = Cursor(wanted, self.relation, kind, ordered, f"max({ordered})", fits)
        return cursor.bounds(lambda statement: first_row(conn, statement), memory, schema)

    def counted(self, conn: sqlite3.Connection, bounds: Sequence[str]) -> int | None:
        """Return how many rows there are, if the job wants them counted."""
        wanted = self.spec.verify_counts
        if wanted is False or (wanted is None and self.spec.table is None):
            return None
        row = first_row(conn, self.relation.select(["count(*)"], bounds))
        return int(row[0]) if row else None

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of the unit."""
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.read_pieces(unit, schema))

    def read_pieces(self, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows in bounded batches; the file must be the one that was planned."""
        if not isinstance(selection := unit.detail, Selection):
            raise TypeError(unit.detail)
        with self.file.session(self.told) as conn:
            rows = conn.execute(selection.statement)
            # The transaction has its snapshot once a statement runs; only now does the comparison say something.
            batch = rows.fetchmany(BATCH)
            if self.file.version != unit.version:
                raise SourceChangedError(f"{self.told}: the file changed after the run was planned")
            batches = Batches(len(selection.columns), selection.edge)
            while batch:
                yield batches.piece(batch, partial(self.piece, selection.columns, schema))
                batch = rows.fetchmany(BATCH)

    def piece(self, columns: Sequence[SqliteColumn], schema: pa.Schema, first: int, rows: Sequence[Any]) -> Piece:
        """Return rows as a piece."""
        values = list(zip(*rows, strict=True))
        fitted = [column.fit(cells) for column, cells in zip(columns, values, strict=True)]
        if all(column.bad is None for column in fitted):
            return piece_of(schema, fitted, first, pa.table([column.cells for column in fitted], schema=schema))
        raw = [pa.array([None if cell is None else str(cell) for cell in cells], pa.string()) for cells in values]
        return piece_of(schema, fitted, first, pa.table(raw, names=schema.names))


def first_row(conn: sqlite3.Connection, statement: str) -> Sequence[Any] | None:
    """Return the first row of a statement."""
    row: Sequence[Any] | None = conn.execute(statement).fetchone()
    return row


def text_or_bytes(value: bytes) -> str | bytes:
    """Return text, or the bytes themselves where they are none; those do not fit a column of text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


@dataclass(frozen=True, slots=True)
class SqliteConnector:
    """A registered file of SQLite."""

    file: SqliteFile

    def test(self) -> str:
        """Open the file; return the version of SQLite and how many tables there are."""
        with self.file.session(self.file.told) as conn:
            found = conn.execute(TABLES).fetchall()
        return f"SQLite {sqlite3.sqlite_version}, {len(found)} tables and views"

    def discover(self) -> Sequence[Discovered]:
        """Return the tables and views, with exact counts."""
        with self.file.session(self.file.told) as conn:
            names = [str(row[0]) for row in conn.execute(TABLES).fetchall()]
            return [described(conn, name, QUOTES(name)) for name in names]


def described(conn: sqlite3.Connection, name: str, quoted: str) -> Discovered:
    """Return a table or view."""
    columns = conn.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
    row = first_row(conn, f"SELECT count(*) FROM {quoted}")
    return Discovered(name, tuple((str(c[1]), str(c[2]) or "any") for c in columns), int(row[0]) if row else None)
