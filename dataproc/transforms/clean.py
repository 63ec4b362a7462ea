"""The `clean` step: its operations in the order of the fields of its specification."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import Chunk
from dataproc.domain.transforms.clean import Cast as CastSpec
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.clean import Dates as DatesSpec
from dataproc.domain.transforms.clean import Flatten as FlattenSpec
from dataproc.domain.transforms.clean import Phone as PhoneSpec
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.clean_columns import Drop, Flatten, Rename, Select
from dataproc.transforms.clean_key import HashKey
from dataproc.transforms.clean_numbers import Numbers
from dataproc.transforms.clean_parts import ParseJson, Split
from dataproc.transforms.clean_texts import texts
from dataproc.transforms.clean_values import Cast, Dates, DropNulls, Fill, Phone
from dataproc.transforms.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Clean:
    """Puts names and values in order; a value that does not fit what is asked for sets its row aside."""

    spec: CleanTransform

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the names and types that come out, or name the columns that stand in the way."""
        for operation in operations(self.spec):
            before = operation.schema(before)
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk cleaned."""
        work = Work(chunk.rows)
        for operation in operations(self.spec):
            work = work.after(operation.apply(work.rows))
        if not work.breaks and work.left_out is None:
            return chunk.keep(work.rows)
        bad, left_out = broken(work.breaks, chunk.rows.num_rows), work.left_out
        gone = bad if left_out is None else bad | left_out
        # The text of a reject is that of the row as it came to this step: so it can be corrected and replayed.
        return chunk.keep(
            work.rows.filter(pa.array(~gone)),
            filtered=0 if left_out is None else int(left_out.sum()),
            rejects=reject_table(chunk.rows, work.breaks),
        )


@dataclass(frozen=True, slots=True)
class Work:
    """All rows on their way through the step, which broke a rule, and which are to be left out."""

    rows: pa.Table
    breaks: tuple[Break, ...] = ()
    left_out: Mask | None = None

    def after(self, outcome: Outcome) -> "Work":
        """Return the work after one more operation; the first one that lets go of a row decides what becomes of it."""
        breaks = tuple(self.still_here(each) for each in outcome.breaks)
        left_out = self.left_out
        if outcome.left_out is not None:
            going = outcome.left_out & ~broken(self.breaks, self.rows.num_rows)
            left_out = going if left_out is None else left_out | going
        return Work(outcome.rows, (*self.breaks, *(each for each in breaks if each.mask.any())), left_out)

    def still_here(self, found: Break) -> Break:
        """Return a break without the rows that are to be left out."""
        return found if self.left_out is None else replace(found, mask=np.logical_and(found.mask, ~self.left_out))


def operations(spec: CleanTransform) -> Iterator[Operation]:
    """Yield what a step does, in order."""
    yield from on_columns(spec)
    yield from texts(spec)
    if spec.phone:
        yield Phone({name: p if isinstance(p, PhoneSpec) else PhoneSpec(region=p) for name, p in spec.phone.items()})
    if spec.dates:
        yield Dates({name: DatesSpec(formats=d) if isinstance(d, tuple) else d for name, d in spec.dates.items()})
    if spec.numbers:
        yield Numbers(spec.numbers)
    if spec.nulls:
        yield Fill(spec.nulls)
    if spec.drop_nulls:
        yield DropNulls(spec.drop_nulls)
    if spec.cast:
        yield Cast({name: CastSpec(type=to) if isinstance(to, str) else to for name, to in spec.cast.items()})
    if spec.key:
        yield HashKey(spec.key)


def on_columns(spec: CleanTransform) -> Iterator[Operation]:
    """Yield what a step does with whole columns, in order."""
    if spec.flatten:
        yield flattening(spec.flatten)
    if spec.rename:
        yield Rename(spec.rename)
    if spec.parse_json:
        yield ParseJson(spec.parse_json)
    if spec.split:
        yield Split(spec.split)
    if spec.select:
        yield Select(spec.select)
    if spec.drop:
        yield Drop(spec.drop)


def flattening(spec: bool | tuple[str, ...] | FlattenSpec) -> Flatten:  # noqa: FBT001 - it is what the user writes
    """Return what makes columns out of records."""
    if isinstance(spec, FlattenSpec):
        return Flatten(spec.columns, spec.separator)
    return Flatten(spec if isinstance(spec, tuple) else None)
