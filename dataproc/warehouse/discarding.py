"""Values and rows that do not fit their target and are discarded, where its contract says so; runs in the workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import POSITION, REJECTS, Chunk, texts_of
from dataproc.warehouse.columns import Column
from dataproc.warehouse.fitting import fit_or_clear

RULE = "contract"
"""What rejects call it."""


def within_contract(chunk: Chunk, columns: Sequence[Column], left_out: Sequence[Column]) -> Chunk:
    """Return a chunk without what the contract discards: values are null then, and rows are set aside."""
    judged = [column for column in columns if column.contract in ("discard_value", "discard_row")]
    if not judged and not left_out:
        return chunk
    verdict = Verdict(chunk.rows)
    for column in judged:
        verdict.judge(column)
    for column in left_out:
        verdict.leave_out(column)
    kept = chunk.keep(verdict.rows(), rejects=verdict.rejects() if verdict.bad.any() else None)
    return replace(kept, discarded=(*chunk.discarded, *verdict.discarded()))


@dataclass(slots=True)
class Verdict:
    """What becomes of rows, column by column."""

    before: pa.Table
    bad: Mask = field(init=False)
    cleared: dict[str, Mask] = field(default_factory=dict)
    refused: list[tuple[Column, Mask]] = field(default_factory=list)
    fitted: dict[str, pa.ChunkedArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with rows that are all good."""
        self.bad = np.zeros(self.before.num_rows, np.bool_)

    def judge(self, column: Column) -> None:
        """Find the values of a column that do not fit the target."""
        self.fitted[column.name], misfits = fit_or_clear(self.before[column.name], column)
        self.note(column, misfits)

    def leave_out(self, column: Column) -> None:
        """Find the values of a column that the target does not have, or never takes."""
        self.note(column, np.asarray(pc.is_valid(self.before[column.name]), np.bool_))

    def note(self, column: Column, misfits: Mask) -> None:
        """Discard values, or their rows: there is no null for a column that must not be null."""
        if column.contract == "discard_value" and not column.required:
            self.cleared[column.name] = misfits
        elif misfits.any():
            self.refused.append((column, misfits))
            self.bad |= misfits

    def discarded(self) -> list[tuple[str, int]]:
        """Return how many values of each column were left out of rows that stay."""
        counts = [(name, int((misfits & ~self.bad).sum())) for name, misfits in self.cleared.items()]
        return [(name, count) for name, count in counts if count]

    def rows(self) -> pa.Table:
        """Return the rows that stay, in the target's types where these were looked at."""
        rows = self.before
        for name, values in self.fitted.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        return rows.filter(pa.array(~self.bad)) if self.bad.any() else rows

    def rejects(self) -> pa.Table:
        """Return the others as rejects, one for each column that does not fit."""
        bad = self.before.filter(pa.array(self.bad))
        shown = bad.drop_columns([POSITION])
        rows = list(zip(bad[POSITION].to_pylist(), texts_of(shown), strict=True))
        found = [
            {"position": position, "rule": RULE, "column": column.name, "reason": reason(column, shown), "row": text}
            for column, misfits in self.refused
            for (position, text), is_misfit in zip(rows, misfits[self.bad], strict=True)
            if is_misfit
        ]
        return pa.Table.from_pylist(sorted(found, key=lambda reject: reject["position"]), schema=REJECTS)


def reason(column: Column, rows: pa.Table) -> str:
    """Return what is wrong with a value, without showing it."""
    dtype = rows.schema.field(column.name).type
    if not column.sql_type:
        return f"the target has no column {column.name}"
    return f"column {column.name} is {column.sql_type} in the target, and a value of type {dtype} does not fit"
