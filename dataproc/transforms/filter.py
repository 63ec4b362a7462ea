"""The `filter` step: rows for which a condition is not true leave, and are counted."""

from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.chunk import Chunk
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.transforms.expressions import Expression


@dataclass(frozen=True, slots=True)
class Filter:
    """Leaves the rows for which the condition is true."""

    spec: FilterTransform

    @property
    def condition(self) -> Expression:
        """What must be true of a row."""
        return Expression(self.spec.where, "filter.where")

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or say why the condition does not go with it."""
        self.condition.demand_truth(before)
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the rows for which the condition is true."""
        # A null counts as false here, as in SQL.
        left = chunk.rows.filter(self.condition.evaluate(chunk.rows))
        return chunk.keep(left, filtered=chunk.rows.num_rows - left.num_rows)
