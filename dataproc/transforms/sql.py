"""The `sql` step: rows turned into other rows by a query, each by itself."""

from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.chunk import POSITION, POSITION_FIELD, Chunk
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.source_columns import with_inferred
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.transforms.expressions import Values, first_line, ours
from dataproc.transforms.sandbox import exported, is_infinite, sandbox
from dataproc.transforms.sql_syntax import TABLE, WHERE, rewritten


@dataclass(frozen=True, slots=True)
class Sql:
    """Runs a query on the rows at hand."""

    spec: SqlTransform

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the columns that the query gives, or say why it does not go with those that come."""
        try:
            found = self.result(before.append(POSITION_FIELD).empty_table())
        except (duckdb.Error, pa.ArrowException) as exc:
            msg = f"{WHERE}: it does not go with the columns: {first_line(exc)}; correct the query"
            raise ContractViolationError(msg) from exc
        twice = [name for name, count in Counter(found.column_names).items() if count > 1]
        if twice:
            msg = f"{WHERE}: two columns would be called {twice[0]!r}; choose another name with AS"
            raise ContractViolationError(msg, column=twice[0])
        if found.num_columns == 1:
            raise ContractViolationError(f"{WHERE}: it gives no column; select some")
        columns = found.drop_columns([POSITION]).schema
        return pa.schema([with_inferred(each, before.names, before) for each in columns])

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with what the query gives; each row keeps its position."""
        try:
            rows = self.result(chunk.rows)
        except duckdb.Error as exc:
            msg = f"{WHERE}: it cannot be computed for some row; use try_cast, or try(...), or a derive step"
            raise BadDataError(msg, unit=chunk.unit) from exc
        return chunk.keep(rows, filtered=chunk.rows.num_rows - rows.num_rows)

    def result(self, rows: pa.Table) -> pa.Table:
        """Return what the query gives for rows; the positions come last."""
        query = rewritten(self.spec.query)
        with sandbox().cursor() as cursor:
            cursor.register(TABLE, rows)
            found = exported(cursor.sql(query))
        columns = [plain(found.column(at)) for at in range(found.num_columns - 1)]
        for name, each in zip(found.column_names, columns, strict=False):
            if is_infinite(each) is not None:
                raise BadDataError(f"{WHERE}: column {name!r} is infinite for some row; let it be null there")
        fields = [pa.field(name, each.type) for name, each in zip(found.column_names, columns, strict=False)]
        return pa.table([*columns, found.column(-1)], schema=pa.schema([*fields, POSITION_FIELD]))


def plain(values: Values) -> Values:
    """Return values in the types that columns have; repeated ones are written out."""
    found = ours(values)
    return found.cast(found.type.value_type) if t.is_dictionary(found.type) else found
