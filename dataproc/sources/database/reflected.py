"""Tables and views of SQL Server and Oracle, through SQLAlchemy: one unit, one statement, bounded batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, inspect, text, types

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.errors import ContractViolationError, SourceNotFoundError
from dataproc.domain.memory import CursorKind
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.connector import Discovered
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.boundary import notes_on
from dataproc.sources.database.cursors import EVERYTHING, AtEdge, Batches, Bounds, Cursor, Part, kind_of, place_of
from dataproc.sources.database.fitting import Fitted, cast, piece_of
from dataproc.sources.database.reflected_engine import Dialect, ReflectedLogin, translated
from dataproc.sources.database.relation import Quotes, Relation, checked, digest

BATCH = 10_000
CURSORS: dict[str, CursorKind] = {"int64": "number", "timestamp[us]": "timestamp", "date32[day]": "timestamp"}
REASON = "does not fit the type of its column in Arrow; name the column in as_text of the source"
MOST_DIGITS = 38
PLAIN: tuple[tuple[type[types.TypeEngine[Any]], pa.DataType], ...] = (
    (types.Boolean, pa.bool_()),
    (types.Integer, pa.int64()),
    (types.Float, pa.float64()),
    (types.DateTime, pa.timestamp("us")),
    (types.Date, pa.date32()),
    (types.String, pa.string()),
    (types.LargeBinary, pa.binary()),
    (types.BINARY, pa.binary()),
    (types.VARBINARY, pa.binary()),
)
AS_TEXT = {Dialect.SQLSERVER: "CONVERT(nvarchar(max), {}, 121)", Dialect.ORACLE: "TO_CHAR({})"}


@dataclass(frozen=True, slots=True)
class ReflectedColumn:
    """A column: its name, what is selected for it, and the Arrow type of its cells."""

    name: str
    expression: str
    arrow_type: pa.DataType

    def fit(self, values: Sequence[Any]) -> Fitted:
        """Return values in the column's type; those that do not fit are marked."""
        try:
            return Fitted(pa.array(values, self.arrow_type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            texts = [None if value is None else str(value) for value in values]
            return cast(pa.array(texts, pa.string()), self.arrow_type, f"{self.name} {REASON}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a worker asks for, and the columns that it gives."""

    statement: str
    columns: tuple[ReflectedColumn, ...]
    edge: AtEdge | None = None


@dataclass(frozen=True, slots=True)
class ReflectedSource:
    """Rows of a table or a view."""

    login: ReflectedLogin
    spec: DatabaseSource

    @property
    def relation(self) -> Relation:
        """What is read."""
        return Relation(self.spec, Quotes("[", "]") if self.login.dialect is Dialect.SQLSERVER else Quotes())

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"{self.login.told}, {self.relation.label}"

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Return the one unit."""
        if self.spec.table is None:
            raise ContractViolationError(f"query: kind {self.login.dialect} reads tables and views; make a view of it")
        with self.login.session() as conn, translated(self.told):
            columns = self.columns(conn)
            schema = pa.schema([pa.field(column.name, column.arrow_type) for column in columns])
            window = self.window(conn, columns, memory, schema)
        units = tuple(self.unit(part, columns, schema) for part in window.parts)
        return SourcePlan(units, schema, None if units else 0, move=window.move, notes=notes_on(window.move))

    def unit(self, part: Part, columns: tuple[ReflectedColumn, ...], schema: pa.Schema) -> Unit:
        """Return the unit that is all rows of a part."""
        selected = [f"{column.expression} AS {self.relation.quoted(column.name)}" for column in columns]
        statement = self.relation.select([*selected, *part.flags], part.conditions)
        name, uri = f"{self.relation.uri}@{digest(statement)}", self.relation.uri
        return Unit(name, uri, digest(statement), 1, schema=schema, detail=Selection(statement, columns, part.edge))

    def columns(self, conn: Connection) -> tuple[ReflectedColumn, ...]:
        """Return the columns by their reflected types."""
        schema, _, table = (self.spec.table or "").rpartition(".")
        found = {str(column["name"]): column["type"] for column in inspect(conn).get_columns(table, schema or None)}
        wanted = self.spec.columns or tuple(found)
        for name in wanted:
            if name not in found:
                raise SourceNotFoundError(f"{self.told}: columns: it has no {name!r}; it has {', '.join(found)}")
        checked(wanted, self.relation)
        return tuple(self.column(name, found[name]) for name in wanted)

    def column(self, name: str, dtype: types.TypeEngine[Any]) -> ReflectedColumn:
        """Return how a column is read."""
        quoted = self.relation.quoted(name)
        arrow = None if name in self.spec.as_text else arrow_type(dtype)
        if arrow is None:
            return ReflectedColumn(name, AS_TEXT[self.login.dialect].format(quoted), pa.string())
        return ReflectedColumn(name, quoted, arrow)

    def window(self, conn: Connection, columns: Sequence[ReflectedColumn], memory: Memory, schema: pa.Schema) -> Bounds:
        """Return what is new."""
        wanted = self.spec.incremental
        if wanted is None:
            return EVERYTHING
        column = columns[place_of(self.relation, wanted, [column.name for column in columns])]
        kind = kind_of(self.relation, wanted, CURSORS, str(column.arrow_type))
        if wanted.lag:
            raise ContractViolationError(
                f"incremental/lag: kind {self.login.dialect} has none; leave young rows out by where"
            )
        quoted = self.relation.quoted(wanted.cursor)
        shown = AS_TEXT[self.login.dialect].format(f"max({quoted})")
        if kind == "timestamp" and self.login.dialect is Dialect.ORACLE:
            shown = f"TO_CHAR(max({quoted}), 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6')"
        cursor = Cursor(wanted, self.relation, kind, quoted, shown, literal=self.literal)
        return cursor.bounds(
            lambda statement: tuple(conn.execute(text(statement)).first() or ()) or None, memory, schema
        )

    def literal(self, value: str) -> str:
        """Return a moment as it stands in a statement."""
        written = value.replace("'", "''").replace(" ", "T")
        if self.login.dialect is Dialect.SQLSERVER:
            return f"CONVERT(datetime2, '{written}', 126)"
        return f"TO_TIMESTAMP('{written}', 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6')"

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of the unit."""
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.read_pieces(unit, schema))

    def read_pieces(self, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows in bounded batches."""
        if not isinstance(selection := unit.detail, Selection):
            raise TypeError(unit.detail)
        batches = Batches(len(selection.columns), selection.edge)
        with self.login.session() as conn, translated(self.told):
            result = conn.execution_options(stream_results=True, max_row_buffer=BATCH).exec_driver_sql(
                selection.statement
            )
            for rows in result.partitions(BATCH):
                yield batches.piece(rows, partial(batch, selection.columns, schema))


def batch(columns: Sequence[ReflectedColumn], schema: pa.Schema, first: int, rows: Sequence[Any]) -> Piece:
    """Return rows as a piece."""
    values = list(zip(*rows, strict=True))
    fitted = [column.fit(cells) for column, cells in zip(columns, values, strict=True)]
    raw = [pa.array([None if cell is None else str(cell) for cell in cells], pa.string()) for cells in values]
    return piece_of(schema, fitted, first, pa.table(raw, names=schema.names))


def arrow_type(dtype: types.TypeEngine[Any]) -> pa.DataType | None:
    """Return the Arrow type of a reflected type; `None`: it is carried as text."""
    if isinstance(dtype, types.Numeric) and not isinstance(dtype, types.Float):
        return decimal_of(dtype.precision, dtype.scale)
    if isinstance(dtype, types.DateTime) and dtype.timezone:
        return None
    return next((arrow for kind, arrow in PLAIN if isinstance(dtype, kind)), None)


def decimal_of(precision: int | None, scale: int | None) -> pa.DataType | None:
    """Return Arrow's decimal type; `None` for a number without declared digits."""
    if precision is None or scale is None or not 0 <= scale <= precision <= MOST_DIGITS:
        return None
    return pa.decimal128(precision, scale)


@dataclass(frozen=True, slots=True)
class ReflectedConnector:
    """A registered SQL Server or Oracle."""

    login: ReflectedLogin

    def test(self) -> str:
        """Log in; return the server's version."""
        with self.login.session() as conn, translated(self.login.told):
            version = ".".join(map(str, conn.dialect.server_version_info or ()))
        return f"{self.login.dialect} {version}"

    def discover(self) -> Sequence[Discovered]:
        """Return the tables and views of the user's schema, without counts."""
        with self.login.session() as conn, translated(self.login.told):
            seen = inspect(conn)
            names = sorted([*seen.get_table_names(), *seen.get_view_names()])
            columns = {name: [(str(c["name"]), str(c["type"])) for c in seen.get_columns(name)] for name in names}
        return [Discovered(name, tuple(columns[name])) for name in names]
