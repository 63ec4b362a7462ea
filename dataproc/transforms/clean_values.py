"""Operations that give values of other types: phone numbers, dates, values for null, casts, keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.arrow.timestamps import to_microseconds
from dataproc.domain.cells import Cells, Mask
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.clean import Cast as CastSpec
from dataproc.domain.transforms.clean import Dates as DatesSpec
from dataproc.domain.transforms.clean import Filling
from dataproc.domain.transforms.clean import Phone as PhoneSpec
from dataproc.transforms.breaks import Break
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand, demand_text, with_cells, with_column, with_type
from dataproc.transforms.complaints import Complaints
from dataproc.transforms.moments import from_formats, in_zone
from dataproc.transforms.operations import Outcome
from dataproc.transforms.phones import numbers
from dataproc.transforms.types import arrow_type


@dataclass(frozen=True, slots=True)
class Phone:
    """Phone numbers in one form."""

    columns: Mapping[str, PhoneSpec]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or name a column that is missing or no text."""
        demand_text(before, self.columns, "clean.phone")
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with numbers as E.164 writes them; what is none breaks a rule."""
        breaks = list[Break]()
        for name, phone in self.columns.items():
            cells, bad = numbers(cells_of(rows, name), phone)
            rows = with_cells(rows, name, cells)
            reason = f"column {name!r} is not a phone number" + (
                ", or has an extension" * (phone.extension == "refuse")
            )
            breaks += [] if bad is None else [Break("phone", name, reason, bad)]
        return Outcome(rows, breaks)


@dataclass(frozen=True, slots=True)
class Dates:
    """Text becomes dates or times, by formats that are tried in order."""

    columns: Mapping[str, DatesSpec]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the new types, or name a column that is missing or no text."""
        demand_text(before, self.columns, "clean.dates")
        for name, dates in self.columns.items():
            before = with_type(before, name, dates.type, "clean.dates")
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with dates and times; text without one of the formats breaks a rule."""
        breaks = list[Break]()
        for name, dates in self.columns.items():
            cells, bad = from_formats(cells_of(rows, name), dates.formats, arrow_type(dates.type), dates.zone)
            rows = with_column(rows, name, cells)
            breaks += [] if bad is None else [Break("date", name, f"column {name!r} has none of the formats", bad)]
        return Outcome(rows, breaks)


@dataclass(frozen=True, slots=True)
class Fill:
    """Null becomes a value."""

    values: Mapping[str, Filling]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or name a column that is missing or whose value has another type."""
        complaints = Complaints()
        for name, value in self.values.items():
            with complaints.heard():
                demand(before, (name,), "clean.nulls")
                filling(value, before.field(name))
        complaints.tell()
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows without null in these columns."""
        for name, value in self.values.items():
            cells = cells_of(rows, name)
            if cells.null_count:
                rows = with_cells(rows, name, cells.fill_null(filling(value, rows.schema.field(name))))
        return Outcome(rows)


@dataclass(frozen=True, slots=True)
class DropNulls:
    """Rows with null in one of the columns go."""

    columns: tuple[str, ...]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or name a column that is missing."""
        demand(before, self.columns, "clean.drop_nulls")
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows, and which are to be left out."""
        left_out: Mask | None = None
        for name in self.columns:
            if (cells := cells_of(rows, name)).null_count:
                is_null = cells.is_null().to_numpy(zero_copy_only=False)
                left_out = is_null if left_out is None else left_out | is_null
        return Outcome(rows, left_out=left_out)


@dataclass(frozen=True, slots=True)
class Cast:
    """Columns get other types."""

    columns: Mapping[str, CastSpec]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the new types, or name a column that is missing or can never have its type."""
        complaints = Complaints()
        for name, to in self.columns.items():
            with complaints.heard():
                (demand if to.format is None else demand_text)(before, (name,), "clean.cast")
                before = with_type(before, name, to.type, "clean.cast")
        complaints.tell()
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with values of the new types; those that do not fit break a rule."""
        after, breaks = rows, list[Break]()
        for name, to in self.columns.items():
            cells, bad = converted(cells_of(rows, name), to)
            after = with_column(after, name, cells)
            breaks += [] if bad is None else [Break("type", name, f"column {name!r} is no {to.type}", bad)]
        return Outcome(after, breaks)


def converted(cells: Cells, to: CastSpec) -> tuple[Cells, Mask | None]:
    """Return cells cast as the user says."""
    dtype = arrow_type(to.type)
    if to.format is not None:
        return from_formats(cells, (to.format,), dtype, to.zone)
    if to.zone is not None and isinstance(cells.type, pa.TimestampType):
        whole = to_microseconds(cells).cast(pa.timestamp("us", cells.type.tz))
        return lost(cells, in_zone(whole, dtype, to.zone))
    return cast(cells, dtype, zone=to.zone)


def lost(before: Cells, after: Cells) -> tuple[Cells, Mask | None]:
    """Return cells after a conversion, and which of them became null."""
    if after.null_count == before.null_count:
        return after, None
    return after, pc.and_(after.is_null(), before.is_valid()).to_numpy(zero_copy_only=False)


def filling(value: Filling, field: "pa.Field[pa.DataType]") -> "pa.Scalar[pa.DataType]":
    """Return what stands in place of null in a column."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        cells, bad = cast(pa.array([text]), field.type)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as exc:
        msg = f"clean.nulls: column {field.name!r} is {field.type}, of which no value can be written; leave it out"
        raise ContractViolationError(msg, column=field.name) from exc
    if bad is not None:
        msg = f"clean.nulls: the value for column {field.name!r} is no {field.type}; write one that is"
        raise ContractViolationError(msg, column=field.name)
    return typed("pa.Scalar[pa.DataType]", cells[0])
