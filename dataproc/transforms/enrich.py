"""The `enrich` step: columns of a lookup, joined to the rows with the same keys.

The lookup is read once for a run, where its schema is asked for, and travels to the workers with the transform: so all
chunks of a run are joined with the same rows, also one that is read twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import Chunk
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.enrich import Default, EnrichTransform, Plain
from dataproc.transforms.breaks import Break, reject_table
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand, demand_new, with_new
from dataproc.transforms.enrich_lookup import Lookup, matches


@dataclass(frozen=True, slots=True)
class Enrich:
    """Adds columns of a lookup."""

    spec: EnrichTransform
    lookup: Lookup

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with the new columns, or say what of the lookup does not go with it."""
        demand(before, self.spec.on, "enrich.on")
        demand_new(before, self.spec.columns, "enrich.columns")
        found = self.lookup.load(before)
        for name, column in self.spec.columns.items():
            before = before.append(found.schema.field(column).with_name(name))
        if isinstance(self.spec.missing, Default):
            demand_defaults(self.spec.missing.default, self.spec.columns, before)
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the new columns."""
        found = self.lookup.load(chunk.rows.schema)
        places = matches(chunk.rows, found, self.spec.on)
        new = {name: cells_of(found, column).take(places) for name, column in self.spec.columns.items()}
        if not places.null_count:
            return chunk.keep(with_new(chunk.rows, new))
        if self.spec.missing == "reject":
            return self.without_unmatched(chunk, new, places)
        if isinstance(self.spec.missing, Default):
            for name, value in self.spec.missing.default.items():
                new[name] = pc.if_else(places.is_valid(), new[name], filling(name, value, new[name].type))
        return chunk.keep(with_new(chunk.rows, new))

    def without_unmatched(self, chunk: Chunk, new: Mapping[str, Cells], places: Cells) -> Chunk:
        """Return the chunk with the rows that match, and the others set aside."""
        keys = ", ".join(map(repr, self.spec.on))
        unmatched: Any = places.is_null().to_numpy(zero_copy_only=False)
        found = Break("lookup", next(iter(self.spec.on)), f"{keys} is not in the lookup", unmatched)
        rows = with_new(chunk.rows, new).filter(places.is_valid())
        return chunk.keep(rows, rejects=reject_table(chunk.rows, [found]))


def demand_defaults(defaults: Mapping[str, Plain | None], columns: Mapping[str, str], after: pa.Schema) -> None:
    """Refuse defaults of columns that are not new, or of another type."""
    for name, value in defaults.items():
        if name not in columns:
            msg = f"enrich.missing: {name!r} is no new column, only {', '.join(columns)} are; correct the name"
            raise ContractViolationError(msg, column=name)
        filling(name, value, after.field(name).type)


def filling(name: str, value: Plain | None, dtype: pa.DataType) -> "pa.Scalar[Any]":
    """Return what a column holds where there is no match."""
    if value is None:
        return pa.scalar(None, dtype)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        cells, bad = cast(pa.array([text]), dtype)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as exc:
        raise wrong_default(name, dtype) from exc
    if bad is not None:
        raise wrong_default(name, dtype)
    found: pa.Scalar[Any] = cells[0]
    return found


def wrong_default(name: str, dtype: pa.DataType) -> ContractViolationError:
    """Return the error for a default of another type."""
    msg = f"enrich.missing: the default of column {name!r} is no {dtype}, which the lookup's are; write one that is"
    return ContractViolationError(msg, column=name)
