"""Steps that see the values of columns whose characters travel on: a condition does not change what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.keys import KeyRule
from dataproc.domain.source_columns import seen_field
from dataproc.ports.pipeline import Keyed, Transform
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.cast import from_text


@dataclass(frozen=True, slots=True)
class Looking:
    """A step that looks at columns, and leaves all but those that it makes as they were written."""

    step: Transform
    makes: frozenset[str] = frozenset()

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return what comes out of the step, with the columns that it only looked at as they came."""
        after = self.step.schema(seen_schema(before))
        for name in self.left_alone(before, after):
            after = after.set(after.get_field_index(name), before.field(name))
        return after

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk transformed; a row whose value cannot be computed with is set aside."""
        before = chunk.rows
        names = [column.name for column in before.schema if seen_field(column) is not column]
        if not names:
            return self.step.apply(chunk)
        after = self.step.apply(seen(chunk, names))
        left = self.left_alone(before.schema, after.rows.schema)
        came = before.select(left).take(pc.index_in(after.rows[POSITION], before[POSITION].combine_chunks()))
        rows = after.rows
        for name in left:
            rows = rows.set_column(rows.schema.get_field_index(name), before.schema.field(name), came[name])
        return replace(after, rows=rows)

    def left_alone(self, before: pa.Schema, after: pa.Schema) -> list[str]:
        """Return the columns that the step saw in another form, and did not make."""
        seen_names = [column.name for column in before if seen_field(column) is not column]
        return [name for name in seen_names if name in after.names and name not in self.makes]


@dataclass(frozen=True, slots=True)
class LookingKeyed(Looking):
    """The same for a step with rules over all rows of a run."""

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        """Return the rules."""
        return self.step.rules(seen_schema(before)) if isinstance(self.step, Keyed) else ()


def seen_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns as steps see them."""
    return pa.schema([seen_field(column) for column in schema])


def seen(chunk: Chunk, names: Sequence[str]) -> Chunk:
    """Return the chunk with values in place of the characters of columns."""
    rows, breaks = chunk.rows, list[Break]()
    for name in names:
        column = seen_field(rows.schema.field(name))
        values, bad = from_text(rows[name].combine_chunks(), column.type)
        rows = rows.set_column(rows.schema.get_field_index(name), column, values)
        reason = f"column {name!r} does not fit {column.type}, with which a step computes; cast it in a clean step"
        breaks += [] if bad is None else [Break("type", name, reason, bad)]
    aside = broken(breaks, rows.num_rows)
    if not aside.any():
        return chunk.keep(rows)
    return chunk.keep(rows.filter(pa.array(~aside)), rejects=reject_table(chunk.rows, breaks))
