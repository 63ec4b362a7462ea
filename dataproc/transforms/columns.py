"""Columns of a chunk by name."""

from collections.abc import Iterable

import pyarrow as pa

from dataproc.domain.cells import Cells
from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.cast import can_cast
from dataproc.transforms.types import arrow_type


def demand(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise `ContractViolationError` for a column that the rows lack."""
    for name in names:
        if name not in schema.names:
            msg = f"{where}: the rows have no column {name!r}, only {', '.join(schema.names)}; correct the name"
            raise ContractViolationError(msg, column=name)


def cells_of(rows: pa.Table, name: str) -> Cells:
    """Return a column in one piece."""
    pieces: list[Cells] = rows[name].chunks
    return pieces[0] if len(pieces) == 1 else pa.concat_arrays([pa.array([], rows[name].type), *pieces])


def with_column(rows: pa.Table, name: str, cells: Cells) -> pa.Table:
    """Return rows with other cells in a column."""
    return rows.set_column(rows.schema.get_field_index(name), pa.field(name, cells.type), cells)


def with_type(schema: pa.Schema, name: str, declared: str, where: str) -> pa.Schema:
    """Return `schema` with a column cast to a declared type, or say that it cannot be."""
    before, after = schema.field(name).type, arrow_type(declared)
    if not can_cast(before, after):
        msg = f"{where}: column {name!r} is {before}, which cannot be cast to {declared}; declare another type"
        raise ContractViolationError(msg, column=name)
    return schema.set(schema.get_field_index(name), pa.field(name, after))
