"""Steps that compute with a number of a text format, and hand its characters on to the target."""

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
    """A step that reads the values of columns; it makes those in `makes`, and casts the text of those in `casts`."""

    step: Transform
    makes: frozenset[str] = frozenset()
    casts: frozenset[str] = frozenset()

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the schema of the step's result, in which the other columns keep the fields that they had."""
        after = self.step.schema(self.seen(before))
        for name in self.unchanged(before, after):
            after = after.set(after.get_field_index(name), before.field(name))
        return after

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk transformed; a row with a value that the decimals cannot hold is set aside."""
        before = chunk.rows
        names = self.names(before.schema)
        if not names:
            return self.step.apply(chunk)
        after = self.step.apply(with_values(chunk, names))
        rows, unchanged = after.rows, self.unchanged(before.schema, after.rows.schema)
        originals = before.select(unchanged).take(pc.index_in(rows[POSITION], before[POSITION].combine_chunks()))
        for name in unchanged:
            rows = rows.set_column(rows.schema.get_field_index(name), before.schema.field(name), originals[name])
        return replace(after, rows=rows)

    def unchanged(self, before: pa.Schema, after: pa.Schema) -> list[str]:
        """Return the columns whose values the step reads, and which its result still has and the step did not make."""
        return [name for name in self.names(before) if name in after.names and name not in self.makes]

    def names(self, schema: pa.Schema) -> list[str]:
        """Return the text columns that the step sees as decimals."""
        return [each.name for each in schema if each.name not in self.casts and seen_field(each) is not each]

    def seen(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema with decimals in place of these text columns."""
        return pa.schema([each if each.name in self.casts else seen_field(each) for each in schema])


@dataclass(frozen=True, slots=True)
class LookingKeyed(Looking):
    """The same for a step with rules over all rows of a run."""

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        """Return the rules of the step."""
        return self.step.rules(self.seen(before)) if isinstance(self.step, Keyed) else ()


def with_values(chunk: Chunk, names: Sequence[str]) -> Chunk:
    """Return the chunk with decimals in place of the text of columns, without the rows whose text does not fit."""
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
