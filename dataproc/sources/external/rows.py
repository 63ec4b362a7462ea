"""Rows that are Python dictionaries, as Arrow: types from a sample, then fixed; what does not fit is set aside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import pyarrow as pa

from dataproc.domain.chunk import with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.row_text import written
from dataproc.domain.source_columns import SQL_TYPE, type_name
from dataproc.sources.inference import LARGEST, SMALLEST
from dataproc.sources.rejects import Reject, reject_table, row_text
from dataproc.sources.schemas import checked_names

Row = Mapping[str, object]
NULLS = frozenset({"NaTType", "NAType"})
"""What pandas has for null beside None."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values travel: their Arrow type, and the SQL type that a new table gets for those that travel as text."""

    dtype: pa.DataType
    sql_type: str | None = None


TEXT, BIGINT, DOUBLE = Kind(pa.string()), Kind(pa.int64()), Kind(pa.float64())
NUMERIC, UUIDS, JSONB = Kind(pa.string(), "numeric"), Kind(pa.string(), "uuid"), Kind(pa.string(), "jsonb")
KINDS: tuple[tuple[type | tuple[type, ...], Kind], ...] = (
    (bool, Kind(pa.bool_())), (int, BIGINT), (float, DOUBLE), (Decimal, NUMERIC), (UUID, UUIDS),
    ((Mapping, list, tuple), JSONB), (date, Kind(pa.date32())), (time, Kind(pa.time64("us"))),
    (bytes, Kind(pa.binary())),
)  # fmt: skip
"""Types of Python and how they travel; the first that fits, for a bool is an int as well."""
NUMBERS = frozenset({BIGINT, DOUBLE, NUMERIC})


def schema_of(rows: Iterable[Row], name: str) -> pa.Schema:
    """Return the schema that holds all values of some rows; a column with a mixture, or nothing but nulls, is text."""
    kinds: dict[str, Kind | None] = {}
    for row in rows:
        for column, value in row.items():
            kinds[column] = joined(kinds.get(column), kind_of(value))
    checked_names(kinds, name)
    return pa.schema([field_of(column, kind or TEXT) for column, kind in kinds.items()])


def field_of(column: str, kind: Kind) -> "pa.Field[pa.DataType]":
    """Return the field of a column."""
    return pa.field(column, kind.dtype, metadata=None if kind.sql_type is None else {SQL_TYPE: kind.sql_type})


def kind_of(value: object) -> Kind | None:
    """Return how a value travels; `None` for null. Objects and arrays travel as JSON text."""
    if is_null(value):
        return None
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return NUMERIC
    if isinstance(value, datetime):
        return Kind(pa.timestamp("us", "UTC" if value.tzinfo else None))
    return next((kind for python, kind in KINDS if isinstance(value, python)), TEXT)


def is_null(value: object) -> bool:
    """Whether a value is null: None, or what pandas has for it."""
    return value is None or type(value).__name__ in NULLS


def joined(one: Kind | None, other: Kind | None) -> Kind | None:
    """Return how values of both kinds travel."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if not {one, other} <= NUMBERS:
        return TEXT
    return NUMERIC if NUMERIC in {one, other} else DOUBLE


@dataclass(slots=True)
class RowReader:
    """Turns rows into tables of one schema, and counts them."""

    name: str
    schema: pa.Schema
    count: int = field(default=0, init=False)

    def table(self, rows: Sequence[Row]) -> tuple[pa.Table, pa.Table]:
        """Return rows with their positions, and rejects for those that do not fit."""
        first, self.count = self.count, self.count + len(rows)
        for row in rows:
            self.refuse_new_columns(row)
        try:
            arrays = [pa.array([fitted(row.get(f.name), f) for row in rows], f.type) for f in self.schema]
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return self.row_by_row(rows, first)
        return with_positions(pa.table(arrays, schema=self.schema), first), reject_table(())

    def row_by_row(self, rows: Sequence[Row], first: int) -> tuple[pa.Table, pa.Table]:
        """Return the same as `table`, when some value does not fit."""
        good: list[pa.Table] = [with_positions(self.schema.empty_table(), first)]
        rejects: list[Reject] = []
        for position, row in enumerate(rows, first):
            wrong = next((f.name for f in self.schema if not does_fit(row.get(f.name), f)), None)
            if wrong is None:
                arrays = [pa.array([fitted(row.get(f.name), f)], f.type) for f in self.schema]
                good.append(with_positions(pa.table(arrays, schema=self.schema), position))
            else:
                reason = f"row {position + 1}: column {wrong!r} does not fit type {type_name(self.schema.field(wrong))}"
                rejects.append(Reject(position, "type", wrong, reason, row_text(row)))
        return pa.concat_tables(good).combine_chunks(), reject_table(rejects)

    def refuse_new_columns(self, row: Row) -> None:
        """Raise for a column that the sample did not have: it would be lost."""
        for column in row:
            if column not in self.schema.names:
                msg = f"{self.name}: column {column!r} is not among the first rows; give all rows the same columns"
                raise ContractViolationError(msg, column=column)


def does_fit(value: object, field: "pa.Field[pa.DataType]") -> bool:
    """Whether a value can be one of a column."""
    try:
        pa.array([fitted(value, field)], field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True


def fitted(value: object, field: "pa.Field[pa.DataType]") -> object:
    """Return a value as a column of text, or of its own type, holds it; raises `TypeError` where it cannot."""
    if is_null(value):
        return None
    match (field.metadata or {}).get(SQL_TYPE):
        case b"numeric":
            demand(not isinstance(value, bool) and isinstance(value, int | float | Decimal))
            return str(value)
        case b"uuid":
            demand(isinstance(value, UUID))
            return str(value)
        case b"jsonb":
            demand(isinstance(value, Mapping | list | tuple))
            return written(value)
    return value if field.type != pa.string() or isinstance(value, str) else text_of(value)


def demand(fits: bool) -> None:  # noqa: FBT001 - as assert has it
    """Raise `TypeError` unless a value fits."""
    if not fits:
        raise TypeError


def text_of(value: object) -> str:
    """Return a value of any type as text."""
    match value:
        case bool() | Mapping() | list() | tuple():
            return written(value)
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def in_batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Yield rows in lists of `size`."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
