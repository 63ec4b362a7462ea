"""A lookup: rows with a key each, and which of them match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.enrich import EnrichTransform, LookupRows
from dataproc.ports.lookups import NO_LOOKUPS, Lookups
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand, with_column, written_out

if TYPE_CHECKING:
    import polars as pl

PLACE = "place"


@dataclass(slots=True)
class Lookup:
    """What is looked up: read when it is first needed; pickled, it holds what was read, and not how to read."""

    spec: EnrichTransform
    lookups: Lookups = field(repr=False)
    found: pa.Table | None = field(default=None, repr=False)
    rows: pa.Table | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the way to read behind: it knows who logs in."""
        return Lookup, (self.spec, NO_LOOKUPS, self.found)

    def load(self, rows: pa.Schema) -> pa.Table:
        """Return the lookup, with keys of the types that the rows have, each once."""
        if self.found is None:
            self.found = keyed(self.read() if self.rows is None else self.rows, self.spec.on, rows)
            self.rows = None
        return self.found

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are needed."""
        return tuple(dict.fromkeys([*self.spec.on.values(), *self.spec.columns.values()]))

    def size(self) -> int | None:
        """Return about how many bytes there are; `None`: that is not known before they are read."""
        return self.lookups.size(self.spec.place, self.columns)

    def fetch(self) -> int:
        """Read it, and return how many bytes it has; what it is joined with may be told later."""
        self.rows = self.read()
        return self.rows.nbytes

    def read(self) -> pa.Table:
        """Return the columns that are needed."""
        if isinstance(self.spec.place, LookupRows):
            found = inline(self.spec.place)
        else:
            found = self.lookups.read(self.spec.place, self.columns, self.spec.max_bytes, self.spec.keep_for)
        demand(found.schema, self.columns, "enrich.from: the lookup")
        return found.select(self.columns)


def inline(place: LookupRows) -> pa.Table:
    """Return the rows that stand in the job; the types are those of their values."""
    names = dict.fromkeys(name for row in place.rows for name in row)
    columns = {}
    for name in names:
        values: list[Any] = [row.get(name) for row in place.rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
            msg = f"enrich.from: the rows have values of several types in column {name!r}; write them all in one type"
            raise ContractViolationError(msg, column=name) from exc
    return pa.table(columns)


def keyed(found: pa.Table, on: Mapping[str, str], rows: pa.Schema) -> pa.Table:
    """Return a lookup with keys of the types that the rows have, or refuse one that has a key twice."""
    for name, column in on.items():
        found = fitted(found, column, name, key_type(rows.field(name).type))
    names = list(dict.fromkeys(on.values()))
    keys = as_frame(found, names).drop_nulls()
    doubled = keys.filter(keys.is_duplicated())
    if doubled.height:
        msg = (
            f"enrich.from: {doubled.height} rows of the lookup share their key ({', '.join(map(repr, names))}) with "
            "another one; leave one of each"
        )
        raise ContractViolationError(msg, columns=tuple(names))
    return found


def key_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which keys are compared."""
    return key_type(dtype.value_type) if t.is_dictionary(dtype) else dtype


def fitted(found: pa.Table, column: str, name: str, dtype: pa.DataType) -> pa.Table:
    """Return a lookup whose key has a type of the rows; a value that does not fit matches nothing."""
    try:
        cells, _ = cast(cells_of(found, column), dtype)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as exc:
        msg = (
            f"enrich.on: column {name!r} is {dtype}, and {column!r} of the lookup {found.schema.field(column).type}; "
            "cast one of them"
        )
        raise ContractViolationError(msg, column=name) from exc
    return with_column(found, column, cells)


def matches(rows: pa.Table, found: pa.Table, on: Mapping[str, str]) -> Cells:
    """Return the place of the row of the lookup that matches each row; null where none does."""
    import polars as pl  # its import takes a third of a second, and most jobs have no lookup

    names = [f"k{at}" for at in range(len(on))]
    asked = as_frame(rows, list(on)).rename(dict(zip(on, names, strict=True)))
    known = pl.DataFrame(
        [as_frame(found, [column])[column].alias(name) for name, column in zip(names, on.values(), strict=True)]
    )
    known = known.with_columns(pl.Series(PLACE, np.arange(found.num_rows, dtype=np.int64)))
    joined: Any = asked.join(known, on=names, how="left", maintain_order="left").get_column(PLACE).to_arrow()
    places: Cells = joined
    return places


def as_frame(rows: pa.Table, names: Sequence[str]) -> "pl.DataFrame":
    """Return some columns of rows for Polars, with repeated values written out."""
    import polars as pl

    columns = [written_out(cells_of(rows, name)) for name in names]
    found: Any = pl.from_arrow(pa.table(columns, names=list(names)))
    frame: pl.DataFrame = found
    return frame
