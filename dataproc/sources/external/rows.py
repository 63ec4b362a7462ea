"""Rows that are Python dictionaries, as Arrow: types from a sample, then fixed; what does not fit is set aside."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa

from dataproc.domain.chunk import with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.rejects import Reject, reject_table, row_text
from dataproc.sources.schemas import checked_names

Row = Mapping[str, object]
SMALLEST, LARGEST = -(2**63), 2**63 - 1
KINDS: tuple[tuple[type, pa.DataType], ...] = (
    (bool, pa.bool_()), (int, pa.int64()), (float, pa.float64()), (date, pa.date32()), (time, pa.time64("us")),
    (bytes, pa.binary()),
)  # fmt: skip
"""Types of Python and how they travel; the first that fits, for a bool is an int as well."""


def schema_of(rows: Iterable[Row], name: str) -> pa.Schema:
    """Return the schema that holds all values of some rows; a column with a mixture, or nothing but nulls, is text."""
    kinds: dict[str, pa.DataType | None] = {}
    for row in rows:
        for column, value in row.items():
            kinds[column] = joined(kinds.get(column), kind_of(value))
    checked_names(kinds, name)
    return pa.schema([(column, pa.string() if kind is None else kind) for column, kind in kinds.items()])


def kind_of(value: object) -> pa.DataType | None:
    """Return the type of a value; `None` for null. Objects and arrays travel as JSON text."""
    if value is None:
        return None
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return pa.string()
    if isinstance(value, datetime):
        return pa.timestamp("us", "UTC" if value.tzinfo else None)
    return next((kind for python, kind in KINDS if isinstance(value, python)), pa.string())


def joined(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    """Return the type that holds values of both types."""
    if one is None or other is None or one == other:
        return other if one is None else one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


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
            arrays = [pa.array([fitted(row.get(f.name), f.type) for row in rows], f.type) for f in self.schema]
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return self.row_by_row(rows, first)
        return with_positions(pa.table(arrays, schema=self.schema), first), reject_table(())

    def row_by_row(self, rows: Sequence[Row], first: int) -> tuple[pa.Table, pa.Table]:
        """Return the same as `table`, when some value does not fit."""
        good: list[pa.Table] = [with_positions(self.schema.empty_table(), first)]
        rejects: list[Reject] = []
        for position, row in enumerate(rows, first):
            wrong = next((f.name for f in self.schema if not does_fit(row.get(f.name), f.type)), None)
            if wrong is None:
                arrays = [pa.array([fitted(row.get(f.name), f.type)], f.type) for f in self.schema]
                good.append(with_positions(pa.table(arrays, schema=self.schema), position))
            else:
                reason = f"row {position + 1}: column {wrong!r} does not fit type {self.schema.field(wrong).type}"
                rejects.append(Reject(position, "type", wrong, reason, row_text(row)))
        return pa.concat_tables(good).combine_chunks(), reject_table(rejects)

    def refuse_new_columns(self, row: Row) -> None:
        """Raise for a column that the sample did not have: it would be lost."""
        for column in row:
            if column not in self.schema.names:
                msg = f"{self.name}: column {column!r} is not among the first rows; give all rows the same columns"
                raise ContractViolationError(msg, column=column)


def does_fit(value: object, kind: pa.DataType) -> bool:
    """Whether a value can be one of a type."""
    try:
        pa.array([fitted(value, kind)], kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True


def fitted(value: object, kind: pa.DataType) -> object:
    """Return a value as a column of text, or of its own type, holds it."""
    if value is None or kind != pa.string() or isinstance(value, str):
        return value
    match value:
        case bool() | dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=str)
        case Decimal() | int() | float() | datetime() | date() | time() | timedelta():
            return value.isoformat() if isinstance(value, date | time) else str(value)
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
