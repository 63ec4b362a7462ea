"""Expressions over the columns of a row, in the SQL of DuckDB, computed for all rows of a table at once.

A null among the values makes most results null. The names of columns may differ in case, as in SQL, where only one
column can be meant. Moments are told in UTC.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias
from typing import cast as typed

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask, cleared
from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.transforms.sandbox import computed, is_infinite
from dataproc.transforms.syntax import syntax_of

Values: TypeAlias = "pa.ChunkedArray[Any]"


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression such as `end_at >= start_at and amount > 0`; `where` is what errors call its place."""

    text: str
    where: str = "expression"

    def type(self, schema: pa.Schema) -> pa.DataType:
        """Return the type that comes out for rows of `schema`, or raise `ContractViolationError`."""
        names = self.columns(schema)
        try:
            found: pa.DataType = self.values(self.text, self.seen(schema.empty_table())).type
        except (duckdb.Error, pa.ArrowException) as exc:
            msg = f"{self.where}: {self.text!r} does not go with the columns: {first_line(exc)}; correct the expression"
            raise ContractViolationError(msg, columns=names) from exc
        return found

    def demand_truth(self, schema: pa.Schema) -> None:
        """Raise `ContractViolationError` unless the expression is true or false for rows of `schema`."""
        if not t.is_boolean(found := self.type(schema)):
            msg = f"{self.where}: {self.text!r} is {found}, not true or false; compare it with something"
            raise ContractViolationError(msg)

    def columns(self, schema: pa.Schema) -> tuple[str, ...]:
        """Return the columns of `schema` that the expression looks at."""
        names = (self.column(reference[0], schema) for reference in syntax_of(self.text, self.where).references)
        return tuple(dict.fromkeys(names))

    def column(self, name: str, schema: pa.Schema) -> str:
        """Return the column that a name means."""
        known = [each for each in schema.names if each != POSITION]
        found = [each for each in known if each.lower() == name.lower()]
        if len(found) == 1:
            return found[0]
        if found:
            msg = f"{self.where}: {self.text!r}: {name!r} may mean {' or '.join(found)}; rename one of the columns"
        else:
            msg = (
                f"{self.where}: {self.text!r}: the rows have no column {name!r}, only {', '.join(known)}; "
                "correct the name, or write text in single quotes"
            )
        raise ContractViolationError(msg, column=name)

    def evaluate(self, rows: pa.Table) -> Values:
        """Return the value for each row; `BadDataError` if one cannot be computed."""
        try:
            values = self.values(self.text, self.seen(rows))
        except duckdb.Error as exc:
            msg = f"{self.where}: {self.text!r} cannot be computed for some row; use try_cast, or try(...)"
            raise BadDataError(msg) from exc
        if is_infinite(values) is not None:
            raise BadDataError(f"{self.where}: {self.text!r} is infinite for some row; let it be null there")
        return values

    def attempt(self, rows: pa.Table) -> tuple[Values, Mask | None]:
        """Return the value for each row, null where none can be computed, and where that is; `None`: nowhere."""
        seen = self.seen(rows)
        failed = None
        try:
            values = self.values(self.text, seen)
        except duckdb.Error:
            # DuckDB goes on row by row here; a value within a record shows a null from a failure.
            tried = in_one_piece(self.values(f"TRY({{'value': ({self.text}\n)}})", seen))
            failed = np.asarray(tried.is_null(), dtype=np.bool_)
            values = pa.chunked_array([typed("pa.StructArray", tried).flatten()[0]])
        infinite = is_infinite(values)
        if infinite is None:
            return values, failed
        finite = pa.chunked_array([cleared(in_one_piece(values), infinite)])
        return finite, infinite if failed is None else failed | infinite

    @staticmethod
    def values(text: str, rows: pa.Table) -> Values:
        """Return the values of an expression that was checked; a comment at its end hides nothing."""
        return ours(computed(rows, f"({text}\n)"))

    def seen(self, rows: pa.Table) -> pa.Table:
        """Return the columns that the expression looks at; where it looks at none, only how many rows there are."""
        names = list(self.columns(rows.schema))
        return rows.select(names) if names else pa.table({POSITION: pa.array(np.zeros(rows.num_rows, np.int8))})


def ours(values: Values) -> Values:
    """Return values in the types that columns have: UTC by that name, and JSON as text."""
    dtype = values.type
    if isinstance(dtype, pa.TimestampType) and dtype.tz not in (None, "UTC"):
        return values.cast(pa.timestamp(dtype.unit, "UTC"))
    if isinstance(dtype, pa.BaseExtensionType):
        return values.cast(dtype.storage_type)
    return values


def in_one_piece(values: Values) -> Cells:
    """Return values as one array."""
    return typed("Cells", pa.concat_arrays([pa.array([], values.type), *values.chunks]))


def first_line(exc: BaseException) -> str:
    """Return what an error says, without its drawing of where."""
    return str(exc).partition("\n")[0]
