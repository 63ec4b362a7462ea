"""Keys of one text made from several columns: the SHA-256 of a canonical form, which stays the same for ever.

The form is, for each column in order, `n` for null, or `v`, the number of bytes, `:` and the value's text. Numbers are
in decimal, moments in UTC as `2024-01-31 12:00:00.000000Z`, `true` and `false`, bytes in hexadecimal digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.texts import joined_text
from dataproc.domain.cells import Cells
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import sql_type_of
from dataproc.transforms.columns import cells_of, demand, demand_new, with_new
from dataproc.transforms.expressions import in_one_piece
from dataproc.transforms.operations import Outcome
from dataproc.transforms.sandbox import computed

TEXT = pa.string()


@dataclass(frozen=True, slots=True)
class HashKey:
    """New columns with keys."""

    keys: Mapping[str, tuple[str, ...]]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with the new columns, or name one whose values have no canonical form."""
        demand(before, [name for columns in self.keys.values() for name in columns], "clean.key")
        demand_new(before, self.keys, "clean.key")
        for name in (name for columns in self.keys.values() for name in columns):
            column = before.field(name)
            has_one_text = not (t.is_nested(column.type) or t.is_floating(column.type))
            # The scale of an inferred number is that of the sample, which another run may not share.
            if not has_one_text or sql_type_of(column) == "numeric":
                msg = (
                    f"clean.key: column {name!r} is {sql_type_of(column) or column.type}, whose values have several "
                    "texts; cast it, or name another"
                )
                raise ContractViolationError(msg, column=name)
        return pa.schema([*before, *(pa.field(name, TEXT) for name in self.keys)])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with their keys."""
        return Outcome(with_new(rows, {name: key(rows, columns) for name, columns in self.keys.items()}))


def key(rows: pa.Table, columns: tuple[str, ...]) -> Cells:
    """Return the key of each row."""
    forms = joined_text(*(form(cells_of(rows, name)) for name in columns))
    return in_one_piece(computed(pa.table({"x": forms}), "sha256(x)")).cast(TEXT)


def form(cells: Cells) -> Cells:
    """Return the canonical form of values."""
    text = canonical(cells)
    told = joined_text("v", typed("Cells", pc.call_function("binary_length", [text])).cast(TEXT), ":", text)
    return told.fill_null("n")


def canonical(cells: Cells) -> Cells:
    """Return values as text, always the same for the same value."""
    if t.is_binary(cells.type):
        return in_one_piece(computed(pa.table({"x": cells}), "lower(hex(x))")).cast(TEXT)
    if isinstance(cells.type, pa.TimestampType):
        cells = cells.cast(pa.timestamp("us", cells.type.tz and "UTC"))
    return cells.cast(TEXT)
