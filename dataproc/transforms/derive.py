"""The `derive` step: columns computed from the others, one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import with_inferred
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.columns import with_column, with_new
from dataproc.transforms.expressions import Expression, in_one_piece


@dataclass(frozen=True, slots=True)
class Derive:
    """Adds columns, or changes them."""

    spec: DeriveTransform

    def expressions(self) -> Iterator[tuple[str, Expression]]:
        """Yield each column with its expression."""
        for name, text in self.spec.columns.items():
            yield name, Expression(text, f"derive.columns.{name}")

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the columns that come out, new ones last, or say why an expression does not go with the others."""
        for name, expression in self.expressions():
            if name == POSITION:
                raise ContractViolationError(f"derive.columns: {POSITION} is not yours; choose another name")
            field = with_inferred(pa.field(name, expression.type(before)), expression.columns(before), before)
            before = before.set(before.get_field_index(name), field) if name in before.names else before.append(field)
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the computed columns."""
        rows, breaks = chunk.rows, list[Break]()
        for name, expression in self.expressions():
            if self.spec.on_error == "fail":
                values, failed = expression.evaluate(rows), None
            else:
                values, failed = expression.attempt(rows)
            rows = with_values(rows, name, in_one_piece(values))
            if failed is not None and failed.any():
                breaks.append(Break("expression", name, f"column {name!r} cannot be computed", failed))
        if not breaks or self.spec.on_error == "null":
            return chunk.keep(rows)
        good = rows.filter(pa.array(~broken(breaks, rows.num_rows)))
        return chunk.keep(good, rejects=reject_table(chunk.rows, breaks))


def with_values(rows: pa.Table, name: str, cells: Cells) -> pa.Table:
    """Return rows with these values in a column, which is the last one where it is new."""
    return with_column(rows, name, cells) if name in rows.column_names else with_new(rows, {name: cells})
