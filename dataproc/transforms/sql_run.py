"""The `sql` step over a whole run: nothing to do for a worker; the query is asked where the rows are staged."""

from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.chunk import Chunk
from dataproc.domain.transforms.sql import SqlTransform


@dataclass(frozen=True, slots=True)
class SqlOverRun:
    """Hands a query on to the load."""

    spec: SqlTransform

    @property
    def over_run(self) -> str:
        """The query."""
        return self.spec.query

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`: this is what the query reads."""
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk as it is."""
        return chunk
