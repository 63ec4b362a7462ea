"""The `clean` step: rename, drop, trim, nulls, drop_nulls, cast, in this order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand, with_column, with_type
from dataproc.transforms.types import arrow_type


@dataclass(frozen=True, slots=True)
class Clean:
    """Puts names and values in order; a value that does not fit its new type sets its row aside."""

    spec: CleanTransform

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the names and types that come out, or name a column that stands in the way."""
        after = self.left(self.renamed(before))
        demand(after, self.trimmed(after), "clean.trim")
        for name in self.trimmed(after):
            if not t.is_string(after.field(name).type):
                msg = f"clean.trim: column {name!r} is {after.field(name).type}, not text; leave it out"
                raise ContractViolationError(msg, column=name)
        demand(after, self.spec.nulls, "clean.nulls")
        for name, value in self.spec.nulls.items():
            filling(value, after.field(name))
        demand(after, self.spec.drop_nulls, "clean.drop_nulls")
        demand(after, self.spec.cast, "clean.cast")
        for name, declared in self.spec.cast.items():
            after = with_type(after, name, declared, "clean.cast")
        return after

    def renamed(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with new names."""
        demand(before, self.spec.rename, "clean.rename")
        names = [self.spec.rename.get(name, name) for name in before.names]
        twice = [name for name, count in Counter([*names, POSITION]).items() if count > 1]
        if twice:
            msg = f"clean.rename: two columns would be called {twice[0]!r}; choose another name"
            raise ContractViolationError(msg, column=twice[0])
        return pa.schema([field.with_name(name) for field, name in zip(before, names, strict=True)])

    def left(self, before: pa.Schema) -> pa.Schema:
        """Return `before` without the columns to drop."""
        demand(before, self.spec.drop, "clean.drop")
        return pa.schema([field for field in before if field.name not in self.spec.drop])

    def trimmed(self, schema: pa.Schema) -> Sequence[str]:
        """Return the columns to trim."""
        if isinstance(self.spec.trim, tuple):
            return self.spec.trim
        return [field.name for field in schema if self.spec.trim and t.is_string(field.type)]

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk cleaned."""
        rows = chunk.rows.rename_columns([self.spec.rename.get(name, name) for name in chunk.rows.column_names])
        rows = rows.drop_columns(list(self.spec.drop)) if self.spec.drop else rows
        for name in self.trimmed(rows.schema):
            rows = with_column(rows, name, pc.utf8_trim_whitespace(cells_of(rows, name)))
        for name, value in self.spec.nulls.items():
            filled = cells_of(rows, name).fill_null(filling(value, rows.schema.field(name)))
            rows = with_column(rows, name, filled)
        whole = rows
        for name in self.spec.drop_nulls:
            whole = whole.filter(pc.is_valid(cells_of(whole, name)))
        return self.cast(chunk, whole, filtered=rows.num_rows - whole.num_rows)

    def cast(self, chunk: Chunk, rows: pa.Table, *, filtered: int) -> Chunk:
        """Return the chunk with the rows of which all values fit their new types."""
        after, breaks = rows, list[Break]()
        for name, declared in self.spec.cast.items():
            cells, bad = cast(cells_of(rows, name), arrow_type(declared))
            after = with_column(after, name, cells)
            if bad is not None:
                breaks.append(Break("type", name, f"column {name!r} is no {declared}", bad))
        if not breaks:
            return chunk.keep(after, filtered=filtered)
        good = after.filter(pa.array(~broken(breaks, rows.num_rows)))
        return chunk.keep(good, filtered=filtered, rejects=reject_table(rows, breaks))


def filling(value: str | float, field: "pa.Field[pa.DataType]") -> "pa.Scalar[pa.DataType]":
    """Return what stands in place of null in a column."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    cells, bad = cast(pa.array([text]), field.type)
    if bad is not None:
        msg = f"clean.nulls: the value for column {field.name!r} is no {field.type}; write one that is"
        raise ContractViolationError(msg, column=field.name)
    return typed("pa.Scalar[pa.DataType]", cells[0])
