"""Columns of a chunk by name."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.cast import can_cast
from dataproc.transforms.types import arrow_type


def demand(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise `ContractViolationError` for the columns that the rows lack."""
    if missing := [name for name in dict.fromkeys(names) if name not in schema.names or name == POSITION]:
        columns = "column" if len(missing) == 1 else "columns"
        known = ", ".join(name for name in schema.names if name != POSITION)
        msg = f"{where}: the rows have no {columns} {', '.join(map(repr, missing))}, only {known}; correct the name"
        raise ContractViolationError(msg, column=missing[0])


def demand_text(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise `ContractViolationError` for the columns that the rows lack, or that are no text."""
    demand(schema, names, where)
    if others := [name for name in names if not t.is_string(schema.field(name).type)]:
        told = ", ".join(f"column {name!r} is {schema.field(name).type}" for name in others)
        msg = f"{where}: {told}, not text; leave it out"
        raise ContractViolationError(msg, column=others[0])


def demand_new(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise `ContractViolationError` for a new column whose name is taken."""
    taken = {*schema.names, POSITION}
    for name in names:
        if name in taken:
            msg = f"{where}: two columns would be called {name!r}; choose another name"
            raise ContractViolationError(msg, column=name)
        taken.add(name)


def cells_of(rows: pa.Table, name: str) -> Cells:
    """Return a column in one piece."""
    pieces: list[Cells] = rows[name].chunks
    return pieces[0] if len(pieces) == 1 else pa.concat_arrays([pa.array([], rows[name].type), *pieces])


def written_out(cells: Any) -> Cells:
    """Return cells whose type is that of their values."""
    found: Cells = cells.dictionary_decode() if t.is_dictionary(cells.type) else cells
    return found


def with_column(rows: pa.Table, name: str, cells: Cells) -> pa.Table:
    """Return rows with a new column in place of one of the same name."""
    return rows.set_column(rows.schema.get_field_index(name), pa.field(name, cells.type), cells)


def with_cells(rows: pa.Table, name: str, cells: Cells) -> pa.Table:
    """Return rows with other cells of the same type in a column, whose field and its metadata stay."""
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), cells)


def with_new(rows: pa.Table, new: Mapping[str, Cells]) -> pa.Table:
    """Return rows with more columns; `POSITION` stays the last one."""
    for name, cells in new.items():
        rows = rows.add_column(rows.num_columns - 1, pa.field(name, cells.type), cells)
    return rows


def with_type(schema: pa.Schema, name: str, declared: str, where: str) -> pa.Schema:
    """Return `schema` with a column cast to a declared type, or say that it cannot be."""
    before, after = schema.field(name).type, arrow_type(declared)
    if not can_cast(before, after):
        msg = f"{where}: column {name!r} is {before}, which cannot be cast to {declared}; declare another type"
        raise ContractViolationError(msg, column=name)
    return schema.set(schema.get_field_index(name), pa.field(name, after))


def text_names(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns that hold text."""
    return tuple(field.name for field in schema if t.is_string(field.type))


def demand_comparable(schema: pa.Schema, names: Iterable[str], where: str) -> None:
    """Raise `ContractViolationError` for the columns that the rows lack, or that hold more than single values."""
    demand(schema, names, where)
    if others := [name for name in names if t.is_nested(schema.field(name).type)]:
        told = ", ".join(f"column {name!r} is {schema.field(name).type}" for name in others)
        msg = f"{where}: {told}, and such values cannot be compared; name another column"
        raise ContractViolationError(msg, column=others[0])
