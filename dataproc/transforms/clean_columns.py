"""Operations on whole columns: flatten, rename, select, drop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.columns import cells_of, demand, demand_new
from dataproc.transforms.operations import Outcome


@dataclass(frozen=True, slots=True)
class Flatten:
    """Records become columns, and records in records as well."""

    columns: tuple[str, ...] | None
    separator: str = "_"

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the fields of records in their place."""
        self.demand_records(before)
        fields = [each for field in before for each in self.fields(field)]
        demand_new(pa.schema([]), [field.name for field in fields], "clean.flatten")
        return pa.schema(fields)

    def demand_records(self, schema: pa.Schema) -> None:
        """Raise for a column that holds no records."""
        demand(schema, self.columns or (), "clean.flatten")
        for name in self.columns or ():
            if not isinstance(dtype := schema.field(name).type, pa.StructType):
                msg = f"clean.flatten: column {name!r} is {dtype}, no record; leave it out"
                raise ContractViolationError(msg, column=name)

    def fields(self, field: "pa.Field[pa.DataType]") -> "Iterator[pa.Field[pa.DataType]]":
        """Yield the fields that a column becomes."""
        if not isinstance(field.type, pa.StructType) or not self.is_meant(field.name):
            yield field
            return
        for child in field.type:
            yield from Flatten(None, self.separator).fields(child.with_name(self.name(field.name, child.name)))

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with flat columns."""
        cells = [each for name in rows.column_names for each in self.cells(name, cells_of(rows, name))]
        fields = [each for field in rows.schema for each in self.fields(field)]
        return Outcome(pa.table([cell for _, cell in cells], schema=pa.schema(fields)))

    def cells(self, name: str, cells: Cells) -> Iterator[tuple[str, Cells]]:
        """Yield the columns that a column becomes; null records have null in all of them."""
        if not isinstance(cells, pa.StructArray) or not self.is_meant(name):
            yield name, cells
            return
        for field, child in zip(cells.type, cells.flatten(), strict=True):
            yield from Flatten(None, self.separator).cells(self.name(name, field.name), child)

    def is_meant(self, name: str) -> bool:
        """Whether a column is to become flat."""
        return self.columns is None or name in self.columns

    def name(self, parent: str, child: str) -> str:
        """Return the name of a field as a column."""
        return f"{parent}{self.separator}{child}"


@dataclass(frozen=True, slots=True)
class Rename:
    """Columns get other names, all at once."""

    names: Mapping[str, str]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with new names."""
        demand(before, self.names, "clean.rename")
        names = [self.names.get(name, name) for name in before.names]
        demand_new(pa.schema([]), names, "clean.rename")
        return pa.schema([field.with_name(name) for field, name in zip(before, names, strict=True)])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with new names."""
        return Outcome(rows.rename_columns([self.names.get(name, name) for name in rows.column_names]))


@dataclass(frozen=True, slots=True)
class Select:
    """Only some columns stay, in an order of their own."""

    columns: tuple[str, ...]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the fields that stay."""
        demand(before, self.columns, "clean.select")
        demand_new(pa.schema([]), self.columns, "clean.select")
        return pa.schema([before.field(name) for name in self.columns])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with the columns that stay."""
        return Outcome(rows.select([*self.columns, POSITION]))


@dataclass(frozen=True, slots=True)
class Drop:
    """Some columns go."""

    columns: tuple[str, ...]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the fields that stay."""
        demand(before, self.columns, "clean.drop")
        return pa.schema([field for field in before if field.name not in self.columns])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows without the columns."""
        return Outcome(rows.drop_columns(list(self.columns)))
